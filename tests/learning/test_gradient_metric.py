from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow import kernels
from kflow.learning.gradient_metric import (
    LinearMap,
    MapSettings,
    gradient_outer_product,
    power_of_metric,
)


def differences(u, x, step):
    """The Jacobian of a function at one point, by central differences."""
    columns = []
    for k in range(len(x)):
        shift = np.zeros(len(x))
        shift[k] = step
        columns.append((u(x[None] + shift)[0] - u(x[None] - shift)[0]) / (2 * step))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize(
    "kernel",
    [kernels.Gaussian(1.3), kernels.RationalQuadratic(0.8, alpha=0.7), kernels.Matern52(2)],
)
@pytest.mark.parametrize(("d", "q"), [(1, 1), (2, 3), (5, 2)])
def test_against_differences(kernel, d, q, rng):
    Z, Y, X = rng.normal(size=(12, d)), rng.normal(size=(12, q)), rng.normal(size=(7, d))
    u = kflow.Interpolant(Z, Y, kernel=kernel, nugget=0.1)
    jacobians = [differences(u, x, 1e-5) for x in X]
    expected = np.mean([J.T @ J for J in jacobians], axis=0)
    got = gradient_outer_product(u, X)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max())
    np.testing.assert_array_equal(got, got.T)


def test_single_precision(rng):
    Z, Y = rng.normal(size=(30, 4)), rng.normal(size=(30, 2))
    wide = kflow.Interpolant(Z, Y, kernel=kernels.Gaussian(1.0), nugget=0.1)
    narrow = kflow.Interpolant(
        Z.astype(np.float32), Y, kernel=kernels.Gaussian(1.0), nugget=0.1, n_threads=2
    )
    expected = gradient_outer_product(wide, Z)
    got = gradient_outer_product(narrow, Z.astype(np.float32))
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("power", [0, 0.5, 1, 2.5])
@pytest.mark.parametrize("diagonal", [False, True])
def test_the_square_is_the_power(power, diagonal, rng):
    G = rng.normal(size=(9, 4)) * [1, 2, 3, 0.1]
    M = G.T @ G
    root = power_of_metric(M, power, diagonal=diagonal)
    wanted = np.diag(np.diag(M) ** power)
    if not diagonal:
        values, vectors = np.linalg.eigh(M)
        wanted = (vectors * values**power) @ vectors.T
    scale = np.trace(wanted) / np.trace(root @ root)
    np.testing.assert_allclose(root @ root * scale, wanted, rtol=1e-9, atol=1e-12 * scale)
    assert np.linalg.norm(root, 2) == pytest.approx(1.0)


def test_a_metric_without_full_rank(rng):
    direction = rng.normal(size=3)
    root = power_of_metric(np.outer(direction, direction), 1.0, diagonal=False)
    along = direction / np.linalg.norm(direction)
    np.testing.assert_allclose(root, np.outer(along, along), atol=1e-5)
    zero = power_of_metric(np.diag([2.0, 0.0]), 0.5, diagonal=True)
    np.testing.assert_array_equal(zero, np.diag([1.0, 0.0]))


def test_weights_count_points_several_times(rng):
    X, Y = rng.normal(size=(25, 3)), rng.normal(size=(25, 2))
    weights = rng.integers(1, 4, 25)
    u = kflow.Interpolant(X, Y, kernel=kernels.Gaussian(1.0), nugget=0.1)
    weighted = gradient_outer_product(u, X, weights.astype(float))
    np.testing.assert_allclose(weighted, gradient_outer_product(u, X.repeat(weights, axis=0)))


@pytest.mark.parametrize(
    "settings", [MapSettings(), MapSettings(1.0, 2), MapSettings(1.0, 1, True)]
)
def test_a_learned_map(settings, rng):
    X = rng.normal(size=(60, 4))
    Y = np.sin(X[:, :1]) + 0.1 * X[:, 1:2]
    kernel = kernels.Gaussian(1.5)
    found = LinearMap.learn(X, Y, kernel, 0.1, settings)
    expected, points = np.eye(4), X
    for _ in range(settings.n_steps):
        M = gradient_outer_product(kflow.Interpolant(points, Y, kernel=kernel, nugget=0.1), points)
        expected = power_of_metric(M, settings.power, diagonal=settings.diagonal) @ expected
        points = X @ expected.T
        factor = np.sqrt(np.var(X, axis=0).sum() / np.var(points, axis=0).sum())
        expected, points = factor * expected, factor * points
    np.testing.assert_allclose(found.components, expected, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found(X), X @ expected.T, rtol=1e-8, atol=1e-10)
    M = gradient_outer_product(kflow.Interpolant(X, Y, kernel=kernel, nugget=0.1), X)
    np.testing.assert_allclose(found.importances, np.diag(M) / np.trace(M))
    known = LinearMap.learn(X, Y, kernel, 0.1, settings, M=M)
    np.testing.assert_array_equal(known.components, found.components)


def test_nothing_to_learn_from(rng):
    with pytest.raises(ValueError, match="no change along any feature"):
        LinearMap.learn(
            rng.normal(size=(9, 2)), np.zeros((9, 1)), kernels.Gaussian(1.0), 0.1, MapSettings()
        )
