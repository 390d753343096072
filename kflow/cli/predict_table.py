"""The predictions of a model of tables, as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow.cli.columns import column_named
from kflow.cli.output import note
from kflow.data.table_file import TableFormat, read_table
from kflow.datasets import load_points
from kflow.estimators.column_values import column_values
from kflow.estimators.table_encoder import TableEncoder
from kflow.estimators.table_pipeline import TablePipeline

__all__ = ["PredictedTable", "predicted_table"]


@dataclass(frozen=True, eq=False)
class PredictedTable:
    """Predictions for the rows of a table.

    Attributes
    ----------
    id_name : str
        What names the rows: a column, or ``"row"``.
    ids : sequence of str or int, length n
        The names of the rows, or their numbers from 1.
    y : ndarray, shape (n,)
        Predicted classes or values.
    classes : ndarray, shape (n_classes,), or None
        The classes; None for regression.
    probabilities : ndarray, shape (n, n_classes), or None
        Their probabilities.
    """

    id_name: str
    ids: Any
    y: npt.NDArray[Any]
    classes: npt.NDArray[Any] | None = None
    probabilities: npt.NDArray[np.float64] | None = None

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the predictions as arrays by name."""
        arrays = {"y": self.y}
        if self.classes is not None and self.probabilities is not None:
            arrays |= {"classes": self.classes, "probabilities": self.probabilities}
        return arrays

    def text(self) -> str:
        """Return the predictions as the text of a CSV file."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        classes = [] if self.classes is None else self.classes.tolist()
        writer.writerow([self.id_name, "prediction", *(f"probability_{name}" for name in classes)])
        shares: Any = [()] * len(self.y) if self.probabilities is None else self.probabilities
        for row, value, parts in zip(self.ids, self.y.tolist(), shares, strict=True):
            writer.writerow([row, value, *(f"{part:.6f}" for part in parts)])
        return out.getvalue()


def predicted_table(
    model: TablePipeline, path: Path, id_column: str | None, form: Mapping[str, str]
) -> PredictedTable:
    """Predict for the rows of a file, and tell what is unusual about them.

    Parameters
    ----------
    model : TablePipeline
        The model.
    path : Path
        A table, or a .npz file with an array X of numbers in the order of the model's columns. A table
        needs no columns that training dropped. If the model has no names of columns, those of the table
        are taken in their order.
    id_column : str, optional
        The column that names the rows; by default the model's, if the table has it.
    form : mapping of str to str
        What the user says of the table, as `kflow.data.table_file.TableFormat` takes it.

    Raises
    ------
    ImportError, OSError, TypeError, ValueError
        If the file cannot be read, lacks a column, or has text where there were numbers.
    """
    frame, id_name, ids = _rows(model, path, id_column, form)
    for text in model.encoder.surprises(frame):
        note(text)
    if ids is None:
        id_name, ids = "row", range(1, len(frame) + 1)
    y = model.predict(frame)
    if not hasattr(model.estimator, "predict_proba"):
        return PredictedTable(id_name, ids, y)
    return PredictedTable(id_name, ids, y, model.classes_, model.predict_proba(frame))


def _rows(
    model: TablePipeline, path: Path, id_column: str | None, form: Mapping[str, str]
) -> tuple[Any, str, Any]:
    """Return the model's columns, and the name and the cells of the id's column; None without."""
    encoder = model.encoder
    names = getattr(encoder, "feature_names_in_", None)
    if path.suffix.lower() == ".npz":
        points = load_points(path, encoder.n_features_in_)
        return (points if names is None else _frame(points, names)), "", None
    wanted = id_column or model.id_column
    ids = () if wanted is None else (wanted,)
    form_, source = TableFormat(**form), str(path)
    file = read_table(path, form_, text=(*encoder.category_names_, *ids))
    for line in file.notes:
        note(line)
    columns = list(file.frame.columns)
    if id_column is not None:
        wanted = column_named(id_column, columns, source)
    if names is None:
        others = [name for name in columns if name != wanted]
        categories = _columns_in_order(encoder, others, source)
        if categories:  # only now is it known what the file calls them
            file = read_table(path, form_, text=(*categories, *ids))
        rows = file.frame[others].to_numpy(dtype=object)
    else:
        for column in encoder.columns_:
            if column.feature_names(column.name):
                column_named(column.name, columns, source)
        rows = file.frame.reindex(columns=names.tolist())
    if wanted is None:
        return rows, "", None
    if wanted not in columns:
        note(
            f"{path} has no column {wanted!r}: the predictions have the numbers of the rows instead"
        )
        return rows, "", None
    cells = column_values(file.frame[wanted], wanted)
    return rows, wanted, ["" if cell is None else cell for cell in cells]


def _frame(points: Any, names: Any) -> Any:
    import pandas

    return pandas.DataFrame(points, columns=names.tolist())


def _columns_in_order(encoder: TableEncoder, columns: list[str], source: str) -> list[str]:
    """Return which columns of a file hold categories, for a model without names of columns."""
    if len(columns) != encoder.n_features_in_:
        raise ValueError(
            f"{source} has {len(columns)} columns to predict from ({', '.join(columns)}), and the "
            f"model was fitted to an array of {encoder.n_features_in_}, whose columns have no names: "
            "pass a table with these columns in their order"
        )
    pairs = zip(columns, encoder.columns_, strict=True)
    return [name for name, column in pairs if column.name in encoder.category_names_]
