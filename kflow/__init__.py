"""Kernel Flows: learn a kernel from data, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kflow import errors, kernels, losses
from kflow._core import __version__
from kflow._info import build_config
from kflow._threads import get_num_threads, set_num_threads
from kflow.errors import DivergenceError, ModelFileError, SingularKernelError, StorageError
from kflow.flow import KernelFlow
from kflow.interpolant import Interpolant
from kflow.learning import LearnedKernel, learn_kernel
from kflow.operations import gram, move, one_hot, rho, rho_gradient
from kflow.persistence import load

if TYPE_CHECKING:
    from kflow.estimators import KernelFlowClassifier, KernelFlowRegressor
    from kflow.gp import GPRegressor

__all__ = [
    "DivergenceError",
    "GPRegressor",
    "Interpolant",
    "KernelFlow",
    "KernelFlowClassifier",
    "KernelFlowRegressor",
    "LearnedKernel",
    "ModelFileError",
    "SingularKernelError",
    "StorageError",
    "__version__",
    "build_config",
    "errors",
    "get_num_threads",
    "gram",
    "kernels",
    "learn_kernel",
    "load",
    "losses",
    "move",
    "one_hot",
    "rho",
    "rho_gradient",
    "set_num_threads",
]


def __getattr__(name: str) -> Any:
    # The estimators import scikit-learn, which takes longer than everything else together.
    if name in ("KernelFlowClassifier", "KernelFlowRegressor"):
        from kflow import estimators

        return getattr(estimators, name)
    if name == "GPRegressor":
        from kflow.gp import GPRegressor

        return GPRegressor
    raise AttributeError(f"module 'kflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
