"""The benchmark of regularized networks, in small on scikit-learn's digits."""

from __future__ import annotations

import pytest


@pytest.mark.slow
def test_it_runs_in_small(run_benchmark):
    options = (
        "--n 200 --held-out 100 --epochs 4 --batch 50 --rates 0.01 --weights 0.1 --dropout 0.25"
    )
    printed, report = run_benchmark("torch_regularization", f"{options} --tuning-seeds 1 --seeds 2")
    rows = {row["method"]: row for row in report["rows"]}
    assert list(rows) == ["plain", "dropout", "rho", "e2"]
    assert [len(row["errors"]) for row in rows.values()] == [2, 2, 2, 2]
    # Errors of images held out choose, once for each candidate: layers for the losses, nothing else.
    chosen_among = [entry["method"] for entry in report["tuning"]]
    assert chosen_among == ["plain", "dropout", "rho", "rho", "e2", "e2"]
    assert all(len(entry["errors"]) == 1 for entry in report["tuning"])
    assert (report["n"], report["n_held_out"]) == (200, 100)
    assert rows["plain"]["difference"] == 0.0
    assert all(row["seconds"] > 0.0 for row in rows.values())
    assert "minus plain" in printed
