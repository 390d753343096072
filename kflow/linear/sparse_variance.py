"""Variances of a Gaussian process with many points, from its values at a few of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles, FloatArray
from kflow.data.chunks import row_chunks
from kflow.engine.threads import single_threaded_blas
from kflow.errors import SingularKernelError
from kflow.kernels import Kernel
from kflow.linear.factor import cholesky_factor

__all__ = ["SparseVariance"]

# What is added to the diagonal of the matrix of the pivots, over its rounding errors.
_MARGINS = (1e1, 1e3, 1e5, 1e7)


# Rounding errors of the sums of squares, next to 1, from which on these are not taken.
_FEW_DIGITS = 1e-3


class SparseVariance:
    r"""The variance given all points, as if they were independent given the values at the pivots.

    With the pivots P, the Cholesky factor L of K(P, P), the features :math:`f(x) = L^{-1} k(P, x)`, the matrix F
    of the features of all points Z, and the diagonal D of K(Z, Z) - F F' + nugget W^-1:

    .. math:: k(x, x') - f(x)' f(x') + f(x)' (I + F' D^{-1} F)^{-1} f(x')

    It is exact if the pivots are all points. Both parts, what the pivots do not tell and what is unknown of the
    pivots, are positive semi-definite, so that no variance is negative.

    Parameters
    ----------
    kernel : Kernel
        The kernel.
    X : ndarray, shape (n, d), float64
        All points Z.
    pivots : ndarray of int, shape (r,)
        Rows of X, such as those of `kflow.linear.low_rank`.
    nugget : float
        Added to the diagonal.
    weights : ndarray of float64, shape (n,), optional
        Positive weights of the points, by which their nuggets are divided; 1 by default.
    n_threads : int, optional
        Threads for the kernel.

    Raises
    ------
    SingularKernelError
        If the kernel is not positive definite.

    Notes
    -----
    n r evaluations of the kernel, 2 n r^2 flops, 6 n r^2 if there is next to no noise, and 16 r^2
    bytes. Each variance then takes r evaluations and 2 r^2 flops.

    References
    ----------
    E. Snelson and Z. Ghahramani, Sparse Gaussian processes using pseudo-inputs, NIPS 18 (2006). J.
    Quinonero-Candela and C. E. Rasmussen, A unifying view of sparse approximate Gaussian process regression,
    J. Mach. Learn. Res. 6 (2005), section 6: FITC.
    """

    def __init__(
        self,
        kernel: Kernel,
        X: FloatArray,
        pivots: npt.NDArray[np.intp],
        nugget: float,
        *,
        weights: Doubles | None = None,
        n_threads: int | None = None,
    ) -> None:
        self._kernel, self._n_threads = kernel, n_threads
        self._pivots = X[pivots]
        self._corner = self._corner_factor()
        self._inner = self._inner_factor(X, nugget if weights is None else nugget / weights)

    def _inner_factor(self, X: FloatArray, nuggets: float | Doubles) -> Doubles:
        """Return the lower triangular M with M M' = I + F' D^-1 F."""
        from scipy.linalg import qr

        inner = np.eye(len(self._pivots))
        for part in self._parts(X, nuggets):
            with single_threaded_blas:
                inner += part @ part.T
        rounding = len(inner) * np.finfo(np.float64).eps * float(inner.diagonal().max())
        if rounding < _FEW_DIGITS:
            return cholesky_factor(inner, 0.0)
        # Squares leave no digit of the 1 of directions that the data do not tell: they are not taken.
        upper = np.eye(len(inner))
        for part in self._parts(X, nuggets):
            with single_threaded_blas:
                stacked = np.concatenate([upper, part.T])
                upper = qr(stacked, mode="r", overwrite_a=True, check_finite=False)[0][: len(upper)]
        return np.asarray(upper.T)

    def _parts(self, X: FloatArray, nuggets: float | Doubles) -> Iterator[Doubles]:
        """Yield D^-1/2 F' for some rows at a time, (r, n)."""
        every = np.broadcast_to(nuggets, len(X))
        for rows, features, own in self._features(X):
            spread = own + every[rows]
            # A point that the pivots tell exactly, without noise: they say all.
            yield features / np.sqrt(np.maximum(spread, np.finfo(np.float64).tiny ** 0.5))

    def _corner_factor(self) -> Doubles:
        """Return the factor of the pivots' matrix, with no more on its diagonal than it needs."""
        matrix = np.asarray(self._kernel(self._pivots, n_threads=self._n_threads), np.float64)
        rounding = len(matrix) * np.finfo(np.float64).eps * float(matrix.diagonal().max())
        for margin in _MARGINS:
            try:
                return cholesky_factor(matrix.copy(), margin * rounding, None, "pivots")
            except SingularKernelError as error:
                reason = error
        raise reason

    def _features(self, X: FloatArray) -> Iterator[tuple[slice, Doubles, Doubles]]:
        """Yield for some rows at a time f(x), (r, n), and k(x, x) - |f(x)|^2, (n,), at least 0."""
        from scipy.linalg import solve_triangular

        own = np.asarray(self._kernel.diag(X), np.float64)
        for rows in row_chunks(len(X)):
            cross = self._kernel(self._pivots, X[rows], n_threads=self._n_threads)
            with single_threaded_blas:
                features = solve_triangular(self._corner, cross, lower=True, check_finite=False)
            squares = np.einsum("ij,ij->j", features, features)
            yield rows, features, np.maximum(own[rows] - squares, 0.0)

    def _known(self, features: Doubles) -> Doubles:
        """Return M^-1 f for the factor M of I + F' D^-1 F, (r, n)."""
        from scipy.linalg import solve_triangular

        with single_threaded_blas:
            return np.asarray(
                solve_triangular(self._inner, features, lower=True, check_finite=False)
            )

    def variances(self, X: FloatArray) -> Doubles:
        """Return the variance of the function at each row of X, (n,), at least 0."""
        out = np.empty(len(X))
        for rows, features, own in self._features(X):
            known = self._known(features)
            out[rows] = own + np.einsum("ij,ij->j", known, known)
        return out

    def covariance(self, X: FloatArray) -> Doubles:
        """Return the joint covariance of the function at rows of X, (n, n); its diagonal is at least 0."""
        parts = list(self._features(X))
        features = np.concatenate([part for _, part, _ in parts], axis=1)
        own = np.concatenate([part for _, _, part in parts])
        known = self._known(features)
        covariance = np.asarray(self._kernel(X, n_threads=self._n_threads), np.float64)
        with single_threaded_blas:
            covariance += known.T @ known - features.T @ features
        covariance = 0.5 * (covariance + covariance.T)
        np.fill_diagonal(covariance, own + np.einsum("ij,ij->j", known, known))
        return np.asarray(covariance)
