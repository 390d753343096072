"""Points of a flow that lie in shards elsewhere: on the disk, or in other processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray, Rows
from kflow.layers.block import Block
from kflow.layers.positions import CarriedPoints

__all__ = ["BlocksSince", "ShardedPoints", "Shards", "Ticket"]

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

    def shards(self, n_layers: int) -> Iterator[CarriedPoints]:
        """Iterate over all points after so many layers, in order."""


def arrays_of(points: CarriedPoints) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a shard, by the names of `points_of`."""
    return {"points": points.sets[""], "frozen": points.frozen[""]}


def points_of(arrays: dict[str, npt.NDArray[Any]]) -> CarriedPoints:
    """Return a shard from its arrays."""
    return CarriedPoints({"": arrays["points"]}, {"": arrays["frozen"]})
