"""How exactly a device computes: the algebra of a batch, and the products that move points."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import NamedTuple

import torch

__all__ = ["TF32_ROUNDING", "Precision", "float32_products", "takes_tf32"]

# The largest relative error of a factor that is rounded to 10 bits after the point.
TF32_ROUNDING = 2.0**-11

_CHOICE = RLock()


class Precision(NamedTuple):
    """How exactly a device computes.

    Attributes
    ----------
    mixed : bool
        Whether a batch's matrices are factorised in float32 and solutions refined to float64.
    tf32 : bool
        Whether points of float32 move by products whose factors have 10 bits after the point.
    """

    mixed: bool
    tf32: bool

    @classmethod
    def named(cls, name: str) -> Precision:
        """Return the precision of a name of `kflow.engine.PRECISIONS`."""
        parts = name.split("+")
        return cls("mixed" in parts, "tf32" in parts)


def takes_tf32(device: torch.device) -> bool:
    """Return whether a device has TF32: NVIDIA's processors since Ampere."""
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    return bool(torch.cuda.get_device_capability(device) >= (8, 0))


@contextmanager
def float32_products(tf32: bool) -> Iterator[None]:
    """Take products of float32 on graphics processors by TF32, or exactly, in a context.

    PyTorch keeps this choice for the whole process. It is what it was before when the context ends; a
    network that another thread evaluates meanwhile computes by it, too. Other threads that choose wait until
    then, so that flows of several threads give their work to a device in turns.
    """
    matmul = torch.backends.cuda.matmul
    # PyTorch 2.9 has replaced the one by the other, and complains of programs that use both.
    name, value = (
        ("fp32_precision", "tf32" if tf32 else "ieee")
        if hasattr(matmul, "fp32_precision")
        else ("allow_tf32", tf32)
    )
    # Two threads that choose at once would each take the other's choice for what was before.
    with _CHOICE:
        before = getattr(matmul, name)
        if before == value:
            yield
            return
        setattr(matmul, name, value)
        try:
            yield
        finally:
            setattr(matmul, name, before)
