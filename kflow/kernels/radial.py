"""Radial kernels k(x, z), functions of the distance r = |x - z| and a length scale l.

All are 1 at r = 0. All but `Wendland` are positive definite in every dimension. With one length
scale per dimension, r^2 / l^2 stands for sum_k (x_k - z_k)^2 / l_k^2 (automatic relevance
determination). Formulas: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006),
chapter 4; Fasshauer, Meshfree Approximation Methods (2007) for the inverse multiquadric; Wendland,
Adv. Comput. Math. 4 (1995) for the kernels of compact support.

A new kernel is a class here with its `family`, the name of the engines' profile, and its formula and
slope in NumPy; it is also added to `__all__` and to `RADIAL`. Everything else follows from that table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeGuard

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count
from kflow._base.array_types import FloatArray
from kflow.engine import HOST
from kflow.engine.interface import Engine, Profile
from kflow.engine.threads import resolve_n_threads
from kflow.kernels.base import Kernel, check_kernel
from kflow.kernels.length_scale import LengthScaleKernel
from kflow.kernels.parameters import DEFAULT_BOUNDS, Bounds, as_tuple
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
    length_scale_bounds : tuple of float, sequence of such tuples, or "fixed"
        The least and the largest value that learning may give each length scale: one pair for all, or a
        pair for each dimension.
    """

    # ---- the formula --------------------------------------------------------------------------

    def formula(self, r2: FloatArray, length: Any) -> FloatArray:
        """Return k from squared distances, in their dtype, for a given length scale."""
        raise NotImplementedError

    def slope_formula(self, r2: FloatArray, length: Any) -> FloatArray:
        """Return dk / d(r^2), which is minus infinity where k has a kink."""
        raise NotImplementedError

    def value_at(self, r: npt.ArrayLike) -> FloatArray:
        """Return k as a function of the distance, by its formula in NumPy.

        It shows and checks what the engines compute, and is slower than they are.

        Parameters
        ----------
        r : array_like
            Distances, of any shape. For a kernel with one length scale per dimension they are those
            of points that have been divided by the length scales.

        Returns
        -------
        ndarray, the shape of `r`, float64

        Examples
        --------
        >>> from kflow.kernels import Laplacian
        >>> Laplacian(2.0).value_at([0.0, 2.0]).round(4)
        array([1.    , 0.3679])
        """
        length = 1.0 if isinstance(self.length_scale, tuple) else self.length_scale
        return self.formula(np.square(np.asarray(r, np.float64)), length)

    @property
    def curvature(self) -> float:
        """-d^2 k / dr^2 at r = 0, along the shortest length scale; infinite for the Laplacian.

        It bounds how far k(x, .) and k(z, .) are apart in the kernel's space:
        |k(x, .) - k(z, .)|^2 = 2 (k(0) - k(r)) <= curvature r^2, because a positive definite k is an
        average of cosines (Bochner) and 1 - cos t <= t^2 / 2.
        """
        slope = float(self.slope_formula(np.zeros(1), 1.0)[0])
        return -2.0 * slope / min(as_tuple(self.length_scale)) ** 2

    # ---- evaluation ---------------------------------------------------------------------------

    @property
    def profile(self) -> Profile:
        """The kernel as engines take it; it must have one length scale."""
        assert isinstance(self.length_scale, float)
        return self.profile_at(self.length_scale)

    def evaluate(
        self,
        X: FloatArray,
        Z: FloatArray,
        out: FloatArray,
        n_threads: int,
        engine: Engine = HOST,
    ) -> None:
        """Write K(X, Z) to `out`, as `Kernel.evaluate` does."""
        if not is_isotropic(self):
            super().evaluate(X, Z, out, n_threads, engine)
            return
        self.check_dimension(X.shape[1])
        engine.gram(X, Z, self.profile, out, n_threads)

    def interpolate(
        self,
        X: FloatArray,
        Z: FloatArray,
        C: FloatArray,
        *,
        n_threads: int | None = None,
        engine: Engine = HOST,
    ) -> FloatArray:
        """Return K(X, Z) C, as `Kernel.interpolate` does."""
        if not is_isotropic(self):
            return super().interpolate(X, Z, C, n_threads=n_threads, engine=engine)
        out = np.empty((len(X), C.shape[1]), X.dtype)
        engine.apply(X, Z, C, self.profile, 1.0, None, out, resolve_n_threads(n_threads))
        return out

    def _diagonal(self, X: FloatArray) -> FloatArray:
        return np.ones(len(X), X.dtype)


