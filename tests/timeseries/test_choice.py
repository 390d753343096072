from __future__ import annotations

import warnings

import numpy as np
import pytest

from kflow.errors import JitterWarning
from kflow.kernels import Gaussian, Linear, Matern52
from kflow.timeseries import (
    Forecaster,
    ForecasterChoice,
    choose_forecaster,
    henon_map,
    logistic_map,
    lorenz63,
)
from kflow.timeseries.choice import search, starts_on, staying
from kflow.timeseries.held_out import HeldOut


@pytest.fixture(scope="module")
def lorenz():
    return lorenz63(400, time_step=0.1)


@pytest.fixture(scope="module")
def choice(lorenz):
    return choose_forecaster(lorenz[:300], n_fits=10, learn=None, random_state=0)


def test_the_chosen_one_is_the_best_of_those_tried(choice):
    assert isinstance(choice, ForecasterChoice)
    assert len(choice.tried) == 10
    best = min(choice.tried, key=lambda one: one["error"])
    assert choice.error == best.pop("error")
    assert choice.chosen == {**best, "stay_near": False}
    assert choice.leaves is False
    assert len({str(one) for one in choice.tried}) == 10


def test_the_error_is_that_of_forecasts_of_the_held_out_end(choice, lorenz):
    held_out = HeldOut.of(lorenz[:300])
    parameters = choice.forecaster.get_params(deep=False)
    # The length scale of the kernel is a multiple of the median distance of other rows.
    assert parameters["delay"] == choice.chosen["delay"]
    assert parameters["nugget"] == choice.chosen["nugget"]
    assert parameters["increments"] == choice.chosen["increments"]
    with warnings.catch_warnings():
        # The least nugget may be chosen; whether it is enough, the last digits decide.
        warnings.simplefilter("ignore", JitterWarning)
        part = Forecaster(**parameters).fit(held_out.series)
    error = held_out.error(part.predict(held_out.true.shape[1], held_out.histories))
    assert error == pytest.approx(choice.error, abs=0.5)


def test_the_forecaster_is_fitted_to_the_whole_series(choice, lorenz):
    assert len(choice.forecaster.interpolant_.centres) == 300 - choice.chosen["delay"]
    forecast = choice.forecaster.predict(10)
    assert np.abs(forecast - lorenz[300:310]).max() < 0.5


def test_the_choice_is_told(choice):
    shown = repr(choice)
    for name in ("kernel", "nugget", "delay", "error"):
        assert f"{name}=" in shown


def test_given_parameters_are_not_chosen(lorenz):
    choice = choose_forecaster(
        lorenz[:200],
        n_fits=4,
        n_starts=2,
        free_runs=False,
        kernel=Matern52(30.0),
        delay=2,
        learn=None,
        scaling=None,
    )
    assert set(choice.chosen) == {"nugget", "increments"}
    parameters = choice.forecaster.get_params(deep=False)
    assert parameters["kernel"] == Matern52(30.0)
    assert parameters["delay"] == 2
    assert parameters["scaling"] is None


def test_everything_may_be_given():
    given = {"kernel": Gaussian(1.0), "delay": 1, "nugget": 1e-6, "learn": None}
    choice = choose_forecaster(
        logistic_map(80), increments=False, stay_near=False, free_runs=False, **given
    )
    assert choice.chosen == {}
    assert choice.leaves is None
    assert len(choice.tried) == 1


def test_it_depends_on_the_seed_alone(lorenz):
    one, two = (
        choose_forecaster(lorenz[:120], n_fits=5, learn=None, random_state=3) for _ in range(2)
    )
    assert one.tried == two.tried


def test_irregular_times():
    times = np.cumsum(np.random.default_rng(0).uniform(0.03, 0.07, 160))
    series = lorenz63(times=times)
    choice = choose_forecaster(series[:150], times[:150], n_fits=4, learn=None)
    assert choice.leaves is None
    forecast = choice.forecaster.predict(10, times=times[150:])
    assert forecast.shape == (10, 3)


