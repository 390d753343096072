"""Kernel Flows: learn a kernel from data, layer by layer."""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from kflow._base.interrupt import DeferredInterrupt

# NumPy and the compiled core cannot be imported again after Ctrl-C within their import.
with DeferredInterrupt():
    from kflow import errors, kernels, losses
    from kflow.engine.info import __version__, build_config
    from kflow.engine.threads import get_num_threads, set_num_threads
    from kflow.errors import DivergenceError, ModelFileError, SingularKernelError, StorageError
    from kflow.flow.kernel_flow import KernelFlow
    from kflow.linear.interpolant import Interpolant
    from kflow.operations import gram, move, one_hot, rho, rho_gradient
    from kflow.persistence import load

if TYPE_CHECKING:
    from kflow import analysis, pde, timeseries
    from kflow.c_api import get_include
    from kflow.compression import Compression, compress
    from kflow.emulator import Emulator
    from kflow.estimators import KernelFlowClassifier, KernelFlowRegressor
    from kflow.estimators.gp_regressor import GPRegressor
    from kflow.estimators.gradient_metric import GradientMetric
    from kflow.estimators.image_pipeline import make_image_pipeline
    from kflow.estimators.stacked_gp import StackedGPRegressor
    from kflow.estimators.table_encoder import TableEncoder
    from kflow.estimators.table_pipeline import make_table_pipeline
    from kflow.learning import LearnedKernel, learn_kernel

__all__ = [
    "Compression",
    "DivergenceError",
    "Emulator",
    "GPRegressor",
    "GradientMetric",
    "Interpolant",
    "KernelFlow",
    "KernelFlowClassifier",
    "KernelFlowRegressor",
    "LearnedKernel",
    "ModelFileError",
    "SingularKernelError",
    "StackedGPRegressor",
    "StorageError",
    "TableEncoder",
    "__version__",
    "analysis",
    "build_config",
    "compress",
    "errors",
    "get_include",
    "get_num_threads",
    "gram",
    "kernels",
    "learn_kernel",
    "load",
    "losses",
    "make_image_pipeline",
    "make_table_pipeline",
    "move",
    "one_hot",
    "pde",
    "rho",
    "rho_gradient",
    "set_num_threads",
    "timeseries",
]


# What runs say of their progress is heard by those who ask for it.
logging.getLogger("kflow").addHandler(logging.NullHandler())

# What comes on first use. Scikit-learn alone takes longer to import than everything else together.
_NAMES = {
    "Compression": "kflow.compression",
    "compress": "kflow.compression",
    "Emulator": "kflow.emulator",
    "GPRegressor": "kflow.gp",
    "GradientMetric": "kflow.estimators.gradient_metric",
    "KernelFlowClassifier": "kflow.estimators",
    "KernelFlowRegressor": "kflow.estimators",
    "LearnedKernel": "kflow.learning",
    "StackedGPRegressor": "kflow.gp",
    "TableEncoder": "kflow.estimators.table_encoder",
    "get_include": "kflow.c_api",
    "learn_kernel": "kflow.learning",
    "make_image_pipeline": "kflow.estimators.image_pipeline",
    "make_table_pipeline": "kflow.estimators.table_pipeline",
}
_MODULES = (
    "analysis",
    "block_file",
    "blocks",
    "c_api",
    "callbacks",
    "datasets",
    "demos",
    "emulator",
    "evaluation",
    "features",
    "interpolant",
    "layers",
    "learning",
    "linear_separation",
    "optimizers",
    "pde",
    "plotting",
    "points",
    "points_file",
    "presets",
    "replay",
    "schedules",
    "simulators",
    "stopping",
    "testing",
    "timeseries",
    "torch",
)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    if name in _MODULES:
        return import_module(f"kflow.{name}")
    raise AttributeError(f"module 'kflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    # What needs a package that is not there is not offered; named all the same, it says what to install.
    missing = set() if find_spec("torch") else {"torch"}
    return sorted({*__all__, *_MODULES} - missing)
