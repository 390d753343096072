"""The kernel of a component: a radial one with a length scale for each input, plus a linear one."""

from __future__ import annotations

import numpy as np

from kflow._base.array_types import Doubles
from kflow.kernels import Gaussian, Kernel, Linear, Matern52, Radial, Scaled, Sum
from kflow.kernels.parameters import Bounds

__all__ = ["PROFILES", "component_kernel", "parts_of"]


# The radial kernels that a component may have.
PROFILES: dict[str, type[Radial]] = {"matern52": Matern52, "gaussian": Gaussian}

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
    radial = PROFILES[name]((length,) * d, length_scale_bounds=_LENGTHS)
    bounds: Bounds = _AMPLITUDES if learn_amplitude else "fixed"
    linear = Scaled(Linear(length_scale_bounds="fixed"), 0.1, amplitude_bounds=_AMPLITUDES)
    return Sum((Scaled(radial, 1.0, amplitude_bounds=bounds), linear))


def parts_of(kernel: Kernel) -> tuple[Scaled, Scaled, Doubles, str]:
    """Return the radial and the linear part of a component's kernel, and what the former is made of.

    Returns
    -------
    radial, linear : Scaled
        The parts.
    rates : ndarray, shape (d,) or ()
        1 over the squares of the length scales.
    family : str
        The name of the radial kernel's family.

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
            profile = radial.kernel
            assert isinstance(profile, Radial)
            rates = np.square(1.0 / np.asarray(profile.length_scale, np.float64))
            return radial, linear, rates, profile.family
    raise ValueError(f"{kernel!r} is no kernel of an emulator's component")
