"""Tables in files: text with separators, compressed or not, and parquet, read as pandas frames."""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import os
import zipfile
import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from itertools import islice
from pathlib import Path
from typing import Any

from kflow.data.csv_format import (
    MISSING,
    NO_NUMBER,
    SEPARATORS,
    cells_of,
    decoded,
    find_decimal,
    find_quote,
    find_separator,
    header_is_data,
    is_number,
)

__all__ = ["TableFile", "TableFormat", "read_table"]

_TEXT = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data")
_PARQUET = (".parquet", ".pq")
_N_SAMPLE_LINES = 250


@dataclass(frozen=True)
class TableFormat:
    """What the user says of a file of text; ``"auto"`` is found out.

    Attributes
    ----------
    separator : str
        One character, or one of the words "tab", "semicolon", "bar", "comma" and "space", which is
        any number of spaces.
    encoding : str
        A name that Python knows.
    decimal : str
        "." or ",".
    """

    separator: str = "auto"
    encoding: str = "auto"
    decimal: str = "auto"

    def __post_init__(self) -> None:
        """Check the values."""
        if self.separator != "auto" and self.separator not in SEPARATORS:
            text = self.separator.replace("\\t", "\t")
            if len(text) != 1 or text in "\"'\r\n":
                raise ValueError(
                    f"separator must be one character or one of {', '.join(SEPARATORS)}, got "
                    f"{self.separator!r}"
                )
        if self.decimal not in ("auto", ".", ","):
            raise ValueError(f"decimal must be '.' or ',', got {self.decimal!r}")


@dataclass(frozen=True, eq=False)
class TableFile:
    """A table that was read.

    Attributes
    ----------
    frame : pandas.DataFrame
        Columns of float64 numbers, and columns of text; NaN where a cell is missing. Columns of a
        parquet file are as they are.
    notes : tuple of str
        What was found out about the file, in sentences.
    """

    frame: Any
    notes: tuple[str, ...]


def _unzipped(content: bytes) -> bytes:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        members = [name for name in archive.namelist() if not name.endswith("/")]
        if len(members) != 1:
            raise ValueError(f"it holds {len(members)} files, where a table is alone")
        return archive.read(members[0])


_PACKED = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
    ".zip": _unzipped,
}


