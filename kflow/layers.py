"""Where a flow keeps its layers: the centres Z and the scaled coefficients step * C of each."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kflow._validation import FloatArray
from kflow.errors import ModelFileError, StorageError

__all__ = ["DiskLayers", "LayerStore", "MemoryLayers", "NoLayers", "open_layers"]

Layer = tuple[FloatArray, FloatArray]


class LayerStore(Protocol):
    """The layers of a flow, in order."""

    def reserve(self, n_layers: int) -> None:
        """Raise StorageError if so many more layers will not fit."""

    def put(self, number: int, z: FloatArray, c: FloatArray) -> None:
        """Keep layer `number`, and none beyond it. The arrays are the store's from then on."""

    def __len__(self) -> int:
        """Return the number of layers kept."""

    def __iter__(self) -> Iterator[Layer]:
        """Iterate over (Z, step * C), first layer first."""


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

    def put(self, number: int, z: FloatArray, c: FloatArray) -> None:
        """Forget the layer."""

    def __len__(self) -> int:
        """Return 0."""
        return 0

    def __iter__(self) -> Iterator[Layer]:
        """Iterate over nothing."""
        return iter(())


class MemoryLayers:
    """Keeps the layers in memory."""

    def __init__(self, batch_size: int, dimension: int, dtype: np.dtype[Any]) -> None:
        self._shape = (batch_size, dimension)
        self._layer_bytes = 2 * batch_size * dimension * dtype.itemsize
        self._layers: list[Layer] = []

    def reserve(self, n_layers: int) -> None:
        """Raise StorageError if so many more layers exceed four fifths of the free memory."""
        need = n_layers * self._layer_bytes
        budget = int(0.8 * _available_memory())
        if need > budget:
            batch_size, dimension = self._shape
            raise StorageError(
                f"{n_layers} layers of {batch_size} points in {dimension} dimensions need "
                f"{_gigabytes(need)} to be kept in memory, where {_gigabytes(budget)} can be used: "
                "pass layers=<folder> to keep them on disk, layers='none' to keep none (no "
                "transform of new points later), or reduce n_layers, batch_size or the dimension"
            )

    def put(self, number: int, z: FloatArray, c: FloatArray) -> None:
        """Keep layer `number`, and none beyond it."""
        self._layers[number:] = [(z, c)]

    def __len__(self) -> int:
        """Return the number of layers kept."""
        return len(self._layers)

    def __iter__(self) -> Iterator[Layer]:
        """Iterate over (Z, step * C)."""
        return iter(self._layers)


class DiskLayers:
    """Keeps the layers in a folder.

    ``layers.bin`` holds the layers one after the other, each Z (batch_size, dimension) then
    step * C of the same shape, row by row, little-endian; ``layers.json`` says shape and dtype.
    A layer that was cut short by a crash or a full disk is ignored.
    """

    def __init__(
        self, folder: str | os.PathLike[str], batch_size: int, dimension: int, dtype: np.dtype[Any]
    ) -> None:
        self._folder = Path(folder)
        self._shape = (2, batch_size, dimension)
        self._dtype = dtype.newbyteorder("<")
        self._layer_bytes = 2 * batch_size * dimension * dtype.itemsize
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
        header = {
            "format": "kflow-layers",
            "version": 1,
            "shape": list(self._shape),
            "dtype": self._dtype.str,
        }
        (self._folder / "layers.json").write_text(json.dumps(header, indent=1))
        self._data.touch()

    @classmethod
    def open(cls, folder: str | os.PathLike[str], count: int | None = None) -> DiskLayers:
        """Open a folder that `create` made; `count` layers must be there, if given."""
        path = Path(folder)
        try:
            header = json.loads((path / "layers.json").read_text())
            if header["format"] != "kflow-layers" or header["version"] != 1:
                raise ValueError("unknown format")
            pair, batch_size, dimension = header["shape"]
            dtype = np.dtype(header["dtype"])
            if pair != 2 or dtype.kind != "f":
                raise ValueError("unknown layout")
            store = cls(path, batch_size, dimension, dtype)
            found = os.path.getsize(store._data) // store._layer_bytes
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"{path} does not hold the layers of a flow: {error}") from None
        if count is not None and found < count:
            raise ModelFileError(f"{path} holds {found} whole layers where {count} are needed")
        store._count = found if count is None else count
        return store

    def reserve(self, n_layers: int) -> None:
        """Raise StorageError if so many more layers exceed the free disk space."""
        need = n_layers * self._layer_bytes
        free = shutil.disk_usage(self._folder).free
        if need > free:
            raise StorageError(
                f"{n_layers} layers need {_gigabytes(need)}, but {self._folder} has "
                f"{_gigabytes(free)} free: pass another folder as layers, layers='none' (no "
                "transform of new points later), or reduce n_layers, batch_size or the dimension"
            )

    def put(self, number: int, z: FloatArray, c: FloatArray) -> None:
        """Keep layer `number`, and none beyond it; on failure the ones before it stay readable."""
        end = number * self._layer_bytes
        try:
            with self._data.open("r+b") as file:
                if file.seek(0, os.SEEK_END) >= (self._count + 1) * self._layer_bytes:
                    raise StorageError(
                        f"{self._folder} holds more than this flow's {self._count} layers: a copy "
                        "of the flow has gone on in the same folder, so that this one cannot"
                    )
                file.seek(end)
                for array in (z, c):
                    file.write(np.ascontiguousarray(array, self._dtype).data)
                file.truncate()
        except OSError as error:
            with contextlib.suppress(OSError):
                os.truncate(self._data, end)
            raise StorageError(
                f"layer {number} could not be written to {self._folder} ({error}): free space "
                "there, then call run() again"
            ) from error
        self._count = number + 1

    def __len__(self) -> int:
        """Return the number of layers kept."""
        return self._count

    def __iter__(self) -> Iterator[Layer]:
        """Iterate over (Z, step * C), reading one layer at a time."""
        with self._data.open("rb") as file:
            for number in range(self._count):
                raw = file.read(self._layer_bytes)
                if len(raw) < self._layer_bytes:
                    raise ModelFileError(f"{self._data} was cut short after {number} layers")
                z, c = np.frombuffer(raw, self._dtype).reshape(self._shape)
                native = self._dtype.newbyteorder("=")
                yield z.astype(native, copy=False), c.astype(native, copy=False)


def open_layers(
    where: str | os.PathLike[str],
    batch_size: int,
    dimension: int,
    dtype: np.dtype[Any],
    n_layers: int = 0,
) -> LayerStore:
    """Return an empty store for ``"memory"``, ``"none"`` or a folder, with room for `n_layers`."""
    if where == "none":
        return NoLayers()
    if where == "memory":
        memory = MemoryLayers(batch_size, dimension, dtype)
        memory.reserve(n_layers)
        return memory
    if not isinstance(where, (str, os.PathLike)) or where == "":
        raise TypeError(f"layers must be 'memory', 'none' or a folder, got {where!r}")
    store = DiskLayers(where, batch_size, dimension, dtype)
    store.create(n_layers)
    return store
