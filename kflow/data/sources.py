"""Data that need not be in memory: arrays that are read in chunks of rows, streams of chunks."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray, Rows
from kflow._base.files import replacing
from kflow.data.arrays import as_matrix
from kflow.errors import StorageError

__all__ = ["ArraySource", "FileSource", "Source", "as_source", "copied", "reopened", "spool"]

# Number of bytes that are read from an array at once.
_READ_BYTES = 2**20

# Name of the file that describes what `spool` wrote.
_SPOOLED = "spooled.json"


class Source:
    """Rows (n, d) of finite numbers in a known dtype, read a few at a time.

    Parameters
    ----------
    shape : tuple of int
        n and d.
    dtype : numpy.dtype
        float32 or float64.
    name : str
        Name of the argument, for errors.
    """

    def __init__(self, shape: tuple[int, int], dtype: np.dtype[Any], name: str) -> None:
        self.shape = shape
        self.dtype = dtype
        self.name = name
        # The first of the rows that were read last, and these rows, which are kept because most
        # rows are read in small steps. One tuple, so that threads find both or neither.
        self._last: tuple[int, FloatArray] = 0, np.empty((0, shape[1]), dtype)

    def __len__(self) -> int:
        """Return n."""
        return self.shape[0]

    def _read(self, start: int, stop: int) -> Any:
        raise NotImplementedError

    def _pick(self, rows: Rows) -> Any:
        raise NotImplementedError

    def chunks(self, n_rows: int) -> Iterator[tuple[slice, FloatArray]]:
        """Iterate over all rows, `n_rows` at a time."""
        for start in range(0, len(self), n_rows):
            rows = slice(start, min(start + n_rows, len(self)))
            yield rows, self[rows]

    def __getitem__(self, rows: slice | Rows) -> FloatArray:
        """Return some rows, given by a slice or by their numbers."""
        if not isinstance(rows, slice):
            return self._checked(self._pick(rows))
        start, stop, _ = rows.indices(len(self))
        stop = max(start, stop)
        first, buffer = self._last
        if start < first or stop > first + len(buffer):
            ahead = max(1, _READ_BYTES // (self.shape[1] * self.dtype.itemsize))
            if stop - start > ahead:
                return self._checked(self._read(start, stop))
            end = min(len(self), max(stop, start + ahead))
            first, buffer = self._last = start, self._checked(self._read(start, end))
        return buffer[start - first : stop - first]

    def _checked(self, values: Any) -> FloatArray:
        return as_matrix(
            values, self.name, dtype=self.dtype, n_columns=self.shape[1], column_if_1d=True
        )


class ArraySource(Source):
    """An array of NumPy, which may be memory-mapped, of zarr, of h5py or of Dask, as a source.

    Parameters
    ----------
    array : array with ``shape`` and slices of rows
        The rows.
    dtype, name
        As for `Source`.
    column_if_1d : bool
        Whether an array of one dimension is read as a column.
    """

    def __init__(
        self, array: Any, dtype: np.dtype[Any], name: str, *, column_if_1d: bool = False
    ) -> None:
        shape = tuple(int(length) for length in array.shape)
        if len(shape) == 1 and column_if_1d:
            shape = (*shape, 1)
        if len(shape) != 2:
            hint = f": for one column pass {name}.reshape(-1, 1)" if len(shape) == 1 else ""
            raise ValueError(f"{name} must have two dimensions, got shape {shape}{hint}")
        if 0 in shape:
            raise ValueError(f"{name} is empty: it has shape {shape}")
        super().__init__(shape, dtype, name)
        self._array = array

    @property
    def array(self) -> Any:
        """Return the array."""
        return self._array

    @property
    def is_random_access(self) -> bool:
        """Whether single rows can be read about as fast as neighbouring ones."""
        return isinstance(self._array, np.ndarray)

    def _read(self, start: int, stop: int) -> Any:
        values = np.array(self._array[start:stop], copy=True)
        self._forget()
        return values

    def _pick(self, rows: Rows) -> Any:
        values = np.array(self._array[rows], copy=True)
        self._forget()
        return values

    def _forget(self) -> None:
        """Give back the pages of a memory map, which would count as this process's memory."""
        base = self._array
        while isinstance(base, np.ndarray) and base.base is not None:
            base = base.base
        # Only clean pages may be dropped: a map that is written to is left alone.
        clean = isinstance(self._array, np.memmap) and self._array.mode == "r"
        if clean and isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            base.madvise(mmap.MADV_DONTNEED)


class FileSource(Source):
    """Rows in a file, one after the other, as `spool` writes them."""

    def __init__(self, path: Path, shape: tuple[int, int], dtype: np.dtype[Any], name: str) -> None:
        super().__init__(shape, dtype, name)
        self.path = path

    def check(self) -> None:
        """Raise ValueError unless the file has the size that its shape and dtype require."""
        size = self.path.stat().st_size
        if size != self.shape[0] * self.shape[1] * self.dtype.itemsize:
            raise ValueError(f"{self.path} has {size} bytes")

    def _read(self, start: int, stop: int) -> Any:
        n_columns = self.shape[1]
        values = np.fromfile(
            self.path,
            self.dtype,
            (stop - start) * n_columns,
            offset=start * n_columns * self.dtype.itemsize,
        )
        return values.reshape(-1, n_columns)

    def _pick(self, rows: Rows) -> Any:
        with self.path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            with content:
                values = np.frombuffer(content, self.dtype).reshape(self.shape)
                picked = values[rows].copy()
                del values  # it holds the map open
        return picked


