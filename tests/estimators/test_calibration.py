from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax as reference
from sklearn.metrics import log_loss

from kflow.estimators.calibration import softmax, temperature_of


def drawn(rng, n, temperature):
    scores = rng.normal(size=(n, 3))
    probabilities = reference(scores / temperature, axis=1)
    codes = np.array([rng.choice(3, p=row) for row in probabilities])
    return scores, np.eye(3)[codes]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax(rng, dtype):
    scores = rng.normal(size=(20, 4)).astype(dtype)
    found = softmax(scores, 0.3)
    np.testing.assert_allclose(found, reference(scores.astype(float) / 0.3, axis=1), rtol=1e-6)
    assert (softmax(1e4 * scores, 0.01) >= 0).all()


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_the_temperature_that_made_the_labels(rng, temperature):
    scores, one_hot = drawn(rng, 4000, temperature)
    assert temperature_of(scores, one_hot) == pytest.approx(temperature, rel=0.1)


def test_the_least_log_loss_with_one_more_row_of_each_class(rng):
    scores, one_hot = drawn(rng, 60, 0.4)
    smooth = 3 / 63
    wanted = (1 - smooth) * one_hot + smooth / 3

    def loss(temperature):
        return -(wanted * np.log(softmax(scores, temperature))).sum()

    best = temperature_of(scores, one_hot)
    for factor in (0.97, 1.03):
        assert loss(best) < loss(factor * best)


def test_rows_without_an_error_promise_nothing(rng):
    one_hot = np.eye(2)[rng.integers(2, size=50)]
    probabilities = softmax(one_hot, temperature_of(one_hot, one_hot))
    assert probabilities.max() < 0.999
    assert log_loss(one_hot, probabilities) < 0.05


def test_a_weight_of_two_is_a_row_twice(rng):
    scores, one_hot = drawn(rng, 80, 0.5)
    weights = rng.integers(1, 4, size=80)
    twice = temperature_of(scores.repeat(weights, axis=0), one_hot.repeat(weights, axis=0))
    assert temperature_of(scores, one_hot, weights.astype(float)) == pytest.approx(twice, rel=1e-4)


def test_limits(rng):
    one_hot = np.eye(2)[rng.integers(2, size=50)]
    assert temperature_of(1.0 - one_hot, one_hot) == pytest.approx(100.0, rel=1e-3)
