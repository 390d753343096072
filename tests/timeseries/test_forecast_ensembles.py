from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from kflow.kernels import Gaussian, Polynomial
from kflow.timeseries import Forecaster, lorenz63


def autoregression(n, seed):
    rng = np.random.default_rng(seed)
    x = np.zeros(n + 100)
    for k in range(2, n + 100):
        x[k] = 1.5 * x[k - 1] - 0.8 * x[k - 2] + 0.3 * rng.standard_normal()
    return x[100:]


@pytest.fixture(scope="module")
def fitted():
    return Forecaster(delay=2, nugget=0.1, learn=None).fit(autoregression(200, 0))


@pytest.fixture(scope="module")
def lorenz():
    return lorenz63(700, time_step=0.1)


@pytest.fixture(scope="module")
def chaotic(lorenz):
    return Forecaster(nugget=1e-8, learn=None).fit(lorenz[:400])


def coverage(forecaster, series, n_steps, **options):
    delay = forecaster.delay
    table = series.reshape(len(series), -1)
    starts = np.arange(delay, len(table) - n_steps, 7)
    members = forecaster.sample(n_steps, [table[k - delay : k] for k in starts], **options)
    true = np.stack([table[k : k + n_steps] for k in starts])
    low, high = np.quantile(members, [0.05, 0.95], axis=1)
    return ((low <= true) & (true <= high)).mean(axis=(0, 2))


def test_shapes(fitted, lorenz, chaotic):
    assert fitted.sample(5).shape == (100, 5)
    assert fitted.sample(0, n_samples=3).shape == (3, 0)
    assert fitted.sample(5, [np.zeros((2, 1))] * 4, n_samples=3).shape == (4, 3, 5, 1)
    assert chaotic.sample(5, n_samples=3).shape == (3, 5, 3)
    assert chaotic.sample(5, lorenz[:10], n_samples=1).shape == (1, 5, 3)


def test_without_errors_members_are_the_forecast(lorenz):
    forecaster = Forecaster(nugget=1e-8, learn=None).fit(lorenz[:200])
    forecaster.spread_factor_ = 0.0
    members = forecaster.sample(20, lorenz[300:301], n_samples=4)
    for member in members:
        np.testing.assert_allclose(member, forecaster.predict(20, lorenz[300:301]), rtol=1e-6)


def test_an_ensemble_is_drawn_again_from_the_same_seed(fitted):
    np.testing.assert_array_equal(fitted.sample(5), fitted.sample(5, random_state=0))
    assert not np.array_equal(fitted.sample(5), fitted.sample(5, random_state=1))


def test_one_step_has_the_moments_of_nearby_errors(fitted):
    # Near the middle of the series, errors are those of the system's own noise, 0.3.
    members = fitted.sample(1, np.zeros(2), n_samples=4000)[:, 0]
    assert members.mean() == pytest.approx(fitted.predict(1, np.zeros(2))[0], abs=0.02)
    assert 0.2 < members.std() < 0.45


def test_intervals_hold_what_they_promise_at_all_horizons(fitted, chaotic, lorenz):
    noisy = coverage(fitted, autoregression(1500, 5), 20)
    assert noisy.min() > 0.75
    assert noisy.mean() < 0.97
    chaos = coverage(chaotic, lorenz[400:], 20)
    assert chaos.min() > 0.75


def test_spread_grows(chaotic, lorenz):
    forecast, std = chaotic.predict(60, lorenz[500:501], return_std=True)
    assert std.shape == forecast.shape
    assert std[0].max() < 1e-2 * std[40:].max()
    np.testing.assert_array_equal(forecast, chaotic.predict(60, lorenz[500:501]))


def test_standard_deviations_are_those_of_members(fitted):
    _, std = fitted.predict(4, return_std=True)
    np.testing.assert_allclose(std, fitted.sample(4, n_samples=200).std(axis=0, ddof=1))
    histories = [np.zeros((2, 1)), np.ones((2, 1))]
    _, std = fitted.predict(4, histories, return_std=True)
    members = fitted.sample(4, histories, n_samples=200)
    np.testing.assert_allclose(std, members.std(axis=1, ddof=1))


def test_noise_of_observations_spreads_the_first_states(chaotic, lorenz):
    chaos = chaotic.sample(3, lorenz[450:451], n_samples=50, noise=[0.5, 0.5, 0.5])
    assert chaos[:, 0].std(axis=0).min() > 0.2
    assert chaotic.sample(3, lorenz[450:451], n_samples=50)[:, 0].std(axis=0).max() < 0.05
    one = chaotic.sample(3, lorenz[450:451], n_samples=50, noise=0.5)
    np.testing.assert_allclose(one, chaos)


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_calibration_mends_a_wrong_spread(factor):
    series = autoregression(200, 0)
    forecaster = Forecaster(delay=2, nugget=0.1, learn=None).fit(series)
    forecaster.sample(1)
    forecaster._step_errors = factor * forecaster._step_errors
    assert forecaster.calibrate(autoregression(400, 3), n_steps=5) is forecaster
    assert forecaster.spread_factor_ == pytest.approx(1.2 / factor, rel=0.4)
    assert 0.8 < coverage(forecaster, autoregression(1500, 5), 5).mean() < 0.98
    again = forecaster.spread_factor_
    assert forecaster.calibrate(autoregression(400, 3), n_steps=5).spread_factor_ == again
    assert forecaster.fit(series).spread_factor_ == 1.0


