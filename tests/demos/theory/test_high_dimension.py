from __future__ import annotations

import numpy as np
import pytest

from kflow.datasets import SphereCategories, sphere_points
from kflow.demos.theory.sphere import (
    box_bound,
    cap_height,
    ceiling,
    mean_boundary_distance,
    slab_share,
)


@pytest.mark.parametrize("d", [3, 30])
def test_shares_are_those_of_random_points(d):
    X = sphere_points(20000, d, 0)
    assert slab_share(0.3, d) == pytest.approx((np.abs(X[:, 0]) < 0.3).mean(), abs=0.02)
    assert box_bound(0.9, d) <= (np.abs(X).max(axis=1) < 0.9).mean() + 0.01
    assert (X[:, 0] > cap_height(0.1, d)).mean() == pytest.approx(0.1, abs=0.01)


def test_shares_in_three_dimensions_are_known():
    """A slab of the sphere in three dimensions has the share of its height (Archimedes)."""
    assert slab_share(0.3, 3) == pytest.approx(0.3)
    assert cap_height(0.25, 3) == pytest.approx(0.5)
    assert slab_share(2.0, 3) == 1.0
    assert box_bound(0.1, 3) == 0.0


def test_the_mean_distance_is_that_of_random_points():
    X = sphere_points(20000, 30, 0)
    measured = SphereCategories.by_coordinate(10, 30).boundary_distances(X).mean()
    assert mean_boundary_distance(10, 30) == pytest.approx(measured, rel=0.03)


def test_no_categories_pass_the_ceiling():
    for categories in (
        SphereCategories.by_coordinate(10, 20),
        SphereCategories.at_random(10, 20, 0),
    ):
        X = sphere_points(2000, 20, 1)
        assert np.median(categories.boundary_distances(X)) < ceiling(10, 20)
    # Two halves of the sphere have the least edge.
    halves = SphereCategories([[1.0] + [0.0] * 19, [-1.0] + [0.0] * 19])
    measured = np.median(halves.boundary_distances(sphere_points(20000, 20, 2)))
    assert ceiling(2, 20) == pytest.approx(measured, rel=0.03)


@pytest.mark.slow
def test_report(run, check_written, tmp_path):
    run("high-dimension", "--quick", "--quiet", "--output", tmp_path)
    numbers = check_written(tmp_path, n_figures=2)
    near = numbers["categories"]
    np.testing.assert_allclose(near["measured"], near["theory"], rtol=0.3)
    assert near["measured"][-1][2] < 0.2
    flows = numbers["flows"]
    assert 0.3 < np.mean(flows["ratio_after"]) < 3.0
    assert np.ptp(numbers["pixels"]["distances"]) < 0.05 * numbers["pixels"]["distances"][0]
