from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from kflow.kernels import Gaussian
from kflow.linear.interpolant import Interpolant
from kflow.timeseries.ensemble import NearbyErrors, deviations, spread_ratio, step_errors


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def gaussian(X, Z):
    return np.exp(-0.5 * cdist(X, Z, "sqeuclidean"))


def test_errors_of_parts_that_are_left_out(rng):
    X, Y = rng.standard_normal((23, 2)), rng.standard_normal((23, 3))
    errors = step_errors(Interpolant(X, Y, kernel=Gaussian(1.0), nugget=0.1))
    for rows in np.array_split(np.arange(23), 5):
        rest = np.setdiff1d(np.arange(23), rows)
        K = gaussian(X[rest], X[rest]) + 0.1 * np.eye(len(rest))
        predicted = gaussian(X[rows], X[rest]) @ np.linalg.solve(K, Y[rest])
        np.testing.assert_allclose(errors[rows], Y[rows] - predicted, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_errors_of_a_few_rows_are_those_of_each_left_out(rng, n):
    X, Y = rng.standard_normal((n, 1)), rng.standard_normal((n, 1))
    errors = step_errors(Interpolant(X, Y, kernel=Gaussian(1.0), nugget=0.1))
    for i in range(n):
        rest = np.arange(n) != i
        K = gaussian(X[rest], X[rest]) + 0.1 * np.eye(n - 1)
        predicted = gaussian(X[[i]], X[rest]) @ np.linalg.solve(K, Y[rest])
        np.testing.assert_allclose(errors[[i]], Y[[i]] - predicted, rtol=1e-8)


def test_drawn_errors_are_distributed_as_those_nearby(rng):
    # Two clusters: errors of one are small and correlated, those of the other are large.
    rows = np.concatenate([rng.standard_normal((16, 2)), 100.0 + rng.standard_normal((16, 2))])
    small = rng.standard_normal((16, 1)) * [0.1, -0.1]
    large = rng.standard_normal((16, 2)) * 5.0
    draw = NearbyErrors(rows, np.concatenate([small, large]), 2.0, rng)
    n = 20000
    for centre, errors in ((0.0, small), (100.0, large)):
        drawn = draw(np.full((n, 2), centre), np.arange(n), n)
        expected = 4.0 * errors.T @ errors / 16
        np.testing.assert_allclose(
            drawn.T @ drawn / n, expected, atol=0.05 * np.abs(expected).max()
        )
        np.testing.assert_allclose(
            drawn.mean(axis=0), 0.0, atol=0.04 * np.sqrt(expected.diagonal().max())
        )


def test_a_draw_does_not_depend_on_which_others_are_drawn():
    rng = np.random.default_rng(1)
    rows, errors = rng.standard_normal((40, 3)), rng.standard_normal((40, 2))
    all_of_them = NearbyErrors(rows, errors, 1.0, np.random.default_rng(2))(rows, np.arange(40), 40)
    some = np.array([3, 17, 39])
    few = NearbyErrors(rows, errors, 1.0, np.random.default_rng(2))(rows[some], some, 40)
    np.testing.assert_allclose(few, all_of_them[some], rtol=1e-14)


def test_draws_from_fewer_rows_than_neighbours(rng):
    draw = NearbyErrors(np.zeros((1, 1)), np.ones((1, 1)), 1.0, rng)
    assert draw(np.zeros((5, 1)), np.arange(5), 5).shape == (5, 1)


def test_deviations_leave_out_members_that_are_lost(rng):
    members = rng.standard_normal((6, 4, 2))
    np.testing.assert_allclose(deviations(members, 0), members.std(axis=0, ddof=1))
    np.testing.assert_allclose(deviations(members, 1), members.std(axis=1, ddof=1))
    members[2:, 1] = np.nan
    members[1:, 2] = np.nan
    members[:, 3] = np.nan
    found = deviations(members, 0)
    np.testing.assert_allclose(found[1], members[:2, 1].std(axis=0, ddof=1))
    assert np.isnan(found[2:]).all()


def test_the_ratio_of_normal_errors(rng):
    sizes = rng.uniform(0.5, 2.0, 20000)
    assert spread_ratio(3.0 * sizes * rng.standard_normal(20000), sizes) == pytest.approx(3.0, 0.02)


@pytest.mark.parametrize("deviation", [0.0, np.nan])
def test_a_ratio_of_nothing_is_one(deviation):
    assert spread_ratio(np.ones(3), np.full(3, deviation)) == 1.0
    assert spread_ratio(np.zeros(3), np.ones(3)) == 1.0
