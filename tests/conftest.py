from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from kflow import _core, kernels
from kflow._threads import single_threaded_blas

_SETTINGS = ("KFLOW_NUM_THREADS", "OMP_NUM_THREADS", "KFLOW_SIMD_LEVEL", "KFLOW_BLAS")

ALL_KERNELS = [
    kernels.Gaussian(1.3),
    kernels.Laplacian(1.1),
    kernels.Matern32(1.7),
    kernels.Matern52(2.1),
    kernels.RationalQuadratic(1.2, alpha=0.7),
    kernels.InverseMultiquadric(1.4),
]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20181119)


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> np.dtype[Any]:
    return np.dtype(request.param)


@pytest.fixture(params=ALL_KERNELS, ids=lambda kernel: type(kernel).__name__)
def kernel(request: pytest.FixtureRequest) -> kernels.Kernel:
    return request.param


@pytest.fixture
def simd_level() -> Iterator[Callable[[str], None]]:
    """Set the SIMD level for one test."""
    before = _core.simd_level()
    yield _core.set_simd_level
    _core.set_simd_level(before)


@pytest.fixture
def without_blas() -> Iterator[None]:
    """Make the core use its own routines for one test."""
    with single_threaded_blas:  # or the next call would install BLAS again
        had_blas = _core.has_blas()
    _core.remove_blas()
    yield
    if had_blas:
        from scipy.linalg import cython_blas, cython_lapack

        assert _core.install_blas(cython_blas.__pyx_capi__, cython_lapack.__pyx_capi__)


@pytest.fixture(
    params=[(level, blas) for level in _core.simd_levels() for blas in ("scipy", "own")],
    ids=lambda pair: "-".join(pair),
)
def engine(request: pytest.FixtureRequest, simd_level: Callable[[str], None]) -> str:
    """Run the test at every SIMD level, with SciPy's BLAS and without."""
    level, blas = request.param
    simd_level(level)
    if blas == "own":
        request.getfixturevalue("without_blas")
    else:
        with single_threaded_blas:
            if not _core.has_blas():
                pytest.skip("SciPy's BLAS is not in use")
    return f"{level}-{blas}"


@pytest.fixture
def clean_environment() -> dict[str, str]:
    """The environment without kflow's settings."""
    return {name: value for name, value in os.environ.items() if name not in _SETTINGS}


@pytest.fixture
def run_python(
    clean_environment: dict[str, str],
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run code in a fresh interpreter; keyword arguments are environment variables."""

    def run(code: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
            capture_output=True,
            text=True,
            timeout=120,
            env={**clean_environment, **environment},
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    return run
