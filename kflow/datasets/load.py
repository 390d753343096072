"""Read and check data sets for the command line, examples and benchmarks; split off a test part."""

from __future__ import annotations

import csv
import math
import os
import zipfile
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import common_dtype
from kflow._base.array_types import FloatArray
from kflow._base.npy import read_array
from kflow._base.short_repr import ShortRepr
from kflow._base.warn import warn_user
from kflow.data.arrays import as_matrix
from kflow.data.csv_format import header_is_data
from kflow.data.idx_file import read_idx_images
from kflow.data.image_folder import read_image_folder
from kflow.data.targets import Task, as_targets, held_out_rows

__all__ = ["DATASETS", "Dataset", "load_dataset", "load_file", "load_image_folder", "load_points"]

DATASETS = ("digits", "mnist", "fashion-mnist", "cifar-10")

# The data set that lies in folders of classes, for which others have IDX files.
_IN_FOLDERS = "cifar-10"


@dataclass(frozen=True, eq=False, repr=False)
class Dataset(ShortRepr):
    """Training and test points with their targets.

    Attributes
    ----------
    name : str
        The name of the data set, such as "digits", or that of the file.
    X_train, X_test : ndarray, shape (N, d) and (n, d)
        Points as they are stored, without scaling.
    y_train, y_test : ndarray, shape (N,) and (n,)
        Class labels, or numbers for regression.
    task : "classification" or "regression"
        The task for which `y_train` are targets.
    image_shape : tuple of int, optional
        Rows and columns, and 3 for images in colour, if the points are images.
    feature_names : tuple of str, optional
        Names of the columns of the points, if they have names that are all different.
    """

    name: str
    X_train: FloatArray
    y_train: npt.NDArray[Any]
    X_test: FloatArray
    y_test: npt.NDArray[Any]
    task: Task
    image_shape: tuple[int, ...] | None = None
    feature_names: tuple[str, ...] | None = None


