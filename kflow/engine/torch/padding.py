"""Matrices that are filled up with zeros, so that their products round each row alike."""

from __future__ import annotations

from torch import Tensor

__all__ = ["filled_up", "padded", "rounded_up"]

# Libraries take what is left over of a multiple of this in other ways for some rows of a tile than for
# others, which would round otherwise.
_COLUMNS = 8


def padded(x: Tensor, rows: int | None = None, columns: int | None = None) -> Tensor:
    """Return a new matrix in the order of rows, filled up with zeros to some rows and columns."""
    result = x.new_zeros(rows or x.shape[0], columns or x.shape[1])
    result[: x.shape[0], : x.shape[1]] = x
    return result


def rounded_up(n: int) -> int:
    """Return the next multiple of eight."""
    return -(-n // _COLUMNS) * _COLUMNS


def filled_up(x: Tensor, *, rows: bool = False, columns: bool = False) -> Tensor:
    """Return a new matrix, filled up to a multiple of eight rows, or columns, or both."""
    n, m = map(rounded_up, x.shape)
    return padded(x, n if rows else None, m if columns else None)
