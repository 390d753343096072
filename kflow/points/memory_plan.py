"""How many points of a flow are in memory at a time."""

from __future__ import annotations

from dataclasses import dataclass

from kflow.points.protocol import Shards

__all__ = ["LARGEST_SHARD", "MemoryPlan"]

# How many times its own size a shard takes while it moves: for itself, for the next shard as it is
# read and as it is checked, for the last shard as it is written, and as much again that the C
# library does not give back at once.
_SHARDS_IN_MEMORY = 16

# Bytes of the largest shard. Larger shards make nothing quicker.
LARGEST_SHARD = 2**25

_SMALLEST_SHARD = 2**16


@dataclass(frozen=True)
class MemoryPlan:
    """The memory that a streamed flow needs.

    Attributes
    ----------
    n_columns : int
        Number of coordinates of a point.
    itemsize : int
        Bytes of a coordinate.
    batch_size, every : int
        As in `kflow.KernelFlow`.
    largest_shard : int
        Largest number of bytes of a shard.
    """

    n_columns: int
    itemsize: int
    batch_size: int
    every: int
    largest_shard: int = LARGEST_SHARD

    @property
    def leader_bytes(self) -> int:
        """Bytes that the leader needs for the batch points of three blocks, and for two blocks."""
        row = self.n_columns * self.itemsize
        union = self.every * self.batch_size * row
        matrices = 5 * 8 * self.batch_size**2
        return 6 * union + 4 * union + matrices

    def shards(self, n_points: int, budget: int) -> Shards:
        """Return the division of the points that keeps within a budget.

        Raises
        ------
        ValueError
            If no division keeps within the budget.
        """
        row = self.n_columns * self.itemsize
        left = (budget - self.leader_bytes) // _SHARDS_IN_MEMORY
        if left < max(_SMALLEST_SHARD, row):
            needed = self.leader_bytes + _SHARDS_IN_MEMORY * max(_SMALLEST_SHARD, row)
            raise ValueError(
                f"memory_budget={budget} is too little: {needed} bytes are needed for the batches "
                f"of every={self.every} layers of {self.batch_size} points in {self.n_columns} "
                "dimensions; reduce every, batch_size or the rank, or pass more"
            )
        return Shards(n_points, max(1, min(left, self.largest_shard) // row))
