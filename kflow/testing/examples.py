"""Data and folders for the suites of stores and of places for points."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kflow._base.array_types import FloatArray

__all__ = ["flat_data", "numbered_folder"]


def flat_data(n: int) -> tuple[FloatArray, FloatArray]:
    """Return n points that nearly lie in a plane of their four dimensions, and their classes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4)) @ np.diag([1.0, 1.0, 0.3, 0.001])
    return X, np.sign(X[:, 0] * X[:, 1])


def numbered_folder(parent: Path, number: int) -> Path:
    """Make an empty folder within another, and return it."""
    folder = parent / str(number)
    folder.mkdir()
    return folder
