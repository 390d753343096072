from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow import losses
from kflow.testing.loss_tests import LossProblem


def test_rho_of_zero_targets():
    p = LossProblem.random(8, 2, 2)
    value, G = losses.rho(p.K, np.zeros((8, 2)), p.halves)
    assert value == 0.0
    np.testing.assert_array_equal(G, np.zeros((8, 8)))


def test_rho_agrees_with_the_flow(kernel, rng):
    X, Y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    half = rng.permutation(40)[:20]
    value, _ = losses.rho(kflow.gram(X, kernel=kernel) + 0.1 * np.eye(40), Y, half)
    assert value == pytest.approx(kflow.rho(X, Y, half, kernel=kernel, nugget=0.1), rel=1e-12)
