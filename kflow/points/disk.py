"""The points of a flow on the disk, in shards of which a few fit in memory.

Each shard has a file of its own. The file says how many layers its points have seen, and it is
always replaced as a whole. A shard that lags behind after an interruption is moved through the
missing blocks when it is next read.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from kflow._base.array_types import FloatArray, Rows
from kflow._base.memory import gigabytes
from kflow._base.workers import Workers
from kflow.errors import ModelFileError, StorageError
from kflow.layers.block import Block
from kflow.layers.positions import Positions
from kflow.points.memory_plan import LARGEST_SHARD, MemoryPlan
from kflow.points.protocol import PointsRequest, Shards, Ticket, arrays_of, points_of
from kflow.storage.points_file import read_points, write_points

__all__ = ["DiskPlace", "DiskPoints"]


_log = logging.getLogger("kflow")


@dataclass(frozen=True)
class DiskPlace:
    """A folder that holds points; a budget limits how many of them are in memory at a time.

    Attributes
    ----------
    folder : Path
        Folder of the points.
    budget : int
        Bytes that a fit may take besides its data.
    largest_shard : int
        Largest number of bytes of a shard, whatever the budget is.
    """

    folder: Path
    budget: int
    largest_shard: int = LARGEST_SHARD

    def open_points(self, request: PointsRequest) -> DiskPoints:
        """Return the points in the folder.

        Raises
        ------
        StorageError
            If the points will not fit on the disk.
        ValueError
            If the budget is too small.
        """
        plan = MemoryPlan(
            request.n_columns,
            request.dtype.itemsize,
            request.batch_size,
            request.every,
            self.largest_shard,
        )
        points = DiskPoints(
            self.folder,
            plan.shards(request.n_points, self.budget),
            request,
        )
        points.reserve(request.n_points * request.n_columns * request.dtype.itemsize)
        return points


class DiskPoints:
    """Points in a folder.

    Parameters
    ----------
    folder : Path
        Folder of the shards, which have one file each.
    shards : Shards
        How the points are divided.
    request : PointsRequest
        What the flow says of the points.

    Notes
    -----
    Three shards are in memory at a time: while one moves, the next is read and the last is written.
    """

    def __init__(self, folder: Path, shards: Shards, request: PointsRequest) -> None:
        self._folder = folder
        self._shards = shards
        self._request = request

    def reserve(self, n_bytes: int) -> None:
        """Make the folder, and raise StorageError if `n_bytes` bytes will not fit in it.

        Files that another division of the points or a killed process has left there are removed.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        mine = {self._path(shard) for shard in range(len(self._shards))}
        for path in list(self._folder.glob("points-*")):
            if path not in mine:
                path.unlink(missing_ok=True)
        there = sum(path.stat().st_size for path in self._folder.glob("*.safetensors"))
        free = shutil.disk_usage(self._folder).free + there
        if n_bytes > free:
            raise StorageError(
                f"the points need {gigabytes(n_bytes)}, but {self._folder} has "
                f"{gigabytes(free)} free: free space there or pass another checkpoint"
            )

    def _path(self, shard: int) -> Path:
        return self._folder / f"points-{self._shards.rows(shard).start:012d}.safetensors"

    def _read(self, shard: int, n_layers: int) -> tuple[Positions, int]:
        """Return a shard and its number of layers, at most `n_layers`; start it anew if need be."""
        rows = self._shards.rows(shard)
        path = self._path(shard)
        try:
            if path.exists():
                arrays, seen = read_points(path, self._request.flow_id)
                points = points_of(arrays)
                if seen <= n_layers and len(points.training) == rows.stop - rows.start:
                    return points, seen
                _log.warning("%s holds other points: they are made again", path)
        except (ModelFileError, LookupError) as error:
            _log.warning("points %d to %d are made again: %s", rows.start, rows.stop - 1, error)
        return Positions.of(self._request.first(rows)), 0

    def _write(self, shard: int, points: Positions, n_layers: int) -> None:
        try:
            write_points(self._path(shard), arrays_of(points), n_layers, self._request.flow_id)
        except OSError as error:
            raise StorageError(
                f"points could not be written to {self._folder} ({error}): free space there, then "
                "call run() again"
            ) from error

    def _brought(
        self, points: Positions, seen: int, n_layers: int, block: Block | None = None
    ) -> Positions:
        """Return points after `n_layers` layers; the last layers may be those of `block`."""
        known = n_layers if block is None else block.first
        for stored in self._request.blocks_since(seen, known):
            points = points.through(stored, self._request.motion)
        if block is not None and seen <= block.first:
            points = points.through(block, self._request.motion)
        return points

    def _visit(
        self, n_layers: int, use: Callable[[int, Positions], None], block: Block | None
    ) -> None:
        """Bring every shard to a layer, then pass it to `use`; write the shards that changed."""
        with Workers(1) as reader, Workers(1) as writer:
            reading = reader.submit(self._read, 0, n_layers)
            writing: Future[None] | None = None
            for shard in range(len(self._shards)):
                points, seen = reading.result()
                if shard + 1 < len(self._shards):
                    reading = reader.submit(self._read, shard + 1, n_layers)
                points = self._brought(points, seen, n_layers, block)
                use(shard, points)
                if writing is not None:
                    writing.result()
                if seen < n_layers or not self._path(shard).exists():
                    writing = writer.submit(self._write, shard, points, n_layers)
            if writing is not None:
                writing.result()

    def _gathered(self, rows: Rows, n_layers: int, block: Block | None = None) -> FloatArray:
        where = self._shards.within(rows)
        parts: list[FloatArray] = []

        def pick(shard: int, points: Positions) -> None:
            parts.append(points.training[where[shard][1]])

        self._visit(n_layers, pick, block)
        return self._shards.joined(where, parts)

    def gather(self, rows: Rows, n_layers: int) -> FloatArray:
        """Return the coordinates of some points after `n_layers` layers, (n, k)."""
        return self._gathered(rows, n_layers)

    def advance(self, block: Block, rows: Rows) -> Ticket:
        """Move all points through a block, and gather some of them after it."""
        gathered = self._gathered(rows, block.end, block)
        return lambda: gathered

    def shards(self, n_layers: int) -> Iterator[Positions]:
        """Iterate over all points after `n_layers` layers, in order."""
        for shard in range(len(self._shards)):
            points, seen = self._read(shard, n_layers)
            yield self._brought(points, seen, n_layers)
