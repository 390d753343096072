from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist, directed_hausdorff
from scipy.stats import energy_distance

from kflow import DivergenceError
from kflow.timeseries import (
    LYAPUNOV,
    attractor_distance,
    lyapunov_exponent,
    valid_prediction_time,
)
from kflow.timeseries.measures import mean_distance


def test_valid_prediction_time(rng):
    true = rng.normal(size=(40, 2))
    scale = math.sqrt(((true - true.mean(axis=0)) ** 2).sum(axis=1).mean())
    predicted = true.copy()
    predicted[:, 1] += 0.39 * scale
    predicted[7, 1] = true[7, 1] - 0.41 * scale
    assert valid_prediction_time(true, predicted) == 7
    assert valid_prediction_time(true, predicted, threshold=0.42) == 40
    time = valid_prediction_time(true, predicted, time_step=0.5, lyapunov=0.9)
    assert time == pytest.approx(7 * 0.5 * 0.9)
    assert valid_prediction_time(true, predicted, scale=scale / 2) == 0
    predicted[3:] = np.nan
    assert valid_prediction_time(true, predicted) == 3


def test_valid_prediction_time_says_what_is_wrong():
    with pytest.raises(ValueError, match="predicted must have the shape of true"):
        valid_prediction_time([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="true does not vary: pass scale"):
        valid_prediction_time([1.0, 1.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="true contains NaN"):
        valid_prediction_time([1.0, math.nan], [1.0, 1.0])
    with pytest.raises(ValueError, match="threshold must be positive"):
        valid_prediction_time([1.0, 2.0], [1.0, 2.0], threshold=0)


@pytest.mark.parametrize("q", [1, 3])
def test_attractor_distances(rng, q):
    a, b = rng.normal(size=(30, q)), rng.normal(size=(20, q)) + 1
    hausdorff = max(directed_hausdorff(a, b)[0], directed_hausdorff(b, a)[0])
    assert attractor_distance(a, b, measure="hausdorff") == pytest.approx(hausdorff)
    squared = 2 * cdist(a, b).mean() - cdist(a, a).mean() - cdist(b, b).mean()
    assert attractor_distance(a, b) == pytest.approx(math.sqrt(squared))
    for measure in ("energy", "hausdorff"):
        assert attractor_distance(a, a, measure=measure) == pytest.approx(0, abs=1e-7)
        assert attractor_distance(a, b, measure=measure) == pytest.approx(
            attractor_distance(b, a, measure=measure)
        )
    if q == 1:
        assert attractor_distance(a, b) == pytest.approx(energy_distance(a[:, 0], b[:, 0]))


@pytest.mark.parametrize("n_entries", [1, 100, 10**6])
def test_mean_distance_in_blocks(rng, n_entries):
    a, b = rng.normal(size=(30, 3)), rng.normal(size=(20, 3))
    assert mean_distance(a, b, n_entries) == pytest.approx(cdist(a, b).mean())


def test_attractor_distance_says_what_is_wrong():
    with pytest.raises(ValueError, match="measure must be"):
        attractor_distance([1.0], [1.0], measure="chamfer")
    with pytest.raises(ValueError, match="b must have 1 columns"):
        attractor_distance([1.0], [[1.0, 2.0]])
    with pytest.raises(ValueError, match="b contains NaN"):
        attractor_distance([1.0], [math.nan])


@pytest.mark.slow
def test_lyapunov_exponents_of_known_maps():
    def henon(state):
        return np.array([1 - 1.4 * state[0] ** 2 + state[1], 0.3 * state[0]])

    exponent = lyapunov_exponent(henon, [0.1, 0.1], 4000)
    assert exponent == pytest.approx(LYAPUNOV["henon_map"], abs=0.01)
    linear = np.array([[2.0, 1.0], [0.0, 0.5]]) / 4
    assert lyapunov_exponent(lambda x: linear @ x, [1, 1], 50, time_step=0.1) == pytest.approx(
        math.log(0.5) / 0.1
    )


def test_lyapunov_exponent_of_a_constant_map():
    assert lyapunov_exponent(lambda x: 0 * x, [1.0], 5) == -math.inf


def test_lyapunov_exponent_says_what_is_wrong():
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(DivergenceError, match="ran away after"),
    ):
        lyapunov_exponent(lambda x: x * x, [10.0], 50)
    with pytest.raises(ValueError, match="must return a state of shape"):
        lyapunov_exponent(lambda x: x[:1], [1.0, 2.0], 5)
    with pytest.raises(TypeError, match="system must be a Forecaster or a function"):
        lyapunov_exponent(None, [1.0], 5)
    with pytest.raises(ValueError, match="n_steps must be at least 1"):
        lyapunov_exponent(lambda x: x, [1.0], 0)
