from __future__ import annotations

import numpy as np
import pytest

from kflow.features.leading_directions import leading_directions


@pytest.mark.parametrize("shape", [(200, 60), (30, 300), (1, 5), (6, 1)])
def test_singular_vectors(rng, shape):
    scales = 0.8 ** np.arange(shape[1])
    X = (rng.normal(size=shape) * scales).astype(np.float32)
    n = min(5, *shape)
    directions, dropped = leading_directions(X, n, 0, 2)
    _, singular, expected = np.linalg.svd(X.astype(float), full_matrices=False)
    np.testing.assert_allclose(directions.T @ directions, np.eye(n), atol=1e-10)
    np.testing.assert_allclose(np.abs(expected[:n] @ directions), np.eye(n), atol=1e-2)
    energy = singular**2
    assert dropped == pytest.approx(1.0 - energy[:n].sum() / energy.sum(), abs=1e-5)
    one, _ = leading_directions(X, n, 0, 1)
    np.testing.assert_array_equal(one, directions)


def test_rows_of_zeros():
    directions, dropped = leading_directions(np.zeros((4, 3), np.float32), 2, 0, 1)
    np.testing.assert_allclose(directions.T @ directions, np.eye(2), atol=1e-12)
    assert dropped == 0.0
