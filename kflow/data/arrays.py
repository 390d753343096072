"""Checks of array arguments: they return a valid array, or raise an error that names it."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles, FloatArray
from kflow.engine import HOST
from kflow.engine.device_array import DeviceArray
from kflow.engine.interface import Engine

__all__ = ["as_matrix", "as_weights", "check_out", "largest_size", "refuse_masked"]


def as_matrix(
    value: Any,
    name: str,
    *,
    dtype: npt.DTypeLike,
    n_columns: int | None = None,
    n_rows: int | None = None,
    column_if_1d: bool = False,
    allow_no_rows: bool = True,
    are_points: bool = False,
    n_threads: int = 1,
    engine: Engine = HOST,
) -> FloatArray:
    """Return `value` as a C-contiguous (n, d) array, without a copy if it is such an array already.

    It is an array of the engine's device if `value` is one there, which the device itself checks, and else a
    NumPy array.

    Raises
    ------
    TypeError
        If `value` is sparse or not numeric, or on a device that is not the engine's.
    ValueError
        If its shape is wrong, if it is a tensor that requires a gradient, or if it has masked entries, NaN, infinity or, if the rows are points
        whose distances matter, numbers so large that their squares overflow.
    """
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise TypeError(f"{name} is sparse, kflow needs dense arrays: pass {name}.toarray()")
    refuse_masked(value, name)
    array = _as_array(value, name, engine)
    if array.dtype.kind not in "fiub":
        try:
            if array.dtype.kind != "O":
                raise ValueError
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise TypeError(
                f"{name} must hold real numbers, got dtype {array.dtype}; encode it first: "
                "kflow.one_hot for labels, kflow.TableEncoder for the columns of a table"
            ) from None
    if array.ndim == 1 and column_if_1d:
        array = array[:, None]
    if array.ndim != 2:
        hint = f": for one column pass {name}.reshape(-1, 1)" if array.ndim == 1 else ""
        raise ValueError(f"{name} must have two dimensions, got shape {array.shape}{hint}")
    if n_columns is not None and array.shape[1] != n_columns:
        raise ValueError(f"{name} must have {n_columns} columns, got shape {array.shape}")
    if n_rows is not None and array.shape[0] != n_rows:
        raise ValueError(f"{name} must have {n_rows} rows, got shape {array.shape}")
    if array.shape[1] == 0 or (array.shape[0] == 0 and not allow_no_rows):
        raise ValueError(f"{name} is empty: it has shape {array.shape}")
    with np.errstate(over="ignore"):  # an overflow in the cast is reported below
        result: Any = (
            array.contiguous(dtype)
            if isinstance(array, DeviceArray)
            else np.require(array, dtype, ["C", "A"])
        )
    largest = largest_size(result.dtype, result.shape[1]) if are_points else None
    if not _all_finite(result, n_threads, largest):
        if largest is not None and np.isfinite(array).all():
            other = " or pass float64" if result.dtype == np.float32 else ""
            raise ValueError(
                f"{name} contains values too large for {result.dtype}: beyond {largest:.1e} or so "
                f"their squares overflow; scale {name}{other}"
            )
        raise ValueError(
            f"{name} contains NaN or infinity (or values too large for {np.dtype(dtype)}): "
            "remove or impute those rows"
        )
    return cast(FloatArray, result)


def _as_array(value: Any, name: str, engine: Engine) -> Any:
    """Return a value as an array of the engine's device, if it is one there, or else of NumPy."""
    if isinstance(value, DeviceArray):
        return value
    adopted = engine.adopt(value, name)
    if adopted is not None:
        return adopted
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} has no rectangular shape: {error}") from None


def _all_finite(array: Any, n_threads: int, largest: float | None) -> bool:
    if isinstance(array, DeviceArray):
        return array.all_finite(largest)
    return HOST.all_finite(array, n_threads, largest)


def refuse_masked(value: Any, name: str) -> None:
    """Raise ValueError if an array has masked entries, whose numbers mean nothing."""
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked entries: remove or impute those rows")


def largest_size(dtype: np.dtype[Any], n_columns: int) -> float:
    """Return a number up to which entries of two rows have a squared distance that is finite."""
    return math.sqrt(float(np.finfo(dtype).max) / (8.0 * n_columns))


def as_weights(value: Any, n: int, name: str = "sample_weight") -> Doubles | None:
    """Return weights of `n` rows as an array of float64, (n,); None for None.

    Raises
    ------
    TypeError, ValueError
        If they are no positive finite numbers, one for each row.
    """
    if value is None:
        return None
    weights = as_matrix(value, name, dtype=np.float64, n_rows=n, n_columns=1, column_if_1d=True)
    if not (weights > 0.0).all():
        raise ValueError(f"{name} must be positive: leave out rows of weight 0")
    return np.asarray(weights[:, 0], np.float64)


def check_out(out: Any, shape: tuple[int, int], dtype: np.dtype[Any]) -> FloatArray:
    """Return `out`, after a check that it can receive a result of this shape and dtype."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(
            f"out must have shape {shape} and dtype {dtype}, got {out.shape} and {out.dtype}"
        )
    if not (out.flags.c_contiguous and out.flags.aligned):
        raise ValueError("out must be C-contiguous: pass np.ascontiguousarray(out) and copy back")
    if not out.flags.writeable:
        raise ValueError("out is read-only: pass a writeable array")
    return out
