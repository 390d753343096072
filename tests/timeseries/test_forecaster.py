from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from kflow import SingularKernelError, kernels, losses
from kflow.errors import JitterWarning
from kflow.kernels import Gaussian, Linear, Matern52, Polynomial
from kflow.timeseries import (
    LYAPUNOV,
    Forecaster,
    attractor_distance,
    delay_embedding,
    henon_map,
    logistic_map,
    lorenz63,
    lyapunov_exponent,
    valid_prediction_time,
)

UNLEARNED = {"learn": None}


@pytest.fixture(scope="module")
def lorenz():
    return lorenz63(500, time_step=0.1)


@pytest.mark.slow
def test_a_forecast_is_the_interpolant_iterated(lorenz):
    forecaster = Forecaster(Gaussian(3.0), delay=2, **UNLEARNED).fit(lorenz[:200])
    forecast = forecaster.predict(4, lorenz[300:310])
    train = (lorenz[:200] - lorenz[:200].mean(axis=0)) / lorenz[:200].std(axis=0)
    X, Y = delay_embedding(train, 2)
    mean, scale = Y.mean(axis=0), Y.std(axis=0)
    K = np.exp(-(cdist(X, X) ** 2) / 18) + 1e-8 * np.eye(len(X))
    coefficients = np.linalg.solve(K, (Y - mean) / scale)
    window = (lorenz[308:310] - lorenz[:200].mean(axis=0)) / lorenz[:200].std(axis=0)
    for row in forecast:
        k = np.exp(-(cdist(window.reshape(1, -1), X) ** 2) / 18)
        window = np.vstack([window[1:], k @ coefficients * scale + mean])
        np.testing.assert_allclose(
            row, window[-1] * lorenz[:200].std(axis=0) + lorenz[:200].mean(axis=0), rtol=1e-5
        )


@pytest.mark.slow
@pytest.mark.parametrize("increments", [False, True])
@pytest.mark.parametrize("scaling", ["standard", None])
def test_forecasts_follow_the_truth(lorenz, increments, scaling):
    kernel = None if scaling else Gaussian(15.0)
    forecaster = Forecaster(
        kernel, nugget=1e-10, increments=increments, scaling=scaling, **UNLEARNED
    )
    forecaster.fit(lorenz[:400])
    _, errors = forecaster.one_step(lorenz[400:])
    assert np.abs(errors).max() < 0.05
    forecast = forecaster.predict(100)
    assert valid_prediction_time(lorenz[400:], forecast, time_step=0.1, lyapunov=0.9) > 3
    distance = attractor_distance(forecaster.predict(1000), lorenz, measure="hausdorff")
    assert distance < 8


def test_default_kernel_is_a_gaussian_of_the_median_distance(lorenz):
    forecaster = Forecaster(**UNLEARNED).fit(lorenz[:100])
    z = (lorenz[:99] - lorenz[:100].mean(axis=0)) / lorenz[:100].std(axis=0)
    median = np.median(cdist(z, z)[np.triu_indices(99, 1)])
    assert isinstance(forecaster.kernel_, Gaussian)
    assert forecaster.kernel_.length_scale == pytest.approx(median)
    assert forecaster.nugget_ == 1e-8
    assert forecaster.learned_ is None
    assert forecaster.n_features_in_ == 3


def test_several_histories_are_forecast_together(lorenz):
    forecaster = Forecaster(delay=2, **UNLEARNED).fit(lorenz[:200])
    histories = [lorenz[210:212], lorenz[250:255], lorenz[300:302]]
    together = forecaster.predict(10, histories)
    assert together.shape == (3, 10, 3)
    for history, forecast in zip(histories, together, strict=True):
        np.testing.assert_allclose(forecaster.predict(10, history), forecast, rtol=1e-6)
    np.testing.assert_allclose(forecaster.predict(10), forecaster.predict(10, lorenz[:200]))


