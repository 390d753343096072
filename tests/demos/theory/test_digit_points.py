from __future__ import annotations

import numpy as np

from kflow.demos.theory.digit_points import digit_points, error_of
from kflow.kernels import Gaussian


def test_all_coordinates_keep_the_distances_of_scaled_images():
    every, few = digit_points(64), digit_points(20)
    np.testing.assert_allclose(np.linalg.norm(every.X, axis=1), 1.0)
    np.testing.assert_allclose(np.linalg.norm(every.X_test, axis=1), 1.0)
    np.testing.assert_allclose(few.X, every.X[:, :20])
    assert len(few.y_test) == len(few.X_test)
    assert (few.X**2).sum() > 0.9 * (every.X**2).sum()


def test_errors_by_the_definition():
    X, y = np.array([[0.0], [1.0], [5.0]]), np.array([3, 3, 8])
    others, truth = np.array([[0.1], [4.9], [5.2], [0.9]]), np.array([3, 8, 3, 8])
    assert error_of(X, y, others, truth, Gaussian(1.0)) == 0.5
    assert error_of(X, y, others, truth, Gaussian(1.0), np.array([0, 2])) == 0.5
