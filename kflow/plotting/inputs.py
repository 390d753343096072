"""The data that displays are given, as checked arrays of their own: displays may be drawn again later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow.data.arrays import as_matrix, refuse_masked

__all__ = [
    "as_labels",
    "as_numbers",
    "as_planar",
    "as_samples",
    "as_series",
    "as_table",
    "class_codes",
]


def as_numbers(values: Any, name: str) -> npt.NDArray[np.float64]:
    """Return a copy of numbers as floats, which may hold NaN, in an array of any shape."""
    refuse_masked(values, name)
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "fiubO":
            raise TypeError
        return np.array(array, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must hold real numbers") from None


def as_series(values: Any, name: str, length: int | None = None) -> npt.NDArray[np.float64]:
    """Return numbers as a vector of floats, which may hold NaN."""
    array = as_numbers(values, name)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got shape {array.shape}")
    if length is not None and len(array) != length:
        raise ValueError(f"{name} must have {length} entries, got {len(array)}")
    return array


def as_table(values: Any, name: str, n_rows: int) -> npt.NDArray[np.float64]:
    """Return numbers as a table (n_rows, m) of floats, which may hold NaN."""
    array = as_numbers(values, name)
    if array.ndim != 2 or len(array) != n_rows or array.shape[1] == 0:
        raise ValueError(f"{name} must have shape ({n_rows}, m), m at least 1, got {array.shape}")
    return array


def as_samples(
    samples: Any, name: str, *, length: int | None = None, finite: bool = False, nan: bool = False
) -> dict[Any, npt.NDArray[np.float64]]:
    """Return named samples as vectors of at least one number.

    Infinity is an error if `finite`, and NaN is one unless `nan` allows it.
    """
    if not isinstance(samples, Mapping) or not samples:
        raise TypeError(f"{name} must map names to arrays, one at least, got {samples!r:.60}")
    result = {key: as_series(values, f"{name}[{key!r}]", length) for key, values in samples.items()}
    for key, values in result.items():
        bad = ~np.isfinite(values) if finite else np.isnan(values) & (not nan)
        if not len(values) or bad.any():
            kinds = "NaN or infinity" if finite else "NaN"
            raise ValueError(f"{name}[{key!r}] is empty or has {kinds}: leave those entries out")
    return result


def as_planar(points: Any, name: str) -> FloatArray:
    """Return points of the plane as an array (n, 2)."""
    return as_matrix(points, name, dtype=np.float64, n_columns=2, allow_no_rows=False).copy()


def as_labels(labels: Any, n: int, name: str) -> npt.NDArray[Any]:
    """Return the classes of n points as a vector; they may be given as a column (n, 1)."""
    refuse_masked(labels, name)
    array = np.array(labels)
    if array.shape not in ((n,), (n, 1)):
        raise ValueError(f"{name} must have shape ({n},), got {array.shape}")
    return array.ravel()


def class_codes(
    labels: Any, n: int, name: str = "labels"
) -> tuple[npt.NDArray[Any], npt.NDArray[np.intp]]:
    """Return the classes of n points, sorted, and the number of each point's class.

    Without labels all points are of one class, which has no name.
    """
    if labels is None:
        return np.array([""]), np.zeros(n, dtype=np.intp)
    classes, codes = np.unique(as_labels(labels, n, name), return_inverse=True)
    return classes, codes.astype(np.intp)
