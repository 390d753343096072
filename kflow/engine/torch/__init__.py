"""The engine on PyTorch: layers of a flow on a graphics processor, or on whatever device it knows.

Losses, their derivatives and the fits of parameters stay with the compiled core: their matrices are small,
and their arrays are in this process's memory.
"""

from __future__ import annotations

from functools import lru_cache

try:
    import torch as _torch
except ImportError as error:
    raise ImportError(
        "this engine needs PyTorch, which is not installed here: pip install 'kflow[torch]'"
    ) from error

from kflow.engine.torch.engine import TorchEngine

__all__ = ["ENGINE", "on_device"]


@lru_cache
def on_device(device: str, precision: str = "float64") -> TorchEngine:
    """Return the engine of a device.

    Parameters
    ----------
    device : str
        A device as PyTorch names it: "cpu", "cuda", "cuda:1", "mps" and so on.
    precision : str
        One of `kflow.engine.PRECISIONS`.

    Raises
    ------
    ImportError
        If this PyTorch cannot use the device; the message says why.
    ValueError
        If no device has that name.
    """
    return TorchEngine(device, precision)


def _best_device() -> str:
    """Return the graphics processor with float64 that there is, else "cpu"."""
    return "cuda" if _torch.cuda.is_available() else "cpu"


ENGINE = on_device(_best_device())
