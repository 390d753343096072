"""Handwritten digits as points in a few coordinates, for measurements that are repeated many times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles, FloatArray, Rows
from kflow.datasets import load_dataset
from kflow.kernels import Radial
from kflow.linear.interpolant import Interpolant
from kflow.operations import one_hot

__all__ = ["DigitPoints", "digit_points", "error_of"]

# Nugget of the interpolants that classify.
_NUGGET = 0.01


@dataclass(frozen=True, eq=False)
class DigitPoints:
    """Images of digits as points.

    Attributes
    ----------
    X, X_test : ndarray, shape (N, d) and (n, d)
        Points for training and for testing.
    y, y_test : ndarray of int
        Their classes.
    """

    X: Doubles
    y: npt.NDArray[Any]
    X_test: Doubles
    y_test: npt.NDArray[Any]


def digit_points(n_coordinates: int = 20) -> DigitPoints:
    """Return the images, scaled to norm 1, in their leading coordinates.

    The coordinates are those along the leading right singular vectors of the training images, which
    are not centred.
    """
    data = load_dataset("digits")
    train, test = (
        X / np.linalg.norm(X, axis=1, keepdims=True)
        for X in (data.X_train.astype(np.float64), data.X_test.astype(np.float64))
    )
    basis = np.linalg.svd(train, full_matrices=False)[2][:n_coordinates].T
    return DigitPoints(train @ basis, data.y_train, test @ basis, data.y_test)


def error_of(
    points: FloatArray,
    labels: npt.NDArray[Any],
    others: FloatArray,
    other_labels: npt.NDArray[Any],
    kernel: Radial,
    rows: Rows | None = None,
) -> float:
    """Return the part of other points that interpolation from points, or from some rows, gets wrong."""
    values = one_hot(labels)
    if rows is not None:
        points, values = points[rows], values[rows]
    interpolant = Interpolant(points, values, kernel=kernel, nugget=_NUGGET, n_threads=1)
    predicted = np.unique(labels)[interpolant(others).argmax(axis=1)]
    return float((predicted != other_labels).mean())
