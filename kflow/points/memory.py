"""The points of a flow in memory: all, or only the followed ones if the others are elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from kflow._base.array_types import FloatArray, Rows
from kflow._base.locks import OwnLock
from kflow.engine.device_array import DeviceArray, to_host
from kflow.engine.interface import (
    FlowBatch,
    Layer,
    LayerOptions,
    LayerReport,
    MovingPoints,
)
from kflow.layers.block import Block
from kflow.layers.motion import Motion
from kflow.layers.positions import Positions
from kflow.layers.rank_reduction import RankReduction

__all__ = ["MemoryPoints"]


@dataclass(frozen=True)
class _Now:
    """The points at one rank.

    Attributes
    ----------
    moving : MovingPoints
        The coordinates of the points, which the engine moves.
    resting : Positions
        The coordinates that no longer move, and the reductions of the rank that froze them. The
        sets hold no points.
    n_coordinates : int
        Number of coordinates, k.
    n_bytes : int
        Bytes that all coordinates take.
    """

    moving: MovingPoints
    resting: Positions
    n_coordinates: int
    n_bytes: int


class MemoryPoints:
    """Sets of points that layers move in place, and whose rank may fall.

    The engine owns the coordinates and the data that it needs between two layers. Each set has a
    name. The training points come first, under the name `kflow.layers.positions.TRAINING`.

    Parameters
    ----------
    positions : Positions
        Positions of the points. The arrays belong to this object from then on.
    n_fixed : int
        Number of coordinates that do not move, which are the last ones.
    n_layers : int
        Number of layers that the points have seen.
    motion : Motion
        How points move.

    Attributes
    ----------
    lock : OwnLock
        Held while the points change. Other threads hold it while they read the points: the arrays
        that `after` returns change with the next layer.
    """

    def __init__(self, positions: Positions, n_fixed: int, n_layers: int, motion: Motion) -> None:
        self.lock = OwnLock()
        self._n_fixed = n_fixed
        self._motion = motion
        self._replace(positions, n_layers)

    def _replace(self, positions: Positions, n_layers: int) -> None:
        """Take other positions in one step: an exception leaves either the old ones or the new."""
        moving = self._motion.engine.moving_points(
            list(positions.sets.values()), self._n_fixed, self._motion.profile, n_layers
        )
        arrays = (*positions.sets.values(), *positions.frozen.values())
        self._now = _Now(
            moving,
            replace(positions, sets=dict.fromkeys(positions.sets, positions.training[:0].copy())),
            positions.n_coordinates,
            sum(array.nbytes for array in arrays),
        )

    @property
    def rank(self) -> int:
        """Number of coordinates that move."""
        return self._now.n_coordinates - self._n_fixed

    @property
    def n_fixed(self) -> int:
        """Number of coordinates that do not move, which are the last ones."""
        return self._n_fixed

    @property
    def n_bytes(self) -> int:
        """Bytes that the coordinates take, including those that no longer move."""
        return self._now.n_bytes

    @property
    def reductions(self) -> dict[int, RankReduction]:
        """The reductions of the rank, by the number of the layer before which they come."""
        return {reduction.layer: reduction for reduction in self._now.resting.reductions}

    def reduction_before(self, layer: int) -> RankReduction | None:
        """Return the reduction of the rank before a layer; None if there was none."""
        reductions = self._now.resting.reductions
        return reductions[-1] if reductions and reductions[-1].layer == layer else None

    def layer(
        self,
        number: int,
        batch: FlowBatch,
        targets: FloatArray,
        labels: npt.NDArray[Any] | None,
        options: LayerOptions,
        n_threads: int,
    ) -> tuple[Layer, LayerReport]:
        """Run a layer on the training points; see `kflow.engine.interface.MovingPoints.layer`."""
        with self.lock:
            return self._now.moving.layer(number, batch, targets, labels, options, n_threads)

    @property
    def on_device(self) -> bool:
        """Whether the points were given as arrays of the engine's device."""
        return isinstance(self._now.resting.training, DeviceArray)

    def after(self, n_layers: int, n_threads: int, *, on_device: bool = False) -> Positions:
        """Return the positions after `n_layers` layers; the arrays are not copies.

        These layers must be all that were run and counted. If the points were given as arrays of a device,
        the positions may be had there.
        """
        with self.lock:
            now = self._now
            now.moving.settle(n_layers, n_threads)
            coordinates = now.moving.on_device() if on_device else now.moving.to_host()
            sets = dict(zip(now.resting.sets, coordinates, strict=True))
            if on_device:
                return replace(now.resting, sets=sets)
            frozen = {name: to_host(array) for name, array in now.resting.frozen.items()}
            return replace(now.resting, sets=sets, frozen=frozen)

    def training_rows(self, rows: Rows, n_layers: int, n_threads: int) -> FloatArray:
        """Return the coordinates of some training points after `n_layers` layers, in host memory."""
        with self.lock:
            self._now.moving.settle(n_layers, n_threads)
            return self._now.moving.training_rows(rows)

    def rest(self, n_layers: int, n_threads: int) -> None:
        """Give back the memory that is needed only if another layer is run."""
        with self.lock:
            moving = self._now.moving
            moving.settle(n_layers, n_threads)
            moving.rest()

    def release_scratch(self) -> None:
        """Give back the memory that the linear algebra of a batch uses."""
        with self.lock:
            self._now.moving.release_scratch()

    def reduce(self, reduction: RankReduction, n_threads: int) -> None:
        """Drop the directions that a flow no longer needs before the layer that is run next."""
        with self.lock:
            self.rest(reduction.layer, n_threads)  # its memory serves for the new coordinates
            positions = self.after(reduction.layer, n_threads, on_device=self.on_device)
            self._replace(positions.reduced_by(reduction), reduction.layer)

    def through(self, block: Block, n_threads: int) -> None:
        """Move the points through a block, unless that was done before."""
        with self.lock:
            if self._now.moving.n_layers > block.first:
                return
            if block.reduction is not None and block.first not in self.reductions:
                self.reduce(block.reduction, n_threads)
            self._now.moving.through(block.layers, n_threads)
