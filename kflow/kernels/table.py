"""All families of kernels by name, and kernels from plain data."""

from __future__ import annotations

from typing import Any

from kflow.kernels.base import Constant, Kernel, Product, Scaled, Sum
from kflow.kernels.columns import OnColumns
from kflow.kernels.dot_product import Linear, Polynomial
from kflow.kernels.periodic import Periodic
from kflow.kernels.radial import RADIAL

__all__ = ["KERNELS", "from_dict"]

_OTHERS: tuple[type[Kernel], ...] = (
    Periodic,
    Linear,
    Polynomial,
    Constant,
    Sum,
    Product,
    Scaled,
    OnColumns,
)

# By the name in files; a kernel that is a user's function cannot be stored.
KERNELS: dict[str, type[Kernel]] = {**RADIAL, **{kernel.family: kernel for kernel in _OTHERS}}


def from_dict(data: dict[str, Any]) -> Kernel:
    """Return the kernel that `Kernel.to_dict` described.

    Parameters
    ----------
    data : dict
        The description, perhaps by way of JSON.

    Returns
    -------
    Kernel

    Raises
    ------
    ValueError
        For an unknown family or unknown parameters.
    """
    if not isinstance(data, dict):
        raise ValueError(f"a kernel is described by a dict, got {data!r}")
    parameters = dict(data)
    family = parameters.pop("kernel", None)
    if not isinstance(family, str) or family not in KERNELS:
        raise ValueError(f"unknown kernel {family!r}; known are {sorted(KERNELS)}")
    # JSON has lists in place of tuples.
    for name, value in parameters.items():
        if name.endswith("_bounds") and isinstance(value, list):
            parameters[name] = tuple(value)
    try:
        kernel = KERNELS[family].from_plain(parameters, from_dict)
    except (KeyError, TypeError) as error:
        raise ValueError(f"kernel {family!r}: {error}") from None
    assert isinstance(kernel, Kernel)
    return kernel