def test_a_series_of_numbers_is_forecast_by_numbers():
    series = logistic_map(150)
    forecaster = Forecaster(**UNLEARNED).fit(series)
    assert forecaster.predict(3).shape == (3,)
    assert forecaster.predict(3, series[7:8]).shape == (3,)
    assert forecaster.predict(0).shape == (0,)
    np.testing.assert_allclose(forecaster.predict(3, [0.3])[0], 0.84, atol=1e-3)
    assert forecaster.predict(3, [[[0.3]], [[0.4]]]).shape == (2, 3, 1)
    forecasts, errors = forecaster.one_step([0.3, 0.8])
    assert forecasts.shape == errors.shape == (1, 1)
    np.testing.assert_allclose(errors, 0.8 - forecasts)
    columns = Forecaster(**UNLEARNED).fit(series[:, None])
    np.testing.assert_array_equal(columns.predict(3)[:, 0], forecaster.predict(3))


def test_several_series(lorenz):
    forecaster = Forecaster(delay=3, **UNLEARNED).fit([lorenz[:50], lorenz[100:180]])
    assert len(forecaster.interpolant_.centres) == 47 + 77
    np.testing.assert_allclose(forecaster.predict(3), forecaster.predict(3, lorenz[177:180]))
    forecasts, _ = forecaster.one_step([lorenz[:10], lorenz[20:30]])
    assert forecasts.shape == (14, 3)


@pytest.mark.slow
@pytest.mark.parametrize("increments", [False, True])
def test_irregular_times(increments):
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.uniform(0.02, 0.1, 500))
    series = lorenz63(times=times)
    # In y and z the gaps explain what follows; without them nothing does.
    blind = Forecaster(nugget=1e-6, increments=increments, **UNLEARNED).fit(series[:400])
    aware = Forecaster(nugget=1e-6, increments=increments, **UNLEARNED)
    aware.fit(series[:400], times[:400])
    assert aware.interpolant_.centres.shape == (399, 4)
    _, blind_errors = blind.one_step(series[400:])
    _, errors = aware.one_step(series[400:], times[400:])
    assert np.square(errors).mean() < 1e-2 * np.square(blind_errors).mean()
    forecast = aware.predict(10, times=times[400:410])
    np.testing.assert_allclose(forecast, series[400:410], atol=2)
    again = aware.predict(10, series[380:400], times[380:410])
    np.testing.assert_allclose(again, forecast)
    both = aware.predict(5, [series[380:400], series[450:451]], [times[380:405], times[450:456]])
    np.testing.assert_allclose(both[0], forecast[:5], rtol=1e-6)
    np.testing.assert_allclose(both[1], series[451:456], atol=2)


@pytest.mark.slow
def test_irregular_times_with_a_delay():
    times = np.cumsum(np.random.default_rng(2).uniform(0.02, 0.06, 600))
    x = lorenz63(times=times)[:, 0]
    forecaster = Forecaster(delay=4, nugget=1e-6, **UNLEARNED).fit(x[:500], times[:500])
    assert forecaster.interpolant_.centres.shape == (496, 8)
    forecast = forecaster.predict(5, times=times[500:505])
    np.testing.assert_allclose(forecast[:2], x[500:502], atol=1)
    blind = Forecaster(delay=4, nugget=1e-6, **UNLEARNED).fit(x[:500])
    aware, unaware = forecaster.one_step(x[500:], times[500:])[1], blind.one_step(x[500:])[1]
    assert np.median(np.abs(aware)) < 0.5 * np.median(np.abs(unaware))
    np.testing.assert_allclose(
        forecaster.predict(5, x[496:500], times[496:505]), forecast, rtol=1e-8
    )


def test_equal_gaps_with_rounding_errors_change_nothing(lorenz):
    times = 1000 + 0.1 * np.arange(200)
    timed = Forecaster(**UNLEARNED).fit(lorenz[:200], times)
    plain = Forecaster(**UNLEARNED).fit(lorenz[:200])
    ours = timed.predict(5, times=times[-1] + 0.1 * np.arange(1, 6))
    np.testing.assert_allclose(ours, plain.predict(5), rtol=1e-4)


def test_scales_do_not_matter(lorenz):
    forecast = Forecaster(**UNLEARNED).fit(lorenz[:200]).predict(5)
    factor, shift = np.array([1e-6, 1.0, 1e6]), np.array([5.0, 0.0, -3e7])
    scaled = Forecaster(**UNLEARNED).fit(lorenz[:200] * factor + shift).predict(5)
    np.testing.assert_allclose((scaled - shift) / factor, forecast, atol=1e-2)


