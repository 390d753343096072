"""How a text file writes its table: encoding, separator, quotes, decimal mark, header."""

from __future__ import annotations

import codecs
import csv
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

__all__ = [
    "MISSING",
    "NO_NUMBER",
    "SEPARATORS",
    "cells_of",
    "decoded",
    "find_decimal",
    "find_quote",
    "find_separator",
    "header_is_data",
    "is_number",
]

# In the order in which they are tried: a comma may be a decimal mark, and a tab is hardly ever a part
# of a cell. The empty one stands for spaces of any number.
SEPARATORS = {"tab": "\t", "semicolon": ";", "bar": "|", "comma": ",", "space": ""}

# Cells that stand for nothing, in any column, and those that do among numbers.
MISSING = frozenset(("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "?", "#N/A"))
NO_NUMBER = MISSING | {"None", "none", "-", "--", "."}

_N_SAMPLE_ROWS = 200
# The part of the rows that must have the same number of cells.
_SAME_WIDTH = 0.9

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA_NUMBER = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_POINT_NUMBER = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
# With a comma 1,234 may be a thousand and more, or little more than one; 0,123 is less than one.
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")


def is_number(cell: str, decimal: str = ".") -> bool:
    """Return whether a cell holds a finite number, written with this decimal mark."""
    if decimal == ",":
        if "." in cell:
            return False
        cell = cell.replace(",", ".")
    return _NUMBER.fullmatch(cell) is not None


def decoded(content: bytes, encoding: str) -> tuple[str, str]:
    """Return the text of a file without its byte order mark, and its encoding.

    Parameters
    ----------
    content : bytes
        The whole file.
    encoding : str
        Name of an encoding, or ``"auto"``: UTF-16 or UTF-8 with a byte order mark, else UTF-8 if that
        fits, else Windows-1252, else Latin-1.

    Raises
    ------
    ValueError
        If the encoding is unknown, or the file is not written in it.
    """
    if encoding != "auto":
        try:
            return content.decode(encoding).removeprefix("\ufeff"), encoding
        except LookupError:
            raise ValueError(
                f"encoding {encoding!r} is unknown: utf-8 and latin-1 are two"
            ) from None
    for mark, name in ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16")):
        if content.startswith(mark):
            return content.decode(name), name
    if content.startswith(codecs.BOM_UTF16_BE):
        return content.decode("utf-16"), "utf-16"
    if b"\0" in content:
        raise ValueError("it holds zero bytes, as no table of text does")
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    try:
        return content.decode("cp1252"), "cp1252"
    except UnicodeDecodeError:  # it gives no character to five of the bytes
        return content.decode("latin-1"), "latin-1"


def find_quote(lines: Sequence[str]) -> str:
    """Return the character that quotes cells: ``'`` where whole cells stand in it, else ``"``."""
    if any('"' in line for line in lines):
        return '"'
    quoted = re.compile(r"(^|[\t;|,])'[^']*'([\t;|,]|$)")
    return "'" if sum(bool(quoted.search(line)) for line in lines) > len(lines) / 2 else '"'


def find_separator(lines: Sequence[str], quote: str) -> str | None:
    """Return the separator for which most rows have the same number of cells, two at least.

    One for which the first line has this number, too, is preferred: text in a column may hold as many
    semicolons in all rows.

    Parameters
    ----------
    lines : sequence of str
        The first lines of the file.
    quote : str
        The character that quotes cells.

    Returns
    -------
    str or None
        A separator of `SEPARATORS`, which is empty for spaces. None if no line has any of them, so
        that there is one column only.
    """
    fallbacks: list[tuple[float, str]] = []
    for separator in SEPARATORS.values():
        header, *others = _widths(lines, separator, quote)
        width, n = Counter(others or [header]).most_common(1)[0]
        share = n / max(len(others), 1)
        if width > 1 and share >= _SAME_WIDTH and header == width:
            return separator
        # One column of text may have as many spaces in all cells, but hardly in its name.
        if separator and max(header, width) > 1:
            is_even = width > 1 and share >= _SAME_WIDTH
            fallbacks.append((math.inf if is_even else share, separator))
    return max(fallbacks, key=lambda pair: pair[0])[1] if fallbacks else None


def _widths(lines: Sequence[str], separator: str, quote: str) -> list[int]:
    """Return the numbers of cells of the first rows."""
    rows = islice(_reader(lines, separator, quote), _N_SAMPLE_ROWS)
    return [len(row) for row in rows if row] or [1]


def _reader(lines: Iterable[str], separator: str, quote: str, strict: bool = False) -> Any:
    if not separator:
        lines = (line.replace("\t", " ").strip() + "\n" for line in lines)
    return csv.reader(
        lines, delimiter=separator or " ", quotechar=quote, skipinitialspace=True, strict=strict
    )


def cells_of(lines: Iterable[str], separator: str, quote: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row, without spaces around them, with the number of its last line.

    Blank lines are left out.

    Parameters
    ----------
    lines : iterable of str
        The lines of the file, with their ends.
    separator : str
        One character, or nothing for spaces of any number.
    quote : str
        The character in which cells may stand.

    Raises
    ------
    ValueError
        If quotes do not fit, naming the line.
    """
    kept = list(lines)
    reader = _reader(kept, separator, quote, strict=True)
    try:
        for row in reader:
            # A line of separators is a row whose cells are missing, and "" one of one empty cell.
            if len(row) > 1 or kept[reader.line_num - 1].strip():
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}: check the quotes {quote}") from None


def find_decimal(rows: Iterable[Sequence[str]]) -> str:
    """Return the decimal mark: a comma if some cells can be read with it only, and none with a point."""
    has_comma = False
    for row in rows:
        for cell in row:
            if _POINT_NUMBER.fullmatch(cell):
                return "."
            if not has_comma and _COMMA_NUMBER.fullmatch(cell):
                has_comma = not _THOUSANDS.fullmatch(cell)
    return "," if has_comma else "."


def header_is_data(rows: Sequence[Sequence[str]], decimal: str = ".") -> bool:
    """Return whether the first row of a table holds values instead of names of columns.

    A word above a column of numbers is a name, and so is its whole line. Otherwise years and the numbers
    of columns, such as 0, 1, 2, may be names: the first row holds values if a number in it has a sign or
    digits after the point, if it holds a number twice, or a word that its column holds again beside a
    number, or if its numbers do not follow each other.

    Parameters
    ----------
    rows : sequence of sequence of str
        The first rows of the table.
    decimal : str
        The decimal mark.
    """
    first, others = rows[0], rows[1:]
    numbers = [cell for cell in first if is_number(cell, decimal)]
    words = {
        place: cell
        for place, cell in enumerate(first)
        if cell not in NO_NUMBER and cell not in numbers
    }
    below = {place: [row[place] for row in others if place < len(row)] for place in words}
    if any(_are_numbers(cells, decimal) for cells in below.values()):
        return False
    if any(not cell.isdecimal() for cell in numbers):
        return True
    values = [int(cell) for cell in numbers]
    if not values or len(set(values)) < len(values):
        return bool(values)
    if words:
        again = any(cell in below[place] for place, cell in words.items())
        downwards = list(range(values[0], values[0] - len(values), -1))
        return again or values not in (sorted(values), downwards)
    return values != list(range(values[0], values[0] + len(values)))


def _are_numbers(cells: Iterable[str], decimal: str) -> bool:
    """Return whether the present cells of a column are numbers, and there are some."""
    present = [cell for cell in cells if cell not in NO_NUMBER]
    return bool(present) and all(is_number(cell, decimal) for cell in present)
