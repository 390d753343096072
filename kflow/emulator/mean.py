"""The posterior means of components as functions of scaled inputs, and their derivatives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kflow._base.array_types import Doubles
from kflow.engine import HOST
from kflow.engine.interface import MeansParts
from kflow.engine.threads import resolve_n_threads
from kflow.kernels import Gaussian, Kernel, Linear, Matern52, Radial, Scaled, Sum
from kflow.kernels.parameters import Bounds

__all__ = ["PROFILES", "MeanFunction", "MeanFunctions", "component_kernel"]


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


class MeanFunctions:
    """The posterior means of components with the same points, and the outputs that they stand for.

    Parameters
    ----------
    kernels : sequence of Kernel
        The q kernels, of the form of `component_kernel`.
    points : ndarray, shape (M, d)
        The scaled inputs Z.
    coefficients : ndarray, shape (q, M)
        The mean of component c at x is k_c(x, Z) times row c.
    back : ndarray, shape (q, m), optional
        What scores are multiplied by for outputs; without it there are none.
    offset : ndarray, shape (m,), optional
        What is then added.

    Notes
    -----
    A row of a result depends on its row of inputs alone, to the last bit. Its cost is q M evaluations
    of radial kernels and q (M d + m) multiply-adds, and twice as many for Jacobians.
    """

    def __init__(
        self,
        kernels: Sequence[Kernel],
        points: Doubles,
        coefficients: Doubles,
        back: Doubles | None = None,
        offset: Doubles | None = None,
    ) -> None:
        q, d = len(kernels), points.shape[1]
        families, rates = [], np.empty((q, d))
        factors, linear = np.empty((q, len(points))), np.empty((q, d))
        for c, kernel in enumerate(kernels):
            radial, line = _parts(kernel)
            assert isinstance(radial.kernel, Radial)
            families.append(radial.kernel.family)
            rates[c] = np.square(1.0 / np.asarray(radial.kernel.length_scale))
            factors[c] = radial.amplitude * coefficients[c]
            # Not by BLAS, whose sums depend on its number of threads.
            linear[c] = line.amplitude * np.einsum("ij,i->j", points, coefficients[c])
        self._parts = MeansParts(
            families,
            np.ascontiguousarray(points),
            rates,
            factors,
            linear,
            np.empty((q, 0)) if back is None else np.ascontiguousarray(back),
            np.empty(0) if offset is None else offset,
        )
        self._operator = HOST.posterior_means(self._parts)

    def scores(self, X: Doubles, n_threads: int | None) -> Doubles:
        """Return the means at scaled inputs, (n, q)."""
        out = np.empty((len(X), len(self._parts.families)))
        self._operator.scores(X, out, resolve_n_threads(n_threads))
        return out

    def outputs(self, X: Doubles, n_threads: int | None) -> Doubles:
        """Return the outputs at scaled inputs, (n, m)."""
        out = np.empty((len(X), len(self._parts.offset)))
        self._operator.outputs(X, out, resolve_n_threads(n_threads))
        return out

    def jacobian(self, X: Doubles, n_threads: int | None) -> Doubles:
        """Return the derivatives of the means by scaled inputs, (n, q, d)."""
        q, d = self._parts.rates.shape
        out = np.empty((len(X), q * d))
        self._operator.gradients(X, out, resolve_n_threads(n_threads))
        return out.reshape(len(X), q, d)

    def __getstate__(self) -> MeansParts:
        """Return the parts: what an engine has prepared stays in its process."""
        return self._parts

    def __setstate__(self, parts: MeansParts) -> None:
        """Prepare them again."""
        self._parts = parts
        self._operator = HOST.posterior_means(parts)


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
    """

    def __init__(self, kernel: Kernel, points: Doubles, coefficients: Doubles) -> None:
        self._all = MeanFunctions((kernel,), points, coefficients[None])

    def __call__(self, X: Doubles, n_threads: int | None) -> Doubles:
        """Return the mean at scaled inputs, (n,)."""
        return np.asarray(self._all.scores(X, n_threads)[:, 0])

    def jacobian(self, X: Doubles, n_threads: int | None) -> Doubles:
        """Return the derivatives of the mean by scaled inputs, (n, d)."""
        return np.asarray(self._all.jacobian(X, n_threads)[:, 0])


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
