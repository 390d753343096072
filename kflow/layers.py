"""Where a flow keeps its layers: in memory, in a folder of blocks, or nowhere.

C has one column for each coordinate that moves, its rank; Z has the same and, in a flow that runs in a
subspace, one more. The rank may fall from layer to layer.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kflow._validation import as_count, float_dtype
from kflow.block_file import BlockFile, read_block, write_block
from kflow.blocks import Block, Layer, Record
from kflow.errors import ModelFileError, StorageError
from kflow.subspace import Rotation

__all__ = [
    "FolderLayers",
    "Layer",
    "LayerShape",
    "LayerStore",
    "MemoryLayers",
    "NoLayers",
    "check_place",
    "layer_bytes",
    "open_layers",
]

_log = logging.getLogger("kflow")


@dataclass(frozen=True)
class LayerShape:
    """What the layers of one flow have in common.

    Attributes
    ----------
    batch_size : int
        Rows of Z and C.
    n_fixed : int
        Columns that Z has more than C: coordinates that do not move.
    dtype : numpy.dtype
        float32 or float64.
    """

    batch_size: int
    n_fixed: int
    dtype: np.dtype[Any]

    def n_bytes(self, rank: int) -> int:
        """Return the size of a layer of that rank."""
        numbers = self.batch_size * (2 * rank + self.n_fixed)
        return numbers * self.dtype.itemsize + _SMALL


# What a layer has besides its arrays: step, history, and its part of a file's header.
_SMALL = 128


def layer_bytes(
    n_layers: int,
    batch_size: int,
    rank: int,
    dtype: npt.DTypeLike = "float32",
    *,
    in_subspace: bool = True,
) -> int:
    """Return the room that layers take, in memory as on the disk, in bytes.

    Parameters
    ----------
    n_layers : int
        How many.
    batch_size : int
        Points of a batch.
    rank : int
        Coordinates that move: the flow's ``rank_``, or d without a `rank`. Where it falls during the
        run, layers take less.
    dtype : {"float16", "float32", "float64"}
        Precision in which they are kept.
    in_subspace : bool
        Whether the flow has a `rank`: centres have one coordinate more then.

    Raises
    ------
    TypeError, ValueError
        For numbers that are not counts, or another dtype.

    Examples
    --------
    >>> from kflow.layers import layer_bytes
    >>> layer_bytes(1000, batch_size=600, rank=150) // 10**6
    722
    """
    kind = np.dtype(np.float16) if dtype == "float16" else float_dtype(dtype)
    shape = LayerShape(as_count(batch_size, "batch_size", 1), int(in_subspace), kind)
    return as_count(n_layers, "n_layers", 0) * shape.n_bytes(as_count(rank, "rank", 1))


class LayerStore(Protocol):
    """The layers of a flow, in order."""

    def reserve(self, n_layers: int) -> None:
        """Raise StorageError if so many more layers, of the last one's rank, will not fit."""

    def put(self, number: int, layer: Layer) -> None:
        """Keep layer `number`, and none beyond it. Its arrays are the store's from then on."""

    def __len__(self) -> int:
        """Return the number of layers kept."""

    def __iter__(self) -> Iterator[Layer]:
        """Iterate over the layers, first layer first."""

    def __getitem__(self, number: int) -> Layer:
        """Return one layer."""


def _gigabytes(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.3g} GB"


def _available_memory() -> int:
    """Return the memory that this process may still take, in bytes."""
    available = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                available.append(int(line.split()[1]) * 1024)
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            used = int(Path("/sys/fs/cgroup/memory.current").read_text())
            # The page cache counts as used, but goes when memory is needed.
            for line in Path("/sys/fs/cgroup/memory.stat").read_text().splitlines():
                if line.startswith("inactive_file "):
                    used -= int(line.split()[1])
            available.append(max(0, int(limit) - used))
    except (OSError, ValueError):
        pass
    if not available:
        try:
            available.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
        except (AttributeError, ValueError, OSError):
            return 2**63
    return min(available)


