"""The table of `kflow fit`: its target, its features, and what is told about them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow.cli.columns import column_named, columns_named
from kflow.cli.fit_options import FitOptions
from kflow.data.table_file import TableFormat, read_table
from kflow.data.targets import (
    LARGEST_EXACT,
    Targets,
    as_targets,
    held_out_rows,
    whole_numbers,
)
from kflow.datasets import Dataset
from kflow.estimators.column_values import column_values, looks_like_an_id
from kflow.estimators.table_encoder import TableEncoder
from kflow.estimators.table_pipeline import TablePipeline, make_table_pipeline

__all__ = ["FitTable", "load_fit_table"]

_SHOWN_CLASSES = 10


@dataclass(frozen=True, eq=False)
class FitTable:
    """A table, ready for a fit.

    Attributes
    ----------
    points : Dataset
        The features of the training and of the test rows, and their targets.
    encoder : TableEncoder
        What makes features of columns, fitted to the training rows.
    training_rows : pandas.DataFrame
        The columns of the training rows, for fits to some of them.
    id_column : str or None
        The column that names the rows.
    """

    points: Dataset
    encoder: TableEncoder
    training_rows: Any
    id_column: str | None

    def model(self, estimator: Any) -> TablePipeline:
        """Return an estimator for features as one for tables."""
        pipeline = make_table_pipeline(estimator, encoder=self.encoder)
        pipeline.id_column = self.id_column
        return pipeline


def load_fit_table(path: Path, options: FitOptions, tell: Callable[[str], None]) -> FitTable:
    """Read the table of a run, choose its columns, and hold out a quarter of its rows.

    Parameters
    ----------
    path : Path
        The file.
    options : FitOptions
        The options that say which columns are what.
    tell : callable
        Tells the user a line: what was found out about the file, what is predicted, what becomes of
        each column, and which columns look like an id.

    Raises
    ------
    ImportError, OSError, TypeError, ValueError
        If the file cannot be read, or its columns cannot be used, saying what to do.
    """
    form = TableFormat(options.separator, options.encoding, options.decimal)
    text = () if options.id is None else (options.id,)
    file = read_table(path, form, text=text)
    frame, source = file.frame, str(path)
    columns = list(frame.columns)
    tell(f"{path.name}: {len(frame)} rows of {len(columns)} columns")
    for note in file.notes:
        tell(f"  {note}")
    id_column = None if options.id is None else column_named(options.id, columns, source)
    dropped = columns_named(options.drop, columns, source)
    target = _target(columns, [*dropped, id_column], options.target, source)
    features = [name for name in columns if name not in (*dropped, id_column, target)]
    if not features:
        raise ValueError(f"{source} has no column beside the target {target!r} to learn from")
    if _is_inexact(frame[target]):  # in the file there may be more digits than float64 has
        file = read_table(path, form, text=(*text, target))
    targets = _targets(file.frame[target], options, source)
    tell(_told_target(target, options.target is None, targets))
    held = held_out_rows(targets.values, targets.task, path.name)
    training_rows = frame.loc[~held, features]
    encoder = TableEncoder().fit(training_rows)
    tell(_told_features(id_column, dropped, encoder))
    for line in encoder.report_.splitlines():
        tell(f"  {line}")
    for line in _warnings(frame[features]):
        tell(line)
    test = encoder.transform(frame.loc[held, features])
    y = targets.values
    points = Dataset(
        path.name, encoder.transform(training_rows), y[~held], test, y[held], targets.task
    )
    return FitTable(points, encoder, training_rows, id_column)


def _target(columns: list[str], others: list[str | None], name: str | None, source: str) -> str:
    """Return the column of the targets: the last one that is left, if none is named."""
    if name is None:
        left = [column for column in columns if column not in others]
        if not left:
            raise ValueError(f"{source} has no column left to predict")
        return left[-1]
    target = column_named(name, columns, source)
    if target in others:
        raise ValueError(f"--target {target!r} is also one of --id and --drop: leave it out there")
    return target


def _is_inexact(column: Any) -> bool:
    """Return whether a column holds whole numbers too large for all of them to be in float64."""
    values = np.asarray(column)
    if values.dtype.kind != "f":
        return False
    present = values[~np.isnan(values)]
    is_whole = bool((present == np.rint(present)).all())
    return is_whole and bool((np.abs(present) >= LARGEST_EXACT).any())


def _targets(column: Any, options: FitOptions, source: str) -> Targets:
    exact = np.asarray(column)
    if exact.dtype.kind in "iu":
        values = exact
    else:
        values = column_values(column, column.name)
        values = whole_numbers(values) if values.dtype.kind == "f" else values
    if values.dtype.kind in "Mm":
        raise ValueError(f"{source}: the target {column.name!r} holds dates: pass another --target")
    missing = _missing(values)
    if missing.any():
        raise ValueError(
            f"{source}: the target {column.name!r} is missing in {int(missing.sum())} rows, first in "
            f"row {int(missing.argmax()) + 1}: remove these rows, or pass another --target"
        )
    targets = as_targets(values, options.task, source)
    n_classes = len(np.unique(targets.values))
    if targets.task == "classification" and 2 * n_classes > len(values):
        raise ValueError(
            f"{source}: the target {column.name!r} has {n_classes} classes in {len(values)} rows, too "
            "many to be learned: pass another --target, or --task regression for numbers"
        )
    if n_classes < 2:
        raise ValueError(
            f"{source}: the target {column.name!r} is the same in all rows: pass another --target"
        )
    return targets


def _missing(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if values.dtype.kind == "f":
        return np.asarray(np.isnan(values))
    return np.array([value is None for value in values])


# ---- what is told ---------------------------------------------------------------------------------


def _told_target(target: str, is_default: bool, targets: Targets) -> str:
    chosen = ", the last column (--target chooses another)" if is_default else ""
    text = f"Target: {target!r}{chosen}. {targets.task.capitalize()}, {targets.reason}"
    if targets.task == "regression":
        y = targets.values
        return f"{text}; from {y.min():g} to {y.max():g}, mean {y.mean():g}"
    classes, counts = np.unique(targets.values, return_counts=True)
    shown = ", ".join(
        f"{name} ({n})" for name, n in list(zip(classes, counts, strict=True))[:_SHOWN_CLASSES]
    )
    more = ", ..." if len(classes) > _SHOWN_CLASSES else ""
    return f"{text}; {len(classes)} classes with their rows: {shown}{more}"


def _told_features(id_column: str | None, dropped: list[str], encoder: TableEncoder) -> str:
    without = [f"--id {id_column!r}"] if id_column else []
    without += [f"--drop {name!r}" for name in dropped]
    start = f"Without {', '.join(without)}: " if without else ""
    return f"{start}{encoder.n_features_in_} columns become {encoder.n_features_out_} features"


def _warnings(features: Any) -> Iterator[str]:
    for name in features.columns:
        values = column_values(features[name], name)
        if looks_like_an_id(values):
            cells = "texts" if values.dtype.kind == "O" else "whole numbers"
            word = shlex.quote(name)
            yield (
                f"Warning: {name!r} looks like an id, as its {cells} are all different. If it says "
                f"nothing of the target, pass --id {word} or --drop {word}"
            )
