"""Arrays and text in safetensors files with a checksum of the whole file.

The checksum is the SHA-256 of the file with 64 zeros in the place of its own digits.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from kflow._files import replacing
from kflow.errors import ModelFileError

__all__ = ["intact", "sealed", "unsealed", "write_pieces"]

_BLANK = "0" * 64


def sealed(
    tensors: Mapping[str, npt.NDArray[np.generic]],
    metadata: Mapping[str, str],
    *,
    format: str,  # noqa: A002 (its name in the file)
    version: int,
) -> Sequence[bytes | memoryview]:
    """Return the content of a file, in pieces.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        C-contiguous.
    metadata : mapping of str to str
        Further text.
    format, version : str, int
        What `unsealed` asks for.
    """
    from safetensors.numpy import save

    own = {"format": format, "version": str(version), "sha256": _BLANK}
    raw = save(dict(tensors), {**metadata, **own})
    # Quotation marks within the other values are escaped: this stands in one place only.
    start = raw.index(f'"sha256":"{_BLANK}"'.encode()) + len('"sha256":"')
    digits = hashlib.sha256(raw).hexdigest().encode()
    view = memoryview(raw)
    return view[:start], digits, view[start + len(digits) :]


def unsealed(
    raw: bytes,
    *,
    format: str,  # noqa: A002
    version: int,
) -> tuple[dict[str, npt.NDArray[np.generic]], dict[str, str]]:
    """Return arrays and text of a file's content: the inverse of `sealed`.

    Raises
    ------
    ModelFileError
        If a newer kflow wrote it.
    Exception
        Of any kind, if it is damaged: see `intact`.
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
    """Raise ModelFileError, naming a file, for whatever a damaged one raises inside."""
    try:
        yield
    except MemoryError:
        raise
    except ModelFileError as error:
        raise ModelFileError(f"{name}: {error}") from None
    except Exception as error:  # of safetensors, of JSON, of what is checked inside
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelFileError(
            f"{name} is damaged or foreign ({reason or type(error).__name__}): {remedy}"
        ) from None


def write_pieces(path: str | os.PathLike[str], pieces: Sequence[bytes | memoryview]) -> int:
    """Write a file, as a whole or not at all, and return its size in bytes.

    Raises
    ------
    OSError
        If it cannot be written; an earlier file of that name is then untouched.
    """
    with replacing(path) as file:
        for piece in pieces:
            file.write(piece)
    return sum(map(len, pieces))