def test_fewer_rows_of_the_interpolant(lorenz):
    settings = {"n_interpolation": 50, "random_state": 0, **UNLEARNED}
    forecaster = Forecaster(**settings).fit(lorenz)
    assert forecaster.interpolant_.centres.shape == (50, 3)
    again = Forecaster(**settings).fit(lorenz)
    np.testing.assert_array_equal(again.predict(3), forecaster.predict(3))


def test_a_forecast_that_runs_away_ends_in_nan():
    # x -> 2 x, which the linear kernel continues for ever.
    series = 2.0 ** np.arange(6)
    forecaster = Forecaster(Linear(), scaling=None, **UNLEARNED).fit(series)
    with pytest.warns(RuntimeWarning, match="1 of 1 forecasts ran away .* after 3 steps"):
        forecast = forecaster.predict(8)
    np.testing.assert_allclose(forecast[:3], [64, 128, 256], rtol=1e-4)
    assert np.isnan(forecast[3:]).all()


def test_forecasts_that_go_on_outlive_those_that_run_away():
    series = 2.0 ** np.arange(6)
    forecaster = Forecaster(Polynomial(), scaling=None, nugget=1e-6, **UNLEARNED).fit(series)
    with pytest.warns(RuntimeWarning, match="1 of 2 forecasts ran away"):
        forecasts = forecaster.predict(6, [[[32.0]], [[1.0]]])
    assert np.isnan(forecasts[0, -1]).all()
    assert np.isfinite(forecasts[1]).all()


def test_threads_change_nothing(lorenz):
    one, four = (Forecaster(n_threads=n, **UNLEARNED).fit(lorenz) for n in (1, 4))
    np.testing.assert_array_equal(one.predict(20), four.predict(20))


@pytest.mark.slow
def test_lyapunov_exponent_of_a_forecaster():
    series = henon_map(400)
    forecaster = Forecaster(nugget=1e-10, **UNLEARNED).fit(series)
    exponent = lyapunov_exponent(forecaster, series[:1], 2000)
    assert exponent == pytest.approx(LYAPUNOV["henon_map"], abs=0.05)
    delayed = Forecaster(delay=2, nugget=1e-10, **UNLEARNED).fit(series[:, 0])
    exponent = lyapunov_exponent(delayed, series[:2, 0], 2000)
    assert exponent == pytest.approx(LYAPUNOV["henon_map"], abs=0.05)
    with pytest.raises(ValueError, match=r"start must be a window of shape \(2, 1\)"):
        lyapunov_exponent(delayed, series[:3, 0], 2000)


@pytest.mark.slow
def test_lyapunov_exponent_of_a_forecaster_of_irregular_times():
    times = np.cumsum(np.random.default_rng(3).uniform(0.05, 0.1, 800))
    series = lorenz63(times=times)
    forecaster = Forecaster(nugget=1e-8, **UNLEARNED).fit(series, times)
    exponent = lyapunov_exponent(forecaster, series[:1], 3000, time_step=0.08)
    assert exponent == pytest.approx(LYAPUNOV["lorenz63"], abs=0.15)


def test_scikit_learn_parameters(lorenz):
    forecaster = Forecaster(Matern52(2.0), delay=2, learn=None)
    copy = clone(forecaster)
    assert copy.get_params() == forecaster.get_params()
    assert copy.set_params(delay=3).delay == 3
    with pytest.raises(NotFittedError):
        forecaster.predict(3)
    with pytest.raises(NotFittedError):
        forecaster.one_step(lorenz)
    with pytest.raises(NotFittedError):
        lyapunov_exponent(forecaster, lorenz[:2], 3)


@pytest.mark.parametrize(
    ("settings", "series", "message"),
    [
        ({"delay": 3}, [1.0, 2.0, 3.0], "series has 3 observations where delay=3"),
        ({"delay": 0}, [1.0, 2.0, 3.0], "delay must be at least 1"),
        ({"nugget": -1.0}, [1.0, 2.0, 3.0], "nugget must be finite and not negative"),
        ({"scaling": "unit"}, [1.0, 2.0, 3.0], "scaling must be 'standard' or None"),
        ({"n_interpolation": 3}, [1.0, 2.0, 3.0], "n_interpolation=3 is more than the 2 rows"),
        ({}, [1.0, math.inf], "series contains NaN"),
        ({"kernel": Gaussian((1.0, 1.0))}, [1.0, 2.0, 3.0], "length_scale"),
    ],
)
def test_fit_says_what_is_wrong(settings, series, message):
    with pytest.raises(ValueError, match=message):
        Forecaster(**{"learn": None, **settings}).fit(series)


