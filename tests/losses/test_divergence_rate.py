from __future__ import annotations

import numpy as np
import pytest

from kflow import losses
from kflow.testing.loss_tests import LossProblem


def test_lyapunov_of_predictions_that_coincide():
    # Two points that nothing reaches are both predicted to be 0.
    K = np.eye(5)
    K[0, 1] = K[1, 0] = 0.5
    value, G = losses.lyapunov(K, [1.0, 2.0, 3.0, 4.0, 5.0], [0], [[1, 2], [3, 4]])
    assert np.isfinite(value)
    assert np.isfinite(G).all()
    assert value > 1e4
    assert G[0, 1] != 0
    assert (G[3:] == 0).all()


def test_lyapunov_of_one_pair():
    K = np.eye(3)
    K[0, 1] = K[1, 0] = 0.5
    K[0, 2] = K[2, 0] = 0.25
    value, _ = losses.lyapunov(K, [4.0, 3.0, 1.0], [0], [[1, 2]])
    assert value == pytest.approx(np.log(0.5) ** 2)  # predictions 2 and 1, targets 3 and 1


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([[3, 6]], "pairs names a row outside 0..5"),
        ([[3, -1]], "pairs names a row outside 0..5"),
        ([[3, 4], [2, 5]], "pairs names row 2, which is in half 0"),
        ([[3, 4], [5, 3]], "pairs names rows 5 and 3, whose targets are equal"),
        ([[4, 4]], "pairs names rows 4 and 4, whose targets are equal"),
        ([[3, 4, 5]], r"pairs must have shape \(1, n_pairs, 2\)"),
        ([3, 4], r"pairs must have shape \(1, n_pairs, 2\)"),
        ([[[3, 4]], [[3, 4]]], r"pairs must have shape \(1, n_pairs, 2\)"),
        (np.empty((0, 2), int), r"pairs must have shape \(1, n_pairs, 2\)"),
        ([[3.0, 4.0]], "pairs must hold row numbers of K"),
    ],
)
def test_bad_pairs(pairs, message):
    p = LossProblem.random(6, 2)
    p.Y[5] = p.Y[3]
    with pytest.raises((TypeError, ValueError), match=message):
        losses.lyapunov(p.K, p.Y, [0, 1, 2], pairs)
