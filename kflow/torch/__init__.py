"""Losses of kernels as differentiable functions of PyTorch, and modules that train networks by them.

Importing it needs PyTorch, the extra ``kflow[torch]``; the rest of the package does not. Functions of
points and targets are here, those of kernel matrices in `kflow.torch.losses`. They have the values of
`kflow.losses`, and PyTorch differentiates them, twice where the kernel is smooth.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        "kflow.torch needs PyTorch, which is not installed: pip install kflow[torch]"
    ) from error

from kflow.torch import losses
from kflow.torch.kernels import KernelModule, gram
from kflow.torch.modules import KernelLoss, RhoLoss
from kflow.torch.points import e2, kfold, loo, lyapunov, mmd, nlml, rho
from kflow.torch.regularizer import KernelFlowRegularizer

__all__ = [
    "KernelFlowRegularizer",
    "KernelLoss",
    "KernelModule",
    "RhoLoss",
    "e2",
    "gram",
    "kfold",
    "loo",
    "losses",
    "lyapunov",
    "mmd",
    "nlml",
    "rho",
]
