"""Kernels: radial and other base kernels, and their sums and products.

``2.0 * Gaussian(1.5) + Linear() * Periodic(period=7.0)`` is a kernel with five parameters. Kernels
are immutable values. All base kernels are positive (semi-)definite, each documents in how many
dimensions.
"""

from __future__ import annotations

from kflow.kernels import radial
from kflow.kernels.base import Constant, Kernel, Product, Scaled, Sum, check_kernel
from kflow.kernels.columns import OnColumns
from kflow.kernels.dot_product import Linear, Polynomial
from kflow.kernels.function import FunctionKernel
from kflow.kernels.periodic import Periodic

# All of them, so that a new radial kernel is named in one file only.
from kflow.kernels.radial import *  # noqa: F403
from kflow.kernels.table import from_dict

__all__ = [
    "Constant",
    "FunctionKernel",
    "Kernel",
    "Linear",
    "OnColumns",
    "Periodic",
    "Polynomial",
    "Product",
    "Scaled",
    "Sum",
    "check_kernel",
    "from_dict",
]
__all__ += radial.__all__