def test_fit_refuses_what_is_no_kernel():
    with pytest.raises(TypeError, match="kernel must be one of"):
        Forecaster("gaussian", learn=None).fit([1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match="increments must be True or False"):
        Forecaster(increments=1, learn=None).fit([1.0, 2.0, 3.0])


def test_duplicates_without_a_nugget_get_one():
    series = [1.0, 2.0, 1.0, 2.0, 1.0]
    with pytest.warns(JitterWarning, match="is added to the nugget"):
        forecaster = Forecaster(Gaussian(), nugget=0.0, learn=None).fit(series)
    assert 0.0 < forecaster.nugget_ < 1e-9
    np.testing.assert_allclose(forecaster.predict(2), [2.0, 1.0], rtol=1e-6)


def test_what_is_no_kernel_is_singular_for_good():
    distance = kernels.FunctionKernel(lambda X, Z: -((X - Z.T) ** 2))
    with pytest.raises(SingularKernelError, match="positive definite"):
        Forecaster(distance, nugget=0.0, learn=None).fit([1.0, 2.0, 3.0, 5.0])


@pytest.mark.parametrize("scaling", ["standard", None])
def test_a_constant_series(scaling):
    forecaster = Forecaster(Gaussian(), scaling=scaling, learn=None).fit([0.3, 0.3, 0.3])
    np.testing.assert_allclose(forecaster.predict(4), 0.3)


def test_a_constant_column(lorenz):
    series = np.column_stack([lorenz[:100], np.full(100, 0.3)])
    forecaster = Forecaster(learn=None).fit(series)
    forecast = forecaster.predict(3)
    np.testing.assert_allclose(forecast[:, 3], 0.3)
    np.testing.assert_allclose(
        forecast[:, :3], Forecaster(learn=None).fit(lorenz[:100]).predict(3), rtol=1e-8
    )


def test_a_fit_that_fails_leaves_the_earlier_one(lorenz):
    forecaster = Forecaster(learn=None).fit(lorenz[:50])
    before = forecaster.predict(3)
    with pytest.raises(ValueError, match="NaN"):
        forecaster.fit([math.nan, math.nan])
    np.testing.assert_array_equal(forecaster.predict(3), before)
    with pytest.raises(ValueError, match="observations"):  # one, beside a missing one
        forecaster.fit([1.0, math.nan])
    np.testing.assert_array_equal(forecaster.predict(3), before)


def test_predict_says_what_is_wrong(lorenz):
    forecaster = Forecaster(delay=2, learn=None).fit(lorenz[:50])
    with pytest.raises(ValueError, match="n_steps must be at least 0"):
        forecaster.predict(-1)
    with pytest.raises(ValueError, match="history must have 3 columns"):
        forecaster.predict(1, lorenz[:5, :2])
    with pytest.raises(ValueError, match="history has 1 observations where delay=2"):
        forecaster.predict(1, lorenz[:1])
    with pytest.raises(ValueError, match=r"history\[1\] has 1 observations"):
        forecaster.predict(1, [lorenz[:2], lorenz[:1]])
    with pytest.raises(ValueError, match="history contains NaN"):
        forecaster.predict(1, np.full((2, 3), math.nan))
    with pytest.raises(ValueError, match="times must be given if and only if"):
        forecaster.predict(1, times=[0.0])
    with pytest.raises(ValueError, match="series must have 3 columns"):
        forecaster.one_step(lorenz[:5, :2])
    with pytest.raises(ValueError, match="times must be given if and only if"):
        forecaster.one_step(lorenz[:5], np.arange(5))


def test_predict_with_times_says_what_is_wrong(lorenz):
    times = np.arange(50.0)
    forecaster = Forecaster(learn=None).fit(lorenz[:50], times)
    with pytest.raises(ValueError, match="times must be given if and only if"):
        forecaster.predict(1)
    with pytest.raises(ValueError, match="times must go on after the series, which ends at 49"):
        forecaster.predict(1, times=[49.0])
    with pytest.raises(ValueError, match="times must have 2 entries"):
        forecaster.predict(2, times=[50.0])
    with pytest.raises(ValueError, match="times must have 7 entries"):
        forecaster.predict(2, lorenz[:5], times[:5])
    with pytest.raises(ValueError, match="times must be a list of 2 arrays"):
        forecaster.predict(2, [lorenz[:5], lorenz[:4]], [times[:7]])


QUICK = {"optimizer": "adam", "n_steps": 15, "batch_size": 60}


@pytest.mark.slow
@pytest.mark.parametrize("loss", sorted(losses.LOSSES))
def test_every_loss_learns(lorenz, loss):
    forecaster = Forecaster(learn=loss, nugget=1e-6, learn_options=QUICK, random_state=0)
    forecaster.fit(lorenz[:150])
    start = Forecaster(learn=None, random_state=0).fit(lorenz[:150]).kernel_
    assert forecaster.kernel_ == forecaster.learned_.kernel == forecaster.interpolant_.kernel
    assert forecaster.kernel_ != start
    assert forecaster.nugget_ == 1e-6
    assert len(forecaster.learned_.history["loss"]) == 15
    assert np.isfinite(forecaster.predict(3)).all()


def test_learning_lowers_the_error_of_a_bad_kernel(lorenz):
    bad = Gaussian(0.2)
    unlearned = Forecaster(bad, learn=None).fit(lorenz[:300])
    learned = Forecaster(bad, learn="e2", learn_options={"n_steps": 100}, random_state=0)
    learned.fit(lorenz[:300])
    error, lower = (np.square(f.one_step(lorenz[300:])[1]).mean() for f in (unlearned, learned))
    assert lower < 1e-2 * error


def test_the_nugget_is_learned_on_request(lorenz):
    options = {**QUICK, "learn_nugget": True}
    forecaster = Forecaster(learn="nlml", nugget=1e-4, learn_options=options, random_state=0)
    forecaster.fit(lorenz[:100])
    assert forecaster.nugget_ == forecaster.learned_.nugget == forecaster.interpolant_.nugget
    assert forecaster.nugget_ != 1e-4


def test_learning_is_reproducible(lorenz):
    settings = {"learn_options": QUICK, "random_state": 3}
    one, two = (Forecaster(n_threads=n, **settings).fit(lorenz[:150]) for n in (1, 3))
    assert one.kernel_ == two.kernel_
    np.testing.assert_array_equal(one.predict(5), two.predict(5))


def test_learn_options_are_checked(lorenz):
    with pytest.raises(TypeError, match="learn_options must be a mapping"):
        Forecaster(learn_options=[1]).fit(lorenz)
    with pytest.raises(ValueError, match="learn_options: 'loss' is a parameter"):
        Forecaster(learn_options={"loss": "e2"}).fit(lorenz)
    with pytest.raises(ValueError, match="learn must be one of"):
        Forecaster(learn="mse").fit(lorenz)


def test_missing_observations_are_in_no_window(rng):
    x = rng.normal(size=(60, 2)).cumsum(axis=0)
    times = np.arange(60.0)
    gappy = x.copy()
    gappy[[20, 21]] = np.nan
    gappy[40, 1] = np.nan
    parts = [x[:20], x[22:40], x[41:]]
    clocks = [times[:20], times[22:40], times[41:]]
    for given, expected, later in (
        ((gappy,), (parts,), None),
        ((gappy, times), (parts, clocks), [60.0, 61.0]),
        (([gappy, x[:9]],), ([*parts, x[:9]],), None),
    ):
        models = [Forecaster(learn=None, delay=2, nugget=1e-4).fit(*a) for a in (given, expected)]
        one, other = (model.predict(2, times=later) for model in models)
        np.testing.assert_array_equal(one, other)
    flat = Forecaster(learn=None, nugget=1e-4).fit(gappy[:, 0])
    assert flat.predict(3).shape == (3,)
    with pytest.raises(ValueError, match="NaN in each of its rows"):
        Forecaster().fit(np.full((5, 2), np.nan))


def test_series_that_are_too_short_are_left_out(rng):
    x = rng.normal(size=(30, 2)).cumsum(axis=0)
    with pytest.warns(UserWarning, match="1 of 2 series.*at most delay=3.*left out"):
        model = Forecaster(learn=None, delay=3, nugget=1e-4).fit([x, x[:3]])
    alone = Forecaster(learn=None, delay=3, nugget=1e-4).fit([x])
    np.testing.assert_array_equal(model.predict(2, x[:5]), alone.predict(2, x[:5]))
    with pytest.warns(UserWarning, match="left out"):
        model = Forecaster(learn=None, delay=3, nugget=1e-4).fit([x, x[:1]])
    with pytest.raises(ValueError, match="the end of the series has 1 observations"):
        model.predict(1)
    with pytest.raises(ValueError, match=r"series\[0\] has 3 observations"):
        Forecaster(delay=3).fit([x[:3], x[:2]])
    with pytest.raises(ValueError, match="series is empty"):
        Forecaster().fit(np.empty((0, 3)))


def test_dates_are_times_in_seconds(rng):
    x = rng.normal(size=(30, 1)).cumsum(axis=0)
    hours = np.cumsum(rng.integers(1, 4, size=33))
    dates = np.datetime64("2020-02-28") + hours * np.timedelta64(1, "h")
    seconds = (dates - np.datetime64("1970-01-01", "s")).astype(float)
    models = [Forecaster(learn=None, nugget=1e-4) for _ in range(3)]
    results = [
        model.fit(x, times[:30]).predict(3, times=times[30:])
        for model, times in zip(models, (seconds, dates, dates.tolist()), strict=True)
    ]
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])
    with pytest.raises(ValueError, match="times has dates that are missing"):
        models[0].fit(x[:2], np.array(["2020-01-01", "NaT"], "datetime64[s]"))


