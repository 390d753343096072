"""Arguments become numbers and C-contiguous arrays of a known dtype, or an error that names them."""

from __future__ import annotations

import math
import operator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kflow import _core

__all__ = [
    "FloatArray",
    "as_count",
    "as_flag",
    "as_generator",
    "as_matrix",
    "as_nugget",
    "as_number",
    "as_positive",
    "check_out",
    "common_dtype",
    "float_dtype",
]

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]

_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def _as_float(value: Any, name: str) -> float:
    try:
        if isinstance(value, (bool, str)):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None


def as_number(value: Any, name: str) -> float:
    """Return `value` as a finite float."""
    number = _as_float(value, name)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return number


def as_positive(value: Any, name: str) -> float:
    """Return `value` as a positive, finite float."""
    number = _as_float(value, name)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} must be positive and finite, got {value!r}")
    return number


def as_cap(value: Any, name: str) -> float:
    """Return `value` as a positive float, which may be infinite."""
    number = _as_float(value, name)
    if not number > 0:
        raise ValueError(f"{name} must be positive (infinity: no limit), got {value!r}")
    return number


def as_nugget(value: Any, name: str = "nugget") -> float:
    """Return a nugget as a float."""
    number = _as_float(value, name)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{name} must be finite and not negative, got {value!r}")
    return number


def as_flag(value: Any, name: str) -> bool:
    """Return `value` as a bool, which it must be."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def as_count(value: Any, name: str, lowest: int) -> int:
    """Return `value` as a whole number that is at least `lowest`."""
    if isinstance(value, (bool, float)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    count = operator.index(value)
    if count < lowest:
        raise ValueError(f"{name} must be at least {lowest}, got {count}")
    return count


def as_generator(random_state: Any) -> np.random.Generator:
    """Return a generator: a new one, or `random_state` itself if it is one."""
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError) as error:
        raise type(error)(f"random_state: {error}") from None


def float_dtype(dtype: npt.DTypeLike, name: str = "dtype") -> np.dtype[Any]:
    """Return float32 or float64."""
    try:
        resolved = np.dtype(object if dtype is None else dtype)  # None would be float64
    except TypeError:
        resolved = np.dtype(object)
    if resolved not in _DTYPES:
        raise ValueError(f"{name} must be 'float32' or 'float64', got {dtype!r}")
    return resolved


def common_dtype(*arrays: Any) -> np.dtype[Any]:
    """Return float32 if every array is float32, else float64."""
    try:
        kinds = {np.asarray(a).dtype for a in arrays if a is not None}
    except ValueError:  # rows of different lengths: as_matrix says which argument it is
        return np.dtype(np.float64)
    return np.dtype(np.float32) if kinds == {np.dtype(np.float32)} else np.dtype(np.float64)


def as_matrix(
    value: Any,
    name: str,
    *,
    dtype: npt.DTypeLike,
    n_columns: int | None = None,
    n_rows: int | None = None,
    column_if_1d: bool = False,
    allow_no_rows: bool = True,
    n_threads: int = 1,
) -> FloatArray:
    """Return `value` as a C-contiguous (n, d) array, without a copy if it is one already.

    Raises
    ------
    TypeError
        If it is sparse or not numeric.
    ValueError
        If its shape is wrong or it holds NaN or infinity.
    """
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise TypeError(f"{name} is sparse, kflow needs dense arrays: pass {name}.toarray()")
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked entries: remove or impute those rows")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} has no rectangular shape: {error}") from None
    if array.dtype.kind not in "fiub":
        try:
            if array.dtype.kind != "O":
                raise ValueError
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise TypeError(
                f"{name} must hold real numbers, got dtype {array.dtype}; encode it first "
                "(kflow.one_hot for labels)"
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
        result = np.require(array, dtype, ["C", "A"])
    if not _core.all_finite(result, n_threads):
        raise ValueError(
            f"{name} contains NaN or infinity (or values too large for {np.dtype(dtype)}): "
            "remove or impute those rows"
        )
    return result


def check_out(out: Any, shape: tuple[int, int], dtype: np.dtype[Any]) -> FloatArray:
    """Check an array that receives a result."""
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
