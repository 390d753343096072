from __future__ import annotations

import numpy as np
import pytest

from kflow.kernels import Gaussian
from kflow.timeseries import Forecaster, lyapunov_exponent
from kflow.timeseries.starts import later_controls, with_controls


def driven(n, seed=0):
    """x_k = 0.6 x_{k-1} + u_k^2, and u."""
    rng = np.random.default_rng(seed)
    u, x = rng.uniform(-1.0, 1.0, n), np.zeros(n)
    for k in range(1, n):
        x[k] = 0.6 * x[k - 1] + u[k] ** 2
    return x, u


@pytest.fixture(scope="module")
def forecaster():
    x, u = driven(200)
    return Forecaster(Gaussian(3.0), nugget=1e-6, learn=None).fit(x, controls=u)


def test_controls_are_followed(forecaster):
    x, u = driven(300, 1)
    assert forecaster.n_controls_ == 1
    assert forecaster.n_features_in_ == 1
    forecast = forecaster.predict(50, x[:100], controls=u[100:150])
    np.testing.assert_allclose(forecast, x[100:150], atol=0.01)
    _, errors = forecaster.one_step(x, controls=u)
    assert np.abs(errors).max() < 0.02
    blind = Forecaster(Gaussian(3.0), nugget=1e-6, learn=None).fit(x[:200])
    assert np.abs(blind.one_step(x)[1]).max() > 0.2


def test_rows_hold_windows_then_gaps_then_controls():
    x, u = driven(30)
    times = np.cumsum(np.random.default_rng(0).uniform(1.0, 2.0, 30))
    controls = np.column_stack([u, 2.0 * u])
    forecaster = Forecaster(delay=2, scaling=None, nugget=1e-3, learn=None)
    forecaster.fit(x, times, controls=controls)
    rows = forecaster.interpolant_.centres
    assert rows.shape == (28, 6)
    np.testing.assert_array_equal(rows[:, :2], np.column_stack([x[:-2], x[1:-1]]))
    np.testing.assert_allclose(
        rows[:, 2:4], np.column_stack([np.diff(times)[:-1], np.diff(times)[1:]])
    )
    np.testing.assert_array_equal(rows[:, 4:], controls[2:])


def test_several_histories_with_controls(forecaster):
    x, u = driven(100, 2)
    histories = [x[:20, None], x[:40, None]]
    each = [u[20:25], u[40:45]]
    together = forecaster.predict(5, histories, controls=[c[:, None] for c in each])
    for history, control, forecast in zip(histories, each, together, strict=True):
        alone = forecaster.predict(5, history[:, 0], controls=control)
        np.testing.assert_allclose(forecast[:, 0], alone, rtol=1e-6)
    one = forecaster.predict(5, histories, controls=each[0])
    np.testing.assert_allclose(one[0], together[0], rtol=1e-6)


def test_several_series_with_controls_and_gaps():
    x, u = driven(200, 3)
    holes = x.copy()
    holes[50] = np.nan
    forecaster = Forecaster(Gaussian(3.0), nugget=1e-6, learn=None)
    forecaster.fit([holes[:100, None], x[100:, None]], controls=[u[:100], u[100:]])
    assert len(forecaster.interpolant_.centres) == 49 + 48 + 99
    forecast = forecaster.predict(5, x[:100, None], controls=u[100:105])
    np.testing.assert_allclose(forecast[:, 0], x[100:105], atol=0.02)


def test_a_sample_is_told_the_controls(forecaster):
    x, u = driven(100, 4)
    members = forecaster.sample(5, x[:50], controls=u[50:55], n_samples=7)
    np.testing.assert_allclose(members, np.tile(x[50:55], (7, 1)), atol=0.05)


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        (None, "controls must be given if and only if"),
        (np.zeros(3), "controls must have 2 rows"),
        (np.zeros((2, 2)), "controls must have 1 columns"),
        (np.array([0.0, np.nan]), "controls contains NaN"),
        ([np.zeros((2, 1))] * 3, "controls must be one array, or a list of 1"),
    ],
)
def test_predict_refuses_controls(forecaster, controls, message):
    with pytest.raises(ValueError, match=message):
        forecaster.predict(2, controls=controls)


def test_fit_refuses_controls():
    x, u = driven(20)
    forecaster = Forecaster(learn=None)
    with pytest.raises(ValueError, match="controls must have 20 rows"):
        forecaster.fit(x, controls=u[:10])
    with pytest.raises(ValueError, match="controls contains NaN"):
        forecaster.fit(x, controls=np.where(u > 0.9, np.nan, u) * np.nan)
    with pytest.raises(ValueError, match="list of 2 arrays"):
        forecaster.fit([x[:10, None], x[10:, None]], controls=[u[:10]])
    with pytest.raises(ValueError, match=r"controls\[1\] has 2 columns"):
        forecaster.fit(
            [x[:10, None], x[10:, None]], controls=[u[:10], np.column_stack([u[10:]] * 2)]
        )
    with pytest.raises(ValueError, match="series must have one or two dimensions"):
        forecaster.fit(np.zeros((2, 2, 2, 2)), controls=np.zeros(2))


def test_a_system_with_controls_is_no_map(forecaster):
    with pytest.raises(ValueError, match="controls is no map"):
        lyapunov_exponent(forecaster, [0.5], 10)


def test_without_controls_series_are_as_they_are():
    series = np.arange(4.0)
    joined, n_controls = with_controls(series, None)
    assert joined is series
    assert n_controls == 0
    assert later_controls(None, 0, 3, 2).shape == (3, 2, 0)


def test_given_arrays_stay_as_they_are():
    x, u = driven(60)
    before = x.copy(), u.copy()
    x.setflags(write=False)
    u.setflags(write=False)
    forecaster = Forecaster(learn=None, nugget=1e-3).fit(x, controls=u)
    forecaster.predict(3, x, controls=u[:3])
    forecaster.calibrate(x, controls=u, n_steps=2, n_starts=3)
    forecaster.filter(x, controls=u, noise=0.1)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(u, before[1])
