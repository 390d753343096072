"""Arrays between the memories of this process and of a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kflow._base.array_types import FloatArray
from kflow.engine.torch.arrays import TorchArray
from kflow.engine.torch.lanes import Lane

__all__ = ["host_copy", "send", "start_host_copy", "to_device"]


def to_device(array: npt.NDArray[Any], device: str) -> Tensor:
    """Return the numbers of an array on a device; on this process's own, the tensor is the array.

    What must not be written to is copied.
    """
    if isinstance(array, TorchArray):
        return array.tensor
    # PyTorch has no read-only tensors, and warns of an array that is.
    writable = array if array.flags.writeable else array.copy()
    return torch.from_numpy(np.ascontiguousarray(writable)).to(device)


def send(array: npt.NDArray[Any], device: str) -> Tensor:
    """Return the numbers of an array on a device, as `to_device` does, without waiting until they are there."""
    if isinstance(array, TorchArray) or torch.device(device).type != "cuda":
        return to_device(array, device)
    # The pinned copy is not given to others before it has been read.
    return to_device(array, "cpu").pin_memory().to(device, non_blocking=True)


def host_copy(tensor: Tensor) -> FloatArray:
    """Return a new array with the numbers of a tensor."""
    return start_host_copy(tensor)()


def start_host_copy(tensor: Tensor) -> Callable[[], FloatArray]:
    """Start to copy the numbers of a tensor, and return what waits for them and gives them in a new array.

    They pass through pinned memory, which a device reaches several times as fast as other memory.
    PyTorch keeps what is freed of it for the next time, so that arrays that stay must not hold it.
    """
    device = str(tensor.device)
    numbers = _host_tensor(tuple(tensor.shape), tensor.dtype, device)
    numbers.copy_(tensor.detach(), non_blocking=tensor.device.type == "cuda")
    arrival = Lane.current(device).mark()

    def arrived() -> FloatArray:
        arrival.wait()
        array: FloatArray = numbers.numpy()
        return array.copy() if tensor.device.type == "cuda" else array

    return arrived


def _host_tensor(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> Tensor:
    """Return a new tensor in this process's memory, from which a device can copy on its own."""
    return torch.empty(shape, dtype=dtype, pin_memory=torch.device(device).type == "cuda")
