"""The rows to which a flow and its interpolant are fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles, FloatArray
from kflow.stopping import CollapseStopping

__all__ = ["FitRows"]


@dataclass(frozen=True)
class FitRows:
    """The rows of the data to which a flow and its interpolant are fitted.

    Attributes
    ----------
    points : ndarray, shape (n, d)
        Points, not yet scaled.
    targets : ndarray, shape (n, m)
        Targets of the flow and of the interpolant.
    rows : ndarray of int, shape (n,), or None
        Which rows of the data they are; None for all of them.
    stopping : CollapseStopping or None
        The callback that may end the flow.
    held_out : ndarray, shape (n_held, d), or None
        The points by which it does.
    weights : ndarray of float64, shape (n,), or None
        Positive weights of the rows; None if all count alike.
    codes : ndarray of int, shape (n,), or None
        Class numbers of the rows; None for a regression.
    """

    points: FloatArray
    targets: FloatArray
    rows: npt.NDArray[np.intp] | None = None
    stopping: CollapseStopping | None = None
    held_out: FloatArray | None = None
    weights: Doubles | None = None
    codes: npt.NDArray[np.intp] | None = None
