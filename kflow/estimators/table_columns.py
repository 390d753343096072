"""What becomes of one column of a table: features, or none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count, as_number
from kflow._base.array_types import Doubles
from kflow.estimators.column_values import as_text, holds_dates

__all__ = [
    "CategoryColumn",
    "Column",
    "DroppedColumn",
    "NumberColumn",
    "column_from_json",
    "column_to_json",
    "learned_column",
    "reason_to_refuse",
]

# A column of text with more categories than this is no column of categories if in nearly all rows,
# this part of them, its text is another.
_FEW_CATEGORIES = 10
_ALL_DIFFERENT = 0.9
# Text of which this part is numbers was meant as numbers, if it has more categories than those few.
_MOST_NUMBERS = 0.5

_SHOWN = 4


@dataclass(frozen=True)
class NumberColumn:
    """Numbers, with the median of the training column where one is missing.

    Attributes
    ----------
    name : str
        Name of the column.
    median : float
        What missing cells become.
    n_missing : int
        How many cells were missing in training. If there were any, a second feature is 1 where a cell
        is missing, else 0.
    """

    name: str
    median: float
    n_missing: int

    def __post_init__(self) -> None:
        """Check what may come from a file."""
        as_number(self.median, "median")
        as_count(self.n_missing, "n_missing", 0)

    def feature_names(self, name: str) -> list[str]:
        """Return the names of the features, for a column of this name."""
        return [name, f"{name} is missing"] if self.n_missing else [name]

    def encode(self, values: npt.NDArray[Any]) -> Doubles:
        """Return the features of cells that `column_values` returned, (n, 1 or 2)."""
        missing = np.isnan(self._checked(values))
        filled = np.where(missing, self.median, values)
        return np.column_stack([filled, missing]) if self.n_missing else filled[:, None]

    def surprise(self, values: npt.NDArray[Any]) -> str:
        """Return what cells have that those of training had not, as a sentence; nothing if nothing."""
        n = 0 if self.n_missing else int(np.isnan(self._checked(values)).sum())
        return (
            f"Column {self.name!r}: {_cells(n)} missing, where none was in training: the median "
            f"{self.median:g} instead"
            if n
            else ""
        )

    def _checked(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if values.dtype.kind == "f":
            return values
        words = (text for text in _as_texts(values) if text is not None and not _is_float(text))
        raise ValueError(
            f"column {self.name!r} held numbers in training, and now text such as "
            f"{next(words, _first(values))!r}"
        )

    def report(self) -> str:
        """Return what becomes of the column."""
        if not self.n_missing:
            return "number"
        return (
            f"number; {_cells(self.n_missing)} missing: the median {self.median:g} instead, and a "
            "column of its own that marks them"
        )


@dataclass(frozen=True)
class CategoryColumn:
    """Categories: a feature for each that is 1 in its rows, else 0.

    Attributes
    ----------
    name : str
        Name of the column.
    categories : tuple of str
        Those with features of their own, in ascending order.
    n_missing : int
        How many cells were missing in training. If there were any, they have a feature.
    n_rare : int
        How many other categories there were in training. If there were any, they share a feature,
        also with those that training has not seen.
    """

    name: str
    categories: tuple[str, ...]
    n_missing: int
    n_rare: int

    def __post_init__(self) -> None:
        """Check what may come from a file."""
        if not all(isinstance(category, str) for category in self.categories):
            raise TypeError("categories must be text")
        if len(set(self.categories)) < len(self.categories):
            raise ValueError("categories must be different")
        as_count(self.n_missing, "n_missing", 0)
        as_count(self.n_rare, "n_rare", 0)

    def feature_names(self, name: str) -> list[str]:
        """Return the names of the features, for a column of this name."""
        names = [f"{name}={category}" for category in self.categories]
        names += [f"{name} is rare"] if self.n_rare else []
        return names + ([f"{name} is missing"] if self.n_missing else [])

    def encode(self, values: npt.NDArray[Any]) -> Doubles:
        """Return the features of cells that `column_values` returned, (n, k)."""
        n_own = len(self.categories)
        own: dict[str, int | None] = {text: place for place, text in enumerate(self.categories)}
        rare = n_own if self.n_rare else None
        missing = n_own + bool(self.n_rare) if self.n_missing else None
        places = [missing if text is None else own.get(text, rare) for text in _as_texts(values)]
        out = np.zeros((len(values), len(self.feature_names(""))))
        for row, place in enumerate(places):
            if place is not None:
                out[row, place] = 1.0
        return out

    def surprise(self, values: npt.NDArray[Any]) -> str:
        """Return what cells have that those of training had not, as a sentence; nothing if nothing."""
        texts, known = _as_texts(values), set(self.categories)
        unknown = [text for text in texts if text is not None and text not in known]
        n_missing = texts.count(None)
        told = []
        if unknown and not self.n_rare:
            told.append(
                f"{_cells(len(unknown))} with categories that training had not "
                f"({_listed(sorted(set(unknown)))})"
            )
        if n_missing and not self.n_missing:
            told.append(f"{_cells(n_missing)} missing, where none was in training")
        if not told:
            return ""
        return f"Column {self.name!r}: {'; '.join(told)}: all of its features are 0 there"

    def report(self) -> str:
        """Return what becomes of the column."""
        text = f"{len(self.categories)} categories, a column for each: {_listed(self.categories)}"
        if self.n_rare:
            text += f"; {self.n_rare} rare, one column for all of them"
        if self.n_missing:
            text += f"; {_cells(self.n_missing)} missing, a category of their own"
        return text


@dataclass(frozen=True)
class DroppedColumn:
    """A column from which nothing can be learned.

    Attributes
    ----------
    name : str
        Name of the column.
    reason : str
        Why, in a few words.
    """

    name: str
    reason: str

    def __post_init__(self) -> None:
        """Check what may come from a file."""
        if not isinstance(self.reason, str):
            raise TypeError("a reason must be text")

    def feature_names(self, _name: str) -> list[str]:
        """Return no names."""
        return []

    def encode(self, values: npt.NDArray[Any]) -> Doubles:
        """Return no features, (n, 0)."""
        return np.empty((len(values), 0))

    def surprise(self, _values: npt.NDArray[Any]) -> str:
        """Return nothing."""
        return ""

    def report(self) -> str:
        """Return what becomes of the column."""
        return f"dropped: {self.reason}"


Column: TypeAlias = NumberColumn | CategoryColumn | DroppedColumn

_KINDS: Mapping[str, type[Column]] = {
    "number": NumberColumn,
    "category": CategoryColumn,
    "dropped": DroppedColumn,
}


def column_to_json(column: Column) -> dict[str, Any]:
    """Return a column as JSON data; `column_from_json` is the inverse."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(column, cls))
    return {"kind": kind, **asdict(column)}