def as_source(
    array: Any, dtype: npt.DTypeLike, name: str, *, column_if_1d: bool = False
) -> ArraySource:
    """Return an array (n, d), or a column (n,), as a source.

    Raises
    ------
    TypeError
        If it is sparse.
    ValueError
        If it is empty or has a wrong number of dimensions.
    """
    if hasattr(array, "toarray") and hasattr(array, "nnz"):
        raise TypeError(f"{name} is sparse, kflow needs dense arrays: pass {name}.toarray()")
    if not (hasattr(array, "shape") and hasattr(array, "__getitem__")):
        array = np.asarray(array)
    if hasattr(array, "iloc"):  # a table, whose slices are not rows
        array = array.to_numpy()
    return ArraySource(array, np.dtype(dtype), name, column_if_1d=column_if_1d)


def copied(source: Source, folder: Path | None) -> FileSource:
    """Copy the rows of a source to a file, and return the file: single rows can be read from it.

    Raises
    ------
    ValueError
        If `folder` is None.
    """
    if folder is None:
        raise ValueError(
            f"single rows of {source.name} cannot be read: pass it as a NumPy array, or "
            "checkpoint=<folder> for a copy"
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{source.name}.bin"
    with path.open("wb") as file:
        for _, rows in source.chunks(2**16):
            _write(file, path, rows)
    return FileSource(path, source.shape, source.dtype, source.name)


def spool(
    chunks: Iterable[Any], folder: Path, dtype: npt.DTypeLike
) -> tuple[FileSource, FileSource]:
    """Write a stream of chunks to a folder, since the stream can be read only once.

    Parameters
    ----------
    chunks : iterable of (X, Y)
        Points (n_i, d) and their targets (n_i,) or (n_i, m).
    folder : Path
        Folder that receives ``X.bin`` and ``Y.bin``.
    dtype : float32 or float64
        Precision of the points; targets are in float64.

    Returns
    -------
    X, Y : FileSource

    Raises
    ------
    TypeError, ValueError
        If the stream is empty, or if a chunk has a wrong shape; the error then names the chunk.
    """
    dtypes = {"X": np.dtype(dtype), "Y": np.dtype(np.float64)}
    widths: dict[str, int] = {}
    n_rows = 0
    paths = {name: folder / f"{name}.bin" for name in dtypes}
    (folder / _SPOOLED).unlink(missing_ok=True)
    with paths["X"].open("wb") as X_file, paths["Y"].open("wb") as Y_file:
        for number, chunk in enumerate(chunks):
            try:
                points, targets = chunk
            except (TypeError, ValueError):
                raise TypeError(
                    f"X: an iterator must yield pairs of points and targets, but chunk {number} is "
                    f"no pair: {type(chunk).__name__}"
                ) from None
            rows = None
            for name, values, file in (("X", points, X_file), ("Y", targets, Y_file)):
                array = as_matrix(
                    values,
                    f"{name} of chunk {number}",
                    dtype=dtypes[name],
                    n_columns=widths.get(name),
                    n_rows=rows,
                    column_if_1d=name == "Y",
                )
                rows = len(array)
                widths[name] = array.shape[1]
                _write(file, paths[name], array)
            n_rows += rows or 0
    if n_rows == 0:
        raise ValueError("X: the iterator yields no points; it may have been used up before")
    sizes = {name: [n_rows, widths[name], dtypes[name].name] for name in dtypes}
    with replacing(folder / _SPOOLED) as description:  # written last: it marks the copy as complete
        description.write(json.dumps(sizes).encode())
    return reopened(folder)


def _write(file: IO[bytes], path: Path, rows: FloatArray) -> None:
    """Write rows to a file, or raise StorageError, naming it."""
    try:
        file.write(rows.data)
        file.flush()  # a full disk is found here, and not when the file is closed
    except OSError as error:
        raise StorageError(
            f"{path} could not be written ({error.strerror or error}): free space there, or pass "
            "another checkpoint"
        ) from error


def reopened(folder: Path) -> tuple[FileSource, FileSource]:
    """Return the points and targets that `spool` wrote to a folder.

    Raises
    ------
    ValueError
        If `spool` did not write to the folder, or did not finish.
    """
    try:
        sizes = json.loads((folder / _SPOOLED).read_text())
        sources = [
            FileSource(folder / f"{name}.bin", (int(n), int(d)), np.dtype(str(dtype)), name)
            for name, (n, d, dtype) in sizes.items()
        ]
        X, Y = sources
        for source in sources:
            source.check()
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"X is missing, and {folder} does not hold a whole stream of chunks: {error}"
        ) from None
    return X, Y
