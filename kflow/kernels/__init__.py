"""Kernels: radial and other base kernels, and their sums and products.

``2.0 * Gaussian(1.5) + Linear() * Periodic(period=7.0)`` is a kernel with five parameters. Kernels
are immutable values. All base kernels are positive (semi-)definite, each documents in how many
dimensions.
"""

from __future__ import annotations

from typing import Any

from kflow.kernels.base import Kernel, check_kernel
from kflow.kernels.composite import COMPOSITE, Product, Scaled, Sum
from kflow.kernels.dot_and_periodic import OTHER, Constant, Linear, Periodic, Polynomial
from kflow.kernels.function import FunctionKernel
from kflow.kernels.radial import (
    RADIAL,
    Cauchy,
    Gaussian,
    InverseMultiquadric,
    Laplacian,
    Matern32,
    Matern52,
    Radial,
    RationalQuadratic,
    Wendland,
    check_isotropic,
    is_isotropic,
)

__all__ = [
    "Cauchy",
    "Constant",
    "FunctionKernel",
    "Gaussian",
    "InverseMultiquadric",
    "Kernel",
    "Laplacian",
    "Linear",
    "Matern32",
    "Matern52",
    "Periodic",
    "Polynomial",
    "Product",
    "Radial",
    "RationalQuadratic",
    "Scaled",
    "Sum",
    "Wendland",
    "check_isotropic",
    "check_kernel",
    "from_dict",
    "is_isotropic",
]

_FAMILIES: dict[str, type[Kernel]] = {**RADIAL, **OTHER, **COMPOSITE}


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
    if not isinstance(family, str) or family not in _FAMILIES:
        raise ValueError(f"unknown kernel {family!r}; known are {sorted(_FAMILIES)}")
    # JSON knows lists only.
    for name, value in parameters.items():
        if name.endswith("_bounds") and isinstance(value, list):
            parameters[name] = tuple(value)
    try:
        return _FAMILIES[family]._from_dict(parameters)
    except (KeyError, TypeError) as error:
        raise ValueError(f"kernel {family!r}: {error}") from None
