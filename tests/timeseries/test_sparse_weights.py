from __future__ import annotations

import numpy as np
import pytest

from kflow import losses
from kflow.kernels import Gaussian, Laplacian, Linear
from kflow.learning.batches import BatchSource, uniform_rows
from kflow.timeseries.sparse_weights import MeanLoss


@pytest.mark.parametrize("loss", list(losses.LOSSES))
def test_gradient_of_the_weights(rng, loss):
    X, Y = rng.normal(size=(40, 2)), rng.normal(size=(40, 2))
    candidates = [Gaussian(), Laplacian(2.0), Linear()]
    scales = np.array([kernel.diag(X).mean() for kernel in candidates])
    known = losses.get_loss(loss)
    source = BatchSource(
        X, Y, uniform_rows(X, 20), known.subsets, n_batches=4, n_halves=4, n_folds=5
    )
    average = MeanLoss(candidates, scales, 0.1, X, Y, source(rng), known.function, known.unit)
    weights = np.array([0.5, 0.2, 0.3])
    gradient = average(weights).gradient
    for i, step in enumerate(1e-6 * np.eye(3)):
        difference = average(weights + step).loss - average(weights - step).loss
        assert difference / 2e-6 == pytest.approx(gradient[i], rel=1e-5, abs=1e-8)