class Gaussian(Radial):
    r""":math:`\exp(-r^2 / 2 \ell^2)`."""

    family = "gaussian"

    def formula(self, r2: FloatArray, length: Any) -> FloatArray:
        """Return k from squared distances."""
        return np.asarray(np.exp(-r2 / (2 * length**2)))

    def slope_formula(self, r2: FloatArray, length: Any) -> FloatArray:
        """Return dk / d(r^2)."""
        return np.asarray(-self.formula(r2, length) / (2 * length**2))


class Laplacian(Radial):
    r""":math:`\exp(-r / \ell)`, not differentiable at r = 0, where its gradient is taken as zero.

    Derivatives by the points, and by a length scale per dimension, lose digits between points closer
    than about 1e-8 length scales, where they jump.
    """

    family = "laplacian"

    def formula(self, r2: FloatArray, length: Any) -> FloatArray:
        """Return k from squared distances."""
        return np.asarray(np.exp(-np.sqrt(r2) / length))

    def slope_formula(self, r2: FloatArray, length: Any) -> FloatArray:
        """Return dk / d(r^2)."""
        with np.errstate(divide="ignore"):
            return np.asarray(-self.formula(r2, length) / (2 * length * np.sqrt(r2)))


class Matern32(Radial):
    r""":math:`(1 + s) \exp(-s)`, :math:`s = \sqrt{3}\, r / \ell`."""

    family = "matern32"

    def formula(self, r2: FloatArray, length: Any) -> FloatArray:
        """Return k from squared distances."""
        h = np.sqrt(r2.dtype.type(3)) * np.sqrt(r2) / length
        return np.asarray((1 + h) * np.exp(-h))

    def slope_formula(self, r2: FloatArray, length: Any) -> FloatArray:
        """Return dk / d(r^2)."""
        h = np.sqrt(r2.dtype.type(3)) * np.sqrt(r2) / length
        return np.asarray(-3 * np.exp(-h) / (2 * length**2))


class Matern52(Radial):
    r""":math:`(1 + s + s^2 / 3) \exp(-s)`, :math:`s = \sqrt{5}\, r / \ell`."""

    family = "matern52"

    def formula(self, r2: FloatArray, length: Any) -> FloatArray:
        """Return k from squared distances."""
        h = np.sqrt(r2.dtype.type(5)) * np.sqrt(r2) / length
        return np.asarray((1 + h + h**2 / 3) * np.exp(-h))

    def slope_formula(self, r2: FloatArray, length: Any) -> FloatArray:
        """Return dk / d(r^2)."""
        h = np.sqrt(r2.dtype.type(5)) * np.sqrt(r2) / length
        return np.asarray(-5 * (1 + h) * np.exp(-h) / (6 * length**2))


@dataclass(frozen=True, repr=False)
class RationalQuadratic(Radial):
    r""":math:`(1 + r^2 / 2 \alpha \ell^2)^{-\alpha}`, a mixture of Gaussians over length scales.

    Parameters
    ----------
    length_scale : float or sequence of float
        Positive, in the units of the points; one number, or one for each dimension.
    alpha : float
        Positive; large values approach the Gaussian.
    length_scale_bounds, alpha_bounds : tuple of float, or "fixed"
        The smallest and the largest value that learning may give each.
    """

    alpha: float = 1.0
    alpha_bounds: Bounds = field(default=DEFAULT_BOUNDS, kw_only=True)

    family: ClassVar[str] = "rational_quadratic"
    _parameters: ClassVar[tuple[str, ...]] = ("length_scale", "alpha")

    def formula(self, r2: FloatArray, length: Any) -> FloatArray:
        """Return k from squared distances."""
        alpha = r2.dtype.type(self.alpha)
        # (1 + x)^-alpha, where 1 + x would round to 1 for a large alpha.
        return np.asarray(np.exp(-alpha * np.log1p(r2 / (2 * alpha * length**2))))

    def slope_formula(self, r2: FloatArray, length: Any) -> FloatArray:
        """Return dk / d(r^2)."""
        base = 1 + r2 / (2 * r2.dtype.type(self.alpha) * length**2)
        return np.asarray(-self.formula(r2, length) / base / (2 * length**2))

    def profile_at(self, length_scale: float) -> Profile:
        """Return the profile that engines evaluate, with this length scale."""
        return Profile(self.family, length_scale, alpha=self.alpha)

    def own_gradient(self, contraction: Contraction, term: Term) -> list[FloatArray]:
        """Return the derivatives with respect to the logarithms of the length scales and alpha."""
        parts = super().own_gradient(contraction, term)
        if self.alpha_bounds != "fixed":
            parts.append(self.alpha * contraction.shape[term.number])
        return parts


