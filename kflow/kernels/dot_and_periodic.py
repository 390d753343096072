"""Kernels that are no functions of a distance: periodic, linear, polynomial and constant ones.

Formulas: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), chapter 4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kflow._base.arguments import as_count
from kflow._base.array_types import FloatArray
from kflow.kernels.base import DEFAULT_BOUNDS, Bounds, Kernel, Value, as_tuple
from kflow.kernels.features import Periodicity
from kflow.kernels.length_scale import LengthScaleKernel

if TYPE_CHECKING:
    from kflow.kernels.program import Contraction, Program, Term

__all__ = ["OTHER", "Constant", "Linear", "Periodic", "Polynomial"]


@dataclass(frozen=True, repr=False)
class Periodic(Kernel):
    """exp(-2 sum_k sin^2(pi (x_k - z_k) / p_k) / l_k^2).

    Positive definite in every dimension, as a Gaussian of points on circles; two points that lie
    whole periods apart coincide for it. A locally periodic kernel is ``Periodic() * Gaussian()``.

    Parameters
    ----------
    length_scale : float or sequence of float
        Positive, without unit: l is the width of a bump, in parts of period / (2 pi). One number,
        or one for each dimension.
    period : float or sequence of float
        Positive, in the units of the points; one number, or one for each dimension.
    length_scale_bounds, period_bounds : tuple of float, or "fixed"
        Their bounds.
    """

    length_scale: Value = 1.0
    period: Value = 1.0
    length_scale_bounds: Bounds = field(default=DEFAULT_BOUNDS, kw_only=True)
    period_bounds: Bounds = field(default=DEFAULT_BOUNDS, kw_only=True)

    _family: ClassVar[str] = "periodic"
    _parameters: ClassVar[tuple[str, ...]] = ("length_scale", "period")

    def _emit(self, program: Program) -> int:
        circles = Periodicity(as_tuple(self.period), as_tuple(self.length_scale))
        return program.add_leaf("gaussian", 1.0, program.add_features(circles))

    def _own_gradient(self, contraction: Contraction, term: Term) -> list[FloatArray]:
        gradient = contraction.features_gradient(term)
        return [gradient[name] for name, _ in self._free()]

    def _diagonal(self, X: FloatArray) -> FloatArray:
        return np.ones(len(X), X.dtype)


@dataclass(frozen=True, repr=False)
class Linear(LengthScaleKernel):
    """x.z / l^2; with one length scale per dimension sum_k x_k z_k / l_k^2.

    Positive semi-definite, of rank d. One length scale and an amplitude say the same twice: learn
    one of them.

    Parameters
    ----------
    length_scale : float or sequence of float
        Positive, in the units of the points; one number, or one for each dimension.
    length_scale_bounds : tuple of float, or "fixed"
        Bounds of each length scale.
    """

    _family: ClassVar[str] = "linear"
    _of_distances: ClassVar[bool] = False

    def _core_family(self) -> str:
        return "polynomial"

    def _core_settings(self) -> dict[str, Any]:
        return {"alpha": 0.0, "degree": 1}

    def _diagonal(self, X: FloatArray) -> FloatArray:
        u = X / np.asarray(self.length_scale, X.dtype)
        return np.asarray(np.einsum("ik,ik->i", u, u))


@dataclass(frozen=True, repr=False)
class Polynomial(Linear):
    """(x.z / l^2 + c)^q, of finite rank: positive semi-definite.

    Parameters
    ----------
    length_scale : float or sequence of float
        Positive, in the units of the points; one number, or one for each dimension.
    offset : float
        c, positive.
    degree : int
        q, at least 1; not learnt.
    length_scale_bounds, offset_bounds : tuple of float, or "fixed"
        Their bounds.
    """

    offset: float = 1.0
    degree: int = 2
    offset_bounds: Bounds = field(default=DEFAULT_BOUNDS, kw_only=True)

    _family: ClassVar[str] = "polynomial"
    _parameters: ClassVar[tuple[str, ...]] = ("length_scale", "offset")

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        object.__setattr__(self, "degree", as_count(self.degree, "degree", 1))

    def _core_settings(self) -> dict[str, Any]:
        return {"alpha": self.offset, "degree": self.degree}

    def _own_gradient(self, contraction: Contraction, term: Term) -> list[FloatArray]:
        parts = super()._own_gradient(contraction, term)
        if self.offset_bounds != "fixed":
            parts.append(self.offset * contraction.shape[term.number])
        return parts

    def _diagonal(self, X: FloatArray) -> FloatArray:
        return np.asarray((super()._diagonal(X) + self.offset) ** self.degree)


@dataclass(frozen=True, repr=False)
class Constant(Kernel):
    """k(x, z) = c, positive semi-definite of rank 1: what `kernel + 2.0` adds.

    Parameters
    ----------
    value : float
        c, positive.
    value_bounds : tuple of float, or "fixed"
        Its bounds.
    """

    value: float = 1.0
    value_bounds: Bounds = field(default=DEFAULT_BOUNDS, kw_only=True)

    _family: ClassVar[str] = "constant"
    _parameters: ClassVar[tuple[str, ...]] = ("value",)

    def _emit(self, program: Program) -> int:
        return program.scale(program.add_constant(), self.value)

    def _own_gradient(self, contraction: Contraction, term: Term) -> list[FloatArray]:
        return [] if self.value_bounds == "fixed" else [contraction.factor[term.number]]

    def _diagonal(self, X: FloatArray) -> FloatArray:
        return np.full(len(X), self.value, X.dtype)


OTHER: dict[str, type[Kernel]] = {
    kernel._family: kernel for kernel in (Periodic, Linear, Polynomial, Constant)
}
