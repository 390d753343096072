"""Posterior means of several components by their definition."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles
from kflow.engine.interface import MeansParts
from kflow.kernels import Gaussian, Matern52
from kflow.testing.slow.kernels import gram

__all__ = ["posterior_means"]

_FAMILIES = {"gaussian": Gaussian, "matern52": Matern52}


def posterior_means(parts: MeansParts, X: npt.ArrayLike) -> tuple[Doubles, Doubles]:
    """Return scores (n, q) and outputs (n, m), one component after the other.

    Parameters
    ----------
    parts : MeansParts
        The parts, of the families "gaussian" and "matern52".
    X : array_like, shape (n, d)
        Points.
    """
    points, centres = np.asarray(X, np.float64), parts.centres.astype(np.float64)
    scores = np.empty((len(points), len(parts.families)))
    for c, family in enumerate(parts.families):
        root = np.sqrt(parts.rates[c].astype(np.float64))
        K = gram(points * root, centres * root, kernel=_FAMILIES[family](1.0))
        scores[:, c] = K @ parts.coefficients[c].astype(np.float64)
        scores[:, c] += points @ parts.linear[c].astype(np.float64)
    return scores, scores @ parts.back.astype(np.float64) + parts.offset.astype(np.float64)
