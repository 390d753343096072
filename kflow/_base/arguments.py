"""Checks of arguments: they return a valid value or raise an error that names the argument."""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "MOST_HALVES",
    "as_choice",
    "as_count",
    "as_flag",
    "as_functions",
    "as_generator",
    "as_nonnegative",
    "as_nugget",
    "as_number",
    "as_positive",
    "common_dtype",
    "float_dtype",
    "shown",
]


# Each half is drawn and factorised: more of them are a mistyped number.
MOST_HALVES = 10_000

# Numbers of an array that a message still shows one by one, and characters of anything else.
_SHOWN_NUMBERS = 8
_SHOWN_CHARACTERS = 200

_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def shown(value: Any) -> str:
    """Return a value as messages show it: as one would type it, without NumPy's own notation."""
    if isinstance(value, np.ndarray) and value.size > _SHOWN_NUMBERS:
        return f"an array of shape {value.shape}"
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, (list, tuple)) and len(value) <= _SHOWN_NUMBERS:
        inner = ", ".join(map(shown, value))
        if isinstance(value, list):
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


def _as_float(value: Any, name: str) -> float:
    try:
        if isinstance(value, (bool, str)):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} must be a number, got {shown(value)}") from None


def as_number(value: Any, name: str) -> float:
    """Return `value` as a finite float."""
    number = _as_float(value, name)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {shown(value)}")
    return number


def as_positive(value: Any, name: str) -> float:
    """Return `value` as a positive, finite float."""
    number = _as_float(value, name)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} must be positive and finite, got {shown(value)}")
    return number


def as_cap(value: Any, name: str) -> float:
    """Return `value` as a positive float, which may be infinite."""
    number = _as_float(value, name)
    if not number > 0:
        raise ValueError(f"{name} must be positive (infinity: no limit), got {shown(value)}")
    return number


def as_nonnegative(value: Any, name: str) -> float:
    """Return `value` as a finite float that is not negative."""
    number = _as_float(value, name)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{name} must be finite and not negative, got {shown(value)}")
    return number


def as_nugget(value: Any, name: str = "nugget") -> float:
    """Return a nugget as a float."""
    return as_nonnegative(value, name)


def as_flag(value: Any, name: str) -> bool:
    """Return `value`, which must be a bool of Python or NumPy, as a bool of Python."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def as_count(value: Any, name: str, lowest: int, highest: int | None = None) -> int:
    """Return `value` as a whole number that is at least `lowest` and at most `highest`."""
    try:
        if isinstance(value, (bool, float)):
            raise TypeError
        count = operator.index(value)
    except TypeError:  # among them arrays, which have the method
        raise TypeError(f"{name} must be a whole number, got {shown(value)}") from None
    if count < lowest:
        raise ValueError(f"{name} must be at least {lowest}, got {count}")
    if highest is not None and count > highest:
        raise ValueError(f"{name} must be at most {highest}, got {count}")
    return count


def as_choice(value: Any, name: str, choices: Collection[str]) -> str:
    """Return `value`, which must be one of some names."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {tuple(choices)}, got {shown(value)}")
    return str(value)


def as_functions(value: Any, name: str, argument: str) -> tuple[Any, ...]:
    """Return functions of an argument, which must be in a list."""
    is_list = isinstance(value, Iterable) and not callable(value)
    functions = tuple(value) if is_list else (None,)
    if not all(callable(function) for function in functions):
        raise TypeError(f"{name} must be a list of functions of {argument}, got {shown(value)}")
    return functions


def as_generator(random_state: Any) -> np.random.Generator:
    """Return a random generator: `random_state` itself if it is one, else a new one."""
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError) as error:
        raise type(error)(f"random_state: {error}") from None


def float_dtype(dtype: npt.DTypeLike, name: str = "dtype") -> np.dtype[Any]:
    """Return `dtype` as a NumPy dtype, which must be float32 or float64."""
    try:
        resolved = np.dtype(object if dtype is None else dtype)  # NumPy takes None as float64
    except TypeError:
        resolved = np.dtype(object)
    if resolved not in _DTYPES:
        raise ValueError(f"{name} must be 'float32' or 'float64', got {shown(dtype)}")
    return resolved


def common_dtype(*arrays: Any) -> np.dtype[Any]:
    """Return float32 if every array is float32, else float64."""
    try:
        kinds = {np.asarray(a).dtype for a in arrays if a is not None}
    except ValueError:  # rows of different lengths: as_matrix names the argument
        return np.dtype(np.float64)
    return np.dtype(np.float32) if kinds == {np.dtype(np.float32)} else np.dtype(np.float64)
