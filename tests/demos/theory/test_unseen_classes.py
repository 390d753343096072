from __future__ import annotations

import numpy as np
import pytest

from kflow.demos.theory.new_classes import one_shot_error, shared_variation, within_class_map
from kflow.kernels import Gaussian


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_error_is_that_of_the_nearest_image(rng):
    """With two far classes and one point each the interpolant is largest at the nearer one."""
    points = rng.normal(size=(20, 3)) + 5.0 * np.repeat([[0.0], [1.0]], 10, axis=0)
    labels = np.repeat([3, 7], 10)
    error = one_shot_error(points, labels, points, labels, Gaussian(3.0), 5, rng)
    assert error == 0.0
    assert one_shot_error(points, labels, points, 10 - labels, Gaussian(3.0), 5, rng) == 1.0


def test_shared_variation_of_the_same_and_of_other_directions(rng):
    t = rng.normal(size=(200, 2))
    same = np.zeros((400, 6))
    same[:200, :2], same[200:, :2] = t, t + 9.0
    y = np.repeat([0, 1], 200)
    assert shared_variation(same, y, 2) == pytest.approx(1.0)
    other = np.zeros((400, 6))
    other[:200, :2], other[200:, 2:4] = t, t
    assert shared_variation(other, y, 2) == pytest.approx(0.0, abs=1e-12)


def test_the_map_evens_out_what_varies_within_classes(rng):
    X = rng.normal(size=(500, 3)) * [1.0, 5.0, 0.5]
    y = np.arange(500) % 2
    X[y == 1] += 20.0
    A = within_class_map(X, y, 0.0)
    for label in (0, 1):
        np.testing.assert_allclose(np.cov((X[y == label] @ A).T), np.eye(3), atol=0.25)


@pytest.mark.slow
def test_report(run, check_written, tmp_path):
    run("unseen-classes", "--quick", "--quiet", "--output", tmp_path)
    numbers = check_written(tmp_path, n_figures=3)
    pictures, family = numbers["pictures"], numbers["family"]
    seen = np.array(pictures["seen"]).mean(axis=1)
    assert (seen[:, -1] < 0.7 * seen[:, 0]).all()
    assert np.mean(pictures["best_gain"]) < 0.1
    assert np.mean(family["flow"][-1]) < 0.6 * np.mean(family["flow"][0])
    gain = np.array(numbers["shared"]["gain"])[-1].mean(axis=1)
    assert gain[-1] > gain[0] + 20.0
