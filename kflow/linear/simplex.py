"""The probability simplex: vectors of non-negative numbers whose sum is one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray

__all__ = ["onto_simplex"]


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
