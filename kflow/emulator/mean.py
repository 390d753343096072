"""The posterior mean of one component as a function of scaled inputs, and its derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kflow._base.array_types import Doubles
from kflow.kernels import Gaussian, Kernel, Linear, Matern32, Matern52, Radial, Scaled, Sum
from kflow.kernels.parameters import Bounds

__all__ = ["PROFILES", "MeanFunction", "component_kernel"]


@dataclass(frozen=True)
class Profile:
    """A radial kernel of length scale 1, whose derivative by r^2 is -rate times another one.

    Attributes
    ----------
    family : type of Radial
        The kernel's class.
    slope : Radial
        The kernel that the derivative is a multiple of.
    rate : float
        The multiple.
    """

    family: type[Radial]
    slope: Radial
    rate: float


# The derivative of (1 + s + s^2 / 3) e^-s by r^2, with s = sqrt(5) r, is -5/6 (1 + s) e^-s, a Matern
# 3/2 kernel of another length scale: the engine evaluates Jacobians as it evaluates kernels.
PROFILES = {
    "matern52": Profile(Matern52, Matern32(float(np.sqrt(3.0 / 5.0))), 5.0 / 6.0),
    "gaussian": Profile(Gaussian, Gaussian(1.0), 0.5),
}

# Amplitudes of scores, which have variance 1. Larger ones leave the nugget below rounding errors.
_AMPLITUDES = (1e-4, 1e4)
_LENGTHS = (1e-2, 1e3)


def component_kernel(name: str, d: int, *, learn_amplitude: bool = True) -> Kernel:
    """Return the kernel that learning starts from: a radial one plus a linear one.

    Parameters
    ----------
    name : str
        A key of `PROFILES`.
    d : int
        Number of scaled inputs, each of which has a length scale.
    learn_amplitude : bool
        Whether the amplitude of the radial part is learned: losses of cross-validation cannot tell
        the amplitude of the whole kernel from the nugget.
    """
    length = 2.0 * float(
        np.sqrt(d)
    )  # twice the distance of two points, as smooth as models mostly are
    radial = PROFILES[name].family((length,) * d, length_scale_bounds=_LENGTHS)
    bounds: Bounds = _AMPLITUDES if learn_amplitude else "fixed"
    linear = Scaled(Linear(length_scale_bounds="fixed"), 0.1, amplitude_bounds=_AMPLITUDES)
    return Sum((Scaled(radial, 1.0, amplitude_bounds=bounds), linear))


class MeanFunction:
    """x -> k(x, Z) c for a kernel of the form of `component_kernel`.

    Parameters
    ----------
    kernel : Kernel
        The kernel k.
    points : ndarray, shape (M, d)
        Z.
    coefficients : ndarray, shape (M,)
        c.

    Notes
    -----
    The linear part is a product with one vector, so that a prediction costs M evaluations of the
    radial kernel of points over length scales.
    """

    def __init__(self, kernel: Kernel, points: Doubles, coefficients: Doubles) -> None:
        radial, linear = _parts(kernel)
        assert isinstance(radial.kernel, Radial)
        profile = PROFILES[radial.kernel.family]
        self._lengths = np.asarray(radial.kernel.length_scale)
        self._kernel, self._slope = profile.family(1.0), profile.slope
        self._centres = points / self._lengths
        self._coefficients = radial.amplitude * coefficients[:, None]
        self._weights = linear.amplitude * (points.T @ coefficients)
        # sum_i c_i s_i (u - z_i) = u (sum_i c_i s_i) - sum_i s_i c_i z_i
        self._slopes = np.concatenate([np.ones((len(points), 1)), self._centres], axis=1)
        self._slopes *= -2.0 * profile.rate * self._coefficients

    def __call__(self, X: Doubles, n_threads: int | None) -> Doubles:
        """Return the mean at scaled inputs, (n,)."""
        radial = self._kernel.interpolate(
            X / self._lengths, self._centres, self._coefficients, n_threads=n_threads
        )
        # Not by BLAS: to hold it to one thread takes as long as the rest for a single row.
        return np.asarray(radial[:, 0] + np.einsum("ij,j->i", X, self._weights))

    def jacobian(self, X: Doubles, n_threads: int | None) -> Doubles:
        """Return the derivatives of the mean by scaled inputs, (n, d)."""
        U = X / self._lengths
        sums = self._slope.interpolate(U, self._centres, self._slopes, n_threads=n_threads)
        return np.asarray((U * sums[:, :1] - sums[:, 1:]) / self._lengths + self._weights)


def _parts(kernel: Kernel) -> tuple[Scaled, Scaled]:
    """Return the radial and the linear part of a component's kernel.

    Raises
    ------
    ValueError
        If the kernel is another one.
    """
    if isinstance(kernel, Sum) and len(kernel.kernels) == 2:
        radial, linear = kernel.kernels
        if (
            isinstance(radial, Scaled)
            and getattr(radial.kernel, "family", "") in PROFILES
            and isinstance(linear, Scaled)
            and isinstance(linear.kernel, Linear)
            and linear.kernel.length_scale == 1.0
        ):
            return radial, linear
    raise ValueError(f"{kernel!r} is no kernel of an emulator's component")
