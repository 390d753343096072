"""Regions of constant class that lines cross."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count, common_dtype
from kflow.data.arrays import as_matrix

__all__ = ["crossed_regions", "points_on_segments"]


def points_on_segments(
    starts: npt.ArrayLike, ends: npt.ArrayLike, n_points: int = 1000
) -> npt.NDArray[Any]:
    """Return evenly spaced points on segments.

    Parameters
    ----------
    starts, ends : array_like, shape (n_segments, d)
        Both ends of each segment.
    n_points : int
        Number of points on each, at least 2, with both ends among them.

    Returns
    -------
    ndarray, shape (n_segments, n_points, d)
        The points, in the dtype of the ends.

    Raises
    ------
    TypeError, ValueError
        For wrong shapes or values, naming them.

    Examples
    --------
    >>> from kflow.analysis import points_on_segments
    >>> points_on_segments([[0.0, 0.0]], [[1.0, 2.0]], 3).tolist()
    [[[0.0, 0.0], [0.5, 1.0], [1.0, 2.0]]]
    """
    dtype = common_dtype(starts, ends)
    a = as_matrix(starts, "starts", dtype=dtype, are_points=True)
    b = as_matrix(ends, "ends", dtype=dtype, n_rows=len(a), n_columns=a.shape[1], are_points=True)
    number = as_count(n_points, "n_points", 2)
    t = np.linspace(0.0, 1.0, number, dtype=dtype)[:, None]
    return np.asarray((1 - t) * a[:, None] + t * b[:, None])


def crossed_regions(
    predict: Callable[[npt.NDArray[Any]], npt.ArrayLike],
    starts: npt.ArrayLike,
    ends: npt.ArrayLike,
    *,
    n_points: int = 1000,
) -> npt.NDArray[np.intp]:
    """Return how many regions of constant class each of some segments crosses.

    A classifier that is made of m local pieces has about m regions. One that first deforms the space
    may have far more than it has pieces.

    Parameters
    ----------
    predict : callable
        A function that returns a label for each of some points (n, d), such as a classifier's
        ``predict``.
    starts, ends : array_like, shape (n_segments, d)
        Both ends of each segment.
    n_points : int
        Number of points on each segment. Regions between neighbours of these are not seen.

    Returns
    -------
    ndarray of int, shape (n_segments,)
        One more than the number of changes of the label along each segment.

    Raises
    ------
    TypeError, ValueError
        For wrong shapes or values, naming them, or if `predict` returns another number of labels.

    Notes
    -----
    On a line, and so on each line through a space of any dimension, a linear combination of m Gaussians
    of one length scale has at most m - 1 zeros: two classes that are told apart by its sign have at
    most m regions there.

    References
    ----------
    S. Karlin, Total Positivity (1968), chapter 1, for the number of zeros; G. Montufar et al., On the
    number of linear regions of deep neural networks (2014).

    Examples
    --------
    >>> import numpy as np
    >>> from kflow.analysis import crossed_regions
    >>> crossed_regions(lambda x: np.floor(4.0 * x[:, 0]), [[0.1], [0.3]], [[0.9], [0.4]]).tolist()
    [4, 1]
    """
    points = points_on_segments(starts, ends, n_points)
    n, number, d = points.shape
    labels = np.asarray(predict(points.reshape(n * number, d)))
    if labels.shape != (n * number,):
        raise ValueError(
            f"predict must return one label for each of {n * number} points, got shape {labels.shape}"
        )
    lines = labels.reshape(n, number)
    return np.asarray(1 + (lines[:, 1:] != lines[:, :-1]).sum(axis=1), np.intp)
