"""Sums of kernels with coefficients near a point: values, derivatives, and how wrong they may be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kflow._base.array_types import Doubles, FloatArray
from kflow.analysis._profile import SmoothProfile

__all__ = ["KernelSum", "NearSum", "norm_above"]

# Unit roundoff of float64.
_UNIT = 0.5 * float(np.finfo(np.float64).eps)

# Operations beside the sums over coordinates and centres: differences, the profile, factors.
_FEW = 32

# By what part a norm computed in float64 is enlarged: thousands of times its rounding error.
_ENLARGED = 1e-10


def _gamma(n: int, unit: float) -> float:
    """Return n u / (1 - n u), which bounds the relative error of n operations."""
    return n * unit / (1.0 - n * unit) if n * unit < 1.0 else math.inf


def norm_above(matrix: Doubles) -> float:
    """Return a number not below the largest singular value of a matrix."""
    return float(np.linalg.norm(matrix, ord=2)) * (1.0 + _ENLARGED)


@dataclass(frozen=True, eq=False)
class KernelSum:
    """The function p -> K(p, Z) C.

    Attributes
    ----------
    z : ndarray, shape (m, k), float64
        The centres.
    c : ndarray, shape (m, q), float64
        The coefficients.
    profile : SmoothProfile
        The kernel.
    unit : float
        Unit roundoff of the dtype in which the classifier computes the function.
    """

    z: Doubles
    c: Doubles
    profile: SmoothProfile
    unit: float

    @classmethod
    def of(cls, z: FloatArray, c: FloatArray, profile: SmoothProfile) -> KernelSum:
        """Return the sum of centres and coefficients as the classifier has them."""
        unit = 0.5 * float(np.finfo(z.dtype).eps)
        return cls(z.astype(np.float64), c.astype(np.float64), profile, unit)

    @cached_property
    def energy(self) -> Doubles:
        """C' K(Z, Z) C, (q, q): a' energy a is the squared norm of the function a'C'k(Z, .)."""
        squares = np.einsum("ij,ij->i", self.z, self.z)
        s = np.maximum(squares[:, None] + squares - 2.0 * self.z @ self.z.T, 0.0)
        products = self.c.T @ (self.profile.derivative(s, 0) @ self.c)
        return np.asarray(0.5 * (products + products.T))

    @cached_property
    def sizes(self) -> Doubles:
        """Sums of the absolute coefficients, (q,)."""
        return np.asarray(np.abs(self.c).sum(axis=0))

    @cached_property
    def size(self) -> float:
        """Sum of the lengths of the coefficients' rows."""
        return float(np.linalg.norm(self.c, axis=1).sum())

    @cached_property
    def reach(self) -> float:
        """Largest distance of a centre from the origin."""
        return float(np.linalg.norm(self.z, axis=1).max())

    def norm_of(self, a: Doubles) -> float:
        """Return a number not below the norm of a'C'k(Z, .) in the kernel's space."""
        size = float(np.abs(a) @ self.sizes)
        return math.sqrt(max(float(a @ self.energy @ a), 0.0) + self._energy_error * size**2)

    @cached_property
    def largest_norm(self) -> float:
        """A number not below the norms of a'C'k(Z, .) for all unit vectors a."""
        largest = float(np.linalg.eigvalsh(self.energy)[-1]) * (1.0 + _ENLARGED)
        return math.sqrt(max(largest, 0.0) + self._energy_error * self.size**2)

    @property
    def _energy_error(self) -> float:
        return self._term_error(_UNIT, 2.0 * self.reach) + 2.0 * _gamma(len(self.z), _UNIT)

    def _term_error(self, unit: float, distance: float) -> float:
        """Return a bound of the error of one kernel value, and of its part in the sum."""
        m, k = self.z.shape
        squared = _gamma(k + _FEW, unit) * distance**2
        return self.profile.largest(1) * squared + _gamma(m + _FEW, unit)

    def near(self, p: Doubles) -> NearSum:
        """Return the function near a point p (k,)."""
        differences = p - self.z
        s = np.einsum("ij,ij->i", differences, differences)
        # All points of the balls that are looked at are within two length scales of p.
        norm = float(np.linalg.norm(p)) + 2.0 * self.profile.length
        distance = norm + self.reach
        values = self._term_error(self.unit, distance) + self._term_error(_UNIT, distance)
        f1, f2, f3 = (self.profile.largest(order) for order in (1, 2, 3))
        relative = _gamma(sum(self.z.shape) + _FEW, _UNIT)
        return NearSum(
            self,
            self.profile.derivative(s, 0) @ self.c,
            differences,
            s,
            values,
            relative * (2.0 * f1 + 2.0 * f2 * distance**2) * distance,
            relative * (2.0 * f1 + (6.0 * f2 + 4.0 * f3 * distance**2) * distance**2),
            8.0 * self.unit * norm,
        )


@dataclass(frozen=True, eq=False)
class NearSum:
    """A sum of kernels near a point p.

    Attributes
    ----------
    function : KernelSum
        The sum.
    value : ndarray, shape (q,)
        Its value at p.
    differences : ndarray, shape (m, k)
        p - z_j.
    s : ndarray, shape (m,)
        Their squared lengths.
    value_error, slope_error, bend_error : float
        How wrong values in the classifier's dtype, and first and second derivatives in float64, may
        be, for coefficients of size 1.
    addition_error : float
        How wrong the sum p + value may be as it is added in the classifier's dtype.
    """

    function: KernelSum
    value: Doubles
    differences: Doubles
    s: Doubles
    value_error: float
    slope_error: float
    bend_error: float
    addition_error: float

    @cached_property
    def jacobian(self) -> Doubles:
        """The Jacobian at p, (q, k)."""
        slopes = 2.0 * self.function.profile.derivative(self.s, 1)
        return np.asarray((slopes[:, None] * self.function.c).T @ self.differences)

    def hessian(self, a: Doubles) -> Doubles:
        """Return the second derivative (k, k) at p of a . value."""
        weights = self.function.c @ a
        first, second = (self.function.profile.derivative(self.s, order) for order in (1, 2))
        products = (self.differences.T * (4.0 * weights * second)) @ self.differences
        products.flat[:: len(products) + 1] += 2.0 * float(weights @ first)
        return np.asarray(0.5 * (products + products.T))

    @cached_property
    def bend(self) -> float:
        """A number not below the second derivative of a . value along v, for all unit a and v.

        It is at most |2 sum f'_j c_j|, plus the largest singular value of the matrix with the rows
        vec(4 f''_j c_j d_j d_j') where d_j = p - z_j, of which the products are taken without it.
        """
        c = self.function.c
        first, second = (self.function.profile.derivative(self.s, order) for order in (1, 2))
        weighted = 4.0 * second[:, None] * c
        products = np.square(self.differences @ self.differences.T)
        largest = float(np.linalg.eigvalsh(weighted.T @ (products @ weighted))[-1])
        error = _gamma(sum(self.differences.shape) + _FEW, _UNIT)
        error *= float(np.linalg.norm(weighted, axis=1) @ self.s) ** 2
        straight = 2.0 * float(np.linalg.norm(first @ c))
        return (
            straight + math.sqrt(max(largest, 0.0) + error) + self.bend_error * self.function.size
        )
