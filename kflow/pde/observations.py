"""Arguments: the points of observations, and a true conductivity, which is a function of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles
from kflow.data.arrays import as_matrix

__all__ = ["Function", "as_observed", "evaluated"]

Function: TypeAlias = Callable[..., Any]


def as_observed(x: npt.ArrayLike) -> Doubles:
    """Return the points of observations as a column."""
    points: Doubles = np.asarray(
        as_matrix(x, "x", dtype=np.float64, n_columns=1, column_if_1d=True), np.float64
    )
    if len(points) < 4:
        raise ValueError(f"x must have at least 4 points, got {len(points)}")
    if not (points.min() > 0.0 and points.max() < 1.0):
        raise ValueError(
            "x must lie strictly between 0 and 1: leave out the ends, where u is known to be 0, and "
            "scale other intervals to [0, 1]"
        )
    ordered = np.sort(points[:, 0])
    twice = ordered[1:][np.diff(ordered) == 0.0]
    if len(twice):
        raise ValueError(f"x has the point {twice[0]:g} twice: average the values of u there")
    return points


def evaluated(truth: Function, t: Doubles) -> Doubles:
    """Return the true conductivity at t."""
    if not callable(truth):
        raise TypeError(f"truth must be a function of arrays, got {truth!r}")
    values = np.asarray(truth(t))
    if values.shape != t.shape or values.dtype.kind not in "fiu":
        raise ValueError(f"truth must return an array of shape {t.shape}, as its argument's")
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError("truth must return positive, finite numbers on [0, 1]")
    return values.astype(np.float64)
