"""Kernels that are functions of the scalar product: linear and polynomial ones.

Formulas: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), section 4.2.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from kflow._base.arguments import as_count
from kflow._base.array_types import FloatArray
from kflow.engine.interface import Profile
from kflow.kernels.length_scale import LengthScaleKernel
from kflow.kernels.parameters import DEFAULT_BOUNDS, Bounds
from kflow.kernels.program import Contraction, Term

__all__ = ["Linear", "Polynomial"]


@dataclass(frozen=True, repr=False)
class Linear(LengthScaleKernel):
    r""":math:`x \cdot z / \ell^2`, or :math:`\sum_k x_k z_k / \ell_k^2` with a length scale for each column.

    Positive semi-definite, of rank d. One length scale and an amplitude say the same twice: learn
    one of them.

    Parameters
    ----------
    length_scale : float or sequence of float
        Positive, in the units of the points; one number, or one for each dimension.
    length_scale_bounds : tuple of float, sequence of such tuples, or "fixed"
        The least and the largest value that learning may give each length scale: one pair for all, or a
        pair for each dimension.
    """

    family: ClassVar[str] = "linear"
    _of_distances: ClassVar[bool] = False

    def profile_at(self, length_scale: float) -> Profile:
        """Return the polynomial of degree 1 without a constant, with this length scale."""
        return Profile("polynomial", length_scale, alpha=0.0, degree=1)

    def _diagonal(self, X: FloatArray) -> FloatArray:
        u = X / np.asarray(self.length_scale, X.dtype)
        return np.asarray(np.einsum("ik,ik->i", u, u))


@dataclass(frozen=True, repr=False)
class Polynomial(Linear):
    r""":math:`(x \cdot z / \ell^2 + c)^q`, of finite rank: positive semi-definite.

    Parameters
    ----------
    length_scale : float or sequence of float
        Positive, in the units of the points; one number, or one for each dimension.
    offset : float
        The constant c, which is positive.
    degree : int
        The power q, at least 1, which is not learned.
    length_scale_bounds, offset_bounds : tuple of float, or "fixed"
        The smallest and the largest value that learning may give each.
    """

    offset: float = 1.0
    degree: int = 2
    offset_bounds: Bounds = field(default=DEFAULT_BOUNDS, kw_only=True)

    family: ClassVar[str] = "polynomial"
    _parameters: ClassVar[tuple[str, ...]] = ("length_scale", "offset")

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        object.__setattr__(self, "degree", as_count(self.degree, "degree", 1))

    def profile_at(self, length_scale: float) -> Profile:
        """Return the profile that engines evaluate, with this length scale."""
        return Profile(self.family, length_scale, alpha=self.offset, degree=self.degree)

    def own_gradient(self, contraction: Contraction, term: Term) -> list[FloatArray]:
        """Return the derivatives with respect to the logarithms of the length scales and the offset."""
        parts = super().own_gradient(contraction, term)
        if self.offset_bounds != "fixed":
            parts.append(self.offset * contraction.shape[term.number])
        return parts

    def _diagonal(self, X: FloatArray) -> FloatArray:
        return np.asarray((super()._diagonal(X) + self.offset) ** self.degree)
