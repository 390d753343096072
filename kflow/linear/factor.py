"""Linear systems (K(X, X) + nugget I) C = Y by Cholesky factors.

A factor takes n^2 numbers and also gives what uncertainty needs, the diagonal of the inverse and the
variance of predictions.
"""

from __future__ import annotations

import numpy as np

from kflow._base.array_types import Doubles, FloatArray
from kflow.data.chunks import row_chunks
from kflow.engine.threads import single_threaded_blas
from kflow.errors import SingularKernelError
from kflow.kernels import Kernel
from kflow.linear.jitter import with_jitter

__all__ = ["Factor", "cholesky_factor", "factorise", "solve_factored"]


class Factor:
    """The Cholesky factor L of A = K(X, X) + nugget W^-1, with the weights W of the points.

    Parameters
    ----------
    kernel : Kernel
        The kernel.
    X : ndarray, shape (n, d), float64
        Points.
    nugget : float
        Added to the diagonal.
    weights : ndarray of float64, shape (n,), optional
        Positive numbers: a point of weight 2 counts as two of weight 1, and its nugget is half as
        large. All are 1 by default.
    n_threads : int, optional
        Threads for the kernel; the factorisation runs on one.
    what : str
        The name of the rows of X in errors.

    Raises
    ------
    SingularKernelError
        If A is not positive definite to working precision.

    Notes
    -----
    n^3 / 3 flops and 8 n^2 bytes.
    """

    def __init__(
        self,
        kernel: Kernel,
        X: FloatArray,
        nugget: float,
        *,
        weights: Doubles | None = None,
        n_threads: int | None = None,
        what: str = "points",
    ) -> None:
        self.kernel, self.points, self.nugget = kernel, X, nugget
        self._n_threads = n_threads
        matrix = kernel(X, n_threads=n_threads)
        self._factor = cholesky_factor(np.asarray(matrix, np.float64), nugget, weights, what)

    def solve(self, Y: FloatArray) -> FloatArray:
        """Return A^-1 Y, (n, m)."""
        return solve_factored(self._factor, Y)

    def half_solve(self, Y: FloatArray, *, transposed: bool = False) -> FloatArray:
        """Return L^-1 Y, or L'^-1 Y if `transposed`, (n, m): n^2 flops for each column."""
        from scipy.linalg import solve_triangular

        with single_threaded_blas:
            return np.asarray(
                solve_triangular(
                    self._factor, Y, lower=True, trans=int(transposed), check_finite=False
                )
            )

    def inverse_diagonal(self) -> FloatArray:
        """Return the diagonal of A^-1, (n,): n^3 / 3 flops, and 8 n^2 bytes for the time of the call."""
        from scipy.linalg.lapack import dtrtri

        with single_threaded_blas:
            inverse, _ = dtrtri(self._factor, lower=1)
            return np.asarray(np.einsum("ij,ij->j", inverse, inverse))

    def variances(self, X: FloatArray) -> FloatArray:
        """Return k(x, x) - k(x, Z) A^-1 k(Z, x) for each row x of X and the factor's points Z, (n,).

        It is at least 0, and does not contain the nugget. The cost is n_Z^2 flops for each row.
        """
        out = np.asarray(self.kernel.diag(X), np.float64)
        for rows in row_chunks(len(X)):
            cross = self.kernel(self.points, X[rows], n_threads=self._n_threads)
            cross = self.half_solve(cross)
            out[rows] -= np.einsum("ij,ij->j", cross, cross)
        return np.maximum(out, 0.0)


def cholesky_factor(
    matrix: Doubles, nugget: float, weights: Doubles | None = None, what: str = "points"
) -> Doubles:
    """Factor a kernel matrix with its nugget in place.

    Parameters
    ----------
    matrix : ndarray of float64, shape (n, n)
        K, which is overwritten.
    nugget, weights, what
        As for `Factor`.

    Returns
    -------
    ndarray, shape (n, n)
        The lower triangular L with L L' = K + nugget W^-1; what is above its diagonal is undefined.

    Raises
    ------
    SingularKernelError
        If that matrix is not positive definite to working precision.
    """
    # Imported here: it takes longer to import than the rest of the package.
    from scipy.linalg import cholesky

    n = len(matrix)
    matrix.flat[:: n + 1] += nugget if weights is None else nugget / weights
    largest = float(matrix.diagonal().max())
    try:
        # On one thread the result is the same on every machine, and BLAS's own threads do not
        # fight with those of the engine that have just finished.
        with single_threaded_blas:
            # The transpose is the same matrix in LAPACK's order: it is factored in place.
            factor = cholesky(matrix.T, lower=True, overwrite_a=True, check_finite=False)
        # Pivots as small as this are rounding errors: no digit of a solution would be right.
        noise = n * np.finfo(np.float64).eps * largest
        if not np.diagonal(factor).min() ** 2 > noise:  # also where it is NaN
            raise np.linalg.LinAlgError
    except np.linalg.LinAlgError:
        raise SingularKernelError(
            f"the kernel matrix of {n} {what} with nugget={nugget:g} is "
            "numerically singular: pass a larger nugget or remove duplicates"
        ) from None
    return np.asarray(factor)


def solve_factored(factor: Doubles, Y: FloatArray) -> Doubles:
    """Return A^-1 Y, (n, m), for a factor of A by `cholesky_factor`."""
    from scipy.linalg import cho_solve

    with single_threaded_blas:
        return np.ascontiguousarray(cho_solve((factor, True), Y, check_finite=False))


def factorise(
    kernel: Kernel, X: FloatArray, nugget: float, *, n_threads: int | None = None
) -> Factor:
    """Return the factor of K(X, X) + nugget I, with a larger nugget where it does not exist.

    Parameters
    ----------
    kernel, X, nugget, n_threads
        As for `Factor`.

    Returns
    -------
    Factor
        Its `nugget` is the one that was needed. A JitterWarning tells if it is not the given one.

    Raises
    ------
    SingularKernelError
        If 1e-4 of the mean diagonal, added to the nugget, does not suffice.
    """
    scale = float(np.mean(kernel.diag(X))) + nugget

    def make(nugget: float) -> Factor:
        return Factor(kernel, X, nugget, n_threads=n_threads)

    return with_jitter(make, nugget, scale, len(X))
