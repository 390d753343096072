"""Arrays in archives, which take no more memory than their bytes in the archive."""

from __future__ import annotations

import math
from typing import IO, Any

import numpy as np
import numpy.typing as npt

__all__ = ["read_array"]

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_array(member: IO[bytes], size: int) -> npt.NDArray[Any]:
    """Return the array of an open ``.npy`` member of an archive, read to its end.

    Parameters
    ----------
    member : file
        The member, which can be read from its beginning a second time.
    size : int
        Its number of bytes.

    Raises
    ------
    Exception
        Of many kinds, if it holds no array, Python objects, or not as much data as its header says. No
        memory is taken for data that are not there.
    """
    version = np.lib.format.read_magic(member)
    if version not in _HEADERS:
        raise ValueError(f"its format is {version}")
    shape, _, dtype = _HEADERS[version](member)
    wanted, there = math.prod(shape) * dtype.itemsize, size - member.tell()
    if wanted != there and not dtype.hasobject:
        more = "more data than its header says" if wanted < there else "less data"
        raise ValueError(f"{more}: {there} bytes for the shape {shape}")
    member.seek(0)
    array = np.lib.format.read_array(member, allow_pickle=False)
    if member.read(1):  # a checksum is compared only where a member is read to its end
        raise ValueError("more data than its header says")
    return np.asarray(array)
