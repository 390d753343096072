from __future__ import annotations

import math

import numpy as np
import pytest

from kflow.timeseries import (
    delay_embedding,
)


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
