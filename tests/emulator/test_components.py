from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow.emulator.components import Learning, fitted_components, split_rows


def test_rows_are_drawn_once():
    rng = np.random.default_rng(0)
    rows = split_rows(500, 200, rng)
    assert not rows.are_all
    assert len(rows.points) == 200
    assert len(rows.held) == 50
    assert not np.intersect1d(rows.points, rows.held).size
    # Few rows beyond the inducing points: some are held out all the same.
    rows = split_rows(10, 9, rng)
    assert (len(rows.points), len(rows.held)) == (9, 1)
    rows = split_rows(10, 10, rng)
    assert rows.are_all
    np.testing.assert_array_equal(rows.held, np.arange(10))
    assert len(split_rows(50_000, 10, rng).held) == 1000


@pytest.fixture
def learning():
    return Learning.of(kflow.Emulator(n_steps=20), seed=0)


def test_the_kernel_of_the_smaller_loss_is_kept(rng, learning):
    X = rng.uniform(-2.0, 2.0, size=(60, 1))
    smooth = learning.learned(X, np.sin(2.0 * X[:, 0]))
    assert smooth.kernel.kernels[0].kernel.family == "gaussian"
    rough = learning.learned(X, np.abs(X[:, 0]))
    assert rough.kernel.kernels[0].kernel.family == "matern52"


def test_components_end_where_they_hardly_matter(rng, learning):
    U = rng.normal(size=(30, 2))
    Z = rng.normal(size=(30, 4))  # noise: the squared errors are about 1
    rows = split_rows(30, 30, rng)
    weights = np.array([1.0, 0.5, 0.05, 0.04])
    posteriors, predictions = fitted_components(U, Z, learning, rows, weights, 0.1)
    assert len(posteriors) == len(predictions) == 2
    assert len(fitted_components(U, Z, learning, rows, weights, 0.0)[0]) == 4
