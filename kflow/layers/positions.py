"""The points that a flow carries along, in coordinates that change together with them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kflow._base.array_types import FloatArray
from kflow.data.arrays import as_matrix
from kflow.data.chunks import Scaling
from kflow.layers.block import Block
from kflow.layers.motion import Motion
from kflow.layers.rank_reduction import Rotation
from kflow.layers.subspace import Subspace

__all__ = ["CarriedPoints", "coordinates"]


@dataclass(frozen=True)
class CarriedPoints:
    """Points that a flow carries, in coordinates that change together with them.

    Attributes
    ----------
    sets : dict of str to ndarray (n, k)
        Coordinates; those of the training points under ``""``, which come first.
    frozen : dict of str to ndarray (n, k_0 - k)
        Coordinates that no longer move, those of the last rotation first.
    rotations : tuple of Rotation
        How the coordinates came about, the first rotation first.
    displacements : dict of str to ndarray (n, q)
        What the first q coordinates move by in the last layer, before its step.
    """

    sets: dict[str, FloatArray]
    frozen: dict[str, FloatArray]
    rotations: tuple[Rotation, ...] = ()
    displacements: dict[str, FloatArray] = field(default_factory=dict)

    @classmethod
    def before_layers(cls, sets: dict[str, FloatArray]) -> CarriedPoints:
        """Return points in their first coordinates, all of which move."""
        return cls(sets, {name: points[:, :0].copy() for name, points in sets.items()})

    def at_rest(self, n_fixed: int) -> CarriedPoints:
        """Return the points with displacements of zero."""
        return replace(
            self,
            displacements={
                name: np.zeros((len(points), points.shape[1] - n_fixed), points.dtype)
                for name, points in self.sets.items()
            },
        )

    def rotated(self, rotation: Rotation) -> CarriedPoints:
        """Return the points in other coordinates, without displacements."""
        sets, frozen = {}, {}
        for name, points in self.sets.items():
            sets[name], dropped = rotation(points)
            frozen[name] = np.hstack([dropped, self.frozen[name]])
        return CarriedPoints(sets, frozen, (*self.rotations, rotation))

    def through(self, block: Block, motion: Motion) -> CarriedPoints:
        """Return the points after a block. Their coordinates may be changed in place."""
        points = self if block.rotation is None else self.rotated(block.rotation)
        for values in points.sets.values():
            motion.through(values, block.layers)
        return points

    def first_coordinates(self, name: str) -> FloatArray:
        """Return the coordinates (n, q) that moved in the first layer, all rotations undone."""
        moving, frozen = self.sets[name][:, :-1], self.frozen[name]
        for rotation in reversed(self.rotations):
            n_dropped = len(rotation.matrix) - rotation.kept
            moving = rotation.undone(moving, frozen[:, :n_dropped])
            frozen = frozen[:, n_dropped:]
        return moving


def coordinates(
    X: FloatArray, subspace: Subspace | None, scaling: Scaling | None, dtype: np.dtype[Any]
) -> FloatArray:
    """Return a flow's coordinates of scaled points, never X itself."""
    if subspace is not None:
        return subspace.reduce(X, scaling=scaling, dtype=dtype)
    scaled = X if scaling is None else scaling(X)
    points = as_matrix(scaled, "X", dtype=dtype)
    return points.copy() if np.may_share_memory(points, X) else points
