"""Arrays between the memories of this process and of a device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kflow._base.array_types import FloatArray
from kflow.engine.torch.arrays import TorchArray

__all__ = ["Conveyor", "host_copy", "host_tensor", "send", "to_device"]


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
    """Return the numbers of a small array on a device, without waiting until they are there."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    # The pinned copy is not given to others before it has been read.
    return tensor.pin_memory().to(device, non_blocking=True)


def host_copy(tensor: Tensor) -> FloatArray:
    """Return a new array with the numbers of a tensor."""
    return np.array(tensor.cpu().numpy())


def host_tensor(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> Tensor:
    """Return a new tensor in this process's memory, from which a device can copy on its own."""
    return torch.empty(shape, dtype=dtype, pin_memory=torch.device(device).type == "cuda")


class _Lane:
    """A queue of a device's work beside others; on a device without queues, work is done at once."""

    def __init__(self, stream: torch.cuda.Stream | None) -> None:
        self._stream = stream

    @classmethod
    def new(cls, device: str) -> _Lane:
        return cls(torch.cuda.Stream(device) if torch.device(device).type == "cuda" else None)

    @classmethod
    def current(cls, device: str) -> _Lane:
        on_cuda = torch.device(device).type == "cuda"
        return cls(torch.cuda.current_stream(device) if on_cuda else None)

    def context(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def mark(self) -> torch.cuda.Event | None:
        """Return an event that has come when all work so far is done."""
        return None if self._stream is None else self._stream.record_event()

    def after(self, event: torch.cuda.Event | None) -> None:
        """Let the work from here on wait for an event."""
        if self._stream is not None and event is not None:
            self._stream.wait_event(event)

    def wait(self) -> None:
        """Let this thread wait for all work."""
        if self._stream is not None:
            self._stream.synchronize()


class Conveyor:
    """Takes tiles of points from this process's memory through a device, and back.

    While one tile is worked on, the one before it goes out and the one after it comes in, on queues of
    their own. There are two tiles of points on the device for either way.

    Parameters
    ----------
    rows, k : int
        Rows of a tile, and coordinates of a point.
    dtype : torch.dtype
        The points' precision.
    device : str
        The device.
    """

    def __init__(self, rows: int, k: int, dtype: torch.dtype, device: str) -> None:
        self._rows = rows
        self._inside, self._outside = (
            [torch.zeros(rows, k, dtype=dtype, device=device) for _ in range(2)] for _ in range(2)
        )
        self._device = device
        self._bring, self._take = _Lane.new(device), _Lane.new(device)

    def run(
        self, source: Tensor, work: Callable[[Tensor, int], Tensor | None], target: Tensor | None
    ) -> None:
        """Work on all tiles of points, one after the other.

        Parameters
        ----------
        source : Tensor, shape (n, k)
            Points in this process's memory.
        work : callable
            Takes the points of a tile on the device, and how many of its rows are points; the others
            hold anything finite. It returns what the points become, of the same shape.
        target : Tensor, shape (n, k), or None
            Receives them in this process's memory; None if they are not wanted.
        """
        here = _Lane.current(self._device)
        free: list[torch.cuda.Event | None] = [here.mark(), here.mark()]
        sent: list[torch.cuda.Event | None] = [None, None]
        try:
            for number, first in enumerate(range(0, len(source), self._rows)):
                slot, part = number % 2, source[first : first + self._rows]
                n = len(part)
                with self._bring.context():
                    self._bring.after(free[slot])
                    self._inside[slot][:n].copy_(part, non_blocking=True)
                here.after(self._bring.mark())
                # A new view, as it holds other numbers than the last time.
                after = work(self._inside[slot][:], n)
                free[slot] = here.mark()
                if target is None or after is None:
                    continue
                here.after(sent[slot])
                self._outside[slot].copy_(after)
                with self._take.context():
                    self._take.after(here.mark())
                    target[first : first + n].copy_(self._outside[slot][:n], non_blocking=True)
                sent[slot] = self._take.mark()
        finally:  # nothing may be freed that is still read or written
            self._bring.wait()
            self._take.wait()
