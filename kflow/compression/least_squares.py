"""Least squares in the space of a kernel: coefficients of a layer that takes points where it should."""

from __future__ import annotations

import numpy as np

from kflow._base.array_types import Doubles, FloatArray
from kflow._base.workers import Workers
from kflow.engine.threads import single_threaded_blas
from kflow.errors import SingularKernelError
from kflow.kernels import Radial

__all__ = ["least_squares"]


# Rows of points and columns of a Gram matrix that one product takes: fixed, so that the result does
# not depend on the number of threads.
_ROWS, _COLUMNS = 2048, 512

# Ridge of the least squares, per point, and what rounding errors of the Gram matrix need: parts of
# its mean diagonal.
_RIDGE, _JITTER = 1e-3, 1e-10


def least_squares(
    kernel: Radial,
    x: FloatArray,
    z: FloatArray,
    way: FloatArray,
    n_threads: int,
    *,
    columns: int = _COLUMNS,
) -> Doubles:
    """Return C that minimises |K(x, z) C - way|^2 + ridge tr(C' K(z, z) C), in float64.

    Parameters
    ----------
    kernel : Radial
        The kernel.
    x : ndarray, shape (n, d)
        Points.
    z : ndarray, shape (M, d)
        Centres.
    way : ndarray, shape (n, q)
        The way that each point should go.
    n_threads : int
        Threads. The result does not depend on it.
    columns : int
        Columns of the normal equations that one product takes.

    Returns
    -------
    ndarray, shape (M, q)
        The coefficients.

    Raises
    ------
    SingularKernelError
        If the normal equations are singular to working precision.

    Notes
    -----
    n M^2 flops, and M^3 / 3 for the factorisation. The normal equations are nearly singular where
    centres lie close together: a little is added to their diagonal, and more if that does not suffice.
    """
    from scipy.linalg import cho_factor, cho_solve

    m = len(z)
    centres = z.astype(np.float64)
    matrix, right = _normal_equations(kernel, x, centres, way, n_threads, columns)
    matrix += (_RIDGE * len(x) / m) * kernel(centres, n_threads=n_threads)
    scale = float(np.trace(matrix)) / m
    with single_threaded_blas:
        for jitter in (_JITTER, 1e2 * _JITTER, 1e4 * _JITTER):
            damped = matrix.copy()
            damped.flat[:: m + 1] += jitter * scale
            try:
                # In LAPACK's order the lower triangle is the upper one, factored in place.
                factor = cho_factor(damped.T, lower=False, overwrite_a=True, check_finite=False)
            except np.linalg.LinAlgError:
                continue
            return np.ascontiguousarray(cho_solve(factor, right, check_finite=False))
    raise SingularKernelError(f"the kernel matrix of {m} centres is numerically singular")


def _normal_equations(
    kernel: Radial,
    x: FloatArray,
    centres: Doubles,
    way: FloatArray,
    n_threads: int,
    columns: int,
) -> tuple[Doubles, Doubles]:
    """Return K'K, of which the lower triangle counts, and K' way, with K = kernel(x, centres)."""
    m = len(centres)
    matrix, right = np.zeros((m, m)), np.zeros((m, way.shape[1]))

    def add(k: FloatArray, start: int) -> None:
        stop = start + columns
        matrix[start:, start:stop] += k[:, start:].T @ k[:, start:stop]

    with single_threaded_blas, Workers(n_threads) as workers:
        for first in range(0, len(x), _ROWS):
            rows = slice(first, first + _ROWS)
            k = kernel(x[rows].astype(np.float64), centres, n_threads=n_threads)
            for done in [workers.submit(add, k, start) for start in range(0, m, columns)]:
                done.result()
            right += k.T @ way[rows].astype(np.float64)
    return matrix, right
