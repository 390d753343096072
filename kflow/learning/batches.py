"""The draws of a step of learning: rows of a batch, and halves, folds and pairs of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from kflow._base.array_types import FloatArray, Rows

__all__ = [
    "Batch",
    "BatchSource",
    "DrawRows",
    "draw_folds",
    "draw_halves",
    "nearest_pairs",
    "neighbour_rows",
    "uniform_rows",
]

DrawRows: TypeAlias = Callable[[np.random.Generator], Rows]


class Batch(NamedTuple):
    """Rows of the data, and the subsets of them that the loss takes.

    Attributes
    ----------
    rows : ndarray of int, shape (n,)
        Distinct rows of the data.
    subsets : tuple of ndarray of int
        Halves, folds or pairs, as positions in `rows`.
    """

    rows: Rows
    subsets: tuple[Rows, ...]


class BatchSource:
    """Draws the batches of a step.

    Parameters
    ----------
    X : ndarray, shape (N, d)
        Data.
    Y : ndarray, shape (N, m)
        Targets.
    draw_rows : callable
        Draws the rows: `uniform_rows` or `neighbour_rows`.
    subsets : sequence of str
        The subsets to draw, by the names in `kflow.losses.Loss`; halves come before pairs.
    n_batches, n_halves, n_folds : int
        Number of batches, and of halves or folds of each.
    """

    def __init__(
        self,
        X: FloatArray,
        Y: FloatArray,
        draw_rows: DrawRows,
        subsets: Sequence[str],
        *,
        n_batches: int,
        n_halves: int,
        n_folds: int,
    ) -> None:
        self._X, self._Y = X, Y
        self._draw_rows = draw_rows
        self._subsets = tuple(subsets)
        self._n_batches = n_batches
        self._n_halves, self._n_folds = n_halves, n_folds

    def __call__(self, rng: np.random.Generator) -> list[Batch]:
        """Draw the batches."""
        return [self._batch(rng) for _ in range(self._n_batches)]

    def _batch(self, rng: np.random.Generator) -> Batch:
        rows = self._draw_rows(rng)
        drawn: dict[str, Rows] = {}
        for name in self._subsets:
            if name == "halves":
                drawn[name] = draw_halves(rng, len(rows), self._n_halves)
            elif name == "folds":
                drawn[name] = draw_folds(rng, len(rows), self._n_folds)
            else:
                assert name == "pairs"
                drawn[name] = nearest_pairs(self._X[rows], self._Y[rows], drawn["halves"])
        return Batch(rows, tuple(drawn.values()))


# ---- rows ---------------------------------------------------------------------------------------


def uniform_rows(X: FloatArray, size: int) -> DrawRows:
    """Return a function that draws rows uniformly, without replacement.

    Parameters
    ----------
    X : ndarray, shape (n, d)
        Data.
    size : int
        Number of rows of a batch, at most n. All rows of the data are returned in order.
    """
    n = len(X)
    everything = np.arange(n, dtype=np.intp)

    def draw(rng: np.random.Generator) -> Rows:
        return everything if size == n else rng.choice(n, size, replace=False).astype(np.intp)

    return draw


def neighbour_rows(X: FloatArray, size: int) -> DrawRows:
    """Return a function that draws batches of which half are neighbours of each other.

    A uniform batch of many points in few dimensions hardly has two points closer than a length scale,
    so that the loss says little about how smooth a kernel should be. Here a batch has sqrt(size / 2)
    centres, drawn uniformly, and for each of them as many of its nearest neighbours, itself included.
    Uniform draws make up the other half, and replace rows that are neighbours of two centres.

    Parameters
    ----------
    X : ndarray, shape (n, d)
        Data. Distances are those of columns scaled to unit variance.
    size : int
        Distinct rows of a batch, at most n.

    Notes
    -----
    The multi-centre batches of KernelFlows.jl (J. Susiluoto). A k-d tree of the data is built once;
    a draw then costs O(size log n) in few dimensions, but up to sqrt(size / 2) n d flops in many.
    """
    from scipy.spatial import cKDTree

    n = len(X)
    spread = X.std(axis=0)
    tree = cKDTree(X / np.where(spread > 0.0, spread, 1.0))
    n_neighbours = max(1, math.isqrt(size // 2))
    n_centres = max(1, size // 2 // n_neighbours)

    def draw(rng: np.random.Generator) -> Rows:
        centres = rng.choice(n, n_centres, replace=False)
        local = tree.query(tree.data[centres], n_neighbours)[1].ravel()
        # At least `size` of these rows are distinct.
        rows = np.concatenate([local, rng.choice(n, size, replace=False)])
        first = np.unique(rows, return_index=True)[1]
        return rows[np.sort(first)[:size]].astype(np.intp)

    return draw


# ---- subsets ------------------------------------------------------------------------------------


def draw_halves(rng: np.random.Generator, size: int, n_halves: int) -> Rows:
    """Draw coarse halves of a batch.

    The halves come in pairs, from the two ends of a random order of the batch. For an even `size` they
    are complementary, and so antithetic; else one row is in neither of them.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    size : int
        Rows of the batch, at least 2.
    n_halves : int
        Number of halves.

    Returns
    -------
    ndarray of int, shape (n_halves, size // 2)
    """
    n_coarse = size // 2
    halves = np.empty((n_halves, n_coarse), np.intp)
    for half in range(0, n_halves, 2):
        order = rng.permutation(size)
        halves[half] = order[:n_coarse]
        if half + 1 < n_halves:
            halves[half + 1] = order[size - n_coarse :]
    return halves


def draw_folds(rng: np.random.Generator, size: int, n_folds: int) -> Rows:
    """Draw the number of the fold of each row of a batch; sizes of folds differ by one at most.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    size : int
        Rows of the batch.
    n_folds : int
        Number of folds, at most `size`.

    Returns
    -------
    ndarray of int, shape (size,)
    """
    return rng.permutation(np.arange(size, dtype=np.intp) % n_folds)


def nearest_pairs(X: FloatArray, Y: FloatArray, halves: Rows) -> Rows:
    """Pair each row outside a half with the nearest other one whose targets differ.

    Parameters
    ----------
    X : ndarray, shape (n, d)
        Points of the batch.
    Y : ndarray, shape (n, m)
        Their targets.
    halves : ndarray of int, shape (n_halves, n_coarse)
        Rows of the halves.

    Returns
    -------
    ndarray of int, shape (n_halves, n_pairs, 2)
        Rows of the batch. Rows that have no partner are left out. So are the last pairs of some
        halves, in order that all halves have equally many.

    Raises
    ------
    ValueError
        If there is no pair outside one of the halves.

    Notes
    -----
    (n - n_coarse)^2 (d + m) flops for each half.
    """
    from scipy.spatial.distance import cdist

    all_pairs = []
    for half in halves:
        outside = np.ones(len(X), bool)
        outside[half] = False
        rows = np.flatnonzero(outside)
        distances = cdist(X[rows], X[rows], "sqeuclidean")
        distances[cdist(Y[rows], Y[rows], "chebyshev") == 0.0] = np.inf  # itself among them
        nearest = distances.argmin(axis=1)
        has_partner = np.isfinite(distances[np.arange(len(rows)), nearest])
        all_pairs.append(np.column_stack([rows, rows[nearest]])[has_partner])
    n_pairs = min(len(pairs) for pairs in all_pairs)
    if n_pairs == 0:
        raise ValueError(
            f"a batch of {len(X)} rows has no two rows outside its half with different targets, "
            "which a loss of pairs, such as loss='lyapunov', needs: pass a larger batch_size"
        )
    return np.stack([pairs[:n_pairs] for pairs in all_pairs])
