"""Linear systems (K(X, X) + nugget I) C = Y: by Cholesky factors, or by conjugate gradients.

A factor takes n^2 numbers and also gives what uncertainty needs, the diagonal of the inverse and the
variance of predictions. Conjugate gradients take products with K only, which `Kernel.apply` makes
without ever forming K, and a preconditioner of low rank.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow.data.chunks import row_chunks
from kflow.engine.threads import single_threaded_blas
from kflow.errors import SingularKernelError
from kflow.kernels import Kernel
from kflow.linear.jitter import with_jitter

__all__ = [
    "Factor",
    "LowRank",
    "Preconditioner",
    "Solution",
    "conjugate_gradients",
    "factorise",
    "low_rank",
]

# Pivots drawn at a time: as many as make products with them efficient.
_BLOCK = 100

# A pass of conjugate gradients that does not at least halve the residual is the last one.
_PROGRESS = 0.5

# From where a matrix is found singular up to the call of an estimator's `fit`.
_FIT = 6

_Product: TypeAlias = Callable[[FloatArray], FloatArray]


# ---- Cholesky ---------------------------------------------------------------------------------


class Factor:
    """The Cholesky factor L of A = K(X, X) + nugget I.

    Parameters
    ----------
    kernel : Kernel
        The kernel.
    X : ndarray, shape (n, d), float64
        Points.
    nugget : float
        Added to the diagonal.
    n_threads : int, optional
        Threads for the kernel; the factorisation takes one.
    what : str
        What the rows of X are called in errors.

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
        n_threads: int | None = None,
        what: str = "points",
    ) -> None:
        # Imported here: it costs more than the rest of the package.
        from scipy.linalg import cholesky

        self.kernel, self.points, self.nugget = kernel, X, nugget
        self._n_threads = n_threads
        matrix = kernel(X, n_threads=n_threads)
        matrix.flat[:: len(matrix) + 1] += nugget
        largest = float(matrix.diagonal().max())
        try:
            # On one thread the result is the same on every machine, and BLAS's own threads do not
            # fight with those of the engine that have just finished.
            with single_threaded_blas:
                # The transpose is the same matrix in LAPACK's order: it is factored in place.
                self._factor = cholesky(matrix.T, lower=True, overwrite_a=True, check_finite=False)
            # Pivots this small are rounding errors: no digit of a solution would be right.
            noise = len(X) * np.finfo(np.float64).eps * largest
            if not np.diagonal(self._factor).min() ** 2 > noise:  # also where it is NaN
                raise np.linalg.LinAlgError
        except np.linalg.LinAlgError:
            raise SingularKernelError(
                f"the kernel matrix of {len(X)} {what} with nugget={nugget:g} is "
                "numerically singular: pass a larger nugget or remove duplicates"
            ) from None

    def solve(self, Y: FloatArray) -> FloatArray:
        """Return A^-1 Y, (n, m)."""
        from scipy.linalg import cho_solve

        with single_threaded_blas:
            return np.ascontiguousarray(cho_solve((self._factor, True), Y, check_finite=False))

    def inverse_diagonal(self) -> FloatArray:
        """Return the diagonal of A^-1, (n,): n^3 / 3 flops, and another 8 n^2 bytes meanwhile."""
        from scipy.linalg.lapack import dtrtri

        with single_threaded_blas:
            inverse, _ = dtrtri(self._factor, lower=1)
            return np.asarray(np.einsum("ij,ij->j", inverse, inverse))

    def variances(self, X: FloatArray) -> FloatArray:
        """Return k(x, x) - k(x, Z) A^-1 k(Z, x) for each row x of X and the factor's points Z, (n,).

        At least 0. The nugget is not in it. n_Z^2 flops for each row.
        """
        from scipy.linalg import solve_triangular

        out = np.asarray(self.kernel.diag(X), np.float64)
        for rows in row_chunks(len(X)):
            cross = self.kernel(self.points, X[rows], n_threads=self._n_threads)
            with single_threaded_blas:
                cross = solve_triangular(self._factor, cross, lower=True, check_finite=False)
            out[rows] -= np.einsum("ij,ij->j", cross, cross)
        return np.maximum(out, 0.0)


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
        Its `nugget` is what was needed. A JitterWarning says so if it is not the one given.

    Raises
    ------
    SingularKernelError
        If 1e-4 of the mean diagonal, added to the nugget, does not suffice.
    """
    scale = float(np.mean(kernel.diag(X))) + nugget

    def make(nugget: float) -> Factor:
        return Factor(kernel, X, nugget, n_threads=n_threads)

    return with_jitter(make, nugget, scale, len(X), stacklevel=_FIT)


# ---- approximations of low rank ---------------------------------------------------------------


@dataclass(frozen=True)
class LowRank:
    """An approximation F F' of a kernel matrix, from below.

    Attributes
    ----------
    factor : ndarray, shape (n, r)
        F.
    remainder : ndarray, shape (n,)
        The diagonal of K - F F', at least 0.
    """

    factor: FloatArray
    remainder: FloatArray

    def __getitem__(self, rows: npt.NDArray[np.intp]) -> LowRank:
        """Return the approximation of the kernel matrix of some rows."""
        return LowRank(np.asfortranarray(self.factor[rows]), self.remainder[rows])


def low_rank(
    kernel: Kernel,
    X: FloatArray,
    rank: int,
    rng: np.random.Generator,
    *,
    tolerance: float = 0.0,
    n_threads: int | None = None,
) -> LowRank:
    """Approximate K(X, X) by a Cholesky factorisation that is left after some pivots.

    Pivots are drawn with probabilities proportional to the remaining diagonal, many at a time, and
    those that have become redundant among them are left out.

    Parameters
    ----------
    kernel : Kernel
        The kernel.
    X : ndarray, shape (n, d), float64
        Points.
    rank : int
        Most pivots, at least 1.
    rng : numpy.random.Generator
        Source of randomness.
    tolerance : float
        End when the remaining diagonal is not larger than this in the mean.
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
    # Rounding errors leave so much of a diagonal that is exhausted.
    floor = len(X) * np.finfo(np.float64).eps * float(left.max())
    factor = np.empty((len(X), rank), order="F")
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
        factor[:, r : r + n_pivots] = new
        left -= np.einsum("ij,ij->i", new, new)
        np.maximum(left, 0.0, out=left)
        # Of the pivots nothing is left, and of those left out no more than rounding errors.
        left[drawn] = 0.0
        r += n_pivots
    return LowRank(factor[:, :r], left)


