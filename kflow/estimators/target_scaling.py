"""Targets of a regression with mean 0 and variance 1, and the way back to the units of y."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from kflow._base.array_types import Doubles, FloatArray
from kflow.data.scaling import standardisation
from kflow.errors import ModelFileError
from kflow.storage.model_file import ModelReader

__all__ = ["TargetScaling", "read_outputs"]


@dataclass(frozen=True)
class TargetScaling:
    """A map of targets, fixed by those of the training data.

    Attributes
    ----------
    mean, scale : ndarray, shape (m,)
        Mean and standard deviation of each output; the deviation of a constant output counts as 1.
    one_dimensional : bool
        Whether y has the shape (N,), so that predictions have one dimension, too.
    """

    mean: Doubles
    scale: Doubles
    one_dimensional: bool

    def __post_init__(self) -> None:
        """Check that one dimension is one output."""
        if self.one_dimensional and len(self.mean) != 1:
            raise ValueError("targets of one dimension cannot have several outputs")

    @classmethod
    def fit(cls, y: FloatArray, weights: Doubles | None = None) -> TargetScaling:
        """Learn the map from targets.

        Parameters
        ----------
        y : ndarray of float64, shape (N,) or (N, m)
            Targets.
        weights : ndarray of float64, shape (N,), optional
            Positive weights of the rows, 1 by default.

        Raises
        ------
        ValueError
            If their squares overflow.
        """
        mean, scale = standardisation(y.reshape(len(y), -1), "y", weights)
        return cls(mean, scale, one_dimensional=y.ndim == 1)

    def __call__(self, y: FloatArray) -> Doubles:
        """Return targets (N,) or (N, m) as scaled columns, (N, m)."""
        return np.asarray((y.reshape(len(y), -1) - self.mean) / self.scale)

    def undone(self, values: FloatArray) -> Doubles:
        """Return scaled columns (n, m) in the units and the shape of y."""
        return self.in_shape_of_y(values * self.scale + self.mean)

    def in_shape_of_y(self, values: FloatArray) -> Doubles:
        """Return columns (n, m) of float64 as (n,) if y has one dimension."""
        return cast(Doubles, values[:, 0] if self.one_dimensional else values)


def read_outputs(reader: ModelReader, name: str, n_outputs: int) -> Doubles:
    """Return an array of a model file that holds one number for each output.

    Raises
    ------
    ModelFileError
        If it holds something else.
    """
    numbers = reader.array(name, ndim=1)
    if len(numbers) != n_outputs or numbers.dtype.kind != "f" or not np.isfinite(numbers).all():
        raise ModelFileError(f"the model's {name} does not fit its {n_outputs} outputs")
    return numbers.astype(np.float64)
