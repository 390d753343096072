"""The points and targets of a flow, in memory as a whole or a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kflow.data.arrays import as_matrix
from kflow.data.chunks import Data, Scaling
from kflow.data.labels import ClassLabels
from kflow.data.sources import FileSource, Source, as_source, copied, reopened, spool
from kflow.engine import HOST
from kflow.engine.device_array import to_host
from kflow.engine.interface import Engine

__all__ = ["TrainingData"]


# Number of rows of the targets that are looked through at a time.
_ROWS = 2**16


@dataclass(frozen=True)
class TrainingData:
    """Points and targets, from which some rows are read at a time.

    Attributes
    ----------
    X : ndarray or Source
        Points (N, d).
    Y : ndarray or Source
        Targets (N, m), from which single rows are read.
    labels : ClassLabels
        Whether the targets are classes, and which ones.
    """

    X: Data
    Y: Data
    labels: ClassLabels

    @classmethod
    def in_memory(
        cls,
        X: Any,
        Y: Any,
        dtype: np.dtype[Any],
        scaling: Scaling | None,
        engine: Engine = HOST,
    ) -> TrainingData:
        """Return data from arrays, after a check; with a scaling, X is known to be finite.

        Points on the engine's device stay there. Targets come to the host, where flows keep them.

        Raises
        ------
        TypeError, ValueError
            If X or Y is no array, or if they do not fit each other.
        """
        if Y is None:
            raise TypeError(
                "Y is missing: pass the targets of X; a stream of pairs of both needs a "
                "memory_budget"
            )
        points = (
            X
            if scaling is not None
            else as_matrix(X, "X", dtype=dtype, allow_no_rows=False, are_points=True, engine=engine)
        )
        targets = to_host(
            as_matrix(
                Y, "Y", dtype=np.float64, n_rows=len(points), column_if_1d=True, engine=engine
            )
        )
        return cls(points, targets, ClassLabels([targets]))

    @classmethod
    def open(cls, X: Any, Y: Any, folder: Path | None, dtype: np.dtype[Any]) -> TrainingData:
        """Open arrays, or a stream of chunks, which is written to the folder first.

        Parameters
        ----------
        X : array or iterable
            Points, or, without Y, pairs of points and targets.
        Y : array or None
            Targets.
        folder : Path or None
            Folder for copies of data that cannot be read again, or not row by row.
        dtype : numpy.dtype
            Precision of the points.

        Raises
        ------
        TypeError, ValueError
            If X or Y is no array, or if they do not fit each other.
        """
        points: Source
        targets: Source
        if Y is None:
            points, targets = _stream(X, folder, dtype)
        else:
            points = as_source(X, dtype, "X")
            targets = as_source(Y, np.float64, "Y", column_if_1d=True)
            if len(points) != len(targets):
                raise ValueError(
                    f"Y must have {len(points)} rows, one for each row of X, got {len(targets)}"
                )
            if not targets.is_random_access:
                targets = copied(targets, folder)
        return cls(points, targets, ClassLabels(chunk for _, chunk in targets.chunks(_ROWS)))


def _stream(X: Any, folder: Path | None, dtype: np.dtype[Any]) -> tuple[FileSource, FileSource]:
    if hasattr(X, "shape"):
        raise TypeError("Y is missing: pass the targets of X")
    if folder is None:
        raise ValueError(
            "X is a stream of chunks, which must be kept to be read again: pass checkpoint=<folder>"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if X is None:
        return reopened(folder)
    if not isinstance(X, Iterable):
        raise TypeError(f"X must be an array or an iterator of chunks, got {type(X).__name__}")
    return spool(X, folder, dtype)
