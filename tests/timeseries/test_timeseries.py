from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist, directed_hausdorff
from scipy.stats import energy_distance
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from kflow import DivergenceError, SingularKernelError, kernels, losses
from kflow.errors import JitterWarning
from kflow.kernels import Gaussian, Laplacian, Linear, Matern52, Periodic, Polynomial
from kflow.timeseries import (
    LYAPUNOV,
    Forecaster,
    attractor_distance,
    delay_embedding,
    dictionary,
    henon_map,
    learn_sparse_kernel,
    logistic_map,
    lorenz63,
    lyapunov_exponent,
    sparse,
    valid_prediction_time,
)

# ---- delay embedding --------------------------------------------------------------------------


def slow_embedding(series, delay, times=None, horizon=1):
    """The definition, row by row."""
    x = np.asarray(series, float).reshape(len(series), -1)
    rows, targets = [], []
    for k in range(len(x) - delay - horizon + 1):
        row = [value for observation in x[k : k + delay] for value in observation]
        if times is not None:
            clock = [*times[k : k + delay], times[k + delay + horizon - 1]]
            row += list(np.diff(clock))
        rows.append(row)
        targets.append(x[k + delay + horizon - 1])
    return np.array(rows), np.array(targets)


@pytest.mark.parametrize("q", [1, 3])
@pytest.mark.parametrize("delay", [1, 2, 5])
@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("timed", [False, True])
def test_embedding(rng, q, delay, horizon, timed):
    series = rng.normal(size=(12, q))
    times = np.cumsum(rng.uniform(0.1, 1.0, 12)) if timed else None
    X, Y = delay_embedding(series, delay, times=times, horizon=horizon)
    rows, targets = slow_embedding(series, delay, times, horizon)
    np.testing.assert_allclose(X, rows, rtol=1e-13)
    np.testing.assert_array_equal(Y, targets)
    assert X.flags.c_contiguous


def test_no_row_straddles_two_series(rng):
    parts = [rng.normal(size=(n, 2)) for n in (5, 3, 7)]
    times = [np.cumsum(rng.uniform(0.1, 1.0, len(part))) for part in parts]
    X, Y = delay_embedding(parts, 2, times=times)
    pairs = [
        delay_embedding(part, 2, times=clock) for part, clock in zip(parts, times, strict=True)
    ]
    np.testing.assert_array_equal(X, np.concatenate([pair[0] for pair in pairs]))
    np.testing.assert_array_equal(Y, np.concatenate([pair[1] for pair in pairs]))


