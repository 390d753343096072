"""Arrays and text in safetensors files with a checksum of the whole file.

The checksum is the SHA-256 of the file with 64 zeros in the place of its own digits.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kflow._base.files import replacing
from kflow.errors import ModelFileError

__all__ = ["intact", "sealed", "unsealed", "write_pieces"]

Array: TypeAlias = npt.NDArray[np.generic]

_BLANK = "0" * 64


def sealed(
    tensors: Mapping[str, Array | Sequence[Array]],
    metadata: Mapping[str, str],
    *,
    format: str,  # noqa: A002 (its name in the file)
    version: int,
) -> Sequence[bytes | memoryview]:
    """Return the content of a file in pieces, without copying arrays that are contiguous.

    The safetensors library, which reads these files, would copy everything into one piece.

    Parameters
    ----------
    tensors : mapping of str to ndarray or sequence of ndarray
        Floats or whole numbers. The arrays of a sequence, which have one shape and dtype, are
        stacked.
    metadata : mapping of str to str
        Further text for the header.
    format, version : str, int
        Format of the file and version of the format, which `unsealed` checks.
    """
    own = {"format": format, "version": str(version), "sha256": _BLANK}
    header: dict[str, Any] = {"__metadata__": {**metadata, **own}}
    data: list[memoryview] = []
    offset = 0
    parts = {
        name: [value] if isinstance(value, np.ndarray) else list(value)
        for name, value in tensors.items()
    }
    # The arrays with the longest numbers come first, which keeps all arrays aligned.
    for name in sorted(parts, key=lambda name: -parts[name][0].itemsize):
        first, stacked = parts[name][0], not isinstance(tensors[name], np.ndarray)
        end = offset + sum(part.nbytes for part in parts[name])
        header[name] = {
            "dtype": f"{first.dtype.kind.upper()}{8 * first.itemsize}",
            "shape": [len(parts[name]), *first.shape] if stacked else list(first.shape),
            "data_offsets": [offset, end],
        }
        offset = end
        for part in parts[name]:
            flat = np.ascontiguousarray(part, part.dtype.newbyteorder("<")).reshape(-1)
            data.append(flat.view(np.uint8).data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    length = len(text).to_bytes(8, "little")
    digest = hashlib.sha256(length + text)
    for piece in data:
        digest.update(piece)
    # Quotation marks within other values are escaped, so that this mark is in one place only.
    mark = b'"sha256":"'
    blank, digits = _BLANK.encode(), digest.hexdigest().encode()
    return [length, text.replace(mark + blank, mark + digits), *data]


def unsealed(
    raw: bytes,
    *,
    format: str,  # noqa: A002 (its name in the file)
    version: int,
) -> tuple[dict[str, npt.NDArray[np.generic]], dict[str, str]]:
    """Return the arrays and the text of a file's content; this is the inverse of `sealed`.

    Raises
    ------
    ModelFileError
        If a newer kflow wrote it.
    Exception
        Any exception, if the content is damaged: see `intact`.
    """
    from safetensors.numpy import load

    length = int.from_bytes(raw[:8], "little")
    if len(raw) < 8 + length:
        raise ValueError("it was cut short")
    metadata: dict[str, str] = json.loads(raw[8 : 8 + length])["__metadata__"]
    if metadata["format"] != format:
        raise ValueError(f"its format is {metadata['format']!r}")
    if int(metadata["version"]) > version:
        raise ModelFileError("it was written by a newer kflow: upgrade to read it")
    digits = metadata["sha256"].encode()
    start = raw.index(digits, 8, 8 + length)
    view = memoryview(raw)
    checksum = hashlib.sha256(view[:start])
    checksum.update(_BLANK.encode())
    checksum.update(view[start + len(_BLANK) :])
    if checksum.hexdigest().encode() != digits:
        raise ValueError("its checksum is wrong")
    return load(raw), metadata


@contextmanager
def intact(name: str, remedy: str) -> Iterator[None]:
    """Turn whatever a damaged file raises inside into a ModelFileError that names the file."""
    try:
        yield
    except MemoryError:
        raise
    except ModelFileError as error:
        raise ModelFileError(f"{name}: {error}") from None
    except Exception as error:  # from safetensors, from JSON, or from a check inside
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelFileError(
            f"{name} is damaged or foreign ({reason or type(error).__name__}): {remedy}"
        ) from None


def write_pieces(path: str | os.PathLike[str], pieces: Sequence[bytes | memoryview]) -> int:
    """Write a file, as a whole or not at all, and return its size in bytes.

    Raises
    ------
    OSError
        If the file cannot be written; an earlier file of that name is then untouched.
    """
    with replacing(path) as file:
        for piece in pieces:
            file.write(piece)
    return sum(map(len, pieces))
