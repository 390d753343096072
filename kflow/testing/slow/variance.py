"""The posterior variance of a component by its definition."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles
from kflow.engine.interface import VarianceParts
from kflow.kernels import Gaussian, Matern52
from kflow.testing.slow.kernels import gram

__all__ = ["posterior_variance"]

_FAMILIES = {"gaussian": Gaussian, "matern52": Matern52}


def posterior_variance(parts: VarianceParts, X: npt.ArrayLike) -> Doubles:
    """Return the variances at points X, (n, d), one after the other, (n,).

    Parameters
    ----------
    parts : VarianceParts
        The parts, of the family "gaussian" or "matern52".
    X : array_like, shape (n, d)
        Points.
    """
    points, root = np.asarray(X, np.float64), np.sqrt(parts.rates[0])
    profile = _FAMILIES[parts.family](1.0)
    values = np.empty(len(points))
    for i, x in enumerate(points):
        k = parts.amplitude * gram(parts.centres * root, x[None] * root, kernel=profile)[:, 0]
        f = np.linalg.solve(np.tril(parts.factor), k + parts.linear * parts.centres @ x)
        value = max(parts.amplitude + parts.linear * x @ x - f @ f, 0.0) + parts.nugget
        if parts.inner is not None:
            value += parts.nugget * np.square(np.linalg.solve(np.tril(parts.inner), f)).sum()
        values[i] = parts.scale * value
    return values
