from __future__ import annotations

import numpy as np
import pytest

from kflow.timeseries import henon_map
from kflow.timeseries.held_out import HeldOut


def test_the_last_quarter_is_held_out():
    series = henon_map(400, random_state=0)
    held_out = HeldOut.of(series, n_starts=3)
    np.testing.assert_array_equal(held_out.series[0], series[:300])
    assert held_out.times is None
    assert held_out.history_times is None
    assert held_out.true.shape == (3, 50, 2)
    for start, history, true in zip(
        (300, 325, 350), held_out.histories, held_out.true, strict=True
    ):
        np.testing.assert_array_equal(history, series[start - 200 : start])
        np.testing.assert_array_equal(true, series[start : start + 50])
    assert held_out.size == pytest.approx(np.sqrt(series.var(axis=0).sum()))


def test_several_series_with_times():
    series = [np.arange(40.0)[:, None], np.arange(9.0)[:, None], np.arange(80.0)[:, None]]
    times = [2.0 * np.arange(len(table)) for table in series]
    held_out = HeldOut.of(series, times, n_starts=4)
    # Ends of 10 and 20 observations, forecasts of 10; the second series is too short to hold out any.
    assert [len(table) for table in held_out.series] == [30, 9, 60]
    assert [len(clock) for clock in held_out.times] == [30, 9, 60]
    assert held_out.true.shape == (3, 10, 1)
    for history, clock, true in zip(
        held_out.histories, held_out.history_times, held_out.true, strict=True
    ):
        assert len(clock) == len(history) + 10
        np.testing.assert_array_equal(clock, 2.0 * np.concatenate([history, true])[:, 0])


def test_missing_rows_part_a_series():
    series = np.arange(100.0)
    series[20] = np.nan
    held_out = HeldOut.of(series)
    assert [len(table) for table in held_out.series] == [15, 60] or len(held_out.series) == 2
    assert np.isfinite(np.concatenate(held_out.series)).all()


def test_error_is_the_mean_logarithm_and_at_most_that_of_the_deviation():
    series = henon_map(80, random_state=1)
    held_out = HeldOut.of(series, n_starts=2)
    wrong = held_out.true + np.array([0.3, 0.4]) * held_out.size
    assert held_out.error(wrong) == pytest.approx(np.log(0.5))
    assert held_out.error(held_out.true) == pytest.approx(np.log(1e-12))
    assert held_out.error(np.full_like(wrong, np.nan)) == 0.0
    assert held_out.error(held_out.true + 1e9) == 0.0
    wrong[:, 5:] = np.inf
    expected = 5 / wrong.shape[1] * np.log(0.5)
    assert held_out.error(wrong) == pytest.approx(expected)


def test_runs_leave_that_are_elsewhere():
    series = henon_map(2000, random_state=2)
    held_out = HeldOut.of(series[:800], n_starts=4)
    assert held_out.n_run == 400
    true = np.stack([series[800 + 200 * i : 1200 + 200 * i] for i in range(4)])
    assert not held_out.leaves(true)
    assert held_out.leaves(true * 1.5)
    assert held_out.leaves(np.broadcast_to(true[:, :1], true.shape))
    lost = true.copy()
    lost[2, -1] = np.nan
    assert held_out.leaves(lost)


def test_runs_on_a_cycle_may_be_a_little_off():
    cycle = np.sin(2 * np.pi * np.arange(400) / 20)[:, None]
    held_out = HeldOut.of(cycle, n_starts=2)
    runs = np.stack([cycle[:200], cycle[5:205]])
    assert not held_out.leaves(1.01 * runs)
    assert held_out.leaves(1.5 * runs)


@pytest.mark.parametrize(
    ("series", "message"),
    [(np.arange(15.0), "too few"), (np.ones(40), "does not vary"), ([1.0], "too few")],
)
def test_series_by_which_nothing_can_be_chosen(series, message):
    with pytest.raises(ValueError, match=message):
        HeldOut.of(series)