class InverseMultiquadric(Radial):
    r""":math:`(1 + r^2 / \ell^2)^{-1/2}`."""

    family = "inverse_multiquadric"

    def formula(self, r2: FloatArray, length: Any) -> FloatArray:
        """Return k from squared distances."""
        return np.asarray(1 / np.sqrt(1 + r2 / length**2))

    def slope_formula(self, r2: FloatArray, length: Any) -> FloatArray:
        """Return dk / d(r^2)."""
        return np.asarray(-(self.formula(r2, length) ** 3) / (2 * length**2))


class Cauchy(Radial):
    r""":math:`1 / (1 + r^2 / \ell^2)`."""

    family = "cauchy"

    def formula(self, r2: FloatArray, length: Any) -> FloatArray:
        """Return k from squared distances."""
        return np.asarray(1 / (1 + r2 / length**2))

    def slope_formula(self, r2: FloatArray, length: Any) -> FloatArray:
        """Return dk / d(r^2)."""
        return np.asarray(-(self.formula(r2, length) ** 2) / length**2)


@dataclass(frozen=True, repr=False)
class Wendland(Radial):
    r""":math:`(1 - h)_+^{q + 1} ((q + 1) h + 1)`, a kernel of compact support.

    Here :math:`h = r / \ell` and :math:`q = \lfloor D / 2 \rfloor + 2`; the kernel is 0 for h > 1. Twice
    differentiable and zero beyond the length scale. Positive definite in at most D dimensions, D being
    ``dimension``; points with more columns are refused.

    Parameters
    ----------
    length_scale : float or sequence of float
        Positive, the radius of the support; one number, or one for each dimension.
    dimension : int
        The largest number of dimensions D, at least 1.
    length_scale_bounds : tuple of float, sequence of such tuples, or "fixed"
        The least and the largest value that learning may give each length scale: one pair for all, or a
        pair for each dimension.
    """

    dimension: int = 3

    family: ClassVar[str] = "wendland"

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        object.__setattr__(self, "dimension", as_count(self.dimension, "dimension", 1))

    def check_dimension(self, d: int) -> None:
        """Raise ValueError if the kernel cannot take points in d dimensions."""
        super().check_dimension(d)
        if d > self.dimension:
            raise ValueError(
                f"{self!r} is positive definite in at most {self.dimension} dimensions, but X has "
                f"{d} columns: pass dimension={d}"
            )

    def formula(self, r2: FloatArray, length: Any) -> FloatArray:
        """Return k from squared distances."""
        h, q = np.sqrt(r2) / length, self.dimension // 2 + 2
        return np.where(h < 1, (1 - h) ** (q + 1) * ((q + 1) * h + 1), 0)

    def slope_formula(self, r2: FloatArray, length: Any) -> FloatArray:
        """Return dk / d(r^2)."""
        h, q = np.sqrt(r2) / length, self.dimension // 2 + 2
        return np.where(h < 1, -((1 - h) ** q) * (q + 1) * (q + 2) / (2 * length**2), 0)

    def profile_at(self, length_scale: float) -> Profile:
        """Return the profile that engines evaluate, with this length scale."""
        return Profile(self.family, length_scale, degree=self.dimension // 2 + 3)


# By the name in files and on the command line.
RADIAL: dict[str, type[Radial]] = {
    kernel.family: kernel
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
