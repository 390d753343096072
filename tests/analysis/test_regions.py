from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from kflow.analysis import crossed_regions, points_on_segments
from kflow.kernels import Gaussian
from kflow.linear.interpolant import Interpolant


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_points_on_segments(dtype):
    rng = np.random.default_rng(0)
    starts, ends = rng.normal(size=(2, 4, 3)).astype(dtype)
    points = points_on_segments(starts, ends, 11)
    assert points.dtype == dtype
    assert points.shape == (4, 11, 3)
    for i in range(4):
        for j in range(11):
            expected = starts[i] + j / 10 * (ends[i] - starts[i])
            np.testing.assert_allclose(points[i, j], expected, rtol=1e-5, atol=1e-6)


def test_regions_are_counted_one_by_one():
    rng = np.random.default_rng(1)
    starts, ends = rng.uniform(-3, 3, (2, 20, 2))

    def predict(points):
        return np.floor(points[:, 0]) + 10 * np.floor(points[:, 1])

    found = crossed_regions(predict, starts, ends, n_points=300)
    for i in range(20):
        labels = predict(points_on_segments(starts[i : i + 1], ends[i : i + 1], 300)[0])
        count = 1
        for one, next_one in pairwise(labels):
            count += one != next_one
        assert found[i] == count


def test_labels_of_any_kind():
    assert crossed_regions(lambda x: np.where(x[:, 0] > 0, "a", "b"), [[-1.0]], [[1.0]]) == [2]
    assert crossed_regions(lambda x: np.zeros(len(x)), [[0.0, 1.0]], [[0.0, 1.0]]).tolist() == [1]


@pytest.mark.parametrize("seed", range(5))
def test_gaussians_have_no_more_regions_than_centres(seed):
    rng = np.random.default_rng(seed)
    Z, starts, ends = rng.normal(size=(6, 3)), *rng.uniform(-4, 4, (2, 50, 3))
    sums = Interpolant(Z, rng.choice([-1.0, 1.0], 6), kernel=Gaussian(0.7), nugget=1e-6)
    assert crossed_regions(lambda x: sums(x)[:, 0] > 0, starts, ends).max() <= 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ends": [[1.0]]}, "ends must have 2 columns"),
        ({"starts": [[np.nan, 0.0]]}, "starts contains NaN"),
        ({"n_points": 1}, "n_points must be at least 2"),
        ({"predict": lambda x: x}, "predict must return one label"),
    ],
)
def test_wrong_arguments(arguments, message):
    given = {"predict": lambda x: x[:, 0], "starts": [[0.0, 0.0]], "ends": [[1.0, 0.0]]}
    given |= arguments
    with pytest.raises(ValueError, match=message):
        crossed_regions(
            given["predict"], given["starts"], given["ends"], n_points=given.get("n_points", 10)
        )