def test_an_array_of_three_dimensions_is_several_series(rng):
    series = rng.normal(size=(4, 6, 2))
    for ours, theirs in zip(
        delay_embedding(series, 3), delay_embedding(list(series), 3), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_states_appended_to_a_list_are_one_series(rng):
    states = [rng.normal(size=3) for _ in range(6)]
    X, _ = delay_embedding(states, 2)
    np.testing.assert_array_equal(X, delay_embedding(np.array(states), 2)[0])


def test_one_pair():
    X, Y = delay_embedding([1, 2, 3], 2)
    assert X.tolist() == [[1, 2]]
    assert Y.tolist() == [[3]]


@pytest.mark.parametrize(
    ("series", "options", "message"),
    [
        ([1.0, 2.0], {"delay": 2}, "series has 2 observations .* need 3: pass a longer series"),
        ([1.0, 2.0, 3.0], {"delay": 2, "horizon": 2}, "need 4"),
        ([1.0, math.nan, 3.0], {"delay": 1}, "series contains NaN"),
        ([1.0, 2.0], {"delay": 0}, "delay must be at least 1"),
        ([1.0, 2.0], {"delay": 1, "horizon": 0}, "horizon must be at least 1"),
        ([1.0, 2.0, 3.0], {"delay": 1, "times": [0, 1, 1]}, r"times\[1\]=1 is followed by 1"),
        ([1.0, 2.0, 3.0], {"delay": 1, "times": [0, 2, 1]}, "strictly increasing"),
        ([1.0, 2.0, 3.0], {"delay": 1, "times": [0, 1]}, "times must have 3 entries, got 2"),
        ([1.0, 2.0, 3.0], {"delay": 1, "times": [[0, 1, 2]]}, "one dimension"),
        ([1.0, 2.0, 3.0], {"delay": 1, "times": [0, 1, math.nan]}, "times contains NaN"),
        ([[1.0, 2.0], [3.0]], {"delay": 1}, "rows of different lengths: pass several series"),
        ([[[1.0], [2.0]], [[1.0, 2.0]]], {"delay": 1}, r"series\[1\] has 2 columns"),
        ([[[1.0], [2.0]], [[1.0]]], {"delay": 1}, r"series\[1\] has 1 observations"),
        ([[[1.0], [2.0]]], {"delay": 1, "times": [0, 1]}, "a list of 1 arrays"),
        ([[[1.0], [2.0]]], {"delay": 1, "times": [[0, 1], [2, 3]]}, "a list of 1 arrays"),
        ([[[1.0], [2.0]]], {"delay": 1, "times": [[1, 0]]}, r"times\[0\] must be strictly"),
    ],
)
def test_embedding_says_what_is_wrong(series, options, message):
    with pytest.raises(ValueError, match=message):
        delay_embedding(series, **options)


def test_embedding_refuses_text_and_fractions():
    with pytest.raises(TypeError, match="series must hold real numbers"):
        delay_embedding(["a", "b"], 1)
    with pytest.raises(TypeError, match="delay must be a whole number"):
        delay_embedding([1.0, 2.0], 1.0)


# ---- systems ----------------------------------------------------------------------------------


def test_orbits_obey_their_equations():
    x = logistic_map(50, r=3.9)
    np.testing.assert_array_equal(x[1:], 3.9 * x[:-1] * (1 - x[:-1]))
    h = henon_map(50, a=1.3, b=0.2)
    np.testing.assert_allclose(h[1:, 0], 1 - 1.3 * h[:-1, 0] ** 2 + h[:-1, 1], rtol=1e-14)
    np.testing.assert_array_equal(h[1:, 1], 0.2 * h[:-1, 0])


def test_lorenz_obeys_its_equations():
    fine = lorenz63(2001, time_step=1e-3)
    x, y, z = fine.T
    velocity = np.column_stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])
    differences = (fine[:-4] - 8 * fine[1:-3] + 8 * fine[3:-1] - fine[4:]) / 12e-3
    np.testing.assert_allclose(differences, velocity[2:-2], atol=1e-5)


def test_lorenz_at_given_times():
    times = np.array([5.0, 5.3, 5.35, 6.1])
    irregular = lorenz63(times=times)
    regular = lorenz63(23, time_step=0.05)
    np.testing.assert_allclose(irregular, regular[[0, 6, 7, 22]], rtol=1e-6)
    assert lorenz63(1, start=[1, 2, 3]).tolist() == [[1, 2, 3]]
    # The fixed points.
    c = math.sqrt(8 / 3 * 27)
    np.testing.assert_allclose(lorenz63(5, start=[c, c, 27]), [[c, c, 27]] * 5, rtol=1e-8)


@pytest.mark.parametrize("system", [logistic_map, henon_map, lorenz63])
def test_orbits_have_seeds(system):
    np.testing.assert_array_equal(system(5, random_state=3), system(5, random_state=3))
    assert not np.array_equal(system(5, random_state=3), system(5, random_state=4))
    assert len(system(1)) == 1


