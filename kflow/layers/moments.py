"""Second moments of points, and their leading directions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles
from kflow.data.chunks import Data, Scaling, scaled_chunks
from kflow.engine.device_array import to_host

__all__ = ["EPS", "eigen", "fewest", "mean_squared_distance", "moments"]

EPS = float(np.finfo(np.float64).eps)


def mean_squared_distance(
    X: Data,
    scaling: Scaling | None = None,
    dtype: npt.DTypeLike | None = None,
    weights: Doubles | None = None,
) -> float:
    """Return the mean squared distance between two rows of the scaled X.

    It takes two passes over X in float64, a few rows at a time. A row of weight 2 counts as two rows.
    The result is nan or inf if squares overflow.
    """
    total = float(len(X) if weights is None else weights.sum())
    with np.errstate(over="ignore", invalid="ignore"):
        # Differences from the first row lose no digits where the data are far from the origin.
        origin = next(scaled_chunks(X[:1], scaling, dtype))[1][0]
        mean = np.zeros_like(origin)
        for rows, points in scaled_chunks(X, scaling, dtype):
            mean += _weighted(points - origin, weights, rows).sum(axis=0)
        mean = origin + mean / total
        squares = 0.0
        for rows, points in scaled_chunks(X, scaling, dtype):
            points = points - mean
            squares += float(np.einsum("ij,ij->", _weighted(points, weights, rows), points))
    # Weights whose sum is below 2 are no numbers of rows; a single row has no distances.
    return 2.0 * squares / max(total - 1.0, total / 2.0)


def _weighted(points: Doubles, weights: Doubles | None, rows: slice) -> Doubles:
    return points if weights is None else points * weights[rows, None]


def moments(chunks: Iterator[tuple[slice, Doubles]], d: int) -> Doubles:
    """Return X'X, with inf or nan where squares overflow."""
    moments = np.zeros((d, d))
    with np.errstate(over="ignore", invalid="ignore"):
        for _, points in chunks:
            moments = moments + points.T @ points
    return cast(Doubles, to_host(moments))


def eigen(moments: Doubles) -> tuple[Doubles, Doubles]:
    """Return the eigenvalues, made nonnegative, largest first, and the eigenvectors as columns."""
    energies, vectors = np.linalg.eigh(moments)
    return np.maximum(energies[::-1], 0.0), vectors[:, ::-1]


def fewest(energies: Doubles, allowed: float) -> int:
    """Return how many leading directions must be kept to drop at most the energy `allowed`."""
    # dropped[r] is the energy that is dropped if r directions are kept.
    dropped = np.append(np.cumsum(energies[::-1])[::-1], 0.0)
    return int(np.argmax(dropped <= allowed))
