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


def report_of(tmp_path, *options):
    file = tmp_path / "gpu.json"
    # Benchmarks import each other from their own folder.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    command = [
        sys.executable,
        str(SCRIPT),
        "--small",
        "--device",
        "cpu",
        "--json",
        str(file),
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text())


def test_it_runs_in_small(tmp_path):
    report = report_of(tmp_path)
    assert report["difference"] < 1e-9
    (row,) = report["rows"]
    assert min(row["limit_ms"], row["kflow_ms"], row["torch_ms"]) > 0.0
    assert report["flow"]["dataset"] == "digits"


def test_precisions_in_small(tmp_path):
    rows = report_of(tmp_path, "--precision")["precisions"]
    mixed = [row for row in rows if row["precision"] == "mixed" and row["nugget"] >= 1e-2]
    assert {row["dtype"] for row in mixed} == {"float32", "float64"}
    assert all(row["points"] < 1e-4 for row in mixed)
    assert all(row["points"] < 1e-9 for row in mixed if row["dtype"] == "float64")
