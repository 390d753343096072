"""Block files: a block of layers in one safetensors file, described in docs/block-format.md.

A file is a JSON header, followed by raw little-endian arrays. Any language can read it, nothing in
it can run, and it can be mapped into memory. One file holds one block, so that a flow on the disk
grows when a complete file is renamed to its final name.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kflow.engine.interface import Layer
from kflow.errors import ModelFileError
from kflow.layers.block import HISTORY, Block, LayerRecord
from kflow.layers.rank_reduction import RankReduction
from kflow.layers.subspace import check_orthonormal
from kflow.storage.tensor_file import intact, sealed, unsealed, write_pieces

__all__ = [
    "STORED_DTYPES",
    "BlockFile",
    "decode_block",
    "encode_block",
    "read_block",
    "write_block",
]

_FORMAT = "kflow-block"
_VERSION = 1

_REMEDY = (
    "restore it, or remove it with all blocks after it and resume the flow, which runs their layers "
    "again"
)

STORED_DTYPES = ("float16", "float32", "float64")


class BlockFile(NamedTuple):
    """What a block file holds.

    Attributes
    ----------
    block : Block
        The layers.
    flow_id : str
        Identifier of the flow that the layers belong to.
    state : object
        State of the flow after the last layer, as JSON data.
    """

    block: Block
    flow_id: str
    state: Any


def _power_of_two(array: npt.NDArray[Any]) -> float:
    """Return the power of two that brings the largest entry of a matrix near 2^14.

    Float16 ends at 65504 and becomes coarse below 2^-14. Near 2^14 nothing overflows, and entries
    keep their 11 binary digits down to 2^-28 times the largest.
    """
    largest = float(np.abs(array).max())
    exponent = math.frexp(largest)[1]  # largest = fraction 2^exponent, fraction in [1/2, 1)
    # The factor is limited to what float32 and the steps can represent.
    return math.ldexp(1.0, min(max(15 - exponent, -100), 100)) if largest > 0.0 else 1.0


def encode_block(
    block: Block, flow_id: str, state: Any = None, *, dtype: npt.DTypeLike | None = None
) -> bytes:
    """Return the content of a block file.

    Parameters
    ----------
    block : Block
        The layers.
    flow_id : str
        Identifier of the flow that the layers belong to.
    state : object
        JSON data, without NaN, that belongs to the end of the block.
    dtype : {"float16", "float32", "float64"}, optional
        Dtype of the arrays in the file; that of the block if not given. A lower precision loses
        digits for good: reading gives back the block's dtype, but not its exact numbers.

    Raises
    ------
    TypeError, ValueError
        If the dtype is another one, or if the state is not JSON data.
    """
    return b"".join(_pieces(block, flow_id, state, dtype))


def _pieces(
    block: Block, flow_id: str, state: Any, dtype: npt.DTypeLike | None
) -> Sequence[bytes | memoryview]:
    stored = np.dtype(block.dtype if dtype is None else dtype)
    if stored.name not in STORED_DTYPES:
        raise ValueError(f"layers_dtype must be one of {STORED_DTYPES}, got {stored.name!r}")
    tensors: dict[str, npt.NDArray[Any] | list[npt.NDArray[Any]]] = {}
    centres = [layer.centres for layer in block.layers]
    coefficients = [layer.coefficients for layer in block.layers]
    steps = np.array([layer.step for layer in block.layers], np.float64)
    if stored == np.float16:
        scales = np.array([_power_of_two(array) for array in centres])
        centres = [array * array.dtype.type(s) for array, s in zip(centres, scales, strict=True)]
        tensors["scales"] = 1.0 / scales
        scales = np.array([_power_of_two(array) for array in coefficients])
        coefficients = [
            array * array.dtype.type(s) for array, s in zip(coefficients, scales, strict=True)
        ]
        steps /= scales
    for name, arrays in (("centres", centres), ("coefficients", coefficients)):
        with np.errstate(over="ignore"):  # the check below finds infinities
            tensors[name] = [array.astype(stored, copy=False) for array in arrays]
        if not all(np.isfinite(array).all() for array in tensors[name]):
            raise ValueError(
                f"the {name} of layers from {block.first} on are too large for {stored}"
            )
    tensors["steps"] = steps
    tensors["history"] = np.array(block.records, np.float64)
    if block.reduction is not None:
        tensors["rotation"] = np.ascontiguousarray(block.reduction.matrix, np.float64)
    metadata = {
        "flow": flow_id,
        "first": str(block.first),
        "dtype": np.dtype(block.dtype).name,
        "state": json.dumps(state, allow_nan=False),
    }
    return sealed(tensors, metadata, format=_FORMAT, version=_VERSION)


def write_block(
    path: str | os.PathLike[str],
    block: Block,
    flow_id: str,
    state: Any = None,
    *,
    dtype: npt.DTypeLike | None = None,
) -> int:
    """Write a block file, as a whole or not at all, and return its size in bytes.

    Raises
    ------
    OSError
        If the file cannot be written; an earlier file of that name is then untouched.
    TypeError, ValueError
        As for `encode_block`.
    """
    return write_pieces(path, _pieces(block, flow_id, state, dtype))


def read_block(path: str | os.PathLike[str], flow_id: str | None = None) -> BlockFile:
    """Read a block file, checked from its first byte to its last.

    Parameters
    ----------
    path : path
        The file.
    flow_id : str, optional
        Identifier of the flow that the file must belong to.

    Raises
    ------
    ModelFileError
        If the file is damaged, is not a block file, or belongs to another flow.
    OSError
        If the file cannot be read.
    """
    return decode_block(Path(path).read_bytes(), str(path), flow_id)


def decode_block(
    raw: bytes, name: str, flow_id: str | None = None, *, remedy: str = _REMEDY
) -> BlockFile:
    """Return what the content of a block file holds.

    Parameters
    ----------
    raw : bytes
        The content.
    name : str
        Where the content comes from, for error messages.
    flow_id : str, optional
        Identifier of the flow that the file must belong to.
    remedy : str
        What to do if the content is damaged, for error messages.

    Raises
    ------
    ModelFileError
        As for `read_block`.
    """
    with intact(name, remedy):
        arrays, metadata = unsealed(raw, format=_FORMAT, version=_VERSION)
        if flow_id is not None and metadata["flow"] != flow_id:
            raise ModelFileError(
                "it belongs to another flow: take it out of there, or pass another folder"
            )
        return _content(arrays, metadata)


def _content(arrays: dict[str, npt.NDArray[Any]], metadata: dict[str, str]) -> BlockFile:
    dtype = np.dtype(metadata["dtype"])
    if dtype.name not in ("float32", "float64"):
        raise ValueError(f"dtype {dtype}")
    centres, coefficients = arrays["centres"], arrays["coefficients"]
    steps, history = arrays["steps"], arrays["history"]
    n = len(steps)
    if steps.shape != (n,) or history.shape != (n, len(HISTORY)):
        raise ValueError(f"steps {steps.shape}, history {history.shape}")
    for array in (centres, coefficients):
        if array.ndim != 3 or len(array) != n or array.dtype.name not in STORED_DTYPES:
            raise ValueError(f"an array {array.shape} of {array.dtype} for {n} layers")
    if steps.dtype != np.float64 or history.dtype != np.float64:
        raise ValueError(f"steps in {steps.dtype}, history in {history.dtype}")
    if not all(np.isfinite(array).all() for array in (centres, coefficients, steps)):
        raise ValueError("NaN or infinity")
    centres, coefficients = (array.astype(dtype, copy=False) for array in (centres, coefficients))
    if "scales" in arrays:
        centres = centres * arrays["scales"].astype(dtype)[:, None, None]
    layers = tuple(map(Layer, centres, coefficients, steps.tolist()))
    first, reduction = int(metadata["first"]), None
    if "rotation" in arrays:
        matrix = check_orthonormal(arrays["rotation"])
        reduction = RankReduction(first, matrix, coefficients.shape[2])
        if matrix.shape[0] != matrix.shape[1] or len(matrix) <= reduction.kept:
            raise ValueError(f"a reduction {matrix.shape} before rank {reduction.kept}")
    block = Block(first, layers, reduction, tuple(LayerRecord(*row) for row in history.tolist()))
    return BlockFile(block, metadata["flow"], json.loads(metadata["state"]))