def test_systems_say_what_is_wrong():
    with pytest.raises(ValueError, match="n must be at least 1"):
        logistic_map(0)
    with pytest.raises(ValueError, match="r must be at most 4"):
        logistic_map(5, r=4.1)
    with pytest.raises(ValueError, match=r"start must lie in \[0, 1\]"):
        logistic_map(5, start=1.5)
    with pytest.raises(ValueError, match="start must have 2 entries"):
        henon_map(5, start=[0.0])
    with pytest.raises(ValueError, match="runs away"):
        henon_map(50, start=[100.0, 0.0])
    with pytest.raises(ValueError, match="pass n or times"):
        lorenz63()
    with pytest.raises(ValueError, match="pass n or times"):
        lorenz63(3, times=[0, 1, 2])
    with pytest.raises(ValueError, match="times must be strictly increasing"):
        lorenz63(times=[0, 1, 1])
    with pytest.raises(ValueError, match="start contains NaN"):
        lorenz63(3, start=[0, 0, math.nan])


# ---- measures ---------------------------------------------------------------------------------


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
def test_attractor_distances(rng, q, monkeypatch):
    monkeypatch.setattr("kflow.timeseries.measures._BLOCK", 100)  # several blocks
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


def test_attractor_distance_says_what_is_wrong():
    with pytest.raises(ValueError, match="measure must be"):
        attractor_distance([1.0], [1.0], measure="chamfer")
    with pytest.raises(ValueError, match="b must have 1 columns"):
        attractor_distance([1.0], [[1.0, 2.0]])
    with pytest.raises(ValueError, match="b contains NaN"):
        attractor_distance([1.0], [math.nan])


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


# ---- forecasts --------------------------------------------------------------------------------

UNLEARNT = {"learn": None}


@pytest.fixture(scope="module")
def lorenz():
    return lorenz63(500, time_step=0.1)


def test_a_forecast_is_the_interpolant_iterated(lorenz):
    forecaster = Forecaster(Gaussian(3.0), delay=2, **UNLEARNT).fit(lorenz[:200])
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


@pytest.mark.parametrize("increments", [False, True])
@pytest.mark.parametrize("scaling", ["standard", None])
def test_forecasts_follow_the_truth(lorenz, increments, scaling):
    kernel = None if scaling else Gaussian(15.0)
    forecaster = Forecaster(
        kernel, nugget=1e-10, increments=increments, scaling=scaling, **UNLEARNT
    )
    forecaster.fit(lorenz[:400])
    _, errors = forecaster.one_step(lorenz[400:])
    assert np.abs(errors).max() < 0.05
    forecast = forecaster.predict(100)
    assert valid_prediction_time(lorenz[400:], forecast, time_step=0.1, lyapunov=0.9) > 3
    distance = attractor_distance(forecaster.predict(1000), lorenz, measure="hausdorff")
    assert distance < 8


def test_default_kernel_is_a_gaussian_of_the_median_distance(lorenz):
    forecaster = Forecaster(**UNLEARNT).fit(lorenz[:100])
    z = (lorenz[:99] - lorenz[:100].mean(axis=0)) / lorenz[:100].std(axis=0)
    median = np.median(cdist(z, z)[np.triu_indices(99, 1)])
    assert isinstance(forecaster.kernel_, Gaussian)
    assert forecaster.kernel_.length_scale == pytest.approx(median)
    assert forecaster.nugget_ == 1e-8
    assert forecaster.learned_ is None
    assert forecaster.n_features_in_ == 3


def test_several_histories_are_forecast_together(lorenz):
    forecaster = Forecaster(delay=2, **UNLEARNT).fit(lorenz[:200])
    histories = [lorenz[210:212], lorenz[250:255], lorenz[300:302]]
    together = forecaster.predict(10, histories)
    assert together.shape == (3, 10, 3)
    for history, forecast in zip(histories, together, strict=True):
        np.testing.assert_allclose(forecaster.predict(10, history), forecast, rtol=1e-6)
    np.testing.assert_allclose(forecaster.predict(10), forecaster.predict(10, lorenz[:200]))


