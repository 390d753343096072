"""The benchmark of graphics processors, in small on PyTorch's CPU device."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")


def test_it_runs_in_small(run_benchmark):
    _, report = run_benchmark("gpu", "--small --device cpu")
    assert report["difference"] < 1e-9
    (row,) = report["rows"]
    assert min(row["limit_ms"], row["kflow_ms"], row["torch_ms"]) > 0.0
    assert report["flow"]["dataset"] == "digits"
