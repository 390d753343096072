"""The nugget of a given kernel by leave-one-out errors."""

from __future__ import annotations

import math

import numpy as np

from kflow._base.array_types import Doubles, FloatArray
from kflow.engine.threads import single_threaded_blas
from kflow.kernels import Kernel

__all__ = ["leave_one_out_nugget"]

# Nuggets for each factor of ten at which the errors are computed before the best is refined.
_PER_DECADE = 4


def leave_one_out_nugget(
    kernel: Kernel,
    X: FloatArray,
    Y: FloatArray,
    bounds: tuple[float, float],
    *,
    weights: Doubles | None = None,
    n_threads: int | None = None,
) -> float:
    """Return the nugget with the least sum of squared leave-one-out residuals.

    Parameters
    ----------
    kernel : Kernel
        The kernel, which is kept as it is.
    X : ndarray, shape (n, d), float64
        Points.
    Y : ndarray, shape (n, m), float64
        Targets.
    bounds : tuple of float
        The least and the largest nugget.
    weights : ndarray, shape (n,), optional
        Positive weights of the rows, by which their nuggets are divided, and by which their squared
        residuals count.
    n_threads : int, optional
        Threads for the kernel matrix.

    Returns
    -------
    float
        The nugget, within its bounds.

    Notes
    -----
    With the eigenvalues D and the eigenvectors U of K, the inverse of K + nugget I is U (D + nugget)^-1 U', so
    that the residuals (`kflow.losses.leave_one_out`) of each nugget take n^2 flops. About 9 n^3 flops for
    the eigenvectors.
    """
    from scipy.optimize import minimize_scalar

    matrix = np.asarray(kernel(X, n_threads=n_threads), np.float64)
    targets = np.asarray(Y, np.float64)
    if weights is not None:
        roots = np.sqrt(weights)
        matrix, targets = matrix * np.outer(roots, roots), roots[:, None] * targets
    with single_threaded_blas:
        eigenvalues, U = np.linalg.eigh(matrix)
        rotated, squares = U.T @ targets, np.square(U)
        # Those below zero are rounding errors.
        eigenvalues = np.maximum(eigenvalues, 0.0)

        def error(logarithm: float) -> float:
            inverse = 1.0 / (eigenvalues + math.exp(logarithm))
            solved = U @ (inverse[:, None] * rotated)
            return float(np.square(solved / (squares @ inverse)[:, None]).sum())

        low, high = math.log(bounds[0]), math.log(bounds[1])
        count = 2 + round(_PER_DECADE * (high - low) / math.log(10.0))
        grid = np.linspace(low, high, count)
        best = int(np.argmin([error(logarithm) for logarithm in grid]))
        around = grid[max(best - 1, 0)], grid[min(best + 1, count - 1)]
        found = minimize_scalar(error, bounds=around, method="bounded")
    # The bounds themselves are never tried by the refinement.
    return math.exp(found.x if found.fun < error(grid[best]) else grid[best])
