"""The probability simplex: vectors of non-negative numbers whose sum is one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray

__all__ = ["least_squares_on_simplex", "onto_simplex"]


def onto_simplex(points: FloatArray) -> npt.NDArray[np.float64]:
    """Return the probability vector nearest to each row. It keeps the order of the entries.

    Parameters
    ----------
    points : ndarray, shape (n, q)
        Any finite numbers.

    Returns
    -------
    ndarray, shape (n, q)
        Each row has exact zeros where a common shift makes its entries negative.

    Notes
    -----
    Held, Wolfe and Crowder, Validation of subgradient optimization, Math. Program. 6 (1974); Duchi,
    Shalev-Shwartz, Singer and Chandra, Efficient projections onto the l1-ball, ICML (2008).
    """
    descending = -np.sort(-points, axis=1)
    excess = np.cumsum(descending, axis=1) - 1.0
    count = np.arange(1, points.shape[1] + 1)
    support = (descending - excess / count > 0).sum(axis=1)
    shift = excess[np.arange(len(points)), support - 1] / support
    nearest = np.maximum(points - shift[:, None], 0.0)
    vectors: FloatArray = nearest / nearest.sum(axis=1, keepdims=True)
    return vectors.astype(np.float64, copy=False)


# What is added to the diagonal of the products of columns in any case, as a part of their mean: of
# columns that are the same each then gets the same weight.
_RIDGE = 1e-8


def least_squares_on_simplex(A: FloatArray, ridge: float = 0.0) -> npt.NDArray[np.float64]:
    """Return the probability vector w for which the norm of A w is smallest.

    Parameters
    ----------
    A : ndarray, shape (n, q)
        Finite numbers, such as the errors of q predictions, whose average with the weights w is wanted.
    ridge : float
        What equal weights are preferred by: the square of w, times `ridge` and the least mean square
        of a column, is added to the square of A w.

    Returns
    -------
    ndarray, shape (q,)
        Not negative, of sum 1.

    Notes
    -----
    With G = A' A and what is added to its diagonal, the minimiser u of u' G u / 2 - sum u over u >= 0 has the same direction: a multiple
    of w fulfils its conditions of Karush, Kuhn and Tucker. With G = R R' it is that of |R' u - R^-1 1|, found by
    `scipy.optimize.nnls`. n q^2 flops.
    """
    from scipy.linalg import solve_triangular
    from scipy.optimize import nnls

    q = A.shape[1]
    size = float(np.abs(A).max(initial=0.0))
    if size == 0.0:
        return np.full(q, 1.0 / q)
    B = A / size
    G = B.T @ B
    G.flat[:: q + 1] += _RIDGE * G.trace() / q + ridge * G.diagonal().min() / len(A)
    R = np.linalg.cholesky(G)
    u, _ = nnls(R.T, solve_triangular(R, np.ones(q), lower=True))
    return np.asarray(u / u.sum())
