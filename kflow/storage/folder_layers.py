"""The layers of a flow in a folder of block files."""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kflow._base.locks import OwnLock
from kflow._base.memory import gigabytes
from kflow.engine.interface import Layer
from kflow.errors import ModelFileError, StorageError
from kflow.layers.block import Block, LayerRecord
from kflow.layers.rank_reduction import RankReduction
from kflow.layers.stores import LayerShape
from kflow.storage.block_file import BlockFile, read_block, write_block

__all__ = ["FolderLayers"]

_log = logging.getLogger("kflow")

# The name of a block file, with the number of the first layer.
_NAME = "block-{:08d}.safetensors"

_NAMES = re.compile(r"block-(\d{8,})\.safetensors")

# Number of blocks that stay in memory after they were read. Two are enough for reading back and
# forth between neighbours.
_CACHED = 2


class FolderLayers:
    """A store that keeps the layers of a flow in a folder of block files.

    Layers given to `put` are in memory until `write` makes a block of them.

    Parameters
    ----------
    folder : path
        Where the blocks are. The folder must exist.
    shape : LayerShape
        What the layers have in common.
    rank : int
        Rank of the first layer.
    flow_id : str
        Identifier of the flow.
    """

    def __init__(
        self, folder: str | os.PathLike[str], shape: LayerShape, rank: int, flow_id: str
    ) -> None:
        self._folder = Path(folder)
        self._shape = shape
        self._rank = rank
        self._flow_id = flow_id
        # Numbers of the first layers of the blocks in the folder, and of the block to come.
        self._firsts = [0]
        self._pending: list[Layer] = []
        self._cache: OrderedDict[int, Block] = OrderedDict()
        # Held while any of these change, and while a layer is looked up: threads read concurrently.
        self._lock = OwnLock()

    @property
    def folder(self) -> Path:
        """Where the blocks are."""
        return self._folder

    @property
    def n_written(self) -> int:
        """Number of layers in the folder."""
        return self._firsts[-1]

    @property
    def n_pending(self) -> int:
        """Number of layers that are in memory only."""
        return len(self._pending)

    @property
    def firsts(self) -> tuple[int, ...]:
        """Number of the first layer of each block in the folder."""
        return tuple(self._firsts[:-1])

    def path(self, first: int) -> Path:
        """Return the path of the block that starts with layer `first`."""
        return self._folder / _NAME.format(first)

    @staticmethod
    def found(folder: Path) -> list[int]:
        """Return the numbers of the first layers of all blocks in a folder, in order."""
        names = [path.name for path in folder.iterdir()]
        firsts = (int(match[1]) for match in map(_NAMES.fullmatch, names) if match)
        return sorted(first for first in firsts if _NAME.format(first) in names)

    def adopt(self) -> Iterator[BlockFile]:
        """Take over the blocks that are in the folder, and yield each after checking it.

        Raises
        ------
        ModelFileError
            If a block is missing, damaged, of another flow, or does not follow the one before.
        OSError
            If a block cannot be read.
        """
        self._firsts, self._pending = [0], []
        for first in self.found(self._folder):
            path = self.path(first)
            if first != self.n_written:
                raise ModelFileError(
                    f"{path} starts with layer {first}, where the blocks before it end with layer "
                    f"{self.n_written - 1}: restore what is missing, or remove the blocks from "
                    "there on and resume the flow, which runs their layers again"
                )
            content = read_block(path, self._flow_id)
            self._check(content.block, path)
            self._rank = content.block.rank
            self._firsts.append(content.block.end)
            yield content

    def _check(self, block: Block, path: Path) -> None:
        z, c, _ = block.layers[0]
        shape, rank = self._shape, self._rank
        before = rank if block.reduction is None else len(block.reduction.matrix)
        after = rank if block.reduction is None else block.reduction.kept
        if (
            z.dtype != shape.dtype
            or z.shape != (shape.batch_size, after + shape.n_fixed)
            or c.shape != (shape.batch_size, after)
            or before != rank
            or path != self.path(block.first)
        ):
            raise ModelFileError(
                f"{path} does not fit the blocks before it: remove it with all blocks after it, and "
                "resume the flow, which runs their layers again"
            )

    def reserve(self, n_layers: int) -> None:
        """Raise StorageError if `n_layers` more layers exceed the free disk space."""
        need = (n_layers + self.n_pending) * self._shape.n_bytes(self._last_rank)
        free = shutil.disk_usage(self._folder).free
        if need > free:
            raise StorageError(
                f"{n_layers} layers need {gigabytes(need)}, but {self._folder} has "
                f"{gigabytes(free)} free: pass another folder as checkpoint, or reduce n_layers, "
                "batch_size or the rank"
            )

    @property
    def _last_rank(self) -> int:
        return self._pending[-1].coefficients.shape[1] if self._pending else self._rank

    def put(self, number: int, layer: Layer) -> None:
        """Keep layer `number` in memory, and drop all layers after it."""
        with self._lock:
            if not self.n_written <= number <= len(self):
                raise IndexError(number)
            self._pending[number - self.n_written :] = [layer]

    def write(
        self, records: Sequence[LayerRecord], reduction: RankReduction | None, state: Any
    ) -> None:
        """Write the layers in memory that have records as one block.

        Parameters
        ----------
        records : sequence of LayerRecord
            One record for each layer of the block.
        reduction : RankReduction or None
            The reduction before the first layer of the block, if any.
        state : object
            JSON data that belongs to the last layer of the block.

        Raises
        ------
        StorageError
            If the block cannot be written. The layers then stay in memory, and the folder stays as
            it was.
        """
        first, start = self.n_written, time.perf_counter()
        block = Block(first, tuple(self._pending[: len(records)]), reduction, tuple(records))
        path = self.path(first)
        try:
            n_bytes = write_block(path, block, self._flow_id, state)
        except OSError as error:
            raise StorageError(
                f"layers {first} to {block.end - 1} could not be written to {self._folder} "
                f"({error}): free space there, then call run() again"
            ) from error
        self._count(block, [])
        seconds = time.perf_counter() - start
        _log.info(
            "wrote layers %d to %d: %.3g MB in %.2f s", first, block.end - 1, n_bytes / 1e6, seconds
        )

    def settle(self, records: Sequence[LayerRecord]) -> bool:
        """Return whether the folder holds the blocks that this object knows of.

        An interrupt may have come after a block was written and before this object counted it. Such
        a block is counted now.

        Parameters
        ----------
        records : sequence of LayerRecord
            Records of the layers in memory.
        """
        found, known = self.found(self._folder), [*self._firsts[:-1]]
        if found == [*known, self.n_written] and self._pending:
            block = read_block(self.path(self.n_written), self._flow_id).block
            if not np.array_equal(block.records, records[: len(block)], equal_nan=True):
                return False  # a copy of the flow wrote the block
            self._count(block, self._pending[len(block) :])
            return True
        return found == known

    def _count(self, block: Block, pending: list[Layer]) -> None:
        """Count a block that is in the folder; the layers `pending` stay in memory only."""
        with self._lock:
            self._pending = pending
            self._firsts.append(block.end)
            self._rank = block.rank

    def __len__(self) -> int:
        """Return the number of layers kept."""
        with self._lock:
            return self.n_written + len(self._pending)

    def __iter__(self) -> Iterator[Layer]:
        """Iterate over the layers, with a few blocks in memory at a time and none at the end."""
        number = 0
        try:
            while number < len(self):
                yield self[number]
                number += 1
        finally:
            with self._lock:
                self._cache.clear()

    def __getitem__(self, number: int) -> Layer:
        """Return one layer."""
        with self._lock:
            if not 0 <= number < len(self):
                raise IndexError(number)
            if number >= self.n_written:
                return self._pending[number - self.n_written]
            first = self._firsts[bisect_right(self._firsts, number) - 1]
            return self.block(first).layers[number - first]

    def block(self, first: int) -> Block:
        """Return a block of the folder; the last few stay in memory."""
        with self._lock:
            if first not in self._cache:
                while len(self._cache) >= _CACHED:
                    self._cache.popitem(last=False)
                try:
                    self._cache[first] = read_block(self.path(first), self._flow_id).block
                except FileNotFoundError:
                    raise ModelFileError(
                        f"{self.path(first)} is gone: restore it, or fit the flow again"
                    ) from None
            self._cache.move_to_end(first)
            return self._cache[first]

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and copy keep: of the layers, only those that are in memory only."""
        return {**self.__dict__, "_cache": OrderedDict()}
