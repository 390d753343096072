from __future__ import annotations

import json

import numpy as np
import pytest

import kflow
from kflow.analysis import (
    effective_dimension,
    explained_dimension,
    neighbour_dimension,
    participation_ratio,
)
from kflow.presets import FIXED


def subspace_points(rng, n, d, dimension, dtype=np.float64):
    """Return points of a random subspace, with the same variance in all its directions."""
    basis = np.linalg.qr(rng.normal(size=(d, dimension)))[0]
    return (rng.normal(size=(n, dimension)) @ basis.T).astype(dtype)


def naive_neighbour_dimension(points, first, last):
    distances = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2))
    np.fill_diagonal(distances, np.inf)
    T = np.sort(distances, axis=1)
    estimates = []
    for k in range(first, last + 1):
        inverses = [np.mean([np.log(row[k - 1] / row[j - 1]) for j in range(1, k)]) for row in T]
        estimates.append(1.0 / np.mean(inverses))
    return np.mean(estimates)


def test_a_subspace_of_dimension_three(rng, dtype):
    points = subspace_points(rng, 2000, 12, 3, dtype) + dtype.type(5)
    assert participation_ratio(points) == pytest.approx(3.0, abs=0.05)
    assert explained_dimension(points) == 3
    assert explained_dimension(points, share=0.5) == 2
    assert neighbour_dimension(points) == pytest.approx(3.0, abs=0.2)


def test_fewer_points_than_dimensions(rng):
    points = rng.normal(size=(6, 40))
    wide = np.concatenate([points, np.zeros((6, 1))], axis=1)
    assert participation_ratio(points) == pytest.approx(participation_ratio(wide))
    by_covariance = np.linalg.eigvalsh(np.cov(points.T))
    expected = by_covariance.sum() ** 2 / (by_covariance**2).sum()
    assert participation_ratio(points) == pytest.approx(expected)
    assert explained_dimension(points, share=0.999999) == 5


def test_a_curve_fills_more_directions_than_it_has_dimensions(rng):
    t = rng.uniform(0, 2 * np.pi, 1500)
    waves = [f(k * t) for k in (1, 2, 3) for f in (np.sin, np.cos)]
    points = np.stack(waves, axis=1)
    assert participation_ratio(points) == pytest.approx(6.0, abs=0.1)
    assert explained_dimension(points) == 6
    assert neighbour_dimension(points) == pytest.approx(1.0, abs=0.05)


def test_neighbours_by_the_definition(rng):
    points = rng.uniform(size=(60, 4))
    expected = naive_neighbour_dimension(points, 3, 8)
    assert neighbour_dimension(points, (3, 8)) == pytest.approx(expected)


def test_measures_do_not_change_with_scale_origin_and_axes(rng):
    points = rng.normal(size=(200, 5)) * [3, 2, 1, 1, 0.2]
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    moved = 1e-6 * points @ turn + 1e-3
    assert participation_ratio(moved) == pytest.approx(participation_ratio(points))
    assert explained_dimension(moved) == explained_dimension(points)
    assert neighbour_dimension(moved) == pytest.approx(neighbour_dimension(points))


def test_a_hundredth_of_the_variance_needs_no_direction():
    points = np.array([[10.0, 0], [-10, 0], [0, 1], [0, -1]])  # variances 100 : 1
    assert explained_dimension(points, share=0.99) == 1
    assert explained_dimension(points, share=0.995) == 2


@pytest.mark.parametrize("points", [np.ones((1, 3)), np.full((50, 3), 0.1)])
def test_no_variance(points, dtype):
    points = points.astype(dtype)
    assert np.isnan(participation_ratio(points))
    assert explained_dimension(points) == 0
    assert np.isnan(neighbour_dimension(points))


def test_rounding_errors_are_no_variance(rng):
    centre = rng.normal(size=7).astype(np.float32)
    noise = rng.choice([-1.0, 0.0, 1.0], size=(100, 7)).astype(np.float32)
    points = centre * (1 + np.finfo(np.float32).eps * noise)
    assert len(np.unique(points, axis=0)) > 50
    assert np.isnan(participation_ratio(points))
    assert explained_dimension(points) == 0
    assert np.isnan(neighbour_dimension(points))
    assert np.isfinite(participation_ratio(points.astype(np.float64)))


def test_duplicates_count_once_among_neighbours(rng):
    points = rng.normal(size=(100, 3))
    assert neighbour_dimension(np.repeat(points, 3, axis=0)) == neighbour_dimension(points)


def test_neighbours_within_rounding_errors_are_left_out(rng):
    points = rng.normal(size=(300, 3))
    shifts = np.zeros((300, 3))
    shifts[:40, 0] = 1e-16 + 1e-15 * np.abs(points[:40, 0])
    some = np.vstack([points, points[:40] + shifts[:40]])
    expected = neighbour_dimension(points)
    assert neighbour_dimension(some) == pytest.approx(expected, rel=0.1)
    most = np.vstack([points, points + 1e-15 * np.abs(points)])
    assert np.isnan(neighbour_dimension(most))


def test_too_few_points_for_the_neighbours(rng):
    points = rng.normal(size=(20, 2))
    assert np.isnan(neighbour_dimension(points, (10, 20)))
    assert np.isfinite(neighbour_dimension(points, (10, 19)))


