"""Approximations of kernel matrices by matrices of low rank, and the preconditioner made of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles, FloatArray
from kflow.engine.threads import single_threaded_blas
from kflow.kernels import Kernel

__all__ = ["LowRank", "Preconditioner", "low_rank"]

# Number of pivots drawn at a time: products with so many columns are efficient.
_BLOCK = 100


@dataclass(frozen=True)
class LowRank:
    """An approximation F F' of a kernel matrix, from below.

    Attributes
    ----------
    factor : ndarray, shape (n, r)
        F.
    remainder : ndarray, shape (n,)
        The diagonal of K - F F', at least 0.
    pivots : ndarray of int, shape (r,)
        The rows of the whole matrix at which F F' is exact.
    """

    factor: FloatArray
    remainder: FloatArray
    pivots: npt.NDArray[np.intp]

    def __getitem__(self, rows: npt.NDArray[np.intp]) -> LowRank:
        """Return the approximation of the kernel matrix of some rows."""
        return LowRank(np.asfortranarray(self.factor[rows]), self.remainder[rows], self.pivots)

    def scaled(self, roots: Doubles) -> LowRank:
        """Return the approximation of D K D, for the diagonal matrix D of some numbers (n,)."""
        scaled = roots[:, None] * self.factor
        return LowRank(scaled, np.square(roots) * self.remainder, self.pivots)


def low_rank(
    kernel: Kernel,
    X: FloatArray,
    rank: int,
    rng: np.random.Generator,
    *,
    tolerance: float = 0.0,
    n_threads: int | None = None,
) -> LowRank:
    """Approximate K(X, X) by a pivoted Cholesky factorisation that ends after some pivots.

    Pivots are drawn with probabilities proportional to the remaining diagonal, many at a time. Those
    that the others of the same draw make redundant are left out.

    Parameters
    ----------
    kernel : Kernel
        The kernel.
    X : ndarray, shape (n, d), float64
        Points.
    rank : int
        Largest number of pivots, at least 1.
    rng : numpy.random.Generator
        Source of randomness.
    tolerance : float
        The factorisation ends when the mean of the remaining diagonal is not larger.
    n_threads : int, optional
        Threads.

    Notes
    -----
    n r evaluations of the kernel, n r^2 flops and 8 n r bytes.

    References
    ----------
    Y. Chen, E. N. Epperly, J. A. Tropp and R. J. Webber, Randomly pivoted Cholesky: practical
    approximation of a kernel matrix with few entry evaluations, Comm. Pure Appl. Math. 78 (2025),
    algorithm 3.
    """
    from scipy.linalg import solve_triangular
    from scipy.linalg.lapack import dpstrf

    rank = min(rank, len(X))
    left = np.array(kernel.diag(X), np.float64)
    # Where the exact remainder is 0, rounding errors leave about so much.
    floor = len(X) * np.finfo(np.float64).eps * float(left.max())
    factor = np.empty((len(X), rank), order="F")
    pivots = np.empty(rank, np.intp)
    r = 0
    while r < rank and left.mean() > tolerance and left.max() > floor:
        drawn = np.unique(rng.choice(len(X), min(_BLOCK, rank - r), p=left / left.sum()))
        columns = kernel(X, X[drawn], n_threads=n_threads)
        with single_threaded_blas:
            columns -= factor[:, :r] @ factor[drawn, :r].T
            corner, order, n_pivots, _ = dpstrf(columns[drawn], tol=floor, lower=1)
            order = order[:n_pivots] - 1
            corner = corner[:n_pivots, :n_pivots]
            new = solve_triangular(corner, columns[:, order].T, lower=True, check_finite=False).T
        factor[:, r : r + n_pivots], pivots[r : r + n_pivots] = new, drawn[order]
        left -= np.einsum("ij,ij->i", new, new)
        np.maximum(left, 0.0, out=left)
        # The remainder of the pivots is 0, that of redundant ones a rounding error.
        left[drawn] = 0.0
        r += n_pivots
    return LowRank(factor[:, :r], left, pivots[:r])


class Preconditioner:
    """The inverse of P = F F' + shift I, as an operator.

    Parameters
    ----------
    approximation : LowRank
        F F', near K.
    nugget : float
        Added to the diagonal of K. The shift is the nugget plus the mean diagonal of K - F F'.

    Notes
    -----
    n r^2 flops once, then 4 n r for each column.

    References
    ----------
    M. Diaz, E. N. Epperly, Z. Frangella, J. A. Tropp and R. J. Webber, Robust, randomized
    preconditioning for kernel ridge regression, arXiv:2304.12465 (2023).
    """

    def __init__(self, approximation: LowRank, nugget: float) -> None:
        from scipy.linalg import cho_factor

        self._factor = factor = approximation.factor
        n, r = factor.shape
        diagonal = approximation.remainder + np.einsum("ij,ij->i", factor, factor)
        least = n * np.finfo(np.float64).eps * float(diagonal.mean())
        self._shift = max(nugget + float(approximation.remainder.mean()), least)
        with single_threaded_blas:
            inner = factor.T @ factor
            inner.flat[:: r + 1] += self._shift
            self._inner = cho_factor(inner, lower=True, overwrite_a=True, check_finite=False)

    def __call__(self, R: FloatArray) -> FloatArray:
        """Return P^-1 R = (R - F (F' F + shift I)^-1 F' R) / shift, (n, m)."""
        from scipy.linalg import cho_solve

        if self._factor.shape[1] == 0:  # which early versions of SciPy do not solve
            return np.asarray(R / self._shift)
        with single_threaded_blas:
            inner = cho_solve(self._inner, self._factor.T @ R, check_finite=False)
            return np.asarray((R - self._factor @ inner) / self._shift)
