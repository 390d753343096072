from __future__ import annotations

import numpy as np
import pytest

from kflow.plotting.projection import plane_maps


def test_principal_directions_of_fewer_points_than_coordinates(rng):
    points = rng.normal(size=(5, 12))
    (plane,) = plane_maps([points], "pca", None)
    u, s, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    planar = plane(points)
    expected = u[:, :2] * s[:2]
    np.testing.assert_allclose(np.abs(planar), np.abs(expected), atol=1e-10)


@pytest.mark.parametrize("n_points", [1, 2, 3])
@pytest.mark.parametrize("d", [2, 3, 12])
def test_principal_directions_are_orthonormal_however_few_points(n_points, d, rng):
    points = np.zeros((n_points, d))
    for spread in (0.0, 1.0):
        points += spread * rng.normal(size=(n_points, d))
        (plane,) = plane_maps([points], "pca", None)
        np.testing.assert_allclose(plane.directions.T @ plane.directions, np.eye(2), atol=1e-12)
        expected = np.linalg.svd(points - points.mean(axis=0))[1][:2]
        np.testing.assert_allclose(
            np.linalg.norm(plane(points), axis=0)[: len(expected)], expected, atol=1e-7
        )


def test_principal_directions_of_points_that_coincide():
    for points in (np.ones((5, 3)), np.ones((3, 5))):
        (plane,) = plane_maps([points], "pca", None)
        np.testing.assert_allclose(plane(points), np.zeros((len(points), 2)), atol=1e-12)


def test_collapsed_classes_are_at_their_places_on_the_circle(rng):
    codes = np.arange(50) % 5
    last = 7 + 2 * np.eye(5, 9)[codes]
    first = last + rng.normal(size=last.shape)
    maps = plane_maps([first, last], "classes", codes)
    assert maps[0] is maps[1]
    planar = maps[1](last)
    np.testing.assert_allclose(np.linalg.norm(planar, axis=1), 1.0)
    np.testing.assert_allclose(planar[0], [0, 1], atol=1e-12)
    np.testing.assert_allclose(planar[:5].mean(axis=0), [0, 0], atol=1e-12)


def test_velocities_are_mapped_like_differences(rng):
    points, others = rng.normal(size=(2, 20, 4))
    (plane,) = plane_maps([points], "classes", np.arange(20) % 3)
    np.testing.assert_allclose(plane.velocities(others - points), plane(others) - plane(points))


def test_there_is_no_picture_of_one_column():
    with pytest.raises(ValueError, match="one column only"):
        plane_maps([np.zeros((3, 1))], "pca", None)
