"""Where a flow keeps its layers: the centres Z, the coefficients C and the step of each.

C has one column for each coordinate that moves, its rank; Z has the same and, in a flow that runs in a
subspace, one more. The rank may fall from layer to layer.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedRandom, BufferedReader
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kflow._validation import FloatArray
from kflow.blocks import Layer
from kflow.errors import ModelFileError, StorageError

__all__ = [
    "DiskLayers",
    "Layer",
    "LayerShape",
    "LayerStore",
    "MemoryLayers",
    "NoLayers",
    "open_layers",
]


# Of the steps on the disk.
_STEP = np.dtype("<f8")


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

    def size(self, rank: int) -> int:
        """Return the numbers in the arrays of a layer of that rank."""
        return self.batch_size * (2 * rank + self.n_fixed)

    def n_bytes(self, rank: int) -> int:
        """Return the size of a layer of that rank."""
        return self.size(rank) * self.dtype.itemsize + _STEP.itemsize

    def split(self, numbers: FloatArray, rank: int) -> tuple[FloatArray, FloatArray]:
        """Return Z and C from all the numbers of a layer, Z first."""
        n_z = self.batch_size * (rank + self.n_fixed)
        return (
            numbers[:n_z].reshape(self.batch_size, rank + self.n_fixed),
            numbers[n_z:].reshape(self.batch_size, rank),
        )


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
                "pass layers=<folder> to keep them on disk, layers='none' to keep none (no "
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


class DiskLayers:
    """Keeps the layers in a folder.

    ``layers.bin`` holds the layers one after the other, each Z (batch_size, rank + n_fixed), then
    C (batch_size, rank), row by row, then the step in float64. ``layers.json`` says batch_size, n_fixed, the dtype
    (little-endian), and in ``ranks``, as pairs, from which layer on which rank. A layer that was cut
    short by a crash or a full disk is ignored.
    """

    def __init__(
        self, folder: str | os.PathLike[str], shape: LayerShape, ranks: list[tuple[int, int]]
    ) -> None:
        self._folder = Path(folder)
        self._shape = shape
        self._dtype = shape.dtype.newbyteorder("<")
        # (first layer, rank), in order; the last one holds for all layers to come.
        self._ranks = ranks
        self._count = 0
        self._data = self._folder / "layers.bin"

    @property
    def folder(self) -> Path:
        """Where the layers are."""
        return self._folder

    def create(self, n_layers: int = 0) -> None:
        """Start an empty folder for so many layers.

        Raises
        ------
        FileExistsError
            If there are layers in it already: nothing is overwritten.
        StorageError
            If they exceed the free disk space: no file is made.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._data.exists() and self._data.stat().st_size > 0:
            raise FileExistsError(
                f"layers: {self._folder} already holds the layers of a flow; pass another folder "
                "or remove it"
            )
        self.reserve(n_layers)
        self._write_header()
        self._data.touch()

    def _write_header(self) -> None:
        header = {
            "format": "kflow-layers",
            "version": 3,
            "batch_size": self._shape.batch_size,
            "n_fixed": self._shape.n_fixed,
            "dtype": self._dtype.str,
            "ranks": self._ranks,
        }
        partial = self._folder / "layers.json.partial"
        partial.write_text(json.dumps(header, indent=1))
        os.replace(partial, self._folder / "layers.json")

    @classmethod
    def open(cls, folder: str | os.PathLike[str], count: int | None = None) -> DiskLayers:
        """Open a folder that `create` made; `count` layers must be there, if given."""
        path = Path(folder)
        try:
            header = json.loads((path / "layers.json").read_text())
            if header["format"] != "kflow-layers" or header["version"] != 3:
                raise ValueError("unknown format")
            ranks = [(int(first), int(rank)) for first, rank in header["ranks"]]
            in_order = all(a[0] < b[0] for a, b in pairwise(ranks))
            if ranks[0][0] != 0 or not in_order or min(rank for _, rank in ranks) < 1:
                raise ValueError("unknown layout")
            dtype = np.dtype(header["dtype"])
            shape = LayerShape(int(header["batch_size"]), int(header["n_fixed"]), dtype)
            if shape.batch_size < 1 or shape.n_fixed < 0 or dtype.kind != "f":
                raise ValueError("unknown layout")
            store = cls(path, shape, ranks)
            found = store._whole_layers(os.path.getsize(store._data))
        except (OSError, LookupError, OverflowError, TypeError, ValueError) as error:
            raise ModelFileError(f"{path} does not hold the layers of a flow: {error}") from None
        if count is not None and found < count:
            raise ModelFileError(f"{path} holds {found} whole layers where {count} are needed")
        store._count = found if count is None else count
        return store

    def _rank(self, number: int) -> int:
        return next(rank for first, rank in reversed(self._ranks) if first <= number)

    def _offset(self, number: int) -> int:
        """Return where layer `number` starts."""
        ends = [*(min(first, number) for first, _ in self._ranks[1:]), number]
        return sum(
            (end - min(first, number)) * self._shape.n_bytes(rank)
            for (first, rank), end in zip(self._ranks, ends, strict=True)
        )

    def _whole_layers(self, n_bytes: int) -> int:
        """Return how many layers so many bytes hold."""
        ends = [first for first, _ in self._ranks[1:]]
        for (first, rank), end in zip(self._ranks, ends, strict=False):
            if n_bytes < self._offset(end):
                return first + (n_bytes - self._offset(first)) // self._shape.n_bytes(rank)
        first, rank = self._ranks[-1]
        return first + (n_bytes - self._offset(first)) // self._shape.n_bytes(rank)

    def reserve(self, n_layers: int) -> None:
        """Raise StorageError if so many more layers exceed the free disk space."""
        need = n_layers * self._shape.n_bytes(self._rank(self._count))
        free = shutil.disk_usage(self._folder).free
        if need > free:
            raise StorageError(
                f"{n_layers} layers need {_gigabytes(need)}, but {self._folder} has "
                f"{_gigabytes(free)} free: pass another folder as layers, layers='none' (no "
                "transform of new points later), or reduce n_layers, batch_size or the rank"
            )

    def put(self, number: int, layer: Layer) -> None:
        """Keep layer `number`, and none beyond it; on failure the ones before it stay readable."""
        end = self._offset(number)
        try:
            with self._data.open("r+b") as file:
                self._refuse_others(file.seek(0, os.SEEK_END))
                file.seek(end)
                self._set_rank(number, layer.coefficients.shape[1], file)
                for array in (layer.centres, layer.coefficients):
                    file.write(np.ascontiguousarray(array, self._dtype).data)
                file.write(np.array(layer.step, _STEP).tobytes())
                file.truncate()
        except OSError as error:
            with contextlib.suppress(OSError):
                os.truncate(self._data, end)
            self._count = min(self._count, number)
            raise StorageError(
                f"layer {number} could not be written to {self._folder} ({error}): free space "
                "there, then call run() again"
            ) from error
        self._count = number + 1

    def _refuse_others(self, n_bytes: int) -> None:
        """Raise StorageError if a copy of the flow has written layers of its own."""
        end = self._offset(self._count)
        if n_bytes <= end:
            return
        try:
            ranks = json.loads((self._folder / "layers.json").read_text())["ranks"]
        except (OSError, KeyError, TypeError, ValueError):
            ranks = None
        whole = n_bytes >= end + self._shape.n_bytes(self._rank(self._count))
        if whole or ranks != [list(pair) for pair in self._ranks]:
            raise StorageError(
                f"{self._folder} holds more than this flow's {self._count} layers: a copy of the "
                "flow has gone on in the same folder, so that this one cannot"
            )

    def _set_rank(self, number: int, rank: int, file: BufferedRandom) -> None:
        """Say that layer `number` has that rank, before it is written."""
        ranks = [pair for pair in self._ranks if pair[0] < number]
        if not ranks or ranks[-1][1] != rank:
            ranks.append((number, rank))
        if ranks != self._ranks:
            file.truncate()  # no layer may be there that the new header describes wrongly
            before, self._ranks = self._ranks, ranks
            try:
                self._write_header()
            except BaseException:
                self._ranks = before
                raise

    def __len__(self) -> int:
        """Return the number of layers kept."""
        return self._count

    def __iter__(self) -> Iterator[Layer]:
        """Iterate over the layers, reading one at a time."""
        with self._data.open("rb") as file:
            for number in range(self._count):
                yield self._read(file, number)

    def __getitem__(self, number: int) -> Layer:
        """Return one layer."""
        if not 0 <= number < self._count:
            raise IndexError(number)
        with self._data.open("rb") as file:
            file.seek(self._offset(number))
            return self._read(file, number)

    def _read(self, file: BufferedReader, number: int) -> Layer:
        """Return the layer that starts where the file is."""
        rank = self._rank(number)
        raw = file.read(self._shape.n_bytes(rank))
        if len(raw) < self._shape.n_bytes(rank):
            raise ModelFileError(f"{self._data} was cut short after {number} layers")
        step = float(np.frombuffer(raw[-_STEP.itemsize :], _STEP)[0])
        numbers = np.frombuffer(raw, self._dtype, self._shape.size(rank))
        numbers = numbers.astype(self._dtype.newbyteorder("="), copy=False)
        return Layer(*self._shape.split(numbers, rank), step)


def open_layers(
    where: str | os.PathLike[str], shape: LayerShape, rank: int, n_layers: int = 0
) -> LayerStore:
    """Return an empty store for ``"memory"``, ``"none"`` or a folder, with room for `n_layers`.

    No layer may have more than that `rank`.
    """
    if where == "none":
        return NoLayers()
    if where == "memory":
        memory = MemoryLayers(shape, rank)
        memory.reserve(n_layers)
        return memory
    if not isinstance(where, (str, os.PathLike)) or where == "":
        raise TypeError(f"layers must be 'memory', 'none' or a folder, got {where!r}")
    store = DiskLayers(where, shape, [(0, rank)])
    store.create(n_layers)
    return store
