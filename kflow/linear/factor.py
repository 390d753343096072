"""Linear systems (K(X, X) + nugget I) C = Y by Cholesky factors.

A factor takes n^2 numbers and also gives what uncertainty needs: the diagonal of the inverse, the
variances and the covariances of predictions. It grows with the points.
"""

from __future__ import annotations

from copy import copy

import numpy as np

from kflow._base.array_types import Doubles, FloatArray
from kflow.data.chunks import row_chunks
from kflow.engine.cholesky import lower_factor, smallest_pivot, solve_factored
from kflow.engine.threads import single_threaded_blas
from kflow.errors import SingularKernelError
from kflow.kernels import Kernel
from kflow.linear.jitter import with_jitter

__all__ = ["Factor", "cholesky_factor", "factorise", "singular_error", "solve_factored"]


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
        self._what = what
        matrix = np.asarray(kernel(X, n_threads=n_threads), np.float64)
        self._diagonal = matrix.diagonal() + (nugget if weights is None else nugget / weights)
        self._factor = cholesky_factor(matrix, nugget, weights, what)
        self._inverse_diagonal: Doubles | None = None

    @property
    def lower(self) -> Doubles:
        """L, (n, n): what is above the diagonal means nothing. Not a copy."""
        return self._factor

    def solve(self, Y: FloatArray) -> FloatArray:
        """Return A^-1 Y, (n, m)."""
        return solve_factored(self._factor, Y)

    def half_solve(self, Y: FloatArray, *, transposed: bool = False) -> Doubles:
        """Return L^-1 Y, or L'^-1 Y if `transposed`, (n, m): n^2 flops for each column."""
        from scipy.linalg import solve_triangular

        with single_threaded_blas:
            return np.asarray(
                solve_triangular(
                    self._factor, Y, lower=True, trans=int(transposed), check_finite=False
                )
            )

    def inverse_diagonal(self) -> Doubles:
        """Return the diagonal of A^-1, (n,).

        The first call takes n^3 / 3 flops, and 8 n^2 bytes while it lasts.
        """
        from scipy.linalg.lapack import dtrtri

        if self._inverse_diagonal is None:
            with single_threaded_blas:
                inverse, _ = dtrtri(self._factor, lower=1)
                self._inverse_diagonal = np.asarray(np.einsum("ij,ij->j", inverse, inverse))
        return self._inverse_diagonal

    def variances(self, X: FloatArray) -> Doubles:
        """Return k(x, x) - k(x, Z) A^-1 k(Z, x) for each row x of X and the factor's points Z, (n,).

        It is at least 0, and does not contain the nugget. The cost is n_Z^2 flops for each row.
        """
        out = np.asarray(self.kernel.diag(X), np.float64)
        for rows in row_chunks(len(X)):
            reduced = self._reduced(X[rows])
            out[rows] -= np.einsum("ij,ij->j", reduced, reduced)
        return np.maximum(out, 0.0)

    def covariance(self, X: FloatArray) -> Doubles:
        """Return k(X, X) - k(X, Z) A^-1 k(Z, X) for rows X and the factor's points Z, (n, n).

        It is symmetric, and its diagonal is at least 0, as `variances` are; the nugget is not in it.
        The cost is n n_Z (n_Z + n) flops.
        """
        covariance = np.asarray(self.kernel(X, n_threads=self._n_threads), np.float64)
        reduced = self._reduced(X)
        with single_threaded_blas:
            covariance -= reduced.T @ reduced
        covariance = 0.5 * (covariance + covariance.T)
        np.fill_diagonal(covariance, np.maximum(covariance.diagonal(), 0.0))
        return np.asarray(covariance)

    def _reduced(self, X: FloatArray) -> Doubles:
        """Return L^-1 k(Z, X), (n_Z, n)."""
        return self.half_solve(self.kernel(self.points, X, n_threads=self._n_threads))

    def extended(self, X: FloatArray, *, weights: Doubles | None = None) -> Factor:
        """Return the factor of these points and of further ones.

        Parameters
        ----------
        X : ndarray, shape (q, d), float64
            The further points.
        weights : ndarray of float64, shape (q,), optional
            Their weights; all are 1 by default.

        Raises
        ------
        SingularKernelError
            If the larger matrix is not positive definite to working precision.

        Notes
        -----
        With B = K(Z, X), V = L^-1 B and the factor M of K(X, X) + nugget W^-1 - V'V, the rows [V', M]
        are appended to L. A diagonal of A^-1 that is known is carried along, since the inverse of the
        larger matrix has the blocks A^-1 + U (MM')^-1 U' and (MM')^-1, with U = A^-1 B. 2 n^2 q flops
        instead of the 2 (n + q)^3 / 3 of a new factor and of the diagonal of its inverse.
        """
        from scipy.linalg import solve_triangular

        n, q = len(self.points), len(X)
        V = self._reduced(X)
        corner = np.asarray(self.kernel(X, n_threads=self._n_threads), np.float64)
        corner.flat[:: q + 1] += self.nugget if weights is None else self.nugget / weights
        made = copy(self)
        made.points = np.concatenate([self.points, X])
        made._diagonal = np.append(self._diagonal, corner.diagonal())
        with single_threaded_blas:
            corner -= V.T @ V
            M = lower_factor(corner, smallest_pivot(n + q, made._diagonal))
            if M is None:
                raise singular_error(n + q, self._what, self.nugget)
            made._factor = np.zeros((n + q, n + q), order="F")
            made._factor[:n, :n], made._factor[n:, :n], made._factor[n:, n:] = self._factor, V.T, M
            if self._inverse_diagonal is not None:
                U = solve_triangular(self._factor, V, lower=True, trans=1, check_finite=False)
                inverse = solve_triangular(M, np.eye(q), lower=True, check_finite=False)
                made._inverse_diagonal = np.concatenate(
                    [
                        self._inverse_diagonal + np.square(U @ inverse.T).sum(axis=1),
                        np.square(inverse).sum(axis=0),
                    ]
                )
        return made


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
    n = len(matrix)
    matrix.flat[:: n + 1] += nugget if weights is None else nugget / weights
    factor = lower_factor(matrix, smallest_pivot(n, matrix.diagonal()))
    if factor is None:
        raise singular_error(n, what, nugget)
    return factor


def singular_error(n: int, what: str, nugget: float) -> SingularKernelError:
    """Return the error for a kernel matrix of n points, of that name, that has no factor."""
    return SingularKernelError(
        f"the kernel matrix of {n} {what} with nugget={nugget:g} is "
        "numerically singular: pass a larger nugget or remove duplicates"
    )


def factorise(
    kernel: Kernel,
    X: FloatArray,
    nugget: float,
    *,
    weights: Doubles | None = None,
    n_threads: int | None = None,
) -> Factor:
    """Return the factor of K(X, X) + nugget W^-1, with a larger nugget where it does not exist.

    Parameters
    ----------
    kernel, X, nugget, weights, n_threads
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
        return Factor(kernel, X, nugget, weights=weights, n_threads=n_threads)

    return with_jitter(make, nugget, scale, len(X))
