"""How far classes have collapsed: squared distances within them and between them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray

__all__ = ["class_distance_ratio", "class_distances"]


def class_distances(points: FloatArray, labels: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the mean squared distances of two points of one class, and of different classes.

    Parameters
    ----------
    points : ndarray, shape (N, d)
        All points, one in each row.
    labels : ndarray, shape (N,)
        Classes of the points.

    Returns
    -------
    tuple of float
        The distances within and between classes; NaN where there are no such two points.

    Notes
    -----
    With n_c points of class c, mean m_c and scatter V_c = sum |x - m_c|^2, N points in all and
    the origin at their mean, the sums of |x - x'|^2 over ordered pairs are sum_c 2 n_c V_c
    within classes and sum_c 2 ((N - n_c) V_c + N n_c |m_c|^2) between them: N d operations.
    """
    codes = np.unique(labels, return_inverse=True)[1]
    counts = np.bincount(codes).astype(np.float64)
    origin = points.mean(axis=0, dtype=np.float64)
    total, means, scatter = float(len(points)), [], []
    for code in range(len(counts)):
        members = points[codes == code].astype(np.float64) - origin
        means.append(members.mean(axis=0))
        members -= means[-1]
        scatter.append(np.einsum("ij,ij->", members, members))
    V = np.array(scatter)
    squares = np.einsum("ij,ij->i", means, means)
    within = 2.0 * float((counts * V).sum())
    between = 2.0 * float(((total - counts) * V + total * counts * squares).sum())
    n_within = float((counts * (counts - 1.0)).sum())
    n_between = float((counts * (total - counts)).sum())
    return (
        within / n_within if n_within else math.nan,
        between / n_between if n_between else math.nan,
    )


def class_distance_ratio(points: FloatArray, labels: npt.NDArray[Any]) -> float:
    """Return the mean squared distance within classes over that between classes.

    Parameters
    ----------
    points : ndarray, shape (N, d)
        All points, one in each row.
    labels : ndarray, shape (N,)
        Classes of the points.

    Returns
    -------
    float
        0 when every class has collapsed to a point of its own; NaN where there are no two points
        of one class, or of different ones.
    """
    within, between = class_distances(points, labels)
    return within / between if between else math.nan
