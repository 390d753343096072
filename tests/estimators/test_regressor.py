from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow import (
    KernelFlowRegressor,
)
from kflow.presets import FIXED

SETTINGS = {**FIXED, "n_layers": 5, "batch_size": 20, "random_state": 0}


def assert_same(first, second, X):
    np.testing.assert_array_equal(first.predict(X), second.predict(X))
    np.testing.assert_array_equal(first.transform(X), second.transform(X))
    np.testing.assert_array_equal(first.interpolant_.coefficients, second.interpolant_.coefficients)


def test_interpolation_points_of_a_regression(X):
    fitted = KernelFlowRegressor(**SETTINGS, n_interpolation=7).fit(X, X[:, 0])
    assert len(fitted.interpolant_.centres) == 7
    assert len(KernelFlowRegressor(**SETTINGS).fit(X, X[:, 0]).interpolant_.centres) == 80


def test_several_targets(X):
    Y = np.column_stack([X[:, 0], 1000 * X[:, 1] + 5])
    model = KernelFlowRegressor(**{**SETTINGS, "interpolation_nugget": 0.01}).fit(X, Y)
    assert model.predict(X).shape == (80, 2)
    assert model.score(X, Y) > 0.8
    column = KernelFlowRegressor(**SETTINGS).fit(X, X[:, :1])
    flat = KernelFlowRegressor(**SETTINGS).fit(X, X[:, 0])
    assert column.predict(X).shape == (80, 1)
    np.testing.assert_array_equal(column.predict(X)[:, 0], flat.predict(X))


@pytest.mark.parametrize("constant", [0.1, 0.0, -1e9 / 3])
def test_a_constant_target_is_not_noise(X, constant):
    y = X[:, 0]
    noisy = np.full(80, constant)
    noisy[::2] *= 1 + np.finfo(np.float64).eps
    for second in (np.full(80, constant), noisy):
        model = KernelFlowRegressor(**SETTINGS).fit(X, np.column_stack([y, second]))
        np.testing.assert_allclose(model.predict(X)[:, 1], constant, rtol=1e-14)
        targets = model.flow_.targets_
        assert np.abs(targets[:, 1]).max() <= 1e-15 * abs(constant)
        assert targets[:, 0].std() == pytest.approx(1)
    alone = KernelFlowRegressor(**SETTINGS).fit(X, y)
    exact = KernelFlowRegressor(**SETTINGS).fit(X, np.column_stack([y, np.full(80, constant)]))
    np.testing.assert_allclose(exact.predict(X)[:, 0], alone.predict(X))


def test_round_trip_of_several_targets(X, tmp_path):
    for Y in (X[:, :2], X[:, :1]):
        model = KernelFlowRegressor(**SETTINGS).fit(X, Y)
        model.save(tmp_path / "model")
        assert_same(kflow.load(tmp_path / "model"), model, X)
