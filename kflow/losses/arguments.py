"""The arguments of losses: a kernel matrix, targets, and subsets of the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray, Rows
from kflow.data.arrays import as_matrix

__all__ = ["as_folds", "as_halves", "as_kernel_matrix", "as_pairs", "as_targets"]


def as_kernel_matrix(K: npt.ArrayLike, lowest: int = 1) -> FloatArray:
    """Return K as a square matrix of float64 with at least `lowest` rows."""
    k = as_matrix(K, "K", dtype=np.float64)
    if k.shape[0] != k.shape[1]:
        raise ValueError(
            f"K must be square, the kernel matrix of the batch's points; got shape {k.shape}"
        )
    if len(k) < lowest:
        raise ValueError(f"K must have at least {lowest} rows, got {len(k)}")
    return k


def as_targets(Y: npt.ArrayLike, n: int) -> FloatArray:
    """Return Y as `n` rows of float64."""
    return as_matrix(Y, "Y", dtype=np.float64, n_rows=n, column_if_1d=True)


def _as_integers(value: npt.ArrayLike, name: str, what: str) -> npt.NDArray[Any]:
    """Return an array of whole numbers; `what` says in errors what they are."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} has no rectangular shape: {error}") from None
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold {what}, got dtype {array.dtype}")
    return array


def as_halves(halves: npt.ArrayLike, n: int, lowest: int = 1) -> Rows:
    """Return coarse subsets as (n_halves, n_coarse) row numbers."""
    array = _as_integers(halves, "halves", "row numbers of K")
    rows = array[None, :] if array.ndim == 1 else array
    if rows.ndim != 2 or len(rows) == 0:
        raise ValueError(
            f"halves must have shape (n_halves, n_coarse) or (n_coarse,), got {array.shape}"
        )
    if not lowest <= rows.shape[1] < n:
        raise ValueError(
            f"each of the halves must name at least {lowest} and fewer than all {n} rows of K, "
            f"got {rows.shape[1]}"
        )
    if rows.min() < 0 or rows.max() >= n:
        raise ValueError(f"halves names a row outside 0..{n - 1}")
    ordered = np.sort(rows, axis=1)
    twice = np.argwhere(ordered[:, 1:] == ordered[:, :-1])
    if len(twice):
        h, i = twice[0]
        raise ValueError(f"halves names row {ordered[h, i]} twice in half {h}")
    return np.require(rows, np.intp, ["C", "A"])


def as_folds(folds: npt.ArrayLike, n: int) -> Rows:
    """Return the number of the fold of each of n rows."""
    numbers = _as_integers(folds, "folds", "the number of each row's fold")
    if numbers.shape != (n,):
        raise ValueError(f"folds must have shape ({n},), got {numbers.shape}")
    if numbers.min() < 0 or numbers.max() >= n:
        raise ValueError(f"folds must be numbers from 0 to at most {n - 1}")
    counts = np.bincount(numbers.astype(np.intp))
    if not counts.all():
        raise ValueError(
            f"folds leaves out number {int(np.argmin(counts))}: number the folds 0, 1, 2, ..."
        )
    if len(counts) < 2:
        raise ValueError("folds must name at least 2 folds")
    return np.require(numbers, np.intp, ["C", "A"])


def as_pairs(pairs: npt.ArrayLike, halves: Rows, y: FloatArray) -> Rows:
    """Return pairs as (n_halves n_pairs, 2) row numbers, those of the first half first."""
    array = _as_integers(pairs, "pairs", "row numbers of K")
    n_halves, n = len(halves), len(y)
    rows = np.broadcast_to(array, (n_halves, *array.shape)) if array.ndim == 2 else array
    if rows.ndim != 3 or rows.shape[0] != n_halves or rows.shape[1] == 0 or rows.shape[2] != 2:
        raise ValueError(
            f"pairs must have shape ({n_halves}, n_pairs, 2) or (n_pairs, 2), got {array.shape}"
        )
    if rows.min() < 0 or rows.max() >= n:
        raise ValueError(f"pairs names a row outside 0..{n - 1}")
    inside = np.zeros((n_halves, n), bool)
    np.put_along_axis(inside, halves, True, axis=1)
    wrong = np.argwhere(inside[np.arange(n_halves)[:, None, None], rows])
    if len(wrong):
        h, k, side = wrong[0]
        raise ValueError(
            f"pairs names row {rows[h, k, side]}, which is in half {h}: its target is no prediction"
        )
    equal = np.argwhere((y[rows[..., 0]] == y[rows[..., 1]]).all(axis=-1))
    if len(equal):
        h, k = equal[0]
        raise ValueError(
            f"pairs names rows {rows[h, k, 0]} and {rows[h, k, 1]}, whose targets are equal: "
            "their distance has no logarithm, leave out that pair"
        )
    return np.require(rows.reshape(-1, 2), np.intp, ["C", "A"])