def _kind(path: Path) -> str | None:
    """Return ``"text"``, ``"parquet"``, or None for other files."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
        return "text" if suffixes and suffixes[-1] in _TEXT else None
    if not suffixes or suffixes[-1] not in (*_TEXT, *_PARQUET):
        return None
    return "text" if suffixes[-1] in _TEXT else "parquet"


def read_table(
    path: str | os.PathLike[str],
    form: TableFormat | None = None,
    *,
    text: Collection[str] = (),
) -> TableFile:
    """Read a table.

    Parameters
    ----------
    path : path
        Text (.csv, .tsv, .tab, .txt, .dat, .data), compressed (.gz, .bz2, .xz, .zip) or not, or
        .parquet. A column of text whose present cells are all numbers is a column of numbers.
    form : TableFormat, optional
        How text is written. By default all of it is found out.
    text : collection of str
        Columns that are text even if all of their cells are numbers.

    Raises
    ------
    ImportError
        If pandas is missing, or what it needs for parquet.
    OSError
        If the file cannot be read.
    ValueError
        If it is of another kind, damaged, empty, or no table, naming the line where that helps.
    """
    path = Path(path)
    kind = _kind(path)
    if kind is None:
        raise ValueError(
            f"{path}: tables are read from {', '.join((*_TEXT, *_PARQUET))} files, text also "
            f"compressed ({', '.join(_PACKED)}), and arrays from .npz files"
        )
    pandas = _pandas(path)
    if kind == "parquet":
        return TableFile(_read_parquet(pandas, path), ())
    try:
        names, rows, decimal, notes = _read_text(_content(path), form or TableFormat())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    columns = {
        name: _column(pandas, [row[place] for row in rows], decimal, name in text)
        for place, name in enumerate(names)
    }
    return TableFile(pandas.DataFrame(columns), tuple(notes))


def _pandas(path: Path) -> Any:
    try:
        import pandas
    except ImportError:
        raise ImportError(
            f"{path} is a table, which pandas reads: pip install 'kflow[tables]', or pass a .npz file"
        ) from None
    return pandas


def _read_parquet(pandas: Any, path: Path) -> Any:
    with path.open("rb"):
        pass  # what cannot be opened raises OSError here
    try:
        frame = pandas.read_parquet(path)
    except ImportError:
        raise ImportError(f"{path}: parquet files need PyArrow: pip install pyarrow") from None
    except Exception as error:  # PyArrow has its own errors
        raise ValueError(f"{path} is no parquet file, or it is damaged: {error}") from None
    frame.columns = _unique([str(name) for name in frame.columns], [])
    if not len(frame):
        raise ValueError(f"{path} has no rows")
    return frame


def _content(path: Path) -> bytes:
    """Return the content of a file, unpacked."""
    content = path.read_bytes()
    suffix = path.suffix.lower()
    if suffix not in _PACKED:
        return content
    try:
        return _PACKED[suffix](content)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise ValueError(f"it is damaged, or not compressed as its name says: {error}") from None


def _read_text(
    content: bytes, form: TableFormat
) -> tuple[list[str], list[list[str]], str, list[str]]:
    """Return the names of the columns, the rows, the decimal mark, and what was found out."""
    notes: list[str] = []
    text, encoding = decoded(content, form.encoding)
    if form.encoding == "auto" and not encoding.startswith("utf-8"):
        notes.append(f"The encoding is {encoding}, as far as can be told (--encoding)")
    # str.splitlines would also cut cells at characters such as U+2028, which do not end a line here.
    lines = list(StringIO(text, newline=""))
    sample = [line for line in islice(lines, _N_SAMPLE_LINES) if line.strip()]
    if not sample:
        raise ValueError("it is empty")
    quote = find_quote(sample)
    if quote != '"':
        notes.append(f"Cells stand in {quote}")
    separator = _separator(sample, quote, form.separator, notes)
    numbered = list(cells_of(lines, separator, quote))
    rows = [row for _, row in numbered]
    first = rows[:_N_SAMPLE_LINES]
    decimal = find_decimal(first) if form.decimal == "auto" else form.decimal
    if form.decimal == "auto" and decimal == ",":
        notes.append("The decimal mark is a comma (--decimal)")
    names = _header(first, decimal, notes)
    if names is None:
        names = [f"column_{place}" for place in range(1, len(rows[0]) + 1)]
    else:
        del rows[0]
    if not rows:
        raise ValueError("it has no rows below the names of the columns")
    for number, row in numbered:
        if len(row) != len(names):
            raise ValueError(
                f"line {number} has {len(row)} cells, the first line {len(names)}: correct it, or "
                "pass --separator"
            )
    return _unique(names, notes), rows, decimal, notes


def _separator(sample: Sequence[str], quote: str, asked: str, notes: list[str]) -> str:
    if asked != "auto":
        return SEPARATORS.get(asked, asked.replace("\\t", "\t"))
    found = find_separator(sample, quote)
    if found is None:
        notes.append("There is one column only, as no separator was found (--separator)")
        return ","
    if found != ",":
        name = next(word for word, character in SEPARATORS.items() if character == found)
        notes.append(f"Cells are separated by {name} (--separator)")
    return found


def _header(first: Sequence[Sequence[str]], decimal: str, notes: list[str]) -> list[str] | None:
    """Return the names of the columns; None if the first row holds values."""
    if header_is_data(first, decimal):
        notes.append(
            f"The first line holds values ({', '.join(first[0][:4])}, ...), not names: it counts as "
            "a row, and the columns are called column_1, column_2, ..."
        )
        return None
    unnamed = [place for place, cell in enumerate(first[0], start=1) if not cell]
    if unnamed:
        notes.append(f"The column without a name is called column_{unnamed[0]}")
    return [cell or f"column_{place}" for place, cell in enumerate(first[0], start=1)]


def _unique(names: Iterable[str], notes: list[str]) -> list[str]:
    """Return names that differ, with a number where a name comes again."""
    unique: list[str] = []
    for name in names:
        new, number = name, 1
        while new in unique:
            number += 1
            new = f"{name}_{number}"
        if new != name:
            notes.append(f"More than one column is called {name!r}: a later one is called {new!r}")
        unique.append(new)
    return unique


def _column(pandas: Any, cells: list[str], decimal: str, is_text: bool) -> Any:
    """Return a column as numbers if its present cells are numbers, else as text."""
    present = [cell for cell in cells if cell not in NO_NUMBER]
    if not is_text and all(is_number(cell, decimal) for cell in present):
        numbers = [
            math.nan if cell in NO_NUMBER else float(cell.replace(",", ".")) for cell in cells
        ]
        return pandas.Series(numbers, dtype="float64")
    return pandas.Series([None if cell in MISSING else cell for cell in cells], dtype=object)
