"""How much memory a flow takes on a device, and how much there is."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from kflow._base.array_types import FloatArray
from kflow.engine.torch.arrays import TorchArray
from kflow.engine.torch.move import rows_of_a_tile
from kflow.engine.torch.padding import rounded_up

__all__ = ["free_bytes", "resident_bytes", "streamed_bytes"]

# Copies of the points that stay there: where they are, and where they go.
_COPIES = 2

# Copies of a tile of points that is worked on, and of one that passes through: two on the way in, two on
# the way out.
_TILES, _PASSING = 6, 4

# The batch is not known beforehand. One of so many points, or of all, is counted on.
_BATCH = 2048

# Copies of a tile of the kernel matrix, and of the batch's matrices in float64. All that is recorded keeps
# its own: two passes over all points, each from two places, and single tiles. Kernels that are not Gaussian
# take four.
_KERNELS, _MATRICES = 4 * 5, 20


def free_bytes(device: str) -> float:
    """Return how many bytes a device can still give; infinity where nobody says."""
    if torch.device(device).type != "cuda":
        return float("inf")
    # What PyTorch holds without using it can be given, too.
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return float(torch.cuda.mem_get_info(device)[0] + unused)


def _workspace(sets: Sequence[FloatArray], device: str) -> int:
    """Return the bytes of a layer's algebra, whatever becomes of the points."""
    m = min(_BATCH, len(sets[0]))
    kernel = rows_of_a_tile(device) * m * int(sets[0].dtype.itemsize)
    return _KERNELS * kernel + _TILES * _tile(sets, device) + _MATRICES * m * m * 8


def _tile(sets: Sequence[FloatArray], device: str) -> int:
    return rows_of_a_tile(device) * int(sets[0][:1].nbytes)


def resident_bytes(sets: Sequence[FloatArray], device: str) -> int:
    """Return what a flow takes whose points, (n_i, k), stay on a device, besides those that are there."""
    copies = sum(int(x.nbytes) * (_COPIES - isinstance(x, TorchArray)) for x in sets)
    n, k = sets[0].shape
    displacements = int(n) * rounded_up(int(k)) * int(sets[0].dtype.itemsize)
    return copies + displacements + _workspace(sets, device)


def streamed_bytes(sets: Sequence[FloatArray], device: str) -> int:
    """Return what a flow takes on a device through which its points, (n_i, k), pass in tiles."""
    return _PASSING * _tile(sets, device) + _workspace(sets, device)
