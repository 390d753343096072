"""Columns of a table that the command line names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

__all__ = ["column_named", "columns_named"]

_SHOWN = 20


def column_named(name: str, columns: Sequence[str], source: str) -> str:
    """Return the name of a column, if there is one.

    Parameters
    ----------
    name : str
        What the user wrote.
    columns : sequence of str
        The columns of the table.
    source : str
        Its file, for errors.

    Raises
    ------
    ValueError
        If there is none, suggesting one with nearly the same name.
    """
    if name in columns:
        return name
    plain = {column.casefold(): column for column in reversed(columns)}
    near = get_close_matches(name.casefold(), plain, n=1)
    hint = f"; did you mean {plain[near[0]]!r}? Its" if near else "; its"
    shown = ", ".join(columns[:_SHOWN]) + (", ..." if len(columns) > _SHOWN else "")
    raise ValueError(f"{source} has no column {name!r}{hint} columns are {shown}")


def columns_named(texts: Iterable[str], columns: Sequence[str], source: str) -> list[str]:
    """Return the names of columns in texts such as ``"name,born"``, which may be names themselves.

    Raises
    ------
    ValueError
        As `column_named`.
    """
    names = []
    for text in texts:
        parts = [text] if text in columns else [part.strip() for part in text.split(",")]
        names += [column_named(part, columns, source) for part in parts if part]
    return names