def test_a_series_of_numbers_is_forecast_by_numbers():
    series = logistic_map(150)
    forecaster = Forecaster(**UNLEARNT).fit(series)
    assert forecaster.predict(3).shape == (3,)
    assert forecaster.predict(3, series[7:8]).shape == (3,)
    assert forecaster.predict(0).shape == (0,)
    np.testing.assert_allclose(forecaster.predict(3, [0.3])[0], 0.84, atol=1e-3)
    assert forecaster.predict(3, [[[0.3]], [[0.4]]]).shape == (2, 3, 1)
    forecasts, errors = forecaster.one_step([0.3, 0.8])
    assert forecasts.shape == errors.shape == (1, 1)
    np.testing.assert_allclose(errors, 0.8 - forecasts)
    columns = Forecaster(**UNLEARNT).fit(series[:, None])
    np.testing.assert_array_equal(columns.predict(3)[:, 0], forecaster.predict(3))


def test_several_series(lorenz):
    forecaster = Forecaster(delay=3, **UNLEARNT).fit([lorenz[:50], lorenz[100:180]])
    assert len(forecaster.interpolant_.centres) == 47 + 77
    np.testing.assert_allclose(forecaster.predict(3), forecaster.predict(3, lorenz[177:180]))
    forecasts, _ = forecaster.one_step([lorenz[:10], lorenz[20:30]])
    assert forecasts.shape == (14, 3)


@pytest.mark.parametrize("increments", [False, True])
def test_irregular_times(increments):
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.uniform(0.02, 0.1, 500))
    series = lorenz63(times=times)
    # In y and z the gaps explain what follows; without them nothing does.
    blind = Forecaster(nugget=1e-6, increments=increments, **UNLEARNT).fit(series[:400])
    aware = Forecaster(nugget=1e-6, increments=increments, **UNLEARNT)
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


def test_irregular_times_with_a_delay():
    times = np.cumsum(np.random.default_rng(2).uniform(0.02, 0.06, 600))
    x = lorenz63(times=times)[:, 0]
    forecaster = Forecaster(delay=4, nugget=1e-6, **UNLEARNT).fit(x[:500], times[:500])
    assert forecaster.interpolant_.centres.shape == (496, 8)
    forecast = forecaster.predict(5, times=times[500:505])
    np.testing.assert_allclose(forecast[:2], x[500:502], atol=1)
    blind = Forecaster(delay=4, nugget=1e-6, **UNLEARNT).fit(x[:500])
    aware, unaware = forecaster.one_step(x[500:], times[500:])[1], blind.one_step(x[500:])[1]
    assert np.median(np.abs(aware)) < 0.5 * np.median(np.abs(unaware))
    np.testing.assert_allclose(
        forecaster.predict(5, x[496:500], times[496:505]), forecast, rtol=1e-8
    )


def test_equal_gaps_with_rounding_errors_change_nothing(lorenz):
    times = 1000 + 0.1 * np.arange(200)
    timed = Forecaster(**UNLEARNT).fit(lorenz[:200], times)
    plain = Forecaster(**UNLEARNT).fit(lorenz[:200])
    ours = timed.predict(5, times=times[-1] + 0.1 * np.arange(1, 6))
    np.testing.assert_allclose(ours, plain.predict(5), rtol=1e-4)


def test_scales_do_not_matter(lorenz):
    forecast = Forecaster(**UNLEARNT).fit(lorenz[:200]).predict(5)
    factor, shift = np.array([1e-6, 1.0, 1e6]), np.array([5.0, 0.0, -3e7])
    scaled = Forecaster(**UNLEARNT).fit(lorenz[:200] * factor + shift).predict(5)
    np.testing.assert_allclose((scaled - shift) / factor, forecast, atol=1e-2)


def test_fewer_rows_of_the_interpolant(lorenz):
    settings = {"n_interpolation": 50, "random_state": 0, **UNLEARNT}
    forecaster = Forecaster(**settings).fit(lorenz)
    assert forecaster.interpolant_.centres.shape == (50, 3)
    again = Forecaster(**settings).fit(lorenz)
    np.testing.assert_array_equal(again.predict(3), forecaster.predict(3))


