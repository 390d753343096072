"""The posterior variance of a component as a function of scaled inputs."""

from __future__ import annotations

import numpy as np

from kflow._base.array_types import Doubles
from kflow.emulator.component_kernel import parts_of
from kflow.engine import HOST
from kflow.engine.interface import VarianceParts
from kflow.engine.threads import resolve_n_threads
from kflow.kernels import Kernel

__all__ = ["VarianceFunction"]


class VarianceFunction:
    """x -> s (k(x, x) - |f(x)|^2 + nugget + nugget |M^-1 f(x)|^2), f(x) = L^-1 k(Z, x).

    Parameters
    ----------
    kernel : Kernel
        The kernel k, of the form of `component_kernel`.
    points : ndarray, shape (n, d)
        Z.
    nugget : float
        The variance of the noise.
    factor : ndarray, shape (n, n)
        The lower triangular factor L of k(Z, Z), or of k(Z, Z) + nugget I.
    inner : ndarray, shape (n, n), or None
        The lower triangular M; without it its term is missing.
    scale : float
        s.

    Notes
    -----
    A row takes n evaluations of the kernel and n^2 flops, 2 n^2 with M, at the rate of a matrix product; a call
    with a few rows takes the time of reading the factors from memory, 4 n^2 bytes each. The factors are
    copied, 8 n^2 bytes each.
    """

    def __init__(
        self,
        kernel: Kernel,
        points: Doubles,
        nugget: float,
        factor: Doubles,
        inner: Doubles | None = None,
        scale: float = 1.0,
    ) -> None:
        radial, line, rates, family = parts_of(kernel)
        self._operator = HOST.posterior_variance(
            VarianceParts(
                family,
                np.ascontiguousarray(points),
                np.array(np.broadcast_to(rates, (1, points.shape[1]))),
                radial.amplitude,
                line.amplitude,
                nugget,
                scale,
                np.ascontiguousarray(factor, np.float64),
                None if inner is None else np.ascontiguousarray(inner, np.float64),
            )
        )

    def __call__(self, X: Doubles, n_threads: int | None) -> Doubles:
        """Return the variances at scaled inputs, (n,)."""
        out = np.empty((len(X), 1))
        self._operator(np.ascontiguousarray(X), out, resolve_n_threads(n_threads))
        return out[:, 0]
