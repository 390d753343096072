"""The benchmarks run, and find their results right; what they measure is nobody's test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench"

SMALL = {
    "limit.py": ["--n", "300", "--batch", "50", "--d", "2", "20", "--repeats", "1"],
    "layer.py": [
        "--n",
        "300",
        "--batch",
        "50",
        "--d",
        "20",
        "--repeats",
        "1",
        "--small-layers",
        "3",
    ],
}


@pytest.mark.skipif(not BENCH.is_dir(), reason="the benchmarks are not here")
@pytest.mark.parametrize("script", SMALL)
def test_benchmark_runs(script):
    command = [sys.executable, str(BENCH / script), *SMALL[script]]
    # They import each other from their own folder.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert run.stdout
