"""What the benchmarks share: clocks, data, checks, tables, and the description of the machine."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

import kflow
from kflow.engine.info import processor
from kflow.testing import slow as testing

# Idle BLAS threads go on spinning for some milliseconds and would slow down whoever comes next.
REST = 0.1

# ---- clocks -----------------------------------------------------------------------------------


def timed(function: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def median(times: Sequence[float]) -> float:
    return statistics.median(times)


def seconds(*functions: Callable[[], object], repeats: int) -> list[float]:
    """Median time of each function, called in turn after a rest so that noise falls on all alike.

    A first round, in which buffers and thread pools come into being, is not counted.
    """
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats + 1):
        for mine, function in zip(times, functions, strict=True):
            time.sleep(REST)
            mine.append(timed(function))
    return [median(mine[1:]) for mine in times]


# ---- processes --------------------------------------------------------------------------------


def run_process(command: list[str], folder: str) -> tuple[str, float, float]:
    """Run a command in a folder; return its output, its seconds, and its peak memory in bytes."""
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, cwd=folder)
        # Not process.wait(), which keeps what the child used to itself.
        _, status, used = os.wait4(process.pid, 0)
        elapsed = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"failed with status {process.returncode}: {' '.join(command)}")
        output.seek(0)
        unit = 1 if sys.platform == "darwin" else 1024
        return output.read(), elapsed, float(used.ru_maxrss * unit)


# ---- data and checks --------------------------------------------------------------------------


def clusters(n: int, d: int, dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
    """Ten overlapping Gaussian clusters whose rows have norms near 1, and their one-hot labels."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 10
    X = rng.standard_normal((n, d), dtype)
    X += rng.standard_normal((10, d), dtype)[labels]
    X /= np.sqrt(2 * d)
    return X, np.eye(10)[labels]


def spirals(n: int, dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
    """Two interleaved spirals, the swiss roll cheesecake, with labels 1 and -1."""
    arm = np.arange(n) % 2
    angle = np.linspace(1.0, 3 * np.pi, n)
    radius, turn = angle / (3 * np.pi), angle + np.pi * arm
    X = np.column_stack([radius * np.cos(turn), radius * np.sin(turn)])
    return X.astype(dtype), 1.0 - 2.0 * arm


# Differences that rounding explains, over the largest value.
TOLERANCE = {"float32": 2e-4, "float64": 1e-9}


def check_close(got: np.ndarray, expected: np.ndarray, tolerance: float) -> float:
    """Return the largest difference over the largest value; an error if rounding cannot explain it."""
    difference = float(np.abs(got - expected).max() / np.abs(expected).max())
    assert difference <= tolerance, f"wrong result: differs by {difference:.2g} of its size"
    return difference


def check_move(
    moved: np.ndarray, X: np.ndarray, Z: np.ndarray, C: np.ndarray, kernel: kflow.kernels.Kernel
) -> None:
    """Compare some rows of a move, the first and the last among them, with the slow reference."""
    rows = np.unique(np.linspace(0, len(X) - 1, 12).astype(int))
    check_close(moved[rows], testing.move(X[rows], Z, C, kernel=kernel), TOLERANCE[X.dtype.name])


def check_flow() -> None:
    """Compare a small flow with the slow reference."""
    X, Y = clusters(200, 12, "float64")
    options: dict[str, Any] = {
        "batch_size": 60,
        "nugget": 0.01,
        "step": "relative",
        "step_size": 0.1,
        "n_halves": 2,
    }
    kernel = kflow.kernels.Gaussian(0.6)
    flow = kflow.KernelFlow(kernel, n_layers=3, dtype="float64", random_state=0, **options)
    rng = np.random.default_rng(0)
    expected = testing.flow(X, Y, kernel=kernel, n_layers=3, rng=rng, **options)
    check_close(flow.fit(X, Y).points_, expected.points, TOLERANCE["float64"])


# ---- the machine ------------------------------------------------------------------------------


def restart_with(**environment: str) -> None:
    """Start the script over with variables that libraries read only while they are loaded."""
    if any(os.environ.get(name) != value for name, value in environment.items()):
        command = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **environment})


def best_blas() -> dict[str, str]:
    """Return the environment in which OpenBLAS takes its AVX-512 kernels where they run.

    On some of these processors OpenBLAS, or whoever set the variable for this process, prefers
    AVX2 kernels of half the rate. Other BLAS libraries ignore the variable.
    """
    return (
        {"OPENBLAS_CORETYPE": "SkylakeX"} if "avx512" in kflow.build_config()["simd_levels"] else {}
    )


def cores() -> int:
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def available_memory() -> float:
    """Bytes that can be allocated without swapping; infinite where nobody says."""
    try:
        with open("/proc/meminfo") as file:
            return next(1024.0 * int(line.split()[1]) for line in file if "MemAvailable" in line)
    except (OSError, StopIteration):
        return float("inf")


def blas_libraries() -> list[dict[str, Any]]:
    """The BLAS libraries that are loaded, NumPy's among them."""
    return [
        {
            "library": Path(library["filepath"]).name,
            **{name: library.get(name) for name in ("version", "architecture", "num_threads")},
        }
        for library in threadpoolctl.threadpool_info()
        if library["user_api"] == "blas"
    ]


def machine(packages: Iterable[str] = ()) -> dict[str, Any]:
    """Describe what was measured, and where and when."""
    build = kflow.build_config()
    variables = {name: os.environ[name] for name in os.environ if name.startswith("OPENBLAS_")}
    return {
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        "cores": cores(),
        **build,
        "environment": {**build["environment"], **variables},
        "blas_libraries": blas_libraries(),
        **{name: metadata.version(name) for name in ("scipy", "threadpoolctl", *packages)},
    }


# ---- results ----------------------------------------------------------------------------------


class Table:
    """Lines of a table on standard output, each as soon as it is known."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        """Print the header; `columns` maps names to formats such as ``8.3f``, with a width."""
        self._formats = list(columns.values())
        self._blanks = []
        for name, form in columns.items():
            align, width = "<" if form[0] == "<" else ">", re.findall(r"\d+", form)[0]
            self._blanks.append(f"{align}{max(int(width), len(name))}")
        names = (f"{name:{blank}}" for name, blank in zip(columns, self._blanks, strict=True))
        print(" ".join(names).rstrip(), flush=True)

    def row(self, *values: Any, note: str = "") -> None:
        """Print a line; None is a dash, and missing values are left to the note."""
        cells = [
            f"{'-' if value is None else format(value, form):{blank}}"
            for value, form, blank in zip(values, self._formats, self._blanks, strict=False)
        ]
        print(" ".join([*cells, note]).rstrip(), flush=True)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """An argument parser with what all benchmarks have."""
    result = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument(
        "--json", metavar="FILE", help="also write the results and the machine here"
    )
    return result


def write_json(args: argparse.Namespace, packages: Iterable[str] = (), **results: Any) -> None:
    """Write the results where `--json` says, if it says."""
    if args.json is None:
        return
    arguments = {name: value for name, value in vars(args).items() if name != "json"}
    report = {
        "benchmark": Path(sys.argv[0]).name,
        "arguments": arguments,
        "machine": machine(packages),
        **results,
    }
    Path(args.json).write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
