from __future__ import annotations

import math

import numpy as np
import pytest

import kflow
from kflow import KernelFlow, compression, kernels
from kflow import testing as reference


def make_data(rng, n=200, d=3):
    X = rng.normal(size=(n, d))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


def make_flow(X, y, **options):
    settings = {"n_layers": 20, "batch_size": 40, "nugget": 1.0, "step": "rms", "random_state": 0}
    return KernelFlow(kernels.Gaussian(1.0), **{**settings, "step_size": 0.02, **options}).fit(X, y)


@pytest.fixture(scope="module")
def classifier():
    X, y = make_data(np.random.default_rng(0), 300)
    return kflow.KernelFlowClassifier(n_layers=60, random_state=0).fit(X, y), X, y


@pytest.mark.parametrize(
    "options", [{}, {"rank": 2}, {"rank": "auto", "shrink_every": 5, "shrink_tolerance": 0.05}]
)
def test_errors_are_those_of_the_maps(options, rng, dtype):
    X, y = make_data(rng)
    flow = make_flow(X, y, dtype=dtype, **options)
    small = kflow.compress(flow, X, n_layers=3, n_centres=20, held_out=0.2, random_state=1)
    held = np.sort(np.random.default_rng(1).permutation(200)[:40])
    F, G = (f.transform(X[held]).astype(np.float64) for f in (flow, small.estimator))
    distances = np.linalg.norm(F[:, None] - F, axis=2)
    unit = math.sqrt((distances**2).sum() / (40 * 39))
    errors = np.linalg.norm(G - F, axis=1) / unit
    assert small.position_error == pytest.approx(math.sqrt((errors**2).mean()), rel=1e-2)
    assert small.largest_error == pytest.approx(errors.max(), rel=1e-2)
    assert math.isnan(small.prediction_change)
    assert small.position_error < 0.2
