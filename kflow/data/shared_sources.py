"""Sources that another process can open by itself, perhaps on another machine."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kflow.data.sources import ArraySource, FileSource, Source

__all__ = ["SharedSource", "shared_source"]

# Stores of zarr that other processes can open too.
_ZARR_STORES = ("LocalStore", "FsspecStore", "ObjectStore", "DirectoryStore", "FSStore")


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class SharedSource:
    """How another process gets at the rows of a source.

    Attributes
    ----------
    path : Path or None
        A file whose size and time of last change show whether that process sees the same data. If
        it is None, every process that has this object can get at the data.
    stamp : tuple of int
        Size of the file in bytes, and time of its last change in nanoseconds.
    opening : callable
        Function that returns the source.
    """

    path: Path | None
    stamp: tuple[int, int]
    opening: Callable[[], Source]

    def open(self) -> Source | None:
        """Return the source; None if this process does not see it."""
        try:
            if self.path is not None and _stamp(self.path) != self.stamp:
                return None
            return self.opening()
        except OSError:
            return None


@dataclass(frozen=True)
class _Opening:
    """A function that opens an array and returns it as a source."""

    how: Callable[..., Any]
    arguments: tuple[Any, ...]
    dtype: np.dtype[Any]
    name: str

    def __call__(self) -> Source:
        return ArraySource(self.how(*self.arguments), self.dtype, self.name)


def _open_map(
    path: str, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> np.memmap[Any, Any]:
    return np.memmap(path, dtype, "r", offset, shape)


def _open_hdf5(path: str, name: str) -> Any:
    import h5py

    # The file is never closed: its data set is read as long as the source lives.
    return h5py.File(path, "r")[name]


def _as_it_is(array: Any) -> Any:
    return array


def _is_whole_map(array: Any) -> bool:
    """Return whether an array is a whole memory map: a part does not know its place in the file."""
    return (
        isinstance(array, np.memmap)
        and isinstance(array.base, mmap.mmap)
        and array.filename is not None
        and bool(array.flags.c_contiguous)
    )


def shared_source(source: Source) -> SharedSource | None:
    """Return how another process opens a source; None if it cannot, as for an array in memory.

    Files, memory maps, HDF5 data sets and zarr arrays can be opened wherever their file is seen.
    """
    if isinstance(source, FileSource):
        path, shape = source.path, source.shape
        whole = (str(path), 0, shape, source.dtype)
        opening = _Opening(_open_map, whole, source.dtype, source.name)
        return SharedSource(path, _stamp(path), opening)
    if not isinstance(source, ArraySource):
        return None
    array = source.array
    package = type(array).__module__.partition(".")[0]
    file: str | os.PathLike[str] | None
    how: Callable[..., Any]
    arguments: tuple[Any, ...]
    if _is_whole_map(array):
        file = os.path.abspath(array.filename)
        how, arguments = _open_map, (file, array.offset, array.shape, array.dtype)
    elif package == "h5py":
        file = os.path.abspath(array.file.filename)
        how, arguments = _open_hdf5, (file, array.name)
    elif package == "zarr" and type(array.store).__name__ in _ZARR_STORES:
        folder = getattr(array.store, "root", None)
        entries = [] if folder is None else [Path(folder, array.path, n) for n in _ZARR_FILES]
        file = next((entry for entry in entries if entry.exists()), None)
        how, arguments = _as_it_is, (array,)
    else:
        return None
    opening = _Opening(how, arguments, source.dtype, source.name)
    if file is None:
        return SharedSource(None, (0, 0), opening)
    return SharedSource(Path(file), _stamp(Path(file)), opening)


# Names of the file that describes an array in its folder, in zarr's formats 3 and 2.
_ZARR_FILES = ("zarr.json", ".zarray")
