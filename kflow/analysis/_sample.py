"""The points that an analysis looks at: their labels, their neighbours, and a sample of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count
from kflow._base.array_types import FloatArray
from kflow.data.arrays import refuse_masked

__all__ = [
    "as_labels",
    "as_max_points",
    "drawn_rows",
    "json_numbers",
    "known_codes",
    "near_hits_and_misses",
    "quantiles",
]


def as_labels(
    y: npt.ArrayLike, n_rows: int, name: str = "y"
) -> tuple[npt.NDArray[Any], npt.NDArray[np.intp]]:
    """Return the classes, and the position of each row's class among them.

    Raises
    ------
    ValueError
        For a wrong shape, or labels that are not finite.
    """
    refuse_masked(y, name)
    labels = np.asarray(y)
    if labels.shape != (n_rows,):
        raise ValueError(
            f"{name} must hold one label for each of {n_rows} rows, got {labels.shape}"
        )
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(f"{name} contains NaN or infinity: remove those rows")
    classes, codes = np.unique(labels, return_inverse=True)
    return classes, codes.astype(np.intp)


def known_codes(y: npt.ArrayLike, n_rows: int, classes: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Return the position of each row's class among a classifier's.

    Raises
    ------
    ValueError
        For a wrong shape, or a class that is not among them.
    """
    found, codes = as_labels(y, n_rows)
    unknown = np.setdiff1d(found, classes)
    if len(unknown):
        raise ValueError(
            f"y has the class {unknown.tolist()[0]!r}, which the classifier does not know: it was "
            "not fitted on any row of that class"
        )
    return np.searchsorted(classes, found)[codes].astype(np.intp)


def as_max_points(max_points: Any) -> int | None:
    """Return a number of points to be drawn, or None for all, if it is one."""
    return None if max_points is None else as_count(max_points, "max_points", 1)


def drawn_rows(
    n_rows: int, max_points: int | None, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Draw `max_points` of the rows, in ascending order; all of them if there are no more."""
    if max_points is None or max_points >= n_rows:
        return np.arange(n_rows, dtype=np.intp)
    return np.sort(rng.choice(n_rows, max_points, replace=False)).astype(np.intp)


def near_hits_and_misses(
    points: FloatArray, codes: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return for each point the nearest other one of its class, and the nearest of another class.

    Parameters
    ----------
    points : ndarray, shape (n, d)
        Points.
    codes : ndarray of int, shape (n,)
        The positions of their classes.

    Returns
    -------
    hits, misses : ndarray of int, shape (n,)
        The rows of the nearest points; -1 where there is none.

    Notes
    -----
    All distances are computed, 2 n^2 d flops for either.
    """
    from sklearn.neighbors import NearestNeighbors

    hits = np.full(len(points), -1, np.intp)
    misses = np.full(len(points), -1, np.intp)
    for code in range(int(codes.max()) + 1):
        inside, outside = np.flatnonzero(codes == code), np.flatnonzero(codes != code)
        if len(inside) > 1:
            search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(points[inside])
            # The search leaves out each point itself where it is given no points.
            hits[inside] = inside[search.kneighbors(return_distance=False)[:, 0]]
        if len(inside) and len(outside):
            search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(points[outside])
            misses[inside] = outside[search.kneighbors(points[inside], return_distance=False)[:, 0]]
    return hits, misses


def json_numbers(values: npt.ArrayLike) -> list[float | None]:
    """Return numbers as JSON data: None stands for NaN and infinity, which JSON does not have."""
    return [float(value) if np.isfinite(value) else None for value in np.ravel(values)]


def quantiles(values: npt.NDArray[np.float64], q: float) -> list[float | None]:
    """Return a quantile of the numbers in each row as JSON data; None where all are NaN."""
    rows = [row[~np.isnan(row)] for row in values]
    return json_numbers([np.quantile(row, q) if len(row) else np.nan for row in rows])