def load_dataset(name: str, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Return one of the known data sets.

    Parameters
    ----------
    name : {"digits", "mnist", "fashion-mnist", "cifar-10"}
        "digits": the 1797 images of scikit-learn, of which a quarter of each class is held out. The
        others: the training and test images from `data_dir`, 60000 and 10000 in grey, or for
        "cifar-10" 50000 and 10000 in colour, whose labels are the names of the classes.
    data_dir : path, optional
        Folder of the IDX files ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
        ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, gzipped (``.gz``) or not. For
        "cifar-10" the folder of ``images.zip``, or the one into which it was unpacked: it holds
        ``train/<class>/*.jpg`` and ``test/<class>/*.jpg``, read as by `load_image_folder`.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If the name is unknown, or a file is damaged or of another kind.
    """
    if name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        X, y = digits.data.astype(np.float32), digits.target.astype(np.int64)
        return _hold_out(name, X, y, "classification", (8, 8))
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; known are {', '.join(DATASETS)}")
    if data_dir is None:
        files = (
            "images.zip, or train/ and test/ with a folder for each class"
            if name == _IN_FOLDERS
            else "train-images-idx3-ubyte.gz and its three siblings"
        )
        raise ValueError(
            f"{name} is read from files: pass data_dir (--data-dir), the folder that holds {files}"
        )
    if name == _IN_FOLDERS:
        return replace(_images_in_parts(Path(data_dir)), name=name)
    X_train, y_train, shape = read_idx_images(Path(data_dir), "train")
    X_test, y_test, test_shape = read_idx_images(Path(data_dir), "t10k")
    if shape != test_shape:
        raise ValueError(
            f"{data_dir}: training images of {shape} and test images of {test_shape} pixels do not "
            "belong together: download the four files again"
        )
    return Dataset(name, X_train, y_train, X_test, y_test, "classification", shape)


def load_file(
    path: str | os.PathLike[str], target: str | None = None, task: Task | None = None
) -> Dataset:
    """Return the data of a .npz or .csv file.

    Parameters
    ----------
    path : path
        .npz: arrays ``X`` (N, d) and ``y`` (N,), and optionally ``X_test`` and ``y_test``.
        .csv: a header, and numbers in all columns except that of the target. Tables with text or
        empty cells are for `kflow.make_table_pipeline`. If the first line holds values, it counts as
        a row, with a warning.
    target : str, optional
        .npz: name of the array used as ``y``; its test part is ``<target>_test``. .csv: name of the
        target's column; if not given, the last column.
    task : "classification" or "regression", optional
        If not given: text, booleans and at most sqrt(N) distinct whole numbers are classes,
        anything else is regression.

    Returns
    -------
    Dataset
        If the file has no test part, a quarter of the rows (of each class) is held out, always the
        same quarter.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If its content is not as described.
    """
    path = Path(path)
    if _kind(path) == "csv":
        header, rows = _read_csv(path)
        column = _target_column(path, header, target)
        features = [number for number in range(len(header)) if number != column]
        X = _columns(path, header, rows, features)
        cells = np.array([row[column].strip() for row in rows], dtype=object)
        targets = as_targets(cells, task, str(path))
        names = tuple(header[number] for number in features)
        unique = names if len(set(names)) == len(names) else None
        return _hold_out(path.name, X, targets.values, targets.task, feature_names=unique)

    name = target or "y"
    arrays = _read_npz(path, ("X", name), ("X_test", f"{name}_test"))
    X = _points(path, arrays, "X")
    targets = as_targets(_target_array(path, arrays, name, len(X)), task, str(path))
    y, task = targets.values, targets.task
    if "X_test" not in arrays:
        return _hold_out(path.name, X, y, task)
    X_test = _points(path, arrays, "X_test", n_columns=X.shape[1])
    values = _target_array(path, arrays, f"{name}_test", len(X_test))
    return Dataset(path.name, X, y, X_test, as_targets(values, task, str(path)).values, task)


def load_image_folder(path: str | os.PathLike[str]) -> Dataset:
    """Return the images of a folder or a ZIP file with one subfolder for each class.

    Parameters
    ----------
    path : path
        PNG and JPEG files, all of one size. The class of an image is the name of the folder that it
        lies in. If there are ``train/`` and ``test/`` with the classes inside, they are the two parts;
        otherwise a quarter of the images of each class is held out, always the same quarter.

    Returns
    -------
    Dataset
        Pixels as float32, from 0 to 255: of 16 bits for each colour the upper eight, and without
        transparency. Images are in grey if all files are, else in colour.

    Raises
    ------
    ImportError
        If Pillow is missing.
    OSError
        If a file cannot be read.
    StorageError
        If the images exceed the memory.
    ValueError
        If there are no classes, or images that do not fit together.
    """
    return _images_by_class(Path(path))


def _images_in_parts(folder: Path) -> Dataset:
    """Return the images of a folder with train/ and test/, or of the archive in it."""
    archive = folder / "images.zip"
    if archive.exists():
        return _images_by_class(archive, needs_parts=True)
    if not all((folder / part).is_dir() for part in ("train", "test")):
        raise FileNotFoundError(
            f"{folder} holds neither images.zip nor train/ and test/: pass the folder that holds them"
        )
    return _images_by_class(folder, needs_parts=True)


def _images_by_class(path: Path, *, needs_parts: bool = False) -> Dataset:
    folder = read_image_folder(path)
    if folder.n_ignored:
        warn_user(
            f"{path}: {folder.n_ignored} files are no .png or .jpg files and are left out",
            UserWarning,
        )
    shape = folder.images.shape[1:]
    places = [PurePosixPath(name).parts[:-1] for name in folder.names]
    alone = [name for name, place in zip(folder.names, places, strict=True) if not place]
    if alone:
        raise ValueError(
            f"{path}: {alone[0]} lies in no subfolder: the subfolder's name is the class of an image"
        )
    y = np.array([place[-1] for place in places])
    parts = np.array([place[0] if len(place) > 1 else "" for place in places])
    if set(parts) == {"train", "test"}:
        held = parts == "test"
    elif needs_parts:
        raise ValueError(f"{path}: all images must lie in train/<class>/ or test/<class>/")
    else:
        held = held_out_rows(y, "classification", path.name)
    X_train, X_test = (
        folder.images[rows].reshape(-1, math.prod(shape)).astype(np.float32)
        for rows in (~held, held)
    )
    return Dataset(path.name, X_train, y[~held], X_test, y[held], "classification", shape)


def load_points(
    path: str | os.PathLike[str],
    n_features: int,
    target: str | None = None,
    feature_names: Sequence[str] | None = None,
) -> FloatArray:
    """Return the points of a .npz or .csv file, for prediction.

    Parameters
    ----------
    path : path
        .npz: the array ``X``. .csv: a header and columns of numbers.
    n_features : int
        Number of columns that the model knows.
    target : str, optional
        .csv without `feature_names`: name of the column that is left out. If not given, the last
        column is left out if the file has one column more than `n_features`.
    feature_names : sequence of str, optional
        .csv: names of the model's columns, in the model's order. Other columns are ignored. Without
        names, the columns are taken in the order of the file.

    Returns
    -------
    ndarray, shape (n, n_features)

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If its content is not as described.
    """
    path = Path(path)
    if _kind(path) == "npz":
        return _points(path, _read_npz(path, ("X",)), "X", n_columns=n_features)
    header, rows = _read_csv(path)
    if feature_names is not None:
        features = [_column(path, header, name) for name in feature_names]
        return _columns(path, header, rows, features)
    column = None
    if len(header) == n_features + 1 or target in header:
        column = _target_column(path, header, target)
    found = len(header) - (column is not None)
    if found != n_features:
        raise ValueError(f"{path}: {found} feature columns, where the model has {n_features}")
    return _columns(path, header, rows, [n for n in range(len(header)) if n != column])


# ---- NPZ ------------------------------------------------------------------------------------------


def _kind(path: Path) -> str:
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("csv", "npz"):
        raise ValueError(f"{path}: only .npz and .csv files can be read")
    return kind


def _read_npz(
    path: Path, needed: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, npt.NDArray[Any]]:
    """Return the needed arrays, and all optional ones if the file has any of them."""
    with open(path, "rb") as file:
        try:
            archive = zipfile.ZipFile(file)
        except Exception:  # zipfile raises nearly anything for a damaged directory
            raise ValueError(f"{path} is not a .npz file, or it is damaged") from None
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if any(name in members for name in optional):
            needed += optional
        missing = [name for name in needed if name not in members]
        if missing:
            raise ValueError(
                f"{path} has no array {missing[0]!r}; it has {', '.join(sorted(members)) or 'none'}"
            )
        try:
            return {name: _array_of(archive, members[name]) for name in needed}
        except Exception as error:  # as above, and what NumPy raises for a bad header
            raise ValueError(f"{path} is damaged or holds Python objects: {error}") from None


def _array_of(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    with archive.open(member) as content:
        return read_array(content, member.file_size)


def _points(
    path: Path, arrays: Mapping[str, npt.NDArray[Any]], name: str, n_columns: int | None = None
) -> FloatArray:
    try:
        return as_matrix(
            arrays[name],
            name,
            dtype=common_dtype(arrays[name]),
            n_columns=n_columns,
            allow_no_rows=False,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _target_array(
    path: Path, arrays: Mapping[str, npt.NDArray[Any]], name: str, n_rows: int
) -> npt.NDArray[Any]:
    values = arrays[name]
    if values.shape not in ((n_rows,), (n_rows, 1)):
        raise ValueError(
            f"{path}: {name} must hold one value for each of {n_rows} rows, got {values.shape}"
        )
    return values.reshape(n_rows)


# ---- CSV ------------------------------------------------------------------------------------------


def _read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            rows = []
            for row in reader:
                if row and len(row) != len(header):
                    raise ValueError(
                        f"line {reader.line_num} has {len(row)} cells, the header {len(header)}"
                    )
                if row:
                    rows.append(row)
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    if rows and header_is_data([header, *rows[:100]]):
        warn_user(
            f"{path}: the first line holds values, not names: it counts as a row, and the columns are "
            "called column_1, column_2, ...",
            UserWarning,
        )
        rows.insert(0, header)
        header = [f"column_{place}" for place in range(1, len(header) + 1)]
    if not rows:
        raise ValueError(f"{path} has no data: it must hold a header and rows of cells")
    return header, rows


def _target_column(path: Path, header: list[str], target: str | None) -> int:
    return len(header) - 1 if target is None else _column(path, header, target)


def _column(path: Path, header: list[str], name: str) -> int:
    if header.count(name) != 1:
        problem = "more than one column" if name in header else "no column"
        raise ValueError(f"{path} has {problem} {name!r}; its columns are {', '.join(header)}")
    return header.index(name)


def _columns(
    path: Path, header: list[str], rows: list[list[str]], columns: list[int]
) -> FloatArray:
    """Return the columns with the given numbers as an array of floats."""
    if not columns:
        raise ValueError(f"{path} has no feature columns")
    flat = array("d")  # not a list, in which each number takes four times the memory
    for number, row in enumerate(rows, start=1):
        try:
            flat.extend([float(row[column]) for column in columns])
        except ValueError:
            bad = next(column for column in columns if not _is_number(row[column]))
            raise ValueError(
                f"{path}: row {number}, column {header[bad]!r}: {row[bad]!r} is not a number; encode "
                "or remove it"
            ) from None
    X = np.frombuffer(flat, np.float64).reshape(len(rows), len(columns))
    return _points(path, {"the table": X}, "the table")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


# ---- targets --------------------------------------------------------------------------------------


def _hold_out(
    name: str,
    X: FloatArray,
    y: npt.NDArray[Any],
    task: Task,
    image_shape: tuple[int, int] | None = None,
    feature_names: tuple[str, ...] | None = None,
) -> Dataset:
    held = held_out_rows(y, task, name)
    return Dataset(name, X[~held], y[~held], X[held], y[held], task, image_shape, feature_names)
