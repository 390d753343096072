"""Products as tensor cores take them, on a processor: factors are rounded to 10 bits after the point.

NVIDIA, A100 Tensor Core GPU architecture (2020): TF32 has the exponent of float32 and 10 bits of its
fraction; products are exact and sums are in float32. They are taken where a graphics processor would: while
PyTorch is told that products of float32 may be TF32.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["AsTensorCores", "rounded", "tensor_cores"]

# Operations, and which of their arguments are factors.
_FACTORS = {"mm": (0, 1), "bmm": (0, 1), "addmm": (1, 2), "baddbmm": (1, 2)}

# A fraction of float32 has 23 bits, of which 13 are dropped.
_DROPPED = 13


def rounded(x: torch.Tensor) -> torch.Tensor:
    """Return numbers of float32 rounded to the nearest of TF32, ties away from zero."""
    bits = x.contiguous().view(torch.int32)
    nearest = (bits + (1 << (_DROPPED - 1))) & ~((1 << _DROPPED) - 1)
    return torch.where(x.isfinite(), nearest.view(torch.float32), x)


def _tf32_is_asked_for() -> bool:
    matmul = torch.backends.cuda.matmul
    if hasattr(matmul, "fp32_precision"):
        return bool(matmul.fp32_precision == "tf32")
    return bool(matmul.allow_tf32)


class AsTensorCores(TorchDispatchMode):
    """Rounds the factors of products of float32 in a context.

    Attributes
    ----------
    n_products : int
        How many products it has rounded.
    """

    def __init__(self) -> None:
        super().__init__()
        self.n_products = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        factors = _FACTORS.get(operation.overloadpacket.__name__)
        arguments = list(arguments)
        if factors and arguments[factors[0]].dtype == torch.float32 and _tf32_is_asked_for():
            self.n_products += 1
            for i in factors:
                arguments[i] = rounded(arguments[i])
        return operation(*arguments, **(keywords or {}))


def tensor_cores(device: str) -> AbstractContextManager[Any]:
    """Return a context in which products may be TF32: a processor's factors are rounded to it."""
    return nullcontext() if torch.device(device).type == "cuda" else AsTensorCores()