def test_several_series_and_short_ones():
    series = [henon_map(60, random_state=i) for i in range(3)] + [henon_map(3)]
    with pytest.warns(UserWarning, match="too short|left out|at most delay"):
        choice = choose_forecaster(series, n_fits=3, learn=None, free_runs=False)
    assert choice.forecaster.n_features_in_ == 2


def test_a_short_series_has_small_delays():
    choice = choose_forecaster(logistic_map(16), n_fits=6, free_runs=False, learn=None)
    assert all(one["delay"] < 12 for one in choice.tried)
    with pytest.raises(ValueError, match="delay=14 is more than"):
        choose_forecaster(logistic_map(16), delay=14)


def test_a_series_of_numbers_gives_numbers():
    choice = choose_forecaster(logistic_map(100), n_fits=2, free_runs=False, learn=None)
    assert choice.forecaster.predict(3).shape == (3,)


def test_that_all_candidates_leave_the_attractor_is_said():
    noise = np.random.default_rng(0).standard_normal(
        80
    )  # its forecasts go to the mean, and stay there
    given = {"kernel": Linear(), "delay": 1, "increments": True, "stay_near": False, "learn": None}
    with pytest.warns(UserWarning, match="leave the attractor"):
        choice = choose_forecaster(noise, n_fits=2, **given)
    assert choice.leaves


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_fits": 0}, ValueError, "n_fits"),
        ({"n_starts": 0}, ValueError, "n_starts"),
        ({"free_runs": 1}, TypeError, "free_runs"),
        ({"delays": 3}, TypeError, "'delays' is no parameter"),
        ({"delay": 0}, ValueError, "delay"),
    ],
)
def test_wrong_arguments(options, error, message):
    with pytest.raises(error, match=message):
        choose_forecaster(logistic_map(60), **options)


class Bowl:
    """Settings whose error is a function, tried at most so often."""

    def __init__(self, function, n_fits):
        self.function, self.n_fits, self.tried = function, n_fits, {}

    @property
    def over(self):
        return len(self.tried) >= self.n_fits

    def error(self, settings):
        key = tuple(settings.values())
        if key not in self.tried and self.over:
            return np.inf
        return self.tried.setdefault(key, self.function(**settings))


def test_search_finds_the_bottom_of_a_bowl():
    def bowl(delay, increments):
        return (delay - 8) ** 2 + (3.0 if increments else 0.0)

    axes = {"delay": (1, 2, 3, 4, 6, 8, 12, 16), "increments": (False, True)}
    start = {"delay": 2, "increments": True}
    trials = Bowl(bowl, 100)
    assert search(trials, axes, [start]) == {"delay": 8, "increments": False}
    few = Bowl(bowl, 3)
    search(few, axes, [start])
    assert len(few.tried) == 3


class Runs:
    """Settings of which some leave the attractor in free runs."""

    def __init__(self, leaving):
        self.leaving = leaving

    def best(self, n):
        return [{"delay": delay} for delay in (3, 4, 6, 8)][:n]

    def leave(self, settings):
        return self.leaving(**settings)


def test_the_best_that_stays_is_taken():
    def stays_with_help(delay, stay_near=False):
        return not (delay == 4 and stay_near) and delay != 6

    assert staying(Runs(lambda **_: False), {}) == ({"delay": 3, "stay_near": False}, False)
    assert staying(Runs(stays_with_help), {}) == ({"delay": 4, "stay_near": True}, False)
    assert staying(Runs(stays_with_help), {"stay_near": False}) == ({"delay": 6}, False)
    assert staying(Runs(lambda **_: True), {}) == ({"delay": 3}, True)


def test_starts_lie_on_the_axes():
    axes = {"delay": (1, 2), "nugget": (1e-4, 1e-2)}
    assert all(start["delay"] <= 2 for start in starts_on(axes))
    assert starts_on({"increments": (False, True)}) == [{"increments": True}, {"increments": False}]
