"""The interface of a place for points: it holds shards, which a leader moves from afar."""

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

# A function that waits for an answer and returns it.
Ticket: TypeAlias = Callable[[], FloatArray]

# A function that returns the blocks from one layer on, up to another.
BlocksSince: TypeAlias = Callable[[int, int], Iterator[Block]]


@dataclass(frozen=True)
class Shards:
    """The division of points into shards of successive points, of one size except for the last.

    Attributes
    ----------
    n_points : int
        Number of points, N.
    size : int
        Number of points in a shard.
    """

    n_points: int
    size: int

    def __len__(self) -> int:
        """Return the number of shards."""
        return -(-self.n_points // self.size)

    def rows(self, shard: int) -> slice:
        """Return the slice of the points that are in a shard."""
        return slice(shard * self.size, min((shard + 1) * self.size, self.n_points))

    def within(self, rows: Rows) -> list[tuple[Rows, Rows]]:
        """Return for each shard the places of its points in `rows`, and those in the shard."""
        order = np.argsort(rows, kind="stable")
        ends = np.searchsorted(rows[order], [self.rows(shard).stop for shard in range(len(self))])
        parts = np.split(order, ends[:-1])
        return [
            (part, (rows[part] - shard * self.size).astype(np.intp))
            for shard, part in enumerate(parts)
        ]

    @staticmethod
    def joined(where: list[tuple[Rows, Rows]], parts: list[FloatArray]) -> FloatArray:
        """Return the rows of all shards in the order of the `rows` that `within` was given."""
        gathered = np.concatenate(parts)
        out = np.empty_like(gathered)
        out[np.concatenate([places for places, _ in where])] = gathered
        return out


class ShardedPoints(Protocol):
    """The training points of a flow, which a leader moves from afar."""

    def gather(self, rows: Rows, n_layers: int) -> FloatArray:
        """Return the coordinates of some points after `n_layers` layers, (n, k)."""

    def advance(self, block: Block, rows: Rows) -> Ticket:
        """Start to move all points through a block, and to gather some of them after it."""

    def shards(self, n_layers: int) -> Iterator[Positions]:
        """Iterate over all points after `n_layers` layers, in order."""


@dataclass(frozen=True)
class PointsRequest:
    """The description of the points that a place is to hold.

    Attributes
    ----------
    source : Source
        The points before all layers, without any scaling.
    subspace : Subspace or None
        Subspace in which the flow runs.
    dtype : numpy.dtype
        Precision of the points.
    batch_size, every : int
        As in `kflow.KernelFlow`: a block has at most `every` layers.
    motion : Motion
        How points move.
    flow_id : str
        Identifier of the flow that the points belong to; "" for a flow without a checkpoint.
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
        """Number of points, N."""
        return len(self.source)

    @property
    def n_columns(self) -> int:
        """Number of coordinates of a point before all layers."""
        return self.source.shape[1] if self.subspace is None else self.subspace.rank + 1

    def first(self, rows: slice) -> FloatArray:
        """Return the coordinates of some points before all layers, as a new array."""
        return coordinates(self.source[rows], self.subspace, None, self.dtype)


class Place(Protocol):
    """A place that can hold the training points of a flow.

    `kflow.testing.PlaceTests` holds the tests that every place must pass.
    """

    def open_points(self, request: PointsRequest) -> ShardedPoints:
        """Return the points there.

        Raises
        ------
        StorageError
            If the points will not fit there.
        ValueError
            If the place cannot hold such points.
        """


def arrays_of(points: Positions) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a shard, under the names that `points_of` expects."""
    return {"points": points.training, "frozen": points.frozen[TRAINING]}


def points_of(arrays: dict[str, npt.NDArray[Any]]) -> Positions:
    """Return a shard from its arrays."""
    return Positions({TRAINING: arrays["points"]}, {TRAINING: arrays["frozen"]})
