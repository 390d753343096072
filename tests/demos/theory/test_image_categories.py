from __future__ import annotations

import numpy as np
import pytest

from kflow.demos.theory.matched_manifolds import Shape, normalised


def test_normalised_points_have_norm_1():
    rng = np.random.default_rng(0)
    X, T = normalised(rng.normal(3.0, 2.0, size=(50, 4)), np.full((1, 4), 3.0))
    np.testing.assert_allclose(X.mean(axis=0), 0.0, atol=1e-12)
    assert (X**2).sum(axis=1).mean() == pytest.approx(1.0)
    assert np.abs(T).max() < 0.3


def test_a_shape_has_new_directions_for_each_seed():
    shape = Shape(4, decay=1.0, curvature=1.0, overlap=0.5, distance=0.5, tangential=0.5)
    X, y = shape.draw((6, 6), 10, [0, 1])
    assert X.shape == (10, 36)
    assert sorted(y) == [0] * 5 + [1] * 5
    np.testing.assert_array_equal(X, shape.draw((6, 6), 10, [0, 1])[0])
    assert not np.allclose(X, shape.draw((6, 6), 10, [0, 2])[0])


@pytest.mark.slow
def test_report(run, check_written, tmp_path):
    run("image-categories", "--quick", "--quiet", "--output", tmp_path)
    numbers = check_written(tmp_path, n_figures=3)
    assert numbers["letters"]["error"] == 0.0
    assert numbers["letters"]["neighbours"] < 2.5
    assert set(numbers["parameters"]) == set(Shape.__annotations__)
    assert 0.0 < numbers["apart"] < np.inf
    assert len(numbers["real"]) == len(numbers["made"]) == 1
    assert len(numbers["measures"]) == 2 * len(numbers["sizes"]) + 12
