"""Radial kernels k(x, z), functions of the distance r = |x - z| and a length scale l.

All are 1 at r = 0. All but `Wendland` are positive definite in every dimension. With one length
scale per dimension, r^2 / l^2 stands for sum_k (x_k - z_k)^2 / l_k^2 (automatic relevance
determination). Formulas: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006),
chapter 4; Fasshauer, Meshfree Approximation Methods (2007) for the inverse multiquadric; Wendland,
Adv. Comput. Math. 4 (1995) for the kernels of compact support.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeGuard

import numpy as np

from kflow._base.arguments import as_count
from kflow._base.array_types import FloatArray
from kflow.engine.interface import Profile
from kflow.kernels.base import DEFAULT_BOUNDS, Bounds, Kernel, as_tuple, check_kernel
from kflow.kernels.length_scale import LengthScaleKernel

if TYPE_CHECKING:
    from kflow.kernels.program import Contraction, Term

__all__ = [
    "RADIAL",
    "Cauchy",
    "Gaussian",
    "InverseMultiquadric",
    "Laplacian",
    "Matern32",
    "Matern52",
    "Radial",
    "RationalQuadratic",
    "Wendland",
    "check_isotropic",
    "is_isotropic",
]


@dataclass(frozen=True, repr=False)
class Radial(LengthScaleKernel):
    """Base of the radial kernels.

    Parameters
    ----------
    length_scale : float or sequence of float
        Positive, in the units of the points; one number, or one for each dimension.
    length_scale_bounds : tuple of float, or "fixed"
        Bounds of each length scale.
    """

    # -d^2 k / dr^2 at r = 0 for l = 1.
    _unit_curvature: ClassVar[float]

    @property
    def curvature(self) -> float:
        """-d^2 k / dr^2 at r = 0, along the shortest length scale; infinite for the Laplacian.

        It bounds how far k(x, .) and k(z, .) are apart in the kernel's space:
        |k(x, .) - k(z, .)|^2 = 2 (k(0) - k(r)) <= curvature r^2, because a positive definite k is an
        average of cosines (Bochner) and 1 - cos t <= t^2 / 2.
        """
        lengths = as_tuple(self.length_scale)
        return self._curvature_of_unit_length() / min(lengths) ** 2

    def _curvature_of_unit_length(self) -> float:
        return self._unit_curvature

    @property
    def profile(self) -> Profile:
        """The kernel as engines take it, if it has one length scale."""
        assert isinstance(self.length_scale, float)
        return Profile(self._family, self.length_scale, **self._core_settings())

    def _diagonal(self, X: FloatArray) -> FloatArray:
        return np.ones(len(X), X.dtype)


class Gaussian(Radial):
    """exp(-r^2 / 2 l^2)."""

    _family = "gaussian"
    _unit_curvature = 1.0


class Laplacian(Radial):
    """exp(-r / l). Not differentiable at r = 0, where its gradient is taken as zero.

    Derivatives by the points, and by a length scale per dimension, lose digits between points closer
    than about 1e-8 length scales, where they jump.
    """

    _family = "laplacian"
    _unit_curvature = math.inf


class Matern32(Radial):
    """(1 + h) exp(-h), h = sqrt(3) r / l."""

    _family = "matern32"
    _unit_curvature = 3.0


class Matern52(Radial):
    """(1 + h + h^2 / 3) exp(-h), h = sqrt(5) r / l."""

    _family = "matern52"
    _unit_curvature = 5.0 / 3.0


@dataclass(frozen=True, repr=False)
class RationalQuadratic(Radial):
    """(1 + r^2 / (2 alpha l^2))^-alpha, a mixture of Gaussians over length scales.

    Parameters
    ----------
    length_scale : float or sequence of float
        Positive, in the units of the points; one number, or one for each dimension.
    alpha : float
        Positive; large values approach the Gaussian.
    length_scale_bounds, alpha_bounds : tuple of float, or "fixed"
        Their bounds.
    """

    alpha: float = 1.0
    alpha_bounds: Bounds = field(default=DEFAULT_BOUNDS, kw_only=True)

    _family: ClassVar[str] = "rational_quadratic"
    _unit_curvature: ClassVar[float] = 1.0
    _parameters: ClassVar[tuple[str, ...]] = ("length_scale", "alpha")

    def _core_settings(self) -> dict[str, Any]:
        return {"alpha": self.alpha}

    def _own_gradient(self, contraction: Contraction, term: Term) -> list[FloatArray]:
        parts = super()._own_gradient(contraction, term)
        if self.alpha_bounds != "fixed":
            parts.append(self.alpha * contraction.shape[term.number])
        return parts


class InverseMultiquadric(Radial):
    """(1 + r^2 / l^2)^-1/2."""

    _family = "inverse_multiquadric"
    _unit_curvature = 1.0


class Cauchy(Radial):
    """1 / (1 + r^2 / l^2)."""

    _family = "cauchy"
    _unit_curvature = 2.0


@dataclass(frozen=True, repr=False)
class Wendland(Radial):
    """(1 - h)^(q + 1) ((q + 1) h + 1) for h < 1, else 0, with h = r / l, q = floor(D / 2) + 2.

    Twice differentiable and zero beyond the length scale. Positive definite in at most D
    dimensions, D being ``dimension``; points with more columns are refused.

    Parameters
    ----------
    length_scale : float or sequence of float
        Positive, the radius of the support; one number, or one for each dimension.
    dimension : int
        D, at least 1.
    length_scale_bounds : tuple of float, or "fixed"
        Bounds of each length scale.
    """

    dimension: int = 3

    _family: ClassVar[str] = "wendland"

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        object.__setattr__(self, "dimension", as_count(self.dimension, "dimension", 1))

    def _check_dimension(self, d: int) -> None:
        super()._check_dimension(d)
        if d > self.dimension:
            raise ValueError(
                f"{self!r} is positive definite in at most {self.dimension} dimensions, but X has "
                f"{d} columns: pass dimension={d}"
            )

    def _curvature_of_unit_length(self) -> float:
        q = self.dimension // 2 + 2
        return float((q + 1) * (q + 2))

    def _core_settings(self) -> dict[str, Any]:
        return {"degree": self.dimension // 2 + 3}


# By the name in files and on the command line.
RADIAL: dict[str, type[Radial]] = {
    kernel._family: kernel
    for kernel in (
        Gaussian,
        Laplacian,
        Matern32,
        Matern52,
        RationalQuadratic,
        InverseMultiquadric,
        Cauchy,
        Wendland,
    )
}


def is_isotropic(kernel: Kernel) -> TypeGuard[Radial]:
    """Return whether a kernel is a function of r / l with one length scale l."""
    return isinstance(kernel, Radial) and not isinstance(kernel.length_scale, tuple)


def check_isotropic(kernel: Any, name: str = "kernel") -> Radial:
    """Return `kernel` if it is radial with one length scale, as the flow of points needs it.

    Raises
    ------
    TypeError
        If it is not.
    """
    if not is_isotropic(check_kernel(kernel)):
        raise TypeError(
            f"{name} must be a radial kernel with one length scale, such as Gaussian(), got "
            f"{kernel!r}"
        )
    assert isinstance(kernel, Radial)
    return kernel