@pytest.mark.slow
def test_forecasts_that_stay_near():
    series = lorenz63(800, time_step=0.1, random_state=0)[:, 0]
    parameters = {"kernel": Gaussian(8.0), "delay": 5, "nugget": 1e-5, **UNLEARNED}
    free = Forecaster(increments=True, **parameters).fit(series)
    near = Forecaster(increments=True, stay_near=True, **parameters).fit(series)
    # Of one start the last digits decide whether it runs away, and they depend on the processor.
    starts = np.stack([series[first : first + 20, None] for first in range(0, 760, 40)])
    with pytest.warns(RuntimeWarning, match="ran away"):
        ran = free.predict(1000, starts).reshape(len(starts), -1)
    left = [np.isnan(run[-1]) or attractor_distance(run[500:], series) > 5.0 for run in ran]
    assert np.mean(left) > 0.25
    assert np.isnan(ran[:, -1]).any()
    stayed = near.predict(1000)
    assert attractor_distance(stayed[500:], series) < 0.5
    assert np.ptp(stayed) < 1.1 * np.ptp(series)
    stayed = near.predict(1000, starts).reshape(len(starts), -1)
    distances = [attractor_distance(run[500:], series) for run in stayed]
    assert np.median(distances) < 0.5
    assert max(distances) < 1.0
    assert (np.ptp(stayed, axis=1) < 1.1 * np.ptp(series)).all()


def test_staying_near_changes_nothing_where_windows_are_near(lorenz):
    series = lorenz[:300]
    near = Forecaster(Gaussian(3.0), stay_near=True, **UNLEARNED).fit(series)
    free = Forecaster(Gaussian(3.0), **UNLEARNED).fit(series)
    np.testing.assert_array_equal(
        near.predict(1, series[100:101]), free.predict(1, series[100:101])
    )
    with pytest.raises(TypeError, match="stay_near"):
        Forecaster(stay_near="yes").fit(series)


def test_the_region_is_that_of_the_series():
    # The differences are a hundredth of the values: a region made of them would hold no state.
    series = 1000.0 + np.cumsum(np.sin(np.arange(200) / 5.0))
    forecaster = Forecaster(increments=True, delay=3, **UNLEARNED).fit(series)
    assert np.isfinite(forecaster.predict(20)).all()
