from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from kflow.linear_separation import best_line, separating_hyperplane


def fewest_errors(points, labels):
    """All lines through two points, with all ways to put the points on them to either side."""
    signs = np.where(labels == "b", 1, -1)
    best = min((signs > 0).sum(), (signs < 0).sum())
    for first, second in combinations(range(len(points)), 2):
        along = points[second] - points[first]
        sides = np.sign(
            along[0] * (points[:, 1] - points[first, 1])
            - along[1] * (points[:, 0] - points[first, 0])
        )
        sides[[first, second]] = 0
        for on_line in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            sides[[first, second]] = on_line
            wrong = (sides != signs).sum()
            best = min(best, wrong, len(points) - wrong)
    return best


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_the_best_line_is_the_best(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 16))
    points = rng.normal(size=(n, 2)) * rng.choice([1e-6, 1.0, 1e6])
    labels = np.where(np.arange(n) % 2, "a", "b")
    if seed % 3 == 0:  # a chance to be separable
        points[:, 0] += np.where(labels == "a", 2.0, 0.0) * np.abs(points).max() / 2
    line = best_line(points, labels)
    assert round(line.error * n) == fewest_errors(points, labels)
    assert np.linalg.norm(line.normal) == pytest.approx(1.0)
    assert (separating_hyperplane(points, labels) is None) == (line.error > 0)
    wrong = ((points @ line.normal > line.offset) != (labels == "b")).mean()
    assert wrong == pytest.approx(line.error)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_a_separating_hyperplane_separates(rng, d):
    normal = rng.normal(size=d)
    points = 100.0 + 1e-3 * rng.normal(size=(60, d))
    heights = (points - 100.0) @ normal
    labels = (heights > np.median(heights)).astype(int)
    found = separating_hyperplane(points, labels)
    assert found is not None
    assert found.error == 0.0
    assert ((points @ found.normal > found.offset) == labels).all()
    labels[heights.argmax()] = 0
    assert separating_hyperplane(points, labels) is None


def test_the_margin_is_wide():
    found = separating_hyperplane([[0.0, 0.0], [0.0, 1.0], [3.0, 0.0], [3.0, 1.0]], [0, 0, 1, 1])
    assert found.normal == pytest.approx([1.0, 0.0], abs=1e-9)
    assert found.offset == pytest.approx(1.5)


def test_exclusive_or():
    corners, labels = [[0, 0], [1, 1], [0, 1], [1, 0]], [0, 0, 1, 1]
    assert separating_hyperplane(corners, labels) is None
    assert best_line(corners, labels).error == 0.25


def test_coinciding_points():
    points = [[0.0, 0.0]] * 3 + [[1.0, 1.0]] * 2
    assert best_line(points, [0, 0, 1, 1, 1]).error == pytest.approx(0.2)
    assert separating_hyperplane(points, [0, 0, 1, 1, 1]) is None
    assert best_line(points, [0, 0, 0, 1, 1]).error == 0.0
    assert separating_hyperplane(points, [0, 0, 0, 1, 1]) is not None
    assert best_line([[1.0, 2.0]] * 3, [0, 0, 1]).error == pytest.approx(1 / 3)
    assert separating_hyperplane([[1.0, 2.0]] * 3, [0, 0, 1]) is None


def test_points_on_a_line():
    points = np.column_stack([np.arange(7.0), 0.1 * np.arange(7.0)])
    assert best_line(points, [0, 0, 1, 0, 1, 1, 1]).error == pytest.approx(1 / 7)
    assert best_line(points, [0, 0, 0, 0, 1, 1, 1]).error == 0.0


@pytest.mark.parametrize("function", [best_line, separating_hyperplane])
def test_what_is_wrong_is_named(function):
    square = np.eye(2)
    with pytest.raises(ValueError, match=r"labels must have shape \(2,\)"):
        function(square, [0, 1, 1])
    with pytest.raises(ValueError, match="two classes, got 1"):
        function(square, [1, 1])
    with pytest.raises(ValueError, match="two classes, got 3"):
        function(np.ones((3, 2)), [1, 2, 3])
    with pytest.raises(ValueError, match="points contains NaN"):
        function([[np.nan, 0.0], [1.0, 1.0]], [0, 1])


def test_a_line_needs_a_plane():
    with pytest.raises(ValueError, match="two columns, got 3"):
        best_line(np.ones((2, 3)), [0, 1])
