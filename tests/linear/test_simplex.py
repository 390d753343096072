from __future__ import annotations

import numpy as np

from kflow.linear.simplex import onto_simplex


def test_projection_onto_the_simplex(rng):
    scores = rng.normal(size=(200, 4)) * 3
    nearest = onto_simplex(scores)
    np.testing.assert_allclose(nearest.sum(axis=1), 1)
    # No other probability vector is nearer: the angle to each of the corners is not acute.
    for corner in np.eye(4):
        assert (((scores - nearest) * (corner - nearest)).sum(axis=1) < 1e-12).all()
    np.testing.assert_allclose(onto_simplex(nearest), nearest, atol=1e-15)


def test_projection_gives_exact_zeros():
    np.testing.assert_array_equal(onto_simplex(np.array([[5.0, 0.0, -1.0]])), [[1.0, 0.0, 0.0]])
    np.testing.assert_array_equal(onto_simplex(np.array([[-7.0]])), [[1.0]])