class Preconditioner:
    """P = F F' + shift I, whose inverse is applied.

    Parameters
    ----------
    approximation : LowRank
        F F', near K.
    nugget : float
        What is added to K. The shift is the nugget plus the mean of what F F' lacks on the diagonal.

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

        with single_threaded_blas:
            inner = cho_solve(self._inner, self._factor.T @ R, check_finite=False)
            return np.asarray((R - self._factor @ inner) / self._shift)


# ---- conjugate gradients ----------------------------------------------------------------------


@dataclass(frozen=True)
class Solution:
    """What conjugate gradients have reached.

    Attributes
    ----------
    coefficients : ndarray, shape (n, m)
        The solution C.
    residuals : ndarray, shape (m,)
        |A C - Y| / |Y| for each column; 0 where Y is.
    n_iterations : int
        Iterations, those of the slowest column.
    """

    coefficients: FloatArray
    residuals: FloatArray
    n_iterations: int


def conjugate_gradients(
    product: _Product,
    Y: FloatArray,
    *,
    preconditioner: _Product,
    start: FloatArray | None = None,
    tolerance: float = 1e-5,
    max_iterations: int = 500,
) -> Solution:
    """Solve A C = Y by preconditioned conjugate gradients, each column on its own.

    Parameters
    ----------
    product : callable
        ``product(V)`` returns A V, for V (n, q) with q up to m; A is symmetric and positive definite.
    Y : ndarray, shape (n, m), float64
        Right-hand sides.
    preconditioner : callable
        ``preconditioner(R)`` returns P^-1 R, for a symmetric and positive definite P.
    start : ndarray, shape (n, m), optional
        Where to start; zero if not given.
    tolerance : float
        End when |A C - Y| <= tolerance |Y| for each column.
    max_iterations : int
        End after so many iterations in any case.

    Returns
    -------
    Solution
        Its residuals are the true ones, computed anew at the end: they may exceed the tolerance
        after `max_iterations`, or where rounding errors keep the iteration from going on.

    References
    ----------
    M. R. Hestenes and E. Stiefel, Methods of conjugate gradients for solving linear systems, J. Res.
    Nat. Bur. Standards 49 (1952), 409-436.
    """
    sizes = np.linalg.norm(Y, axis=0)
    tolerance = max(tolerance, float(np.finfo(np.float64).eps))
    C = np.zeros_like(Y) if start is None else np.where(sizes > 0.0, start, 0.0)
    R = Y.copy() if start is None else Y - product(C)
    n_iterations = 0
    while True:
        # Every pass starts from the true residuals, from which those it carries along drift.
        errors = np.linalg.norm(R, axis=0)
        unsolved = np.flatnonzero(errors > tolerance * sizes)
        if len(unsolved) == 0 or n_iterations == max_iterations:
            break
        change, count = _descend(
            product,
            R[:, unsolved],
            preconditioner,
            tolerance * sizes[unsolved],
            max_iterations - n_iterations,
        )
        n_iterations += count
        C[:, unsolved] += change
        R[:, unsolved] = Y[:, unsolved] - product(C[:, unsolved])
        after = np.linalg.norm(R[:, unsolved], axis=0)
        if not (after <= _PROGRESS * errors[unsolved]).any():
            break
    errors = np.linalg.norm(R, axis=0)
    return Solution(C, errors / np.where(sizes > 0.0, sizes, 1.0), n_iterations)


def _descend(
    product: _Product,
    R: FloatArray,
    preconditioner: _Product,
    goals: FloatArray,
    max_iterations: int,
) -> tuple[FloatArray, int]:
    """Return a solution of A C = R up to residuals of given length, and the iterations it took."""
    C = np.zeros_like(R)
    going = np.arange(R.shape[1])  # columns
    x, r = C.copy(), R.copy()
    z = preconditioner(r)
    p = z.copy()  # z may be r itself
    rz = np.einsum("ij,ij->j", r, z)
    n = 0
    while n < max_iterations:
        Ap = product(p)
        n += 1
        curvature = np.einsum("ij,ij->j", p, Ap)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = rz / curvature
        # Both are positive but for rounding errors, with which a column has got as far as it can.
        valid = (curvature > 0.0) & (rz > 0.0) & np.isfinite(step)
        step = np.where(valid, step, 0.0)
        x += step * p
        r -= step * Ap
        on = valid & (np.linalg.norm(r, axis=0) > goals)
        if not on.all():
            C[:, going] = x
            going, goals = going[on], goals[on]
            if len(going) == 0:
                return C, n
            x, r, p, rz = x[:, on], r[:, on], p[:, on], rz[on]
        z = preconditioner(r)
        before, rz = rz, np.einsum("ij,ij->j", r, z)
        p = z + (rz / before) * p
    C[:, going] = x
    return C, n
