from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from kflow.datasets import SphereCategories, sphere_points


def nearest(x, j, centres):
    """Return the distance to a category by a general minimiser."""
    rows = np.delete(centres[j] - centres, j, axis=0)
    found = minimize(
        lambda r: 0.5 * r @ r,
        np.zeros_like(x),
        jac=lambda r: r,
        constraints={"type": "ineq", "fun": lambda r: rows @ (x + r), "jac": lambda _: rows},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert found.success
    return np.linalg.norm(found.x)


def test_points_lie_on_the_sphere():
    X = sphere_points(2000, 5, random_state=0)
    np.testing.assert_allclose(np.linalg.norm(X, axis=1), 1.0)
    np.testing.assert_allclose(X.T @ X / len(X), np.eye(5) / 5, atol=0.02)
    np.testing.assert_array_equal(X, sphere_points(2000, 5, random_state=0))
    assert set(sphere_points(20, 1, random_state=0)[:, 0]) == {-1.0, 1.0}


def test_distances_are_those_of_a_minimiser():
    categories = SphereCategories.by_coordinate(4, 6)
    X = sphere_points(10, 6, random_state=0)
    distances = categories.distances(X)
    expected = [[nearest(x, j, categories.centres) for j in range(4)] for x in X]
    np.testing.assert_allclose(distances, expected, atol=1e-6)
    own = categories.labels(X)
    assert (own == X[:, :4].argmax(axis=1)).all()
    assert (distances[np.arange(10), own] == 0.0).all()


@pytest.mark.parametrize(
    "categories",
    [SphereCategories.by_coordinate(4, 6), SphereCategories.at_random(7, 3, random_state=1)],
)
def test_the_boundary_is_the_nearest_other_category(categories):
    k, d = categories.centres.shape
    X = sphere_points(8, d, random_state=2)
    own = categories.labels(X)
    expected = [
        min(nearest(x, j, categories.centres) for j in range(k) if j != category)
        for x, category in zip(X, own, strict=True)
    ]
    np.testing.assert_allclose(categories.boundary_distances(X), expected, atol=1e-6)


def test_the_nearest_of_all_distances_is_that_to_the_boundary():
    categories = SphereCategories.by_coordinate(50, 80)
    X = sphere_points(20, 80, random_state=3).astype(np.float32)
    distances = categories.distances(X)
    distances[np.arange(20), categories.labels(X)] = np.inf
    np.testing.assert_allclose(distances.min(axis=1), categories.boundary_distances(X), rtol=1e-6)


def test_points_on_the_boundary_and_no_points():
    categories = SphereCategories.by_coordinate(3, 3)
    np.testing.assert_allclose(categories.distances([[1.0, 1.0, 0.0]])[0, :2], 0.0)
    np.testing.assert_allclose(categories.boundary_distances([[1.0, 1.0, 0.0]]), 0.0)
    assert categories.boundary_distances(np.zeros((0, 3))).shape == (0,)


def test_centres_are_copied_and_scaled():
    centres = np.array([[2.0, 0.0], [0.0, -3.0]])
    categories = SphereCategories(centres)
    np.testing.assert_array_equal(categories.centres, [[1.0, 0.0], [0.0, -1.0]])
    np.testing.assert_array_equal(centres, [[2.0, 0.0], [0.0, -3.0]])
    assert repr(categories) == "SphereCategories(centres=<float64 array of shape (2, 2)>)"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sphere_points(0, 3), "n must be at least 1"),
        (lambda: sphere_points(3, 0), "dimension must be at least 1"),
        (lambda: SphereCategories(np.zeros((2, 2))), "centres must not be 0"),
        (lambda: SphereCategories([[1.0, 0.0]]), "at least two different"),
        (lambda: SphereCategories([[1.0, 0.0], [2.0, 0.0]]), "at least two different"),
        (lambda: SphereCategories([[1.0, np.nan], [0.0, 1.0]]), "centres"),
        (lambda: SphereCategories.by_coordinate(3, 2), "dimension must be at least 3"),
        (lambda: SphereCategories.at_random(1, 2), "n_categories must be at least 2"),
        (lambda: SphereCategories.by_coordinate(2, 2).labels(np.zeros((1, 3))), "X"),
        (
            lambda: SphereCategories.at_random(3, 2, 0).distances(np.ones((1, 2))),
            "take SphereCategories.by_coordinate",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
