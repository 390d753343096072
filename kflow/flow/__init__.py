"""The non-parametric kernel flow: points that move, layer after layer, to make a kernel good."""

from __future__ import annotations

from kflow.flow.kernel_flow import KernelFlow
from kflow.flow.start import default_kernel

__all__ = ["KernelFlow", "default_kernel"]
