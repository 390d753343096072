from __future__ import annotations

import numpy as np
import pytest

from kflow.timeseries.filter import filtered, first_members
from kflow.timeseries.window_step import Affine, WindowStep

A = np.array([[0.9, 0.2], [-0.3, 0.8]])
Q = np.diag([0.2, 0.1]) ** 2
NOISE = np.array([0.5, 0.3])


def linear_step(matrix, delay=1):
    """The step of a linear system, in the place of a learned one."""
    q = matrix.shape[0]
    return WindowStep(
        interpolant=lambda rows: rows @ matrix.T,
        delay=delay,
        n_columns=q,
        increments=False,
        gap_unit=None,
        target_scale=Affine(np.zeros(q), np.ones(q)),
        lowest=np.full(q, -1e9),
        highest=np.full(q, 1e9),
    )


def normal_errors(rng, covariance):
    root = np.linalg.cholesky(covariance)

    def draw(rows, **_):
        return rng.standard_normal((len(rows), len(covariance))) @ root.T

    return draw


def no_errors(rows, **_):
    return 0.0 * rows[:, -1:]


def kalman(matrix, covariance, observations, noise, mean, P):
    """Kalman's filter for a state that is observed directly, with numbers missing."""
    means, deviations = [mean], [np.sqrt(P.diagonal())]
    for observed in observations[1:]:
        mean, P = matrix @ mean, matrix @ P @ matrix.T + covariance
        seen = np.flatnonzero(~np.isnan(observed))
        H = np.eye(len(mean))[seen]
        if len(seen):
            gain = P @ H.T @ np.linalg.inv(H @ P @ H.T + np.diag(noise[seen] ** 2))
            mean = mean + gain @ (observed[seen] - H @ mean)
            P = P - gain @ H @ P
        means.append(mean)
        deviations.append(np.sqrt(P.diagonal()))
    return np.array(means), np.array(deviations)


def observed_system(rng, n=40):
    x, observations = np.zeros(2), []
    for _ in range(n):
        x = A @ x + rng.standard_normal(2) * np.sqrt(Q.diagonal())
        observations.append(x + NOISE * rng.standard_normal(2))
    table = np.array(observations)
    table[5, 0] = table[9] = np.nan
    table[20:30, 1] = np.nan
    return table


def test_a_linear_system_is_filtered_as_by_kalman():
    rng = np.random.default_rng(0)
    table = observed_system(rng)
    members = first_members(table[0], NOISE, np.zeros((1, 2)), 20000, rng)
    mean, std, windows = filtered(
        linear_step(A),
        table,
        np.empty(0),
        np.empty((len(table), 0)),
        NOISE,
        members,
        normal_errors(rng, Q),
    )
    exact_mean, exact_std = kalman(A, Q, table, NOISE, table[0], np.diag(NOISE**2))
    np.testing.assert_allclose(std, exact_std, rtol=0.03)
    np.testing.assert_allclose(mean, exact_mean, atol=0.03)
    np.testing.assert_allclose(windows.mean(axis=0), mean[-1])
    np.testing.assert_allclose(windows.std(axis=0, ddof=1), std[-1])


def test_one_update_has_the_moments_of_kalmans_formulas_exactly():
    # Of the ensemble's own mean and covariance, for any number of members.
    rng = np.random.default_rng(1)
    members = rng.standard_normal((7, 4))
    delay, observed = 2, np.array([0.3, -0.8])

    table = np.array([[0.0, 0.0], [0.0, 0.0], observed])
    step = linear_step(np.hstack([0.1 * A, A]), delay)
    mean, std, windows = filtered(
        step, table, np.empty(0), np.empty((3, 0)), NOISE, members, no_errors
    )
    forecast = np.hstack([members[:, 2:], members @ np.hstack([0.1 * A, A]).T])
    P = np.cov(forecast.T)
    H = np.eye(4)[2:]
    gain = P @ H.T @ np.linalg.inv(H @ P @ H.T + np.diag(NOISE**2))
    expected = forecast.mean(axis=0) + gain @ (observed - forecast.mean(axis=0)[2:])
    np.testing.assert_allclose(windows.mean(axis=0), expected)
    np.testing.assert_allclose(np.cov(windows.T), P - gain @ H @ P, atol=1e-12)
    np.testing.assert_allclose(mean[-1], expected[2:])
    np.testing.assert_allclose(std[-1], windows[:, 2:].std(axis=0, ddof=1))


def test_members_that_agree_stay_where_they_are():
    members = np.ones((5, 1))
    mean, std, _ = filtered(
        linear_step(np.eye(1)),
        np.array([[1.0], [3.0]]),
        np.empty(0),
        np.empty((2, 0)),
        np.array([0.1]),
        members,
        no_errors,
    )
    np.testing.assert_array_equal(mean[:, 0], 1.0)
    np.testing.assert_array_equal(std, 0.0)


@pytest.mark.parametrize("n_members", [2, 30])
def test_first_members_take_what_is_missing_from_similar_windows(n_members):
    rng = np.random.default_rng(2)
    training = np.column_stack([np.arange(50.0), 10.0 * np.arange(50.0)])
    members = first_members(
        np.array([20.2, np.nan]), np.array([0.1, 0.1]), training, n_members, rng
    )
    assert members.shape == (n_members, 2)
    assert np.abs(members[:, 0] - 20.2).max() < 0.5
    assert np.abs(members[:, 1] - 200.0).max() <= 10.0 * n_members / 2 + 10.0
    nothing = first_members(np.full(2, np.nan), np.full(2, 0.1), training, n_members, rng)
    assert np.isfinite(nothing).all()
    few = first_members(np.array([np.nan, 3.0]), np.full(2, 0.1), training[:1], n_members, rng)
    np.testing.assert_array_equal(few[:, 0], 0.0)