def test_a_forecast_that_runs_away_ends_in_nan():
    # x -> 2 x, which the linear kernel continues for ever.
    series = 2.0 ** np.arange(6)
    forecaster = Forecaster(Linear(), scaling=None, **UNLEARNT).fit(series)
    with pytest.warns(RuntimeWarning, match="1 of 1 forecasts ran away .* after 3 steps"):
        forecast = forecaster.predict(8)
    np.testing.assert_allclose(forecast[:3], [64, 128, 256], rtol=1e-4)
    assert np.isnan(forecast[3:]).all()


def test_forecasts_that_go_on_outlive_those_that_run_away():
    series = 2.0 ** np.arange(6)
    forecaster = Forecaster(Polynomial(), scaling=None, nugget=1e-6, **UNLEARNT).fit(series)
    with pytest.warns(RuntimeWarning, match="1 of 2 forecasts ran away"):
        forecasts = forecaster.predict(6, [[[32.0]], [[1.0]]])
    assert np.isnan(forecasts[0, -1]).all()
    assert np.isfinite(forecasts[1]).all()


def test_threads_change_nothing(lorenz):
    one, four = (Forecaster(n_threads=n, **UNLEARNT).fit(lorenz) for n in (1, 4))
    np.testing.assert_array_equal(one.predict(20), four.predict(20))


def test_lyapunov_exponent_of_a_forecaster():
    series = henon_map(400)
    forecaster = Forecaster(nugget=1e-10, **UNLEARNT).fit(series)
    exponent = lyapunov_exponent(forecaster, series[:1], 2000)
    assert exponent == pytest.approx(LYAPUNOV["henon_map"], abs=0.05)
    delayed = Forecaster(delay=2, nugget=1e-10, **UNLEARNT).fit(series[:, 0])
    exponent = lyapunov_exponent(delayed, series[:2, 0], 2000)
    assert exponent == pytest.approx(LYAPUNOV["henon_map"], abs=0.05)
    with pytest.raises(ValueError, match=r"start must be a window of shape \(2, 1\)"):
        lyapunov_exponent(delayed, series[:3, 0], 2000)


def test_lyapunov_exponent_of_a_forecaster_of_irregular_times():
    times = np.cumsum(np.random.default_rng(3).uniform(0.05, 0.1, 800))
    series = lorenz63(times=times)
    forecaster = Forecaster(nugget=1e-8, **UNLEARNT).fit(series, times)
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


# ---- forecasts with learnt kernels ------------------------------------------------------------

QUICK = {"optimizer": "adam", "n_steps": 15, "batch_size": 60}


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
    unlearnt = Forecaster(bad, learn=None).fit(lorenz[:300])
    learnt = Forecaster(bad, learn="e2", learn_options={"n_steps": 100}, random_state=0)
    learnt.fit(lorenz[:300])
    error, lower = (np.square(f.one_step(lorenz[300:])[1]).mean() for f in (unlearnt, learnt))
    assert lower < 1e-2 * error


def test_the_nugget_is_learnt_on_request(lorenz):
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


# ---- sparse sums of kernels -------------------------------------------------------------------


@pytest.fixture(scope="module")
def henon_pairs():
    return delay_embedding(henon_map(150), 1)


def test_a_dictionary_is_positive_semidefinite(rng):
    X = rng.normal(size=(40, 3))
    candidates = dictionary(1.5, period=5.0)
    assert len(set(map(repr, candidates))) == len(candidates) >= 10
    for kernel in candidates:
        K = kernel(X)
        assert np.linalg.eigvalsh(K).min() > -1e-10 * np.trace(K)