def column_from_json(data: Mapping[str, Any]) -> Column:
    """Return the column that `column_to_json` stored.

    Raises
    ------
    LookupError, TypeError, ValueError
        For anything else.
    """
    values = dict(data)
    cls = _KINDS[values.pop("kind")]
    if not isinstance(values["name"], str):
        raise TypeError("the name of a column must be text")
    if "categories" in values:
        values["categories"] = tuple(values["categories"])
    return cls(**values)


def learned_column(
    name: str, values: npt.NDArray[Any], min_frequency: int, max_categories: int
) -> Column:
    """Learn from the cells of training what becomes of a column.

    Parameters
    ----------
    name : str
        Name of the column.
    values : ndarray, shape (n,)
        What `column_values` returned, neither dates nor what `reason_to_refuse` refuses.
    min_frequency : int
        A category in fewer rows is rare.
    max_categories : int
        Number of categories, the most frequent ones, that are not rare.
    """
    if values.dtype.kind == "f":
        missing = np.isnan(values)
        present = values[~missing]
        if len(present) == 0:
            return DroppedColumn(name, "all cells are missing")
        if not missing.any() and (present == present[0]).all():
            return DroppedColumn(name, f"all cells are {present[0]:g}")
        return NumberColumn(name, float(np.median(present)), int(missing.sum()))
    counts = Counter(text for text in values if text is not None)
    n_missing = len(values) - counts.total()
    if len(counts) == 1 and not n_missing:
        return DroppedColumn(name, f"all cells are {next(iter(counts))!r}")
    frequent = sorted(counts, key=lambda text: (-counts[text], text))[:max_categories]
    kept = tuple(sorted(text for text in frequent if counts[text] >= min_frequency))
    if not kept and not n_missing:
        return DroppedColumn(name, f"each of its {len(counts)} categories is rare")
    return CategoryColumn(name, kept, n_missing, len(counts) - len(kept))


def reason_to_refuse(values: npt.NDArray[Any]) -> str:
    """Return why a column cannot be used as it is, and what to do; nothing if it can be used.

    Parameters
    ----------
    values : ndarray, shape (n,)
        What `column_values` returned.
    """
    if holds_dates(values):
        example = _first(values)
        return (
            f"holds dates such as {example}: put numbers in its place, such as the year or the days "
            "since some day, or drop it"
        )
    if values.dtype.kind != "O":
        return ""
    present = [text for text in values if text is not None]
    n_different = len(set(present))
    if n_different <= _FEW_CATEGORIES:
        return ""
    words = [text for text in present if not _is_float(text)]
    if not words:
        return (
            f"holds numbers as text, such as {present[0]!r}: convert them to numbers, or to the dtype "
            "category, or drop it"
        )
    if len(words) < (1 - _MOST_NUMBERS) * len(present):
        return (
            f"holds numbers, but {_cells(len(words))} of {len(present)} cannot be read as one, such "
            f"as {words[0]!r}: correct them, or leave them empty, or drop it"
        )
    if n_different > _ALL_DIFFERENT * len(present):
        return (
            f"holds {n_different} different texts in {len(present)} rows, such as {present[0]!r}, "
            "which are no categories: drop it"
        )
    return ""


def _as_texts(values: npt.NDArray[Any]) -> list[str | None]:
    """Return cells as text, numbers and dates, too."""
    if values.dtype.kind == "O":
        return list(values)
    if values.dtype.kind in "Mm":
        return [None if np.isnat(value) else str(value) for value in values]
    return [None if np.isnan(value) else as_text(value) for value in values]


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _first(values: npt.NDArray[Any]) -> str:
    return next((text for text in _as_texts(values) if text is not None), "")


def _cells(n: int) -> str:
    return f"{n} cell" if n == 1 else f"{n} cells"


def _listed(texts: Any) -> str:
    shown = ", ".join(texts[:_SHOWN])
    return f"{shown}, ..." if len(texts) > _SHOWN else shown
