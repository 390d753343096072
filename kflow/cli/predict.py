"""``kflow predict``: predict with a model."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from kflow._base.files import replacing
from kflow.cli.options import table_format_options, with_options

__all__ = ["predict"]


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--target",
    help="Column of DATA to leave out, if MODEL knows no names of columns.  [default: the last "
    "column, if DATA has one more than MODEL]",
)
@click.option(
    "--id",
    "id_column",
    metavar="COLUMN",
    help="Column of a table that names the rows in the predictions.  [default: that of kflow fit, "
    "else the number of the row]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="File of the predictions: FILE.csv, or FILE.npz with an array y.  [default: standard "
    "output]",
)
@with_options(*table_format_options())
def predict(
    model: Path,
    data: Path,
    target: str | None,
    id_column: str | None,
    output: Path | None,
    **form: str,
) -> None:
    """Predict with MODEL for the rows of DATA, a table, a .npz file (array X), or image files.

    A model that was fitted to a table finds its columns by their names and ignores others. It prints a
    table: the id or the number of each row, the prediction, and the probability of each class. A model
    of images does so for a folder or a .zip of PNG and JPEG files. Other models print one prediction in
    a line.
    """
    if output is not None and output.suffix.lower() not in (".csv", ".npz"):
        raise click.UsageError("--output must end in .csv or .npz")
    if output is not None:
        _check_file(output)

    from kflow.persistence import load

    estimator = load(model)
    if not hasattr(estimator, "predict"):
        raise ValueError(f"{model} holds a {type(estimator).__name__}, which predicts nothing")
    if hasattr(estimator, "id_column"):
        from kflow.cli.predict_table import predicted_table

        table = predicted_table(estimator, data, id_column, form)
        _write(table.arrays(), table.text(), output)
        return
    if id_column is not None or set(form.values()) != {"auto"}:
        raise click.UsageError(
            "--id, --separator, --encoding and --decimal belong to models of tables, and MODEL was "
            "fitted to arrays or images"
        )
    if hasattr(estimator, "encoder") and (data.is_dir() or data.suffix.lower() == ".zip"):
        from kflow.cli.predict_images import predicted_images

        if target is not None:
            raise click.UsageError("--target names a column, and images have none")
        table = predicted_images(estimator, data)
        _write(table.arrays(), table.text(), output)
        return
    y = _predicted(estimator, data, target)
    _write({"y": y}, "".join(f"{value}\n" for value in y.tolist()), output)


def _predicted(estimator: Any, data: Path, target: str | None) -> npt.NDArray[Any]:
    """Return the predictions of a model that was fitted to arrays."""
    from kflow.cli.evaluate import predict_columns
    from kflow.datasets import load_points

    names = getattr(estimator, "feature_names_in_", None)
    points = load_points(
        data, estimator.n_features_in_, target, None if names is None else names.tolist()
    )
    return predict_columns(estimator, points)


def _check_file(path: Path) -> None:
    """Raise OSError before the work if its result cannot be written."""
    place = path if path.exists() else path.parent
    if not place.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not os.access(place, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))


def _write(arrays: dict[str, npt.NDArray[Any]], text: str, output: Path | None) -> None:
    """Write predictions to a file, as arrays or as text, or to standard output."""
    if output is None:
        click.echo(text, nl=False)
        return
    with replacing(output) as file:
        if output.suffix.lower() == ".npz":
            np.savez(file, **arrays)  # type: ignore[arg-type]
        else:
            file.write(text.encode())