def test_the_quadratic_kernel_explains_a_quadratic_map(henon_pairs):
    X, Y = henon_pairs
    candidates = [Laplacian(), Gaussian(), Polynomial(degree=2), Periodic(1.0, 5.0)]
    result = learn_sparse_kernel(candidates, X, Y, learn=False, nugget=1e-6, random_state=0)
    assert result.survivors == (2,)
    np.testing.assert_array_equal(result.weights, [0, 0, 1, 0])
    scale = candidates[2].diag(X).mean()
    np.testing.assert_allclose(result.kernel(X), candidates[2](X) / scale, rtol=1e-12)
    forecaster = Forecaster(result.kernel, scaling=None, nugget=1e-10, learn=None)
    _, errors = forecaster.fit(henon_map(150)).one_step(henon_map(100, random_state=1))
    assert np.abs(errors).max() < 1e-6


def test_weights_form_a_path_on_the_simplex_that_goes_down(lorenz):
    z = (lorenz[:150] - lorenz[:150].mean(axis=0)) / lorenz[:150].std(axis=0)
    X, Y = delay_embedding(z, 1)
    candidates = [Laplacian(), Gaussian(), Polynomial()]
    result = learn_sparse_kernel(
        candidates, X, Y, learn=False, penalty=0.01, n_batches=2, random_state=0
    )
    history = result.history
    assert (history["weights"] >= 0).all()
    np.testing.assert_allclose(history["weights"].sum(axis=1), 1)
    assert set(history["round"]) == {0, 1}
    for number, penalty in ((0, 0.0), (1, 0.01)):
        part = history["round"] == number
        cost = history["loss"][part] + penalty * (1 - history["weights"][part].max(axis=1))
        assert (np.diff(cost) <= 1e-12).all()
    assert result.loss == history["loss"][-1]
    np.testing.assert_array_equal(result.weights, history["weights"][-1])
    scales = np.array([kernel.diag(X).mean() for kernel in candidates])
    expected = sum(w / s * k(X) for w, s, k in zip(result.weights, scales, candidates, strict=True))
    np.testing.assert_allclose(result.kernel(X), expected, rtol=1e-10)


def test_a_penalty_leaves_fewer_kernels(lorenz):
    z = (lorenz[:150] - lorenz[:150].mean(axis=0)) / lorenz[:150].std(axis=0)
    X, Y = delay_embedding(z, 1)
    settings = {"nugget": 0.01, "learn": False, "n_batches": 2, "random_state": 0}
    free, priced = (
        learn_sparse_kernel(dictionary(2.0)[:7], X, Y, penalty=penalty, **settings)
        for penalty in (0.0, 1.0)
    )
    assert len(free.survivors) > len(priced.survivors) == 1


@pytest.mark.parametrize("loss", ["rho", "e2", "loo", "kfold", "nlml", "mmd", "lyapunov"])
def test_gradient_of_the_weights(rng, loss, monkeypatch):
    averages = []

    class Recorded(sparse._MeanLoss):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            averages.append(self)

    monkeypatch.setattr(sparse, "_MeanLoss", Recorded)
    X, Y = rng.normal(size=(40, 2)), rng.normal(size=(40, 2))
    candidates = [Gaussian(), Laplacian(2.0), Linear()]
    learn_sparse_kernel(
        candidates,
        X,
        Y,
        loss=loss,
        nugget=0.1,
        learn=False,
        batch_size=20,
        max_steps=1,
        random_state=0,
    )
    weights = np.array([0.5, 0.2, 0.3])
    gradient = averages[0](weights).gradient
    for i, step in enumerate(1e-6 * np.eye(3)):
        difference = averages[0](weights + step).loss - averages[0](weights - step).loss
        assert difference / 2e-6 == pytest.approx(gradient[i], rel=1e-5, abs=1e-8)


def test_the_scale_of_kernels_and_targets_does_not_matter(henon_pairs):
    X, Y = henon_pairs
    settings = {"learn": False, "nugget": 1e-3, "penalty": 0.0, "random_state": 0}
    plain = learn_sparse_kernel([Laplacian(), Gaussian()], X, Y, **settings)
    scaled = learn_sparse_kernel([1e4 * Laplacian(), 1e-4 * Gaussian()], X, 1e5 * Y, **settings)
    np.testing.assert_allclose(scaled.weights, plain.weights, rtol=1e-6)
    np.testing.assert_allclose(scaled.kernel(X), plain.kernel(X), rtol=1e-6)