class NoLayers:
    """Keeps nothing: the flow moves its own points only."""

    def reserve(self, n_layers: int) -> None:
        """Accept any number."""

    def put(self, number: int, layer: Layer) -> None:
        """Forget the layer."""

    def __len__(self) -> int:
        """Return 0."""
        return 0

    def __iter__(self) -> Iterator[Layer]:
        """Iterate over nothing."""
        return iter(())

    def __getitem__(self, number: int) -> Layer:
        """Raise IndexError."""
        raise IndexError(number)


class MemoryLayers:
    """Keeps the layers in memory."""

    def __init__(self, shape: LayerShape, rank: int) -> None:
        self._shape = shape
        self._rank = rank
        self._layers: list[Layer] = []

    def reserve(self, n_layers: int) -> None:
        """Raise StorageError if so many more layers exceed four fifths of the free memory."""
        rank = self._layers[-1].coefficients.shape[1] if self._layers else self._rank
        need = n_layers * self._shape.n_bytes(rank)
        budget = int(0.8 * _available_memory())
        if need > budget:
            raise StorageError(
                f"{n_layers} layers of {self._shape.batch_size} points in {rank} dimensions need "
                f"{_gigabytes(need)} to be kept in memory, where {_gigabytes(budget)} can be used: "
                "pass checkpoint=<folder> to keep them on disk, layers='none' to keep none (no "
                "transform of new points later), or reduce n_layers, batch_size or the rank"
            )

    def put(self, number: int, layer: Layer) -> None:
        """Keep layer `number`, and none beyond it."""
        self._layers[number:] = [layer]

    def __len__(self) -> int:
        """Return the number of layers kept."""
        return len(self._layers)

    def __iter__(self) -> Iterator[Layer]:
        """Iterate over the layers."""
        return iter(self._layers)

    def __getitem__(self, number: int) -> Layer:
        """Return one layer."""
        return self._layers[number]


# How a block with the number of its first layer is called.
_NAME = "block-{:08d}.safetensors"
_NAMES = re.compile(r"block-(\d{8,})\.safetensors")

# Blocks that stay in memory after they were read: neighbours, for those that read back and forth.
_CACHED = 2


