"""Derivatives of radial kernels of every order, and the bounds that follow from those at zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from kflow._base.array_types import Doubles
from kflow.kernels import Cauchy, Gaussian, InverseMultiquadric, RationalQuadratic

__all__ = ["SmoothProfile"]


@dataclass(frozen=True)
class SmoothProfile:
    """A kernel as a function f of the squared distance s that has derivatives of every order.

    It is exp(-s / scale) for an infinite `power`, else (1 + s / scale)^-power. Both are averages of
    Gaussians, so that the derivatives have alternating signs and are largest at s = 0.

    Attributes
    ----------
    length : float
        The kernel's length scale.
    scale, power : float
        The numbers in the formula.
    """

    length: float
    scale: float
    power: float

    @classmethod
    def of(cls, kernel: Any) -> SmoothProfile:
        """Return the profile of a kernel.

        Raises
        ------
        TypeError
            If the kernel has no such profile.
        """
        length = getattr(kernel, "length_scale", None)
        if isinstance(length, float):
            if isinstance(kernel, Gaussian):
                return cls(length, 2.0 * length**2, math.inf)
            if isinstance(kernel, RationalQuadratic):
                return cls(length, 2.0 * kernel.alpha * length**2, kernel.alpha)
            if isinstance(kernel, (InverseMultiquadric, Cauchy)):
                power = 0.5 if isinstance(kernel, InverseMultiquadric) else 1.0
                return cls(length, length**2, power)
        raise TypeError(
            "the kernel must be a Gaussian, RationalQuadratic, InverseMultiquadric or Cauchy with one "
            f"length scale, whose derivatives are bounded, got {kernel!r}"
        )

    def derivative(self, s: Doubles, order: int) -> Doubles:
        """Return the derivative of this order by s, at squared distances s of any shape."""
        if math.isinf(self.power):
            return np.asarray((-1.0 / self.scale) ** order * np.exp(-s / self.scale))
        factor = math.prod(-(self.power + i) / self.scale for i in range(order))
        return np.asarray(factor * (1.0 + s / self.scale) ** (-self.power - order))

    def largest(self, order: int) -> float:
        """Return the largest absolute value of the derivative of this order by s."""
        return abs(float(self.derivative(np.zeros(1), order)[0]))

    def norm(self, order: int) -> float:
        r"""Return what bounds derivatives of this order along a line, by norms in the kernel's space.

        A function h of the kernel's space has :math:`\partial_v^j h(x) = \langle h, \partial_v^j k(x,
        \cdot) \rangle`, so that :math:`|\partial_v^j h(x)| \le |h| \sqrt{(-1)^j k^{(2j)}(0)}` for all
        x and all unit vectors v. The root is returned, with :math:`k^{(2j)}(0) = (2j)!\,
        f^{(j)}(0) / j!`.
        """
        factor = math.factorial(2 * order) / math.factorial(order)
        return math.sqrt(factor * self.largest(order))
