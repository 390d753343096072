"""Where the points of a flow are, in coordinates that change together with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kflow._base.array_types import FloatArray
from kflow.data.arrays import as_matrix
from kflow.data.chunks import Scaling
from kflow.engine.device_array import DeviceArray, to_host
from kflow.layers.block import Block
from kflow.layers.motion import Motion
from kflow.layers.rank_reduction import RankReduction
from kflow.layers.subspace import Subspace

__all__ = ["TRAINING", "Positions", "coordinates"]


# The name of the training points among the sets of a flow; no other set can have it.
TRAINING = ""


@dataclass(frozen=True)
class Positions:
    """Where points are, in coordinates that change together for all of them.

    Attributes
    ----------
    sets : dict of str to ndarray (n, k)
        Coordinates of each set of points; those of the training points, ``TRAINING``, come first.
    frozen : dict of str to ndarray (n, k_0 - k)
        Coordinates that no longer move, those of the last reduction first.
    reductions : tuple of RankReduction
        How the coordinates came about, the first reduction first.
    """

    sets: dict[str, FloatArray]
    frozen: dict[str, FloatArray]
    reductions: tuple[RankReduction, ...] = ()

    @classmethod
    def before_layers(cls, sets: dict[str, FloatArray]) -> Positions:
        """Return positions in the first coordinates, all of which move."""
        return cls(sets, {name: points[:, :0].copy() for name, points in sets.items()})

    @classmethod
    def of(cls, points: FloatArray) -> Positions:
        """Return the positions of training points alone, before all layers."""
        return cls.before_layers({TRAINING: points})

    @property
    def training(self) -> FloatArray:
        """Coordinates of the training points, (N, k)."""
        return self.sets[TRAINING]

    @property
    def followed(self) -> dict[str, FloatArray]:
        """Coordinates of the other sets, by their names."""
        return {name: points for name, points in self.sets.items() if name != TRAINING}

    @property
    def n_coordinates(self) -> int:
        """Number of coordinates of a point, k."""
        return int(self.training.shape[1])

    def beside(self, points: FloatArray) -> Positions:
        """Return positions in the memory in which `points` are, if that is a device's; else these."""
        if not isinstance(points, DeviceArray):
            return self

        def moved(arrays: dict[str, FloatArray]) -> dict[str, FloatArray]:
            return {name: points.beside(to_host(array)) for name, array in arrays.items()}

        return replace(self, sets=moved(self.sets), frozen=moved(self.frozen))

    def reduced_by(self, reduction: RankReduction) -> Positions:
        """Return the positions in the coordinates after a reduction."""
        sets, frozen = {}, {}
        for name, points in self.sets.items():
            sets[name], dropped = reduction(points)
            frozen[name] = np.hstack([dropped, self.frozen[name]])
        return Positions(sets, frozen, (*self.reductions, reduction))

    def through(self, block: Block, motion: Motion) -> Positions:
        """Return the positions after a block. The arrays of this object may be changed in place."""
        positions = self if block.reduction is None else self.reduced_by(block.reduction)
        for points in positions.sets.values():
            motion.through(points, block.layers)
        return positions

    def first_coordinates(self, name: str) -> FloatArray:
        """Return the coordinates (n, q) that moved in the first layer, undoing all reductions."""
        moving, frozen = self.sets[name][:, :-1], self.frozen[name]
        for reduction in reversed(self.reductions):
            n_dropped = len(reduction.matrix) - reduction.kept
            moving = reduction.undone(moving, frozen[:, :n_dropped])
            frozen = frozen[:, n_dropped:]
        return moving


def coordinates(
    X: FloatArray, subspace: Subspace | None, scaling: Scaling | None, dtype: np.dtype[Any]
) -> FloatArray:
    """Return the coordinates in which a flow moves scaled points. The array is never X itself."""
    if subspace is not None:
        return subspace.reduce(X, scaling=scaling, dtype=dtype)
    scaled = X if scaling is None else scaling(X)
    points = as_matrix(scaled, "X", dtype=dtype, are_points=True)
    return points.copy() if np.may_share_memory(points, X) else points
