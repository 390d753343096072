from __future__ import annotations

import numpy as np

from kflow import kernels
from kflow.compression.least_squares import least_squares
from kflow.testing import slow as reference

KERNEL = kernels.Gaussian(1.0)


def test_least_squares(rng, dtype):
    x = rng.normal(size=(3000, 3)).astype(dtype)
    z, way = x[:70], rng.normal(size=(3000, 2)).astype(dtype)
    k, square = reference.gram(x, z, kernel=KERNEL), reference.gram(z, kernel=KERNEL)
    matrix = k.T @ k + (1e-3 * 3000 / 70) * square
    matrix += 1e-10 * np.trace(matrix) / 70 * np.eye(70)
    expected = np.linalg.solve(matrix, k.T @ way)
    got = least_squares(KERNEL, x, z, way, 1, columns=32)
    # Of the coefficients only their values at points count: the matrix is nearly singular.
    np.testing.assert_allclose(k @ got, k @ expected, atol=1e-6)
    np.testing.assert_array_equal(least_squares(KERNEL, x, z, way, 3, columns=32), got)


def test_least_squares_of_centres_that_coincide(rng):
    x = np.repeat(rng.normal(size=(20, 2)), 5, axis=0)
    c = least_squares(KERNEL, x, x, -x, 1)
    np.testing.assert_allclose(reference.gram(x, kernel=KERNEL) @ c, -x, atol=0.1)