def test_some_of_the_points(rng):
    points = subspace_points(rng, 1500, 6, 2)
    some = neighbour_dimension(points, max_points=300, random_state=0)
    assert some == neighbour_dimension(points, max_points=300, random_state=0)
    assert some == pytest.approx(neighbour_dimension(points), rel=0.1)
    assert neighbour_dimension(points, max_points=9999) == neighbour_dimension(points)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": [1.0, 2.0]}, "points must have two dimensions"),
        ({"points": [[1.0], [np.nan]]}, "points contains NaN"),
        ({"points": np.empty((0, 2))}, "points is empty"),
        ({"n_neighbours": (1, 5)}, r"n_neighbours\[0\] must be at least 2"),
        ({"n_neighbours": (5, 4)}, r"n_neighbours\[1\] must be at least 5"),
        ({"n_neighbours": 5}, "n_neighbours must be two"),
        ({"max_points": 0}, "max_points must be at least 1"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        neighbour_dimension(**{"points": np.eye(4), **arguments})


@pytest.mark.parametrize("share", [0.0, 1.0, np.nan, "all"])
def test_wrong_share(share):
    with pytest.raises((TypeError, ValueError), match="share must"):
        explained_dimension(np.eye(3), share)


# ---- along a flow -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def collapsing():
    """Return a flow that collapses two classes, and its data."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(160, 5))
    y = np.where(X[:, 0] + 0.1 * X[:, 1] > 0, "b", "a")
    X[y == "b", 0] += 1.0
    flow = kflow.KernelFlow(
        n_layers=60, batch_size=80, nugget=1.0, step="rms", step_size=0.03, random_state=0
    )
    return flow.fit(X, kflow.one_hot(y)), X, y


def test_a_flow_of_two_classes(collapsing):
    flow, X, y = collapsing
    result = effective_dimension(flow, X, y, layers=[0, 30, 60])
    assert result.layers.tolist() == [0, 30, 60]
    assert result.classes.tolist() == ["a", "b"]
    for values in (result.participation, result.explained, result.neighbours):
        assert values.shape == (3, 3)
    assert result.participation[2, 0] < 0.6 * result.participation[0, 0]
    final = flow.transform(X)
    assert result.participation[2, 0] == pytest.approx(participation_ratio(final))
    assert result.explained[2, 1] == explained_dimension(final[y == "a"])
    assert result.neighbours[2, 2] == pytest.approx(neighbour_dimension(final[y == "b"]))
    assert result.share == 0.99
    assert result.n_neighbours == (10, 20)


def test_without_classes(collapsing):
    flow, X, y = collapsing
    alone = effective_dimension(flow, X, layers=[10])
    assert alone.classes.shape == (0,)
    assert alone.participation.shape == (1, 1)
    with_classes = effective_dimension(flow, X, y, layers=[10])
    assert alone.participation[0, 0] == with_classes.participation[0, 0]


def test_layers_are_eleven_unless_given(collapsing):
    flow, X, _ = collapsing
    assert effective_dimension(flow, X[:30]).layers.tolist() == list(range(0, 61, 6))


def test_a_class_of_one_point(collapsing):
    flow, X, _ = collapsing
    labels = np.zeros(len(X), int)
    labels[7] = 1
    result = effective_dimension(flow, X, labels, layers=[0])
    assert np.isnan(result.participation[0, 2])
    assert result.explained[0, 2] == 0
    assert np.isnan(result.neighbours[0, 2])
    summary = json.loads(json.dumps(result.summary()))
    assert summary["participation_within_classes"] == [result.participation[0, 1]]
    alone = effective_dimension(flow, X[:2], [0, 1], layers=[0]).summary()
    assert alone["participation_within_classes"] == [None]


def test_scaled_points_of_an_estimator():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 4)) * [1, 10, 100, 1000]
    classifier = kflow.KernelFlowClassifier(**{**FIXED, "n_layers": 2, "random_state": 0}).fit(
        X, X[:, 0] > 0
    )
    result = effective_dimension(classifier, X, layers=[0])
    assert result.participation[0, 0] > 3.5
    assert participation_ratio(X) < 1.1


def test_a_rank_changes_nothing(collapsing):
    _, X, y = collapsing
    wide = np.hstack([X, X @ np.ones((5, 3))])
    results = []
    for rank in (None, "auto"):
        flow = kflow.KernelFlow(
            n_layers=10, batch_size=80, nugget=1.0, rank=rank, dtype="float64", random_state=0
        ).fit(wide, kflow.one_hot(y))
        results.append(effective_dimension(flow, wide, layers=[0, 10]))
    np.testing.assert_allclose(results[0].participation, results[1].participation, rtol=1e-6)
    np.testing.assert_allclose(results[0].neighbours, results[1].neighbours, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": np.zeros((3, 4))}, "X must have 5 columns"),
        ({"y": ["a"]}, "y must hold one label for each of 160 rows"),
        ({"y": np.full(160, np.nan)}, "y contains NaN"),
        ({"layers": [61]}, "layers must be at most 60"),
        ({"layers": [3, 2]}, "must not decrease"),
        ({"layers": [2, 2]}, "increasing"),
        ({"share": 2}, "share must lie"),
        ({"random_state": "x"}, "random_state"),
    ],
)
def test_wrong_arguments_of_a_flow(collapsing, arguments, message):
    flow, X, _ = collapsing
    with pytest.raises((TypeError, ValueError), match=message):
        effective_dimension(flow, **{"X": X, **arguments})


def test_layers_that_were_not_kept():
    X = np.random.default_rng(0).normal(size=(20, 2))
    flow = kflow.KernelFlow(n_layers=2, batch_size=10, layers="none").fit(X, X[:, 0])
    with pytest.raises(ValueError, match="were not kept"):
        effective_dimension(flow, X)
