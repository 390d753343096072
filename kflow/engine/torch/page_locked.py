"""Memory of this process that a device reads and writes on its own, while the processor does other things."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor

from kflow._base.warn import warn_user
from kflow.errors import EngineWarning

__all__ = ["PageLocked"]


class PageLocked:
    """Keeps the memory of tensors where it is, as long as this object lives.

    PyTorch's own memory of this kind comes in powers of two, and is not given back. That is too much for all
    points of a flow.

    Parameters
    ----------
    tensors : sequence of Tensor
        In this process's memory.
    device : str
        The device that reads and writes them. Nothing is done for others than CUDA's.
    """

    def __init__(self, tensors: Sequence[Tensor], device: str) -> None:
        self._locked: list[Tensor] = []
        if torch.device(device).type != "cuda":
            return
        for tensor in tensors:
            if not tensor.nbytes:
                continue
            code = int(torch.cuda.cudart().cudaHostRegister(tensor.data_ptr(), tensor.nbytes, 0))
            if code:
                # CUDA keeps this error, and the next launch would report it as its own.
                with suppress(Exception):
                    torch.ones(1, device=device)
                warn_user(
                    f"{tensor.nbytes / 1e9:.3g} GB of this process's memory cannot be locked for the "
                    f"device (CUDA's error {code}): points pass through it in more time",
                    EngineWarning,
                )
                return
            self._locked.append(tensor)

    def __del__(self) -> None:
        """Give the memory back to what it was."""
        for tensor in self._locked:
            torch.cuda.cudart().cudaHostUnregister(tensor.data_ptr())
