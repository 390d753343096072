from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from kflow.linear.simplex import least_squares_on_simplex, onto_simplex


def test_projection_onto_the_simplex(rng):
    scores = rng.normal(size=(200, 4)) * 3
    nearest = onto_simplex(scores)
    np.testing.assert_allclose(nearest.sum(axis=1), 1)
    # No other probability vector is nearer: the angle to each of the corners is not acute.
    for corner in np.eye(4):
        assert (((scores - nearest) * (corner - nearest)).sum(axis=1) < 1e-12).all()
    np.testing.assert_allclose(onto_simplex(nearest), nearest, atol=1e-15)


def test_projection_gives_exact_zeros():
    np.testing.assert_array_equal(onto_simplex(np.array([[5.0, 0.0, -1.0]])), [[1.0, 0.0, 0.0]])
    np.testing.assert_array_equal(onto_simplex(np.array([[-7.0]])), [[1.0]])


def test_least_squares_on_the_simplex_are_those_of_a_general_minimiser(rng):
    for _ in range(5):
        A = rng.normal(size=(30, 4)) + 0.5
        w = least_squares_on_simplex(A)
        found = minimize(
            lambda w, A=A: np.square(A @ w).sum(),
            np.full(4, 0.25),
            bounds=[(0.0, 1.0)] * 4,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1.0},
            tol=1e-12,
        )
        assert (w >= 0.0).all()
        assert w.sum() == pytest.approx(1.0)
        np.testing.assert_allclose(w, found.x, atol=1e-5)


def test_a_ridge_pulls_to_equal_weights(rng):
    A = rng.normal(size=(50, 3)) * [1.0, 2.0, 4.0]
    spreads = [np.ptp(least_squares_on_simplex(A, ridge)) for ridge in (0.0, 10.0, 1e9)]
    assert spreads[0] > spreads[1] > spreads[2]
    assert spreads[2] < 1e-6


@pytest.mark.parametrize("size", [0.0, 1e-200, 1e200])
def test_equal_columns_have_equal_weights(size, rng):
    column = size * rng.normal(size=(20, 1))
    np.testing.assert_allclose(least_squares_on_simplex(np.repeat(column, 3, axis=1)), 1 / 3)
    np.testing.assert_allclose(least_squares_on_simplex(column), [1.0])


def test_a_column_of_zeros_has_all_the_weight(rng):
    A = np.column_stack([rng.normal(size=20), np.zeros(20)])
    np.testing.assert_allclose(least_squares_on_simplex(A), [0.0, 1.0], atol=1e-6)