def test_calibration_by_several_series_with_times():
    times = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.1, 600))
    series = lorenz63(times=times)
    forecaster = Forecaster(nugget=1e-6, learn=None).fit(series[:300], times[:300])
    parts = [series[300:400], series[450:600]]
    forecaster.calibrate(parts, [times[300:400], times[450:600]], n_steps=10, n_starts=7)
    assert 0.01 < forecaster.spread_factor_ < 100.0
    members = forecaster.sample(5, times=times[300:305], n_samples=10)
    assert members.shape == (10, 5, 3)


def test_members_that_run_away_are_told():
    series = np.sin(np.arange(60.0))[:, None] + np.arange(60.0)[:, None] * 0.01
    forecaster = Forecaster(Polynomial(1.0, degree=3), nugget=1e-6, learn=None).fit(series)
    forecaster.sample(1)
    forecaster._step_errors = 1e3 * (1.0 + np.abs(forecaster._step_errors))
    with pytest.warns(RuntimeWarning, match="members ran away"):
        members = forecaster.sample(200, n_samples=20)
    lost = np.isnan(members[..., 0])
    assert lost.any()
    assert (lost[:, 1:] >= lost[:, :-1]).all()  # none comes back


def test_filtered_states_are_nearer_to_the_truth(chaotic, lorenz):
    true = lorenz[400:600]
    rng = np.random.default_rng(1)
    observed = true + 2.0 * rng.standard_normal(true.shape)
    observed[50:60] = np.nan
    observed[100:150, 1] = np.nan
    found = chaotic.filter(observed, noise=2.0)
    assert found.mean.shape == found.std.shape == true.shape
    assert found.windows.shape == (100, 1, 3)
    error = np.sqrt(np.square(found.mean[20:] - true[20:]).mean())
    assert error < 1.0
    assert np.isfinite(found.mean).all()
    ensemble = chaotic.sample(10, found.windows, n_samples=1)[:, 0]
    assert ensemble.shape == (100, 10, 3)
    late = np.sqrt(np.square(ensemble.mean(axis=0)[0] - lorenz[600]).mean())
    assert late < 2.0


def test_filter_with_times_controls_and_a_delay():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.5, 1.5, 300))
    push = rng.standard_normal(300)
    x = np.zeros(300)
    for k in range(1, 300):
        gap = times[k] - times[k - 1]
        x[k] = x[k - 1] * np.exp(-gap) + push[k] * gap
    forecaster = Forecaster(Gaussian(3.0), delay=2, nugget=1e-6, learn=None)
    forecaster.fit(x[:200], times[:200], controls=push[:200])
    noisy = x[200:] + 0.3 * rng.standard_normal(100)
    found = forecaster.filter(noisy, times[200:], noise=0.3, controls=push[200:], random_state=2)
    error = np.abs(found.mean[5:, 0] - x[205:]).mean()
    assert error < 0.7 * np.abs(noisy[5:] - x[205:]).mean()
    same = forecaster.filter(noisy, times[200:], noise=[0.3], controls=push[200:], random_state=2)
    np.testing.assert_array_equal(found.mean, same.mean)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": None}, "noise must be given"),
        ({"noise": 0.0}, "noise must be positive"),
        ({"noise": -1.0}, "noise must not be negative"),
        ({"noise": [1.0, 1.0]}, "noise must be a number or 3"),
        ({"noise": np.nan}, "noise contains NaN"),
        ({"noise": 1.0, "n_members": 1}, "n_members must be"),
        ({"noise": 1.0, "model_error": -1.0}, "model_error must"),
        ({"noise": 1.0, "times": [1.0]}, "times must be given if and only if"),
        ({"noise": 1.0, "controls": [1.0]}, "controls must be given if and only if"),
    ],
)
def test_filter_refuses(chaotic, lorenz, options, message):
    with pytest.raises(ValueError, match=message):
        chaotic.filter(lorenz[:5], **options)


def test_refusals(chaotic, fitted, lorenz):
    with pytest.raises(ValueError, match="observations must have 3 columns"):
        chaotic.filter(lorenz[:5, :2], noise=1.0)
    with pytest.raises(ValueError, match="observations has 1 rows where delay=2"):
        fitted.filter([1.0], noise=1.0)
    with pytest.raises(ValueError, match="no part of delay=1 observations and n_steps=20"):
        chaotic.calibrate(lorenz[:20])
    with pytest.raises(ValueError, match="series must have 3 columns"):
        chaotic.calibrate(lorenz[:50, :1])
    with pytest.raises(ValueError, match="n_samples must be"):
        chaotic.sample(3, n_samples=0)
    with pytest.raises(TypeError, match="return_std"):
        chaotic.predict(3, return_std=1.5)
    for method in ("sample", "calibrate", "filter"):
        options = {"noise": 1.0} if method == "filter" else {}
        argument = 3 if method == "sample" else lorenz
        with pytest.raises(NotFittedError):
            getattr(Forecaster(), method)(argument, **options)
