"""Information on this build and on the machine that it runs on."""

from __future__ import annotations

import os
import platform
from typing import Any

import numpy as np

from kflow.engine.cpu import _core
from kflow.engine.threads import get_num_threads

__version__ = _core.__version__

__all__ = ["build_config", "processor"]


def build_config() -> dict[str, Any]:
    """Return how kflow was built and what it uses here.

    Returns
    -------
    dict
        version, compiler, simd_level (in use), simd_levels (available), parallel ("openmp" or
        "serial"), n_threads (default), python, numpy, platform, and the environment variables that
        were read: KFLOW_NUM_THREADS, KFLOW_SIMD_LEVEL and OMP_NUM_THREADS.
    """
    return {
        "version": _core.__version__,
        "compiler": _core.compiler,
        "simd_level": _core.simd_level(),
        "simd_levels": _core.simd_levels(),
        "parallel": _core.parallel_backend(),
        "n_threads": get_num_threads(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "environment": {
            name: os.environ[name]
            for name in ("KFLOW_NUM_THREADS", "KFLOW_SIMD_LEVEL", "OMP_NUM_THREADS")
            if name in os.environ
        },
    }


def processor() -> str:
    """Return the name of this machine's processor, or an empty string if it is not known."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()
