"""Linear systems by preconditioned conjugate gradients.

They take products with the matrix only, which `Kernel.apply` makes without ever forming K.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from kflow._base.array_types import FloatArray

__all__ = ["Product", "Solution", "conjugate_gradients"]

Product: TypeAlias = Callable[[FloatArray], FloatArray]

# A pass of conjugate gradients that does not at least halve the residual is the last one.
_PROGRESS = 0.5


@dataclass(frozen=True)
class Solution:
    """The result of conjugate gradients.

    Attributes
    ----------
    coefficients : ndarray, shape (n, m)
        The solution C.
    residuals : ndarray, shape (m,)
        |A C - Y| / |Y| for each column; 0 where Y is 0.
    n_iterations : int
        Number of iterations of the slowest column.
    """

    coefficients: FloatArray
    residuals: FloatArray
    n_iterations: int


def conjugate_gradients(
    product: Product,
    Y: FloatArray,
    *,
    preconditioner: Product,
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
        The first iterate; zero if not given.
    tolerance : float
        The iteration ends when |A C - Y| <= tolerance |Y| for each column.
    max_iterations : int
        Largest number of iterations.

    Returns
    -------
    Solution
        Its residuals are computed from C at the end. They may exceed the tolerance after
        `max_iterations`, or where rounding errors prevent further progress.

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
        # Every pass starts from residuals computed from C: those of the iteration drift from them.
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
    product: Product,
    R: FloatArray,
    preconditioner: Product,
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
        # Both are positive in exact arithmetic; where they are not, a column makes no more progress.
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
