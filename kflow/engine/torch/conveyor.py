"""Tiles of points that pass from this process's memory through a device, and back."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kflow.engine.torch.lanes import Lane

__all__ = ["Conveyor"]


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
        self._bring, self._take = Lane.new(device), Lane.new(device)

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
        here = Lane.current(self._device)
        free = [here.mark(), here.mark()]
        sent = [here.mark(), here.mark()]
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
