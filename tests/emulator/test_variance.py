from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import kflow
from kflow.emulator.component_kernel import component_kernel, parts_of
from kflow.emulator.posterior import by_inducing_points, given_all_rows
from kflow.emulator.variance import VarianceFunction
from kflow.kernels import Gaussian


@pytest.fixture
def data(rng):
    X = rng.normal(size=(50, 3))
    return X, np.sin(X[:, 0]) + X[:, 1], rng.normal(size=(40, 3))


@pytest.mark.parametrize("name", ["gaussian", "matern52"])
@pytest.mark.parametrize("with_inner", [False, True])
def test_variances_are_those_of_the_definition(data, name, with_inner):
    X, _, T = data
    kernel = component_kernel(name, 3)
    L = np.linalg.cholesky(kernel(X) + 0.01 * np.eye(50))
    M = np.linalg.cholesky(L.T @ L + np.eye(50)) if with_inner else None
    f = np.linalg.solve(L, kernel(X, T))
    expected = kernel.diag(T) - np.square(f).sum(axis=0) + 0.01
    if M is not None:
        expected += 0.01 * np.square(np.linalg.solve(M, f)).sum(axis=0)
    function = VarianceFunction(kernel, X, 0.01, L, M, scale=3.0)
    np.testing.assert_allclose(function(T, 1), 3.0 * expected, rtol=1e-10)
    np.testing.assert_array_equal(function(T, 2), function(T, 1))
    np.testing.assert_array_equal(function(T[3:4], 1), function(T, 1)[3:4])
    assert function(T[:0], 1).shape == (0,)


def test_columns_of_a_larger_array_are_points_as_well(data):
    X, _, T = data
    kernel = component_kernel("matern52", 3)
    L = np.linalg.cholesky(kernel(X) + 0.01 * np.eye(50))
    function = VarianceFunction(kernel, X, 0.01, np.asfortranarray(L))
    wide = np.column_stack([T, T])
    np.testing.assert_array_equal(function(wide[:, :3], 1), function(T, 1))


def test_at_the_points_the_noise_is_left():
    kernel = component_kernel("gaussian", 1)
    X = np.array([[0.0], [0.0], [1.0]])  # twice the same
    posterior, _ = given_all_rows(kernel, 1e-6, X, np.array([1.0, 1.0, 2.0]), 1)
    variances = posterior.variances(X, 1) / posterior.amplitude
    assert (variances > 0.0).all()
    assert (variances < 2.1 * posterior.nugget).all()


@pytest.mark.parametrize("sparse", [False, True])
def test_a_posterior_prepares_its_variance_when_it_is_needed(data, sparse):
    X, z, T = data
    kernel = component_kernel("matern52", 3)
    if sparse:
        posterior, _ = by_inducing_points(
            kernel, 0.01, X, z, np.arange(0, 50, 2), np.array([1, 3]), 1
        )
    else:
        posterior, _ = given_all_rows(kernel, 0.01, X, z, 1)
    before = copy.deepcopy(posterior).variances(T, 1)
    np.testing.assert_allclose(posterior.variances(T, 1), before, rtol=1e-9)
    again = pickle.loads(pickle.dumps(posterior))
    np.testing.assert_allclose(again.variances(T, 1), before, rtol=1e-9)
    # The factor has gone into what was prepared.
    assert len(pickle.dumps(posterior)) < 8 * (2 if sparse else 1) * 50**2 + 10_000


def test_an_emulator_predicts_one_row_as_one_of_many(rng):
    X = rng.normal(size=(60, 2))
    Y = np.column_stack([np.sin(X[:, 0]), np.cos(X[:, 1]), X[:, 0] * X[:, 1]])
    for n_inducing in (60, 20):
        emulator = kflow.Emulator(n_steps=3, n_inducing=n_inducing, random_state=0).fit(X, Y)
        mean, std = emulator.predict(X, return_std=True)
        for i in (0, 59):
            one = emulator.predict(X[i : i + 1], return_std=True)
            np.testing.assert_array_equal(one[0][0], mean[i])
            np.testing.assert_allclose(one[1][0], std[i], rtol=1e-12)


def test_other_kernels_are_refused():
    with pytest.raises(ValueError, match="is no kernel of an emulator's component"):
        parts_of(Gaussian(1.0))
