from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from kflow.timeseries.nearby import NearbyWindows


@pytest.fixture
def windows():
    return np.random.default_rng(0).standard_normal((200, 3))


def test_limit_is_what_nearly_all_nearest_distances_do_not_exceed(windows):
    distances = cdist(windows, windows)
    np.fill_diagonal(distances, np.inf)
    expected = np.quantile(distances.min(axis=1), 0.99)
    assert NearbyWindows(windows).limit == pytest.approx(expected)


def test_windows_that_are_near_stay_as_they_are(windows):
    nearby = NearbyWindows(windows)
    close = windows[:5] + 0.5 * nearby.limit / np.sqrt(3)
    assert nearby.led_back(close) is close


def test_far_windows_become_means_of_the_nearest(windows):
    moved = np.concatenate([windows[:1], [[9.0, 9.0, 9.0], [-7.0, 0.0, 0.0]]])
    given = moved.copy()
    result = NearbyWindows(windows).led_back(moved)
    np.testing.assert_array_equal(moved, given)
    np.testing.assert_array_equal(result[0], windows[0])
    for far, back in zip(moved[1:], result[1:], strict=True):
        distances = np.linalg.norm(windows - far, axis=1)
        nearest = np.argsort(distances)[:8]
        weights = 1.0 / distances[nearest]
        np.testing.assert_allclose(back, weights @ windows[nearest] / weights.sum())


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_windows(n):
    windows = np.arange(2.0 * n).reshape(n, 2)
    result = NearbyWindows(windows).led_back(np.array([[1e3, 1e3]]))
    if n == 1:  # nobody knows what is far
        np.testing.assert_array_equal(result, [[1e3, 1e3]])
    else:
        assert result.max() <= windows.max()


def test_equal_windows():
    result = NearbyWindows(np.ones((20, 2))).led_back(np.array([[1.0, 1.0], [1.0, 2.0]]))
    np.testing.assert_allclose(result, 1.0)
