"""Queues of a device's work that run beside each other; without queues work is done at once.

A tensor that one queue makes and another uses must be kept for the other one: what is freed belongs to
the queue that has made it, at once.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

__all__ = ["Lane", "Mark"]


class Mark:
    """A moment of a lane: it has come when all work that was given to the lane before is done."""

    def __init__(self, event: torch.cuda.Event | None) -> None:
        self.event = event

    def wait(self) -> None:
        """Let this thread wait for the moment."""
        if self.event is not None:
            self.event.synchronize()


class Lane:
    """A queue of a device's work beside others.

    Parameters
    ----------
    stream : torch.cuda.Stream or None
        The queue; None if the device has none.
    """

    def __init__(self, stream: torch.cuda.Stream | None) -> None:
        self._stream = stream

    @classmethod
    def new(cls, device: str, *, first: bool = False) -> Lane:
        """Return a new lane, whose work comes before that of others if it is the first."""
        if torch.device(device).type != "cuda":
            return cls(None)
        return cls(torch.cuda.Stream(device, priority=-1 if first else 0))

    @classmethod
    def current(cls, device: str) -> Lane:
        """Return the lane of this thread's work."""
        on_cuda = torch.device(device).type == "cuda"
        return cls(torch.cuda.current_stream(device) if on_cuda else None)

    def context(self) -> AbstractContextManager[Any]:
        """Return a context whose work goes to this lane."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def mark(self) -> Mark:
        """Return the moment at which all work so far is done."""
        return Mark(None if self._stream is None else self._stream.record_event())

    def after(self, *marks: Mark) -> None:
        """Let the work from here on wait for some moments."""
        for mark in marks:
            if self._stream is not None and mark.event is not None:
                self._stream.wait_event(mark.event)

    def keep(self, *tensors: Tensor) -> None:
        """Keep the memory of tensors of other lanes, once they are freed, until this lane's work up to then is done."""
        for tensor in tensors:
            if self._stream is not None:
                tensor.record_stream(self._stream)

    def wait(self) -> None:
        """Let this thread wait for all work."""
        if self._stream is not None:
            self._stream.synchronize()
