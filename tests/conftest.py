from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from kflow import kernels
from kflow.engine.cpu import _core

_SETTINGS = ("KFLOW_NUM_THREADS", "OMP_NUM_THREADS", "KFLOW_SIMD_LEVEL")

# Of every radial kernel of the table but the one that is not positive definite in every dimension.
_LENGTHS = {
    "gaussian": 1.3,
    "laplacian": 1.1,
    "matern32": 1.7,
    "matern52": 2.1,
    "rational_quadratic": 1.2,
    "inverse_multiquadric": 1.4,
    "cauchy": 1.6,
}
_OTHERS = {"rational_quadratic": {"alpha": 0.7}}

ALL_KERNELS = [
    family(_LENGTHS.get(name, 1.5), **_OTHERS.get(name, {}))
    for name, family in kernels.RADIAL.items()
    if name != "wendland"
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


@pytest.fixture(params=_core.simd_levels())
def engine(request: pytest.FixtureRequest, simd_level: Callable[[str], None]) -> str:
    """Run the test at every SIMD level."""
    simd_level(request.param)
    return request.param


@pytest.fixture
def always_a_team() -> Iterator[None]:
    """Let the smallest work be done by as many threads as a call names."""
    before = _core.team_threshold()
    _core.set_team_threshold(0.0)
    yield
    _core.set_team_threshold(before)


@pytest.fixture
def ax() -> Iterator[Any]:
    """Matplotlib axes, drawn at the end: where Matplotlib would complain."""
    figure = pytest.importorskip("matplotlib.figure").Figure(layout="constrained")
    yield figure.subplots()
    figure.canvas.draw()


def _blas_threads() -> list[int]:
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    return [library.get_num_threads() for library in libraries]


@pytest.fixture
def blas_threads() -> Callable[[], list[int]]:
    """How many threads each BLAS library has now."""
    if not _blas_threads():
        pytest.skip("no BLAS whose threads can be counted")
    return _blas_threads


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


@pytest.fixture
def run_benchmark(tmp_path: Path) -> Callable[[str, str], tuple[str, dict[str, Any]]]:
    """Run a benchmark; return what it printed and what it wrote."""
    bench = Path(__file__).parents[1] / "bench"
    if not bench.is_dir():
        pytest.skip("the benchmarks are not here")

    def run(script: str, options: str) -> tuple[str, dict[str, Any]]:
        file = tmp_path / f"{script}.json"
        command = [sys.executable, str(bench / f"{script}.py"), *shlex.split(options)]
        # They import each other from their own folder.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
        done = subprocess.run(
            [*command, "--json", str(file)], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        report = json.loads(file.read_text())
        assert report["benchmark"] == f"{script}.py"
        assert {"date", "processor", "cores", "compiler", "simd_level", "numpy"} <= set(
            report["machine"]
        )
        assert report["machine"]["blas_libraries"]
        return done.stdout, report

    return run
