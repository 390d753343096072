"""The leading directions of many features, by random projections.

Method: N. Halko, P.-G. Martinsson and J. A. Tropp, Finding structure with randomness, SIAM Review 53
(2011), algorithm 4.4 with the Gram matrix of what is found.
"""

from __future__ import annotations

import numpy as np

from kflow._base.array_types import Doubles, FloatArray
from kflow._base.workers import Workers
from kflow.engine.threads import single_threaded_blas

__all__ = ["leading_directions"]

_MORE_DIRECTIONS = 32
_N_ITERATIONS = 2
_CHUNK = 2048


def leading_directions(X: FloatArray, n: int, seed: int, n_threads: int) -> tuple[Doubles, float]:
    """Return orthonormal directions that hold nearly the most of the sum of squares of rows.

    Parameters
    ----------
    X : ndarray, shape (N, d)
        Rows, which are not centred.
    n : int
        Number of directions, at most that of rows and of columns.
    seed : int
        Seed of the random projections.
    n_threads : int
        The largest number of threads. The result does not depend on it.

    Returns
    -------
    directions : ndarray of float64, shape (d, n)
        The direction with the most of the sum of squares comes first.
    dropped : float
        The part of the sum of squares that is outside.

    Notes
    -----
    Takes 6 products of X with m = n + 32 columns in each direction, thus 12 N d m flops in the dtype of
    X, and m^2 d in float64.
    """
    N, d = X.shape
    m = min(n + _MORE_DIRECTIONS, N, d)
    chunks = [X[start : start + _CHUNK] for start in range(0, N, _CHUNK)]
    with single_threaded_blas, Workers(n_threads) as workers:

        def gram_times(Q: Doubles) -> Doubles:
            """Return X' X Q, whose parts are added in a fixed order."""
            given = Q.astype(X.dtype)
            parts = workers.map(lambda rows: rows.T @ (rows @ given), chunks)
            total = np.zeros((d, m))
            for part in parts:
                total += part
            return total

        Q: Doubles = np.random.default_rng(seed).standard_normal((d, m))
        for _ in range(1 + _N_ITERATIONS):
            Q = np.linalg.qr(gram_times(Q))[0]
        small = Q.T @ gram_times(Q)
        energy, vectors = np.linalg.eigh(0.5 * (small + small.T))
        total = float(sum(np.square(rows, dtype=np.float64).sum() for rows in chunks))
        directions = Q @ vectors[:, ::-1][:, :n]
    kept = float(energy[::-1][:n].sum())
    return np.ascontiguousarray(directions), max(1.0 - kept / total, 0.0) if total > 0.0 else 0.0
