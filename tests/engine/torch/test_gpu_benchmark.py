"""The benchmark of graphics processors, in small on PyTorch's CPU device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

SCRIPT = Path(__file__).parents[3] / "bench" / "gpu.py"


def test_it_runs_in_small(tmp_path):
    file = tmp_path / "gpu.json"
    # Benchmarks import each other from their own folder.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    command = [sys.executable, str(SCRIPT), "--small", "--device", "cpu", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    report = json.loads(file.read_text())
    assert report["difference"] < 1e-9
    (row,) = report["rows"]
    assert min(row["limit_ms"], row["kflow_ms"], row["torch_ms"]) > 0.0
    assert report["flow"]["dataset"] == "digits"
