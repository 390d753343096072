"""The posterior means of components as functions of scaled inputs, and their derivatives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kflow._base.array_types import Doubles
from kflow.emulator.component_kernel import parts_of
from kflow.engine import HOST
from kflow.engine.interface import MeansParts
from kflow.engine.threads import resolve_n_threads
from kflow.kernels import Kernel

__all__ = ["MeanFunction", "MeanFunctions"]


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
            radial, line, rates[c], family = parts_of(kernel)
            families.append(family)
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
