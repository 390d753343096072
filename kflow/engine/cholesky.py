"""Cholesky factors of symmetric matrices in this process's memory, by LAPACK on one thread."""

from __future__ import annotations

import numpy as np

from kflow._base.array_types import Doubles, FloatArray
from kflow.engine.threads import single_threaded_blas

__all__ = ["lower_factor", "smallest_pivot", "solve_factored"]


def smallest_pivot(n: int, diagonal: Doubles) -> float:
    """Return the pivot up to which a matrix of n rows with this diagonal has no digit that is right."""
    return n * float(np.finfo(np.float64).eps) * float(diagonal.max(initial=0.0))


def lower_factor(matrix: Doubles, floor: float) -> Doubles | None:
    """Return the lower triangular Cholesky factor of a matrix.

    Parameters
    ----------
    matrix : ndarray of float64, shape (n, n)
        A symmetric matrix, which is overwritten.
    floor : float
        What each pivot has to exceed.

    Returns
    -------
    ndarray, shape (n, n), or None
        What is above the diagonal is undefined. None where a pivot is not larger than `floor`.

    Notes
    -----
    n^3 / 3 flops.
    """
    # Imported here: it takes longer to import than the rest of the package.
    from scipy.linalg import cholesky

    try:
        # On one thread the result is the same on every machine, and BLAS's own threads do not
        # fight with those of the engine that have just finished.
        with single_threaded_blas:
            # The transpose is the same matrix in LAPACK's order: it is factored in place.
            factor = cholesky(matrix.T, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        return None
    # Not larger: also where it is NaN.
    return np.asarray(factor) if np.diagonal(factor).min() ** 2 > floor else None


def solve_factored(factor: Doubles, Y: FloatArray) -> Doubles:
    """Return A^-1 Y, (n, m), for the lower triangular Cholesky factor of A; 2 n^2 m flops."""
    from scipy.linalg import cho_solve

    with single_threaded_blas:
        return np.ascontiguousarray(cho_solve((factor, True), Y, check_finite=False))
