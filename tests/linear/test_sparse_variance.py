from __future__ import annotations

import numpy as np
import pytest

from kflow import SingularKernelError, kernels
from kflow.linear.factor import Factor
from kflow.linear.sparse_variance import SparseVariance

ARD = 1.3 * kernels.Matern52((0.8, 1.5, 2.0)) + 0.1 * kernels.Linear()


def slow(X, pivots, weights, points):
    """Return the covariance by the formula with n x n matrices."""
    nuggets = 0.01 / (np.ones(len(X)) if weights is None else weights)
    P = X[pivots]
    inverse = np.linalg.inv(ARD(P))
    Q = ARD(X, P) @ inverse @ ARD(P, X)
    A = Q + np.diag(np.diag(ARD(X) - Q) + nuggets)
    # Of points and rows only what the pivots tell is common.
    cross = ARD(points, P) @ inverse @ ARD(P, X)
    return ARD(points) - cross @ np.linalg.solve(A, cross.T)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("r", [1, 20])
def test_the_formula(rng, X, r, weighted):
    weights = np.exp(rng.normal(size=len(X))) if weighted else None
    pivots = rng.permutation(len(X))[:r]
    points = rng.random((30, 3))
    known = SparseVariance(ARD, X, pivots, 0.01, weights=weights)
    expected = slow(X, pivots, weights, points)
    np.testing.assert_allclose(known.covariance(points), expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(known.variances(points), np.diag(expected), rtol=1e-8)


def test_with_all_points_as_pivots_it_is_exact(rng, X):
    points = rng.random((30, 3))
    known = SparseVariance(ARD, X, np.arange(len(X)), 0.01)
    exact = Factor(ARD, X, 0.01)
    np.testing.assert_allclose(known.variances(points), exact.variances(points), rtol=1e-6)
    np.testing.assert_allclose(
        known.covariance(points), exact.covariance(points), rtol=1e-6, atol=1e-8
    )


def test_more_points_than_are_worked_on_at_a_time(rng):
    X, points = rng.random((1500, 2)), rng.random((1100, 2))
    kernel = kernels.Gaussian(1.0)
    known = SparseVariance(kernel, X, np.arange(60), 0.01)
    exact = Factor(kernel, X, 0.01).variances(points)
    np.testing.assert_allclose(known.variances(points), exact, rtol=0.05)
    covariance = known.covariance(points)
    np.testing.assert_array_equal(covariance, covariance.T)
    np.testing.assert_allclose(covariance.diagonal(), known.variances(points), rtol=1e-9)
    assert np.linalg.eigvalsh(covariance).min() > -1e-10


@pytest.mark.parametrize("nugget", [0.0, 1e-12])
def test_nothing_is_negative_without_noise(X, nugget):
    kernel = kernels.Gaussian(2.0)  # numerically singular
    known = SparseVariance(kernel, np.concatenate([X, X]), np.arange(60), nugget)
    variances = known.variances(X)
    assert (variances >= 0.0).all()
    assert variances.max() < 1e-6
    assert (known.covariance(X).diagonal() >= 0.0).all()


def test_next_to_no_noise(rng):
    """A large amplitude: the sum of squares leaves no digit of what the data do not tell."""
    X, points = rng.random((300, 2)), 3.0 * rng.random((50, 2))
    kernel = 1e6 * kernels.Matern52(0.7)
    exact = Factor(kernel, X, 1e-6).variances(points)
    found = SparseVariance(kernel, X, np.arange(300), 1e-6).variances(points)
    far = exact > 1.0  # of a million
    assert far.sum() > 20
    np.testing.assert_allclose(found[far], exact[far], rtol=1e-3)
    assert (found >= 0.0).all()


def test_a_kernel_that_is_not_positive_definite(X):
    kernel = kernels.FunctionKernel(lambda X, Z: -(X @ Z.T))
    with pytest.raises(SingularKernelError):
        SparseVariance(kernel, X, np.arange(10), 0.1)
