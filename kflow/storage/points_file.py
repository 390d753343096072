"""Files of points that some layers of a flow have moved."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kflow._base.array_types import FloatArray
from kflow.errors import ModelFileError
from kflow.storage.tensor_file import intact, sealed, unsealed, write_pieces

__all__ = ["read_points", "write_points"]

_FORMAT = "kflow-points"
_VERSION = 1


def write_points(
    path: str | os.PathLike[str], arrays: Mapping[str, FloatArray], n_layers: int, flow_id: str
) -> int:
    """Write a file of points, as a whole or not at all, and return its size in bytes.

    It is a safetensors file. Its metadata have ``flow``, ``n_layers`` and ``sha256``, which is a
    checksum like that of block files.

    Parameters
    ----------
    path : path
        The file; replaced if it exists.
    arrays : mapping of str to ndarray
        Coordinates, float32 or float64, of any shapes.
    n_layers : int
        Number of layers that have moved the points.
    flow_id : str
        Identifier of the flow that the layers belong to.

    Raises
    ------
    OSError
        If the file cannot be written; an earlier file of that name is then untouched.
    """
    metadata = {"flow": flow_id, "n_layers": str(int(n_layers))}
    return write_pieces(path, sealed(arrays, metadata, format=_FORMAT, version=_VERSION))


def read_points(
    path: str | os.PathLike[str], flow_id: str | None = None
) -> tuple[dict[str, FloatArray], int]:
    """Return the arrays of a file of points, and the number of layers that have moved them.

    Parameters
    ----------
    path : path
        The file.
    flow_id : str, optional
        Identifier of the flow that the file must belong to.

    Returns
    -------
    dict of str to ndarray
        New arrays, which may be written to.
    int

    Raises
    ------
    ModelFileError
        If the file is damaged, is not a file of points, or belongs to another flow.
    OSError
        If the file cannot be read.
    """
    raw = Path(path).read_bytes()
    with intact(str(path), "remove it, points can be made again from the data"):
        tensors, metadata = unsealed(raw, format=_FORMAT, version=_VERSION)
        if flow_id is not None and metadata["flow"] != flow_id:
            raise ModelFileError("its points belong to another flow: remove it")
        n_layers = int(metadata["n_layers"])
        arrays: dict[str, FloatArray] = {}
        for name, array in tensors.items():
            if array.dtype.name not in ("float32", "float64") or not np.isfinite(array).all():
                raise ValueError(f"{name}: {array.dtype}, or NaN or infinity")
            arrays[name] = np.require(array, requirements="W")
        if n_layers < 0:
            raise ValueError(f"{n_layers} layers")
    return arrays, n_layers
