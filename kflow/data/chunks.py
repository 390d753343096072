"""How many rows are converted at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles, FloatArray
from kflow.data.sources import Source
from kflow.engine.device_array import DeviceArray

__all__ = ["Data", "Scaling", "empty_rows", "row_chunks", "scaled_chunks"]

# Number of rows for which something is computed in float64 at a time, so that no float64 copy of
# all the data is made.
_CHUNK = 1024


def row_chunks(n_rows: int) -> Iterator[slice]:
    """Iterate over slices of a few rows."""
    for start in range(0, n_rows, _CHUNK):
        yield slice(start, start + _CHUNK)


def empty_rows(like: FloatArray, n_columns: int, dtype: npt.DTypeLike) -> FloatArray:
    """Return a new array, in the same memory, with a row for each row of another one."""
    shape = (len(like), n_columns)
    if isinstance(like, DeviceArray):
        return cast(FloatArray, like.empty(shape, dtype))
    return np.empty(shape, dtype)


# Points from which slices are taken.
Data: TypeAlias = FloatArray | Source

# A function of a few rows, such as a scaling, that is applied before everything else.
Scaling: TypeAlias = Callable[[FloatArray], FloatArray]


def scaled_chunks(
    X: Data, scaling: Scaling | None, dtype: npt.DTypeLike | None = None
) -> Iterator[tuple[slice, Doubles]]:
    """Iterate over the scaled rows of X, a few at a time, rounded to `dtype` and then in float64.

    Raises
    ------
    ValueError
        If a scaled value is NaN, infinite or too large for the dtype.
    """
    for rows in row_chunks(len(X)):
        points = X[rows] if scaling is None else scaling(X[rows])
        if dtype is not None:
            with np.errstate(over="ignore"):  # reported below
                points = points.astype(dtype, copy=False)
            if not np.isfinite(points).all():
                raise ValueError(
                    f"X contains NaN or infinity (or values too large for {np.dtype(dtype)}): "
                    "remove or impute those rows"
                )
        yield rows, points.astype(np.float64, copy=False)
