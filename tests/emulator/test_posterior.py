from __future__ import annotations

import numpy as np
import pytest

from kflow.emulator.component_kernel import component_kernel
from kflow.emulator.posterior import by_inducing_points, given_all_rows

NUGGET = 0.01


@pytest.fixture
def data(rng):
    X = rng.normal(size=(40, 2))
    return X, np.sin(X[:, 0]) + X[:, 1] + 0.1 * rng.normal(size=40), rng.normal(size=(7, 2))


def given(kernel, X, z, T, nugget=NUGGET):
    """Mean and variance by inverses."""
    A = np.linalg.inv(kernel(X) + nugget * np.eye(len(X)))
    cross = kernel(T, X)
    return cross @ A @ z, kernel.diag(T) - np.diag(cross @ A @ cross.T) + nugget


def test_the_posterior_given_all_rows(data):
    X, z, T = data
    kernel = component_kernel("matern52", 2)
    posterior, held = given_all_rows(kernel, NUGGET, X, z, 1)
    mean, variance = given(kernel, X, z, T)
    np.testing.assert_allclose(posterior.mean(T, 1), mean)
    np.testing.assert_allclose(posterior.variances(T, 1), posterior.amplitude * variance)
    for i in (0, 13):
        others = np.arange(40) != i
        mean, variance = given(kernel, X[others], z[others], X[i : i + 1])
        np.testing.assert_allclose(held.errors[i], z[i] - mean[0])
        np.testing.assert_allclose(held.variances[i], posterior.amplitude * variance[0])
    assert np.mean(np.square(held.errors) / held.variances) == pytest.approx(1.0)


def test_the_posterior_by_inducing_points(data):
    """The posterior of the kernel of low rank, and what that kernel lacks."""
    X, z, T = data
    kernel = component_kernel("gaussian", 2)
    inducing, held = np.arange(0, 40, 4), np.array([1, 2, 3])
    posterior, predicted = by_inducing_points(kernel, NUGGET, X, z, inducing, held, 1)
    Z = X[inducing]

    def low(A, B):
        return kernel(A, Z) @ np.linalg.solve(kernel(Z) + 1e-12 * np.eye(len(Z)), kernel(Z, B))

    def expected(rows, T):
        A = np.linalg.inv(low(X[rows], X[rows]) + NUGGET * np.eye(len(rows)))
        mean = low(T, X[rows]) @ A @ z[rows]
        variance = kernel.diag(T) - np.diag(low(T, X[rows]) @ A @ low(X[rows], T)) + NUGGET
        return mean, variance

    mean, variance = expected(np.arange(40), T)
    np.testing.assert_allclose(posterior.mean(T, 1), mean, atol=1e-4)
    np.testing.assert_allclose(posterior.variances(T, 1), posterior.amplitude * variance, rtol=1e-5)
    mean, variance = expected(np.setdiff1d(np.arange(40), held), X[held])
    np.testing.assert_allclose(predicted.errors, z[held] - mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(predicted.variances, posterior.amplitude * variance, rtol=1e-5)


def test_all_rows_as_inducing_points_are_the_exact_posterior(data):
    X, z, T = data
    kernel = component_kernel("matern52", 2)
    exact, _ = given_all_rows(kernel, NUGGET, X, z, 1)
    other, _ = by_inducing_points(kernel, NUGGET, X, z, np.arange(40), np.array([0]), 1)
    np.testing.assert_allclose(other.mean(T, 1), exact.mean(T, 1), rtol=1e-6)
    np.testing.assert_allclose(
        other.variances(T, 1) / other.amplitude, exact.variances(T, 1) / exact.amplitude, rtol=1e-6
    )
