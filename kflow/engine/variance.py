"""What the posterior variance of a component is made of, and what an engine makes of it.

`kflow.engine.interface` has the rules for all arrays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from kflow._base.array_types import Doubles

__all__ = ["VarianceOperator", "VarianceParts"]


class VarianceParts(NamedTuple):
    r"""The posterior variance of one component with M centres z_j; all arrays are of float64.

    The kernel is ``amplitude k_0(sum_k rates[0, k] (x_k - z_jk)^2) + linear x.z_j``. With the lower
    triangular factor L of its matrix and :math:`f = L^{-1} k(z, x)` the variance at x is
    ``scale (max(k(x, x) - f.f, 0) + nugget)``, and with a second factor M ``scale nugget |M^-1 f|^2`` more.

    Attributes
    ----------
    family : str
        The name of the profile k_0, a function of squared distances, of length scale 1.
    centres : ndarray, shape (M, d)
        Centres.
    rates : ndarray, shape (1, d)
        Positive numbers: 1 over the squares of the length scales.
    amplitude, linear, nugget, scale : float
        Numbers that are not negative.
    factor : ndarray, shape (M, M)
        L, of which what is above the diagonal is not read.
    inner : ndarray, shape (M, M), or None
        The second factor, likewise.
    """

    family: str
    centres: Doubles
    rates: Doubles
    amplitude: float
    linear: float
    nugget: float
    scale: float
    factor: Doubles
    inner: Doubles | None


class VarianceOperator(ABC):
    """The posterior variance of a component, prepared.

    A row of a result depends on its row of X alone, to the last bit.
    """

    @abstractmethod
    def __call__(self, X: Doubles, out: Doubles, n_threads: int) -> None:
        """Write the variances at points X, (n, d), to `out`, (n, 1)."""