class FolderLayers:
    """Keeps the layers of a flow in a folder of block files.

    Layers that were put are in memory until `write` makes a block of them.

    Parameters
    ----------
    folder : path
        Where the blocks are; it exists.
    shape : LayerShape
        What the layers have in common.
    rank : int
        Of the first layer.
    flow_id : str
        Of the flow.
    """

    def __init__(
        self, folder: str | os.PathLike[str], shape: LayerShape, rank: int, flow_id: str
    ) -> None:
        self._folder = Path(folder)
        self._shape = shape
        self._rank = rank
        self._flow_id = flow_id
        # First layers of the blocks in the folder, and after them that of the one to come.
        self._firsts = [0]
        self._pending: list[Layer] = []
        self._cache: OrderedDict[int, Block] = OrderedDict()

    @property
    def folder(self) -> Path:
        """Where the blocks are."""
        return self._folder

    @property
    def n_written(self) -> int:
        """Layers in the folder."""
        return self._firsts[-1]

    @property
    def n_pending(self) -> int:
        """Layers that are in memory only."""
        return len(self._pending)

    @property
    def firsts(self) -> tuple[int, ...]:
        """The first layer of each block in the folder."""
        return tuple(self._firsts[:-1])

    def path(self, first: int) -> Path:
        """Return where the block is that starts with that layer."""
        return self._folder / _NAME.format(first)

    @staticmethod
    def found(folder: Path) -> list[int]:
        """Return the first layers of all blocks in a folder, in order."""
        names = [path.name for path in folder.iterdir()]
        firsts = (int(match[1]) for match in map(_NAMES.fullmatch, names) if match)
        return sorted(first for first in firsts if _NAME.format(first) in names)

    def adopt(self) -> Iterator[BlockFile]:
        """Take over the blocks that are in the folder, yielding each after it was checked.

        Raises
        ------
        ModelFileError
            If a block is missing, damaged, of another flow, or does not follow the one before.
        OSError
            If one cannot be read.
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
        before = rank if block.rotation is None else len(block.rotation.matrix)
        after = rank if block.rotation is None else block.rotation.kept
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
        """Raise StorageError if so many more layers exceed the free disk space."""
        need = (n_layers + self.n_pending) * self._shape.n_bytes(self._last_rank)
        free = shutil.disk_usage(self._folder).free
        if need > free:
            raise StorageError(
                f"{n_layers} layers need {_gigabytes(need)}, but {self._folder} has "
                f"{_gigabytes(free)} free: pass another folder as checkpoint, or reduce n_layers, "
                "batch_size or the rank"
            )

    @property
    def _last_rank(self) -> int:
        return self._pending[-1].coefficients.shape[1] if self._pending else self._rank

    def put(self, number: int, layer: Layer) -> None:
        """Keep layer `number` in memory, and none beyond it."""
        if not self.n_written <= number <= len(self):
            raise IndexError(number)
        self._pending[number - self.n_written :] = [layer]

    def write(self, records: Sequence[Record], rotation: Rotation | None, state: Any) -> None:
        """Write the layers in memory, as many as there are records, as a block.

        Parameters
        ----------
        records : sequence of Record
            Of each of them.
        rotation : Rotation or None
            What comes before the first one.
        state : object
            JSON data that belongs to the last one.

        Raises
        ------
        StorageError
            If the block cannot be written: the layers stay in memory, the folder as it was.
        """
        first, start = self.n_written, time.perf_counter()
        block = Block(first, tuple(self._pending[: len(records)]), rotation, tuple(records))
        path = self.path(first)
        try:
            n_bytes = write_block(path, block, self._flow_id, state)
        except OSError as error:
            raise StorageError(
                f"layers {first} to {block.end - 1} could not be written to {self._folder} "
                f"({error}): free space there, then call run() again"
            ) from error
        self._firsts.append(block.end)
        self._rank = block.rank
        self._pending = []
        seconds = time.perf_counter() - start
        _log.info(
            "wrote layers %d to %d: %.3g MB in %.2f s", first, block.end - 1, n_bytes / 1e6, seconds
        )

    def settle(self, records: Sequence[Record]) -> bool:
        """Look for a block that an interrupt kept from being counted; return whether all is as known.

        Parameters
        ----------
        records : sequence of Record
            Of the layers in memory.
        """
        found, known = self.found(self._folder), [*self._firsts[:-1]]
        if found == [*known, self.n_written] and self._pending:
            block = read_block(self.path(self.n_written), self._flow_id).block
            if not np.array_equal(block.records, records[: len(block)], equal_nan=True):
                return False  # of a copy of the flow
            del self._pending[: len(block)]
            self._firsts.append(block.end)
            self._rank = block.rank
            return True
        return found == known

    def __len__(self) -> int:
        """Return the number of layers kept."""
        return self.n_written + len(self._pending)

    def __iter__(self) -> Iterator[Layer]:
        """Iterate over the layers, with a few blocks in memory at a time and none in the end."""
        number = 0
        try:
            while number < len(self):
                yield self[number]
                number += 1
        finally:
            self._cache.clear()

    def __getitem__(self, number: int) -> Layer:
        """Return one layer."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        if number >= self.n_written:
            return self._pending[number - self.n_written]
        first = self._firsts[bisect_right(self._firsts, number) - 1]
        return self.block(first).layers[number - first]

    def block(self, first: int) -> Block:
        """Return a block of the folder; the last few stay in memory."""
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
        """Return what pickle and copy keep: no layers but those that are nowhere else."""
        return {**self.__dict__, "_cache": OrderedDict()}


def check_place(where: Any) -> str:
    """Return where layers are kept, "memory" or "none".

    Raises
    ------
    ValueError
        If it is something else.
    """
    if not isinstance(where, str) or where not in ("memory", "none"):
        raise ValueError(
            f"layers must be 'memory' or 'none', got {where!r}: for layers in a folder pass "
            "checkpoint=<folder>"
        )
    return where


def open_layers(where: str, shape: LayerShape, rank: int, n_layers: int = 0) -> LayerStore:
    """Return an empty store for ``"memory"`` or ``"none"``, with room for `n_layers`.

    No layer may have more than that `rank`.
    """
    if check_place(where) == "none":
        return NoLayers()
    memory = MemoryLayers(shape, rank)
    memory.reserve(n_layers)
    return memory
