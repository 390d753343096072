from __future__ import annotations

import numpy as np
import pytest

from kflow import SingularKernelError, kernels, losses
from kflow.errors import JitterWarning
from kflow.linear.factor import Factor, cholesky_factor, factorise, solve_factored

ARD = 1.3 * kernels.Matern52((0.8, 1.5, 2.0)) + 0.1 * kernels.Linear()


def matrix(kernel, X, nugget):
    return kernel(X) + nugget * np.eye(len(X))


@pytest.mark.parametrize("n", [1, 2, 120])
def test_factor(X, Y, n):
    X, Y = X[:n], Y[:n]
    factor = Factor(ARD, X, 0.01)
    inverse = np.linalg.inv(matrix(ARD, X, 0.01))
    np.testing.assert_allclose(factor.solve(Y), inverse @ Y, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(factor.inverse_diagonal(), np.diag(inverse), rtol=1e-9)


def test_the_factor_gives_leave_one_out_residuals(X, Y):
    factor = Factor(ARD, X, 0.01)
    diagonal = factor.inverse_diagonal()
    residuals, variances = losses.leave_one_out(matrix(ARD, X, 0.01), Y)
    np.testing.assert_allclose(factor.solve(Y) / diagonal[:, None], residuals, rtol=1e-8)
    np.testing.assert_allclose(1.0 / diagonal, variances, rtol=1e-8)


@pytest.mark.parametrize("n", [0, 1, 2500])
def test_variances(rng, X, n):
    points = rng.random((n, 3))  # more than are worked on at a time
    found = Factor(ARD, X, 0.01).variances(points)
    cross = ARD(points, X)
    expected = ARD.diag(points) - np.einsum(
        "ij,ij->i", cross, np.linalg.solve(matrix(ARD, X, 0.01), cross.T).T
    )
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 70])
def test_covariance(rng, X, n):
    points = rng.random((n, 3))
    factor = Factor(ARD, X, 0.01)
    found = factor.covariance(points)
    cross = ARD(points, X)
    expected = ARD(points) - cross @ np.linalg.solve(matrix(ARD, X, 0.01), cross.T)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(found.diagonal(), factor.variances(points), rtol=1e-9, atol=1e-13)


def test_covariances_of_known_points_are_not_negative(X):
    covariance = Factor(kernels.Gaussian(0.2), X[:40], 1e-10).covariance(X[:40])
    assert (covariance.diagonal() >= 0).all()
    assert np.abs(covariance).max() < 1e-8


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "q"), [(1, 1), (100, 1), (60, 60), (119, 1)])
def test_a_factor_that_grows(rng, X, Y, n, q, weighted):
    weights = np.exp(rng.normal(size=n + q)) if weighted else None
    first, later = (None, None) if weights is None else (weights[:n], weights[n:])
    factor = Factor(ARD, X[:n], 0.01, weights=first)
    without = factor.extended(X[n : n + q], weights=later)
    before = factor.inverse_diagonal().copy()
    grown = factor.extended(X[n : n + q], weights=later)
    whole = Factor(ARD, X[: n + q], 0.01, weights=weights)
    np.testing.assert_allclose(
        grown.solve(Y[: n + q]), whole.solve(Y[: n + q]), rtol=1e-8, atol=1e-8
    )
    for made in (grown, without):
        np.testing.assert_allclose(made.inverse_diagonal(), whole.inverse_diagonal(), rtol=1e-9)
    np.testing.assert_allclose(grown.variances(X), whole.variances(X), rtol=1e-8, atol=1e-12)
    # The shorter one is as it was.
    assert len(factor.points) == n
    np.testing.assert_array_equal(factor.inverse_diagonal(), before)


def test_a_factor_does_not_grow_by_a_point_it_has(X):
    with pytest.raises(SingularKernelError, match="121 points with nugget=0 is numerically"):
        Factor(ARD, X, 0.0).extended(X[:1])


def test_variances_are_not_negative(X):
    kernel = kernels.Gaussian(0.2)
    variances = Factor(kernel, X[:40], 1e-10).variances(X[:40])
    assert (variances >= 0).all()
    assert variances.max() < 1e-8


def test_a_singular_matrix(X):
    twice = np.concatenate([X, X[:1]])
    with pytest.raises(SingularKernelError, match="121 points with nugget=0 is numerically"):
        Factor(ARD, twice, 0.0)
    with pytest.warns(JitterWarning, match="until .* is added to the nugget") as caught:
        factor = factorise(ARD, twice, 0.0)
    assert len(caught) == 1
    assert 0.0 < factor.nugget < 1e-6
    assert np.isfinite(factor.inverse_diagonal()).all()


def test_no_jitter_where_none_is_needed(X):
    assert factorise(ARD, X, 0.01).nugget == 0.01


def test_a_kernel_that_is_not_positive_definite(X):
    kernel = kernels.FunctionKernel(lambda X, Z: 1.0 - X @ Z.T)
    with pytest.raises(SingularKernelError, match="positive definite"):
        factorise(kernel, X, 0.01)


def test_blas_is_left_as_it_was(X, Y, blas_threads):
    before = blas_threads()
    factor = factorise(ARD, X, 0.01)
    factor.solve(Y)
    factor.inverse_diagonal()
    factor.variances(X)
    assert blas_threads() == before


def test_weights_divide_the_nugget(X, Y, rng):
    weights = rng.uniform(0.5, 3.0, len(X))
    expected = np.linalg.solve(ARD(X) + np.diag(0.1 / weights), Y)
    factor = Factor(ARD, X, 0.1, weights=weights)
    np.testing.assert_allclose(factor.solve(Y), expected, rtol=1e-8)
    lower = cholesky_factor(ARD(X), 0.1, weights)
    np.testing.assert_allclose(solve_factored(lower, Y), expected, rtol=1e-8)
