"""Radial kernels k(x, z), functions of the distance r = |x - z| and a length scale l.

All are 1 at r = 0 and positive definite in every dimension. Formulas: Rasmussen and Williams,
Gaussian Processes for Machine Learning (2006), chapter 4; Fasshauer, Meshfree Approximation Methods
(2007) for the inverse multiquadric.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from kflow import _core
from kflow._validation import as_positive

__all__ = [
    "Gaussian",
    "InverseMultiquadric",
    "Kernel",
    "Laplacian",
    "Matern32",
    "Matern52",
    "RationalQuadratic",
    "check_kernel",
    "from_dict",
]


@dataclass(frozen=True)
class Kernel:
    """Base of the kernels; use one of its subclasses.

    Parameters
    ----------
    length_scale : float
        Positive, in the units of the points.
    """

    length_scale: float = 1.0

    _family: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Check the parameters."""
        if not self._family:
            raise TypeError("Kernel is abstract: use kflow.kernels.Gaussian or a sibling")
        for name, value in asdict(self).items():
            object.__setattr__(self, name, as_positive(value, name))

    def to_dict(self) -> dict[str, Any]:
        """Return the kernel as plain data for JSON; `from_dict` is its inverse."""
        return {"kernel": self._family, **asdict(self)}

    def _to_core(self) -> _core.Kernel:
        return _core.Kernel(self._family, self.length_scale, getattr(self, "alpha", 1.0))


class Gaussian(Kernel):
    """exp(-r^2 / 2 l^2)."""

    _family = "gaussian"


class Laplacian(Kernel):
    """exp(-r / l). Not differentiable at r = 0, where its gradient is taken as zero."""

    _family = "laplacian"


class Matern32(Kernel):
    """(1 + h) exp(-h), h = sqrt(3) r / l."""

    _family = "matern32"


class Matern52(Kernel):
    """(1 + h + h^2 / 3) exp(-h), h = sqrt(5) r / l."""

    _family = "matern52"


@dataclass(frozen=True)
class RationalQuadratic(Kernel):
    """(1 + r^2 / (2 alpha l^2))^-alpha, a mixture of Gaussians over length scales.

    Parameters
    ----------
    length_scale : float
        Positive, in the units of the points.
    alpha : float
        Positive; large values approach the Gaussian.
    """

    alpha: float = 1.0

    _family: ClassVar[str] = "rational_quadratic"


class InverseMultiquadric(Kernel):
    """(1 + r^2 / l^2)^-1/2."""

    _family = "inverse_multiquadric"


_KERNELS: dict[str, type[Kernel]] = {
    kernel._family: kernel
    for kernel in (
        Gaussian,
        Laplacian,
        Matern32,
        Matern52,
        RationalQuadratic,
        InverseMultiquadric,
    )
}


def check_kernel(kernel: Any) -> Kernel:
    """Return `kernel` if it is one.

    Raises
    ------
    TypeError
        If it is not.
    """
    if not isinstance(kernel, Kernel):
        raise TypeError(f"kernel must be one of kflow.kernels, such as Gaussian(), got {kernel!r}")
    return kernel


def from_dict(data: dict[str, Any]) -> Kernel:
    """Return the kernel that `Kernel.to_dict` described.

    Raises
    ------
    ValueError
        For an unknown family or unknown parameters.
    """
    parameters = dict(data)
    family = parameters.pop("kernel", None)
    if family not in _KERNELS:
        raise ValueError(f"unknown kernel {family!r}; known are {sorted(_KERNELS)}")
    try:
        return _KERNELS[family](**parameters)
    except TypeError as error:
        raise ValueError(f"kernel {family!r}: {error}") from None
