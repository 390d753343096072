"""Images of norm 1 in a few coordinates: the points of the questions on robustness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles
from kflow.datasets import Dataset
from kflow.layers.subspace import Subspace

__all__ = ["N_COORDINATES", "UnitImages"]

# Coordinates of an image: all pixels of digits, and the leading singular vectors of larger images.
N_COORDINATES = 64


@dataclass(frozen=True, eq=False)
class UnitImages:
    """Images scaled to norm 1 and projected: for training, held out of it, and for testing.

    The projection lengthens no perturbation, so that what no perturbation of the coordinates can do, none
    of the image can.

    Attributes
    ----------
    train, held_out, test : (ndarray, ndarray)
        Points (n, k) in float64, and their labels.
    """

    train: tuple[Doubles, npt.NDArray[Any]]
    held_out: tuple[Doubles, npt.NDArray[Any]]
    test: tuple[Doubles, npt.NDArray[Any]]

    @classmethod
    def draw(cls, data: Dataset, n_train: int, n_held_out: int, seed: int) -> UnitImages:
        """Draw images for training and images held out at random, and take all test images."""
        rng = np.random.default_rng([seed, 11])
        rows = rng.permutation(len(data.y_train))[: n_train + n_held_out]
        points, test = (_unit(images) for images in (data.X_train[rows], data.X_test))
        train, held = np.split(np.arange(len(rows)), [n_train])
        subspace = Subspace.fit(points[train], min(N_COORDINATES, points.shape[1]))
        labels = data.y_train[rows]
        return cls(
            (points[train] @ subspace.basis, labels[train]),
            (points[held] @ subspace.basis, labels[held]),
            (test @ subspace.basis, data.y_test),
        )


def _unit(images: npt.NDArray[Any]) -> Doubles:
    points = images.astype(np.float64)
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))
