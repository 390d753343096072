"""The cells of one column of a table: numbers with NaN, text with None, or dates."""

from __future__ import annotations

import datetime
import decimal
import math
import numbers
import re
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["as_text", "column_values", "holds_dates", "looks_like_an_id"]

_DATE = re.compile(r"\d{4}[-/.]\d\d?[-/.]\d\d?([T ].*)?|\d\d?[-/.]\d\d?[-/.](\d{4}|\d\d)([T ].*)?")
# The part of the present cells that must be dates for their column to hold dates.
_MOST = 0.9
# In fewer rows whole numbers are all different by chance.
_ROWS_OF_AN_ID = 20


def column_values(column: Any, name: str) -> npt.NDArray[Any]:
    """Return the cells of a column.

    Parameters
    ----------
    column : array_like, shape (n,)
        A column of a pandas or Polars frame, or of an array.
    name : str
        Its name, for errors.

    Returns
    -------
    ndarray, shape (n,)
        Numbers as float64 with NaN for missing cells; categories, booleans and text as objects, each
        a str or None; dates and times as datetime64 or timedelta64.

    Raises
    ------
    TypeError, ValueError
        For infinite or complex numbers, and cells that are none of these, naming the column.
    """
    if str(getattr(column, "dtype", "")) == "category":  # which may be of numbers
        column = np.asarray(column, dtype=object)
        return _texts(column, [not _is_missing(cell) for cell in column])
    values = np.asarray(column)
    kind = values.dtype.kind
    if kind in "Mm":
        return values
    if kind in "fiu":
        return _numbers(values, name)
    if kind == "c":
        raise ValueError(f"column {name!r}: Complex data not supported")
    return _of_objects(values.astype(object), name)


def _of_objects(values: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    is_present = [not _is_missing(cell) for cell in values]
    present = values[is_present]
    kinds = {_kind(cell, name) for cell in present}
    if kinds <= {"number"}:
        numbers_ = np.full(len(values), math.nan)
        numbers_[is_present] = [float(cell) for cell in present]
        return _numbers(numbers_, name)
    if kinds == {"date"}:
        dates = np.full(len(values), "NaT", "datetime64[D]")
        dates[is_present] = [str(cell)[:10] for cell in present]
        return dates
    return _texts(values, is_present)


def _kind(cell: Any, name: str) -> str:
    if isinstance(cell, (str, bytes, bool, np.bool_)):
        return "text"
    if isinstance(cell, (numbers.Real, decimal.Decimal)):
        return "number"
    if isinstance(cell, (datetime.date, np.datetime64)):
        return "date"
    raise TypeError(
        f"column {name!r}: argument must be a string or a number, got a cell of type "
        f"{type(cell).__name__}"
    )


def _is_missing(cell: Any) -> bool:
    """Return whether a cell is None, NaN, pandas.NA, pandas.NaT or text without a character."""
    if isinstance(cell, str):
        return not cell.strip()
    if isinstance(cell, (float, np.floating, decimal.Decimal)):
        return math.isnan(cell)
    return cell is None or type(cell).__name__ in ("NAType", "NaTType")


def _numbers(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.float64]:
    values = values.astype(np.float64)
    if np.isinf(values).any():
        raise ValueError(
            f"column {name!r} holds infinity: replace it by a number, or leave the cell empty"
        )
    return values


def _texts(values: npt.NDArray[Any], is_present: list[bool]) -> npt.NDArray[Any]:
    texts = np.full(len(values), None, dtype=object)
    texts[is_present] = [as_text(cell) for cell in values[is_present]]
    return texts


def as_text(cell: Any) -> str:
    """Return a cell as text; whole numbers without a point, so that 3 and 3.0 are one category."""
    if isinstance(cell, bytes):
        return cell.decode("utf-8", errors="replace")
    if isinstance(cell, (float, np.floating)) and float(cell).is_integer():
        return str(int(cell))
    return str(cell).strip()


def holds_dates(values: npt.NDArray[Any]) -> bool:
    """Return whether cells, as `column_values` returns them, are dates or texts such as 2024-05-31."""
    if values.dtype.kind in "Mm":
        return True
    if values.dtype.kind != "O":
        return False
    present = [cell for cell in values if cell is not None]
    return bool(present) and sum(map(_is_date, present)) >= _MOST * len(present)


def _is_date(cell: str) -> bool:
    return _DATE.fullmatch(cell) is not None


def looks_like_an_id(values: npt.NDArray[Any]) -> bool:
    """Return whether cells, as `column_values` returns them, seem to name their rows.

    These are texts that are all different, and whole numbers that are all different; in fewer than 20
    rows only if they also ascend or descend.
    """
    if values.dtype.kind in "Mm" or len(values) < 3:
        return False
    if values.dtype.kind == "O":
        return None not in values and len(set(values)) == len(values)
    if np.isnan(values).any() or not (values == np.rint(values)).all():
        return False
    if len(np.unique(values)) < len(values):
        return False
    steps = np.diff(values)
    return len(values) >= _ROWS_OF_AN_ID or bool((steps > 0).all() or (steps < 0).all())
