from __future__ import annotations

import math

import numpy as np
import pytest

import kflow
from kflow.evaluation import ErrorCurve, interpolation_errors, regression_errors, view_average
from kflow.kernels import Gaussian
from kflow.testing import slow as reference


@pytest.fixture
def clouds(rng):
    """Three overlapping clouds: 90 training and 60 test points, with text labels."""

    def draw(n):
        labels = np.arange(n) % 3
        points = rng.normal(size=(n, 4)) + 1.5 * np.eye(3, 4)[labels]
        return points, np.array(["a", "b", "c"])[labels]

    return *draw(90), *draw(60)


def evaluate(clouds, **options):
    return interpolation_errors(
        *clouds,
        **{"kernel": Gaussian(2.0), "nugget": 0.1, "rng": np.random.default_rng(1), **options},
    )


def test_errors_match_interpolation_by_hand(clouds):
    points, labels, test_points, test_labels = clouds
    (row,) = evaluate(clouds, n_interpolation=(90,), n_draws=1)
    matrix = reference.gram(points, kernel=Gaussian(2.0)) + 0.1 * np.eye(90)
    values = reference.gram(test_points, points, kernel=Gaussian(2.0)) @ np.linalg.solve(
        matrix, kflow.one_hot(labels)
    )
    expected = (np.array(["a", "b", "c"])[values.argmax(axis=1)] != test_labels).mean()
    assert row.average == row.min == row.max == pytest.approx(expected, abs=1e-12)
    assert 0 < row.average < 1
    assert row.std == 0


def test_the_draws_spread_around_their_average(clouds):
    (row,) = evaluate(clouds, n_interpolation=(6,), n_draws=8)
    assert row.min < row.average < row.max
    assert 0 < row.std <= row.max - row.min


def test_the_same_generator_gives_the_same_rows(clouds):
    assert evaluate(clouds) == evaluate(clouds)


def test_sizes_that_do_not_fit_are_left_out(clouds):
    assert [row.n_interpolation for row in evaluate(clouds)] == [60, 10]
    points, labels, *test = clouds
    few = np.concatenate([np.flatnonzero(labels == "a")[:4], np.flatnonzero(labels != "a")])
    rows = evaluate((points[few], labels[few], *test), n_interpolation=(60, 13, 12, 2))
    assert [row.n_interpolation for row in rows] == [12, 3]  # never below one for each class


@pytest.mark.parametrize(("counts", "size"), [((3, 3), 6), ((2, 40, 50), 6), ((1, 30), 2)])
def test_if_no_size_fits_the_largest_that_does_is_taken(counts, size, rng):
    labels = np.repeat(np.arange(len(counts)), counts)
    points = rng.normal(size=(len(labels), 2))
    (row,) = evaluate((points, labels, points, labels), n_interpolation=(6000, 10))
    assert row.n_interpolation == size
    curve = ErrorCurve(labels, labels, nugget=0.1, every=1, rng=rng)
    assert list(curve.errors) == [size]


def test_separate_classes_have_no_error(rng):
    labels = np.arange(60) % 3
    points = np.eye(3)[labels] + rng.normal(size=(60, 3)) * 1e-3
    rows = evaluate((points, labels, points, labels), n_interpolation=(30, 3))
    assert [row.average for row in rows] == [0.0, 0.0]


def test_regression_errors():
    assert regression_errors([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == {"rmse": 0.0, "r2": 1.0}
    errors = regression_errors([0.0, 2.0], [1.0, 1.0])
    assert errors == {"rmse": 1.0, "r2": 0.0}
    assert math.isnan(regression_errors([1.0, 1.0], [1.0, 2.0])["r2"])


def test_values_are_averaged_over_views(rng):
    values = rng.normal(size=(12, 3))
    np.testing.assert_allclose(view_average(values, 4), values.reshape(3, 4, 3).mean(axis=0))
    assert view_average(values, 12) is values
    for n in (0, 5):
        with pytest.raises(ValueError, match="no views of"):
            view_average(values, n)


def test_several_views_of_the_test_points(rng):
    points, labels = rng.normal(size=(40, 2)), np.arange(40) % 2
    views = [rng.normal(size=(10, 2)) for _ in range(2)]
    truth = np.arange(10) % 2
    kernel = Gaussian(1.0)
    (found,) = interpolation_errors(
        points,
        labels,
        np.concatenate(views),
        truth,
        kernel=kernel,
        nugget=0.1,
        rng=np.random.default_rng(0),
        n_interpolation=(40,),
        n_draws=1,
    )
    interpolant = kflow.Interpolant(points, kflow.one_hot(labels), kernel=kernel, nugget=0.1)
    values = sum(interpolant(view) for view in views)
    assert found.average == pytest.approx(np.mean(values.argmax(axis=1) != truth))
