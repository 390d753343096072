"""What a place for points offers: they lie there in shards, which a leader moves from afar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray, Rows
from kflow.data.sources import Source
from kflow.layers.block import Block
from kflow.layers.motion import Motion
from kflow.layers.positions import TRAINING, Positions, coordinates
from kflow.layers.subspace import Subspace

__all__ = [
    "BlocksSince",
    "Place",
    "PointsRequest",
    "ShardedPoints",
    "Shards",
    "Ticket",
    "arrays_of",
    "points_of",
]

# Waits for an answer and returns it.
Ticket: TypeAlias = Callable[[], FloatArray]

# Returns the blocks from one layer on, up to another.
BlocksSince: TypeAlias = Callable[[int, int], Iterator[Block]]


@dataclass(frozen=True)
class Shards:
    """Which shard holds which points: successive ones, of the same number but for the last shard.

    Attributes
    ----------
    n_points : int
        N.
    size : int
        Points in a shard.
    """

    n_points: int
    size: int

    def __len__(self) -> int:
        """Return the number of shards."""
        return -(-self.n_points // self.size)

    def rows(self, shard: int) -> slice:
        """Return the points of a shard."""
        return slice(shard * self.size, min((shard + 1) * self.size, self.n_points))

    def within(self, rows: Rows) -> list[tuple[Rows, Rows]]:
        """Return for each shard where in `rows` its points are, and where in the shard these lie."""
        order = np.argsort(rows, kind="stable")
        ends = np.searchsorted(rows[order], [self.rows(shard).stop for shard in range(len(self))])
        parts = np.split(order, ends[:-1])
        return [
            (part, (rows[part] - shard * self.size).astype(np.intp))
            for shard, part in enumerate(parts)
        ]

    @staticmethod
    def joined(where: list[tuple[Rows, Rows]], parts: list[FloatArray]) -> FloatArray:
        """Return the rows that `within` found in the shards, in the order in which it was asked."""
        gathered = np.concatenate(parts)
        out = np.empty_like(gathered)
        out[np.concatenate([places for places, _ in where])] = gathered
        return out


class ShardedPoints(Protocol):
    """The training points of a flow, which a leader moves from afar."""

    def gather(self, rows: Rows, n_layers: int) -> FloatArray:
        """Return the coordinates of some points after so many layers, (n, k)."""

    def advance(self, block: Block, rows: Rows) -> Ticket:
        """Start to move all points through a block, and to gather those of some after it."""

    def shards(self, n_layers: int) -> Iterator[Positions]:
        """Iterate over all points after so many layers, in order."""


@dataclass(frozen=True)
class PointsRequest:
    """What a place is told of the points that it is to hold.

    Attributes
    ----------
    source : Source
        The points before all layers, scaled by nothing.
    subspace : Subspace or None
        In which the flow runs.
    dtype : numpy.dtype
        Precision of the points.
    batch_size, every : int
        As in `kflow.KernelFlow`: a block has at most `every` layers.
    motion : Motion
        How points move.
    flow_id : str
        Whose points they are, "" for a flow without a checkpoint.
    blocks_since : callable
        Returns the stored blocks between two layers.
    """

    source: Source
    subspace: Subspace | None
    dtype: np.dtype[Any]
    batch_size: int
    every: int
    motion: Motion
    flow_id: str
    blocks_since: BlocksSince

    @property
    def n_points(self) -> int:
        """N."""
        return len(self.source)

    @property
    def n_columns(self) -> int:
        """Coordinates of a point before all layers."""
        return self.source.shape[1] if self.subspace is None else self.subspace.rank + 1

    def first(self, rows: slice) -> FloatArray:
        """Return the coordinates of some points before all layers: a new array."""
        return coordinates(self.source[rows], self.subspace, None, self.dtype)


class Place(Protocol):
    """Somewhere the training points of a flow can be.

    `kflow.testing.PlaceTests` holds what every place must pass.
    """

    def open_points(self, request: PointsRequest) -> ShardedPoints:
        """Return the points there.

        Raises
        ------
        StorageError
            If they will not fit.
        ValueError
            If they cannot be there.
        """


def arrays_of(points: Positions) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a shard, by the names of `points_of`."""
    return {"points": points.training, "frozen": points.frozen[TRAINING]}


def points_of(arrays: dict[str, npt.NDArray[Any]]) -> Positions:
    """Return a shard from its arrays."""
    return Positions({TRAINING: arrays["points"]}, {TRAINING: arrays["frozen"]})
