"""``kflow predict``: predict with a model."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

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
    "--output",
    type=click.Path(path_type=Path),
    help="File of the predictions: FILE.csv with one prediction in a line, or FILE.npz with an "
    "array y.  [default: standard output]",
)
def predict(model: Path, data: Path, target: str | None, output: Path | None) -> None:
    """Predict with MODEL for the points in DATA, a .npz file (array X) or a .csv file.

    A model that was fitted to a table finds its columns by their names and ignores others.
    """
    if output is not None and output.suffix.lower() not in (".csv", ".npz"):
        raise click.UsageError("--output must end in .csv or .npz")
    if output is not None:
        _check_file(output)

    from kflow.cli.evaluate import predict_columns
    from kflow.datasets import load_points
    from kflow.persistence import load

    estimator = load(model)
    if not hasattr(estimator, "predict"):
        raise ValueError(f"{model} holds a {type(estimator).__name__}, which predicts nothing")
    names = getattr(estimator, "feature_names_in_", None)
    points = load_points(
        data, estimator.n_features_in_, target, None if names is None else names.tolist()
    )
    _write(predict_columns(estimator, points), output)


def _check_file(path: Path) -> None:
    """Raise OSError before the work if its result cannot be written."""
    place = path if path.exists() else path.parent
    if not place.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not os.access(place, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))


def _write(predicted: npt.NDArray[np.generic], output: Path | None) -> None:
    """Write predictions to a file, or to standard output."""
    if output is not None and output.suffix.lower() == ".npz":
        np.savez(output, y=predicted)
        return
    lines = "".join(f"{value}\n" for value in predicted.tolist())
    if output is not None:
        output.write_text(lines)
    else:
        click.echo(lines, nl=False)