def test_parameters_are_learnt_too(lorenz):
    z = (lorenz[:150] - lorenz[:150].mean(axis=0)) / lorenz[:150].std(axis=0)
    X, Y = delay_embedding(z, 1)
    candidates = [Gaussian(0.3), Linear(), kernels.Constant()]
    options = {"n_steps": 40}
    settings = {"loss": "e2", "penalty": 1e-6, "nugget": 1e-6, "random_state": 0}
    fixed = learn_sparse_kernel(candidates, X, Y, learn=False, **settings)
    learnt = learn_sparse_kernel(candidates, X, Y, learn_options=options, **settings)
    assert learnt.loss < 0.5 * fixed.loss
    assert learnt.nugget == 1e-6
    assert set(learnt.history["round"]) == {0, 1, 2}
    again = learn_sparse_kernel(candidates, X, Y, learn_options=options, n_threads=3, **settings)
    np.testing.assert_array_equal(again.weights, learnt.weights)
    assert again.kernel == learnt.kernel


def test_the_nugget_of_a_sparse_kernel_is_learnt_on_request(henon_pairs):
    options = {"n_steps": 5, "learn_nugget": True}
    result = learn_sparse_kernel(
        [Gaussian(), Linear()], *henon_pairs, learn_options=options, n_rounds=1, random_state=0
    )
    assert result.nugget != 1e-4


def test_kernels_without_parameters_need_no_learning(henon_pairs):
    fixed = [Gaussian(length_scale_bounds="fixed"), Laplacian(length_scale_bounds="fixed")]
    result = learn_sparse_kernel(fixed, *henon_pairs, random_state=0)
    assert result.weights.sum() == pytest.approx(1)


def test_kernels_of_low_rank_need_others(rng):
    # Without a nugget the linear kernel alone is singular, and the largest penalty cannot leave it.
    X = rng.normal(size=(30, 2))
    result = learn_sparse_kernel(
        [Linear(), Gaussian()],
        X,
        X @ [1.0, 2.0],
        nugget=0.0,
        penalty=0.0,
        learn=False,
        random_state=0,
    )
    assert 1 in result.survivors


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"kernels": [Gaussian()]}, ValueError, "kernels must be at least two"),
        ({"kernels": Gaussian() + Linear()}, TypeError, "pass its parts"),
        ({"kernels": [Gaussian(), "linear"]}, TypeError, "must be one of"),
        ({"kernels": [Gaussian(), Gaussian((1.0, 1.0, 1.0))]}, ValueError, "length_scale"),
        ({"penalty": -1.0}, ValueError, "penalty must not be negative"),
        ({"loss": "mse"}, ValueError, "loss must be one of"),
        ({"nugget": -1.0}, ValueError, "nugget must be finite"),
        ({"tolerance": 0.0}, ValueError, "tolerance must be positive"),
        ({"n_rounds": 0}, ValueError, "n_rounds must be at least 1"),
        ({"learn": 1}, TypeError, "learn must be True or False"),
        ({"learn_options": []}, TypeError, "learn_options must be a mapping"),
        ({"learn_options": {"nugget": 1.0}}, ValueError, "learn_options: 'nugget' is an argument"),
        ({"X": [[1.0, 2.0]], "Y": [1.0]}, ValueError, "X has 1 row"),
        ({"Y": np.zeros(10)}, ValueError, "Y is zero everywhere"),
        ({"Y": np.ones(9)}, ValueError, "Y must have 10 rows"),
    ],
)
def test_sparse_learning_says_what_is_wrong(rng, changes, error, message):
    arguments = {
        "kernels": [Gaussian(), Linear()],
        "X": rng.normal(size=(10, 2)),
        "Y": rng.normal(size=10),
        **changes,
    }
    with pytest.raises(error, match=message):
        learn_sparse_kernel(**arguments)
