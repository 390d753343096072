"""Matrices that are filled up with zeros, so that their products round each row alike."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad

__all__ = ["filled_up"]

# Libraries take what is left over of a multiple of this in other ways for some rows of a tile than for
# others, which would round otherwise.
_COLUMNS = 8


def filled_up(x: Tensor, rows: bool = False, columns: bool = False) -> Tensor:
    """Return a matrix with zeros at the end of its rows, or its columns, up to a multiple of eight."""
    n, m = x.shape
    more_rows, more_columns = (-n % _COLUMNS if rows else 0), (-m % _COLUMNS if columns else 0)
    return pad(x, (0, more_columns, 0, more_rows))
