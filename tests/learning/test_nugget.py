from __future__ import annotations

import numpy as np
import pytest

from kflow import kernels, losses
from kflow.learning.nugget import leave_one_out_nugget

KERNEL = kernels.Gaussian((0.8, 2.0))
BOUNDS = (1e-8, 1e4)


@pytest.fixture
def X(rng):
    return rng.normal(size=(80, 2))


def error(X, Y, nugget, weights=None):
    """Return the sum of squared residuals, each row's from all others."""
    w = np.ones(len(X)) if weights is None else weights
    residuals, _ = losses.leave_one_out(KERNEL(X) + np.diag(nugget / w), Y)
    return float((w[:, None] * residuals**2).sum())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("noise", [0.03, 0.5])
def test_no_other_nugget_has_smaller_errors(rng, X, noise, weighted):
    weights = np.exp(rng.normal(size=80)) if weighted else None
    Y = np.column_stack([np.sin(X[:, 0]), X[:, 1] ** 2])
    Y += noise * rng.normal(size=Y.shape) / (1.0 if weights is None else np.sqrt(weights)[:, None])
    before = X.copy(), Y.copy()
    found = leave_one_out_nugget(KERNEL, X, Y, BOUNDS, weights=weights)
    least = min(error(X, Y, nugget, weights) for nugget in np.geomspace(1e-6, 1e4, 201))
    assert error(X, Y, found, weights) <= least * (1 + 1e-3)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(Y, before[1])


def test_bounds(rng, X):
    noise = rng.normal(size=(80, 1))
    assert leave_one_out_nugget(KERNEL, X, noise, (1e-3, 0.1)) == pytest.approx(0.1, rel=1e-3)
    smooth = np.exp(-0.5 * (X[:, :1] - 0.3) ** 2 / 0.8**2)
    assert leave_one_out_nugget(KERNEL, X, smooth, (1e-3, 0.1)) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("n", [2, 3])
def test_few_rows(X, n):
    assert 0.99e-8 < leave_one_out_nugget(KERNEL, X[:n], X[:n, :1], BOUNDS) < 1.01e4


def test_duplicates(rng, X):
    twice = np.concatenate([X, X])
    Y = np.sin(twice[:, :1]) + 0.3 * rng.normal(size=(160, 1))
    found = leave_one_out_nugget(KERNEL, twice, Y, BOUNDS)
    assert 1e-3 < found < 10.0
