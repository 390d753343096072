from __future__ import annotations

import math

import numpy as np
import pytest

import kflow
from kflow.evaluation import (
    ErrorCurve,
    ErrorWindow,
    class_distance_ratio,
    class_distances,
    interpolation_errors,
    regression_errors,
)
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


def test_class_distance_ratio_is_that_of_all_pairs(rng, dtype):
    points = (rng.normal(size=(40, 3)) + 5).astype(dtype)
    labels = rng.integers(0, 4, 40)
    expected = reference.class_distance_ratio(points, labels)
    assert class_distance_ratio(points, labels) == pytest.approx(expected, rel=1e-10)


def test_class_distances_are_those_of_all_pairs(rng, dtype):
    points = rng.normal(size=(40, 3)).astype(dtype)
    labels = rng.integers(3, size=40)
    squares = ((points[:, None].astype(float) - points) ** 2).sum(axis=2)
    same = labels[:, None] == labels
    others = ~np.eye(40, dtype=bool)
    expected = squares[same & others].mean(), squares[~same].mean()
    assert class_distances(points, labels) == pytest.approx(expected, rel=1e-10)


def test_class_distance_ratio_of_collapsed_classes_far_from_the_origin(rng):
    labels = np.arange(30) % 3
    noise = 1e-6 * rng.normal(size=(30, 3))
    points = 100 + np.eye(3)[labels] + noise
    expected = reference.class_distance_ratio(points, labels)
    assert class_distance_ratio(points, labels) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]], ids=["one class", "no pairs"])
def test_class_distance_ratio_needs_both_kinds_of_pairs(labels):
    assert math.isnan(class_distance_ratio(np.eye(3), np.array(labels)))
    assert math.isnan(class_distance_ratio(np.zeros((4, 2)), np.array([0, 0, 1, 1])))


def test_regression_errors():
    assert regression_errors([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == {"rmse": 0.0, "r2": 1.0}
    errors = regression_errors([0.0, 2.0], [1.0, 1.0])
    assert errors == {"rmse": 1.0, "r2": 0.0}
    assert math.isnan(regression_errors([1.0, 1.0], [1.0, 2.0])["r2"])


def test_the_curve_follows_a_flow(clouds):
    points, labels, test_points, test_labels = clouds
    curve = ErrorCurve(
        labels,
        test_labels,
        nugget=0.1,
        every=3,
        rng=np.random.default_rng(0),
        n_interpolation=(90, 3),
    )
    flow = kflow.KernelFlow(
        None, n_layers=7, batch_size=30, nugget=0.1, random_state=0, callbacks=[curve]
    )
    flow.fit(points, kflow.one_hot(labels), follow={"test": test_points})
    assert curve.layers == [1, 3, 6]
    assert {size: len(errors) for size, errors in curve.errors.items()} == {90: 3, 3: 3}
    assert all(0 < error < 1 for errors in curve.errors.values() for error in errors)


def test_the_curve_stays_whole_when_memory_runs_out(clouds, monkeypatch):
    points, labels, test_points, test_labels = clouds
    curve = ErrorCurve(labels, test_labels, nugget=0.1, every=1, rng=np.random.default_rng(0))

    def fail_late(flow, size, *_, average=curve._average):
        if flow.n_layers_ == 3 and size == 10:
            raise MemoryError
        return average(flow, size, *_)

    monkeypatch.setattr(curve, "_average", fail_late)
    flow = kflow.KernelFlow(None, n_layers=7, batch_size=30, nugget=0.1, callbacks=[curve])
    with pytest.raises(MemoryError):
        flow.fit(points, kflow.one_hot(labels), follow={"test": test_points})
    assert curve.layers == [1, 2]
    assert {size: len(errors) for size, errors in curve.errors.items()} == {60: 2, 10: 2}


def test_the_curve_survives_a_singular_matrix(clouds):
    points, labels, test_points, test_labels = clouds
    points = np.repeat(points[:45], 2, axis=0)
    labels = np.repeat(labels[:45], 2)
    curve = ErrorCurve(
        labels,
        test_labels,
        nugget=0.0,
        every=1,
        rng=np.random.default_rng(0),
        n_interpolation=(90,),
    )
    flow = kflow.KernelFlow(None, n_layers=2, batch_size=30, nugget=0.1, callbacks=[curve])
    flow.fit(points, kflow.one_hot(labels), follow={"test": test_points})
    assert np.isnan(curve.errors[90]).all()


def test_the_window_takes_the_layers_it_is_told(clouds):
    points, labels, test_points, test_labels = clouds
    window = ErrorWindow(
        labels,
        test_labels,
        nugget=0.1,
        first=5,
        last=7,
        rng=np.random.default_rng(0),
        n_interpolation=(90, 3),
    )
    assert window.summary() == []
    flow = kflow.KernelFlow(
        None, n_layers=9, batch_size=30, nugget=0.1, random_state=0, callbacks=[window]
    )
    flow.fit(points, kflow.one_hot(labels), follow={"test": test_points})
    assert {size: len(errors) for size, errors in window.errors.items()} == {90: 3, 3: 3}
    many, few = window.summary()
    assert (many.n_interpolation, few.n_interpolation) == (90, 3)
    assert few.min < few.average < few.max
    assert few.average == pytest.approx(np.mean(window.errors[3]))
    assert few.std == pytest.approx(np.std(window.errors[3]))
