from __future__ import annotations

import numpy as np
import pytest

from kflow import KernelFlowClassifier, KernelFlowRegressor
from kflow.cli.fit_checkpoint import FitCheckpoint
from kflow.cli.room import bytes_of_output
from kflow.datasets import Dataset


@pytest.mark.slow
@pytest.mark.parametrize("rank", [None, "auto", 3, 0.5])
@pytest.mark.parametrize("shrink", [{}, {"shrink_every": 1, "shrink_tolerance": 0.5}])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_space_that_is_asked_for_suffices(rank, shrink, task, tmp_path, rng):
    if rank is None and shrink:
        return
    n, d = 60, 40
    X, y = rng.normal(size=(n, d)), np.arange(n) % 3
    dataset = Dataset("some", X, y, X, y, task)
    kind = KernelFlowClassifier if task == "classification" else KernelFlowRegressor
    folder = tmp_path / "checkpoint"
    estimator = kind(
        n_layers=200, batch_size=20, rank=rank, checkpoint=folder, random_state=0, **shrink
    )
    estimator.fit(X, y, follow={"test": X})
    for layers_dtype in (None, "float16"):
        estimator.save(tmp_path / "model", layers_dtype=layers_dtype)
        used = FitCheckpoint(tmp_path).n_bytes + (tmp_path / "model").stat().st_size
        needed = bytes_of_output(estimator, dataset, layers_dtype)
        assert used < needed
        if not shrink and rank in (None, 3):
            assert needed < 1.3 * used + 2**20
