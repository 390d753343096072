"""Images in IDX files, the format of MNIST: a short header, then the bytes of all images or labels."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from io import BufferedIOBase
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray

__all__ = ["read_idx_images"]

# Bytes that are read at a time.
_PART = 2**20


def read_idx_images(
    folder: Path, part: str
) -> tuple[FloatArray, npt.NDArray[np.int64], tuple[int, int]]:
    """Return the images of a part, "train" or "t10k", as rows of float32, their labels and their shape.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is damaged or of another kind, or there are not as many labels as images.
    """
    images = _read_idx(folder, f"{part}-images-idx3-ubyte", 3)
    labels = _read_idx(folder, f"{part}-labels-idx1-ubyte", 1)
    if len(images) != len(labels):
        raise ValueError(
            f"{folder}: {len(images)} {part} images but {len(labels)} labels: download both again"
        )
    n, height, width = images.shape
    points = images.reshape(n, height * width).astype(np.float32)
    return points, labels.astype(np.int64), (height, width)


def _read_idx(folder: Path, name: str, n_dimensions: int) -> npt.NDArray[np.uint8]:
    """Read an IDX file: two zero bytes, type (8: bytes), number of dimensions, sizes, and data."""
    plain = folder / name
    zipped = folder / f"{name}.gz"
    path = plain if plain.exists() else zipped
    if not path.exists():
        raise FileNotFoundError(
            f"{zipped} (or without .gz) is missing: download it, or pass the folder that holds it"
        )
    try:
        with gzip.open(path) if path is zipped else open(path, "rb") as file:
            return _parse_idx(file, n_dimensions)
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise ValueError(f"{path} is damaged or of another kind: {error}; replace it") from None


def _parse_idx(file: BufferedIOBase, n_dimensions: int) -> npt.NDArray[np.uint8]:
    header = file.read(4 + 4 * n_dimensions)
    if header[:4] != bytes((0, 0, 8, n_dimensions)):
        raise ValueError(
            f"it starts with {header[:4].hex() or 'nothing'} instead of 000008{n_dimensions:02x}"
        )
    if len(header) < 4 + 4 * n_dimensions:
        raise ValueError("its header is cut short")
    shape = struct.unpack(f">{n_dimensions}I", header[4:])
    size = math.prod(shape)
    if size == 0:
        raise ValueError(f"it holds no data: shape {shape}")
    # Read one byte more than the data: that shows whether the file ends there, and gzip compares
    # the checksum only at the end. A header may lie: no more memory is taken than there are bytes.
    data = bytearray()
    while len(data) <= size and (part := file.read(min(_PART, size + 1 - len(data)))):
        data += part
    if len(data) != size:
        found = f"only {len(data)}" if len(data) < size else "more"
        raise ValueError(f"its shape {shape} needs {size} bytes of data, but it has {found}")
    return np.frombuffer(data, np.uint8).reshape(shape)
