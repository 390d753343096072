from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from kflow import kernels
from kflow.errors import JitterWarning, ModelFileError, SingularKernelError
from kflow.estimators.gp_posterior import leave_one_out_scale, read_posterior
from kflow.estimators.gp_solvers import ScaledRows, by_cholesky
from kflow.storage.model_file import ModelReader, write_model
from kflow.testing import slow as reference

KERNEL = 1.5 * kernels.Matern52((1.0, 2.0, 1.5))
NUGGET = 0.1


@pytest.fixture
def X(rng):
    return rng.normal(size=(50, 3))


@pytest.fixture
def Y(rng, X):
    return np.column_stack([np.sin(X[:, 0]), rng.normal(size=50)])


@pytest.fixture(params=[False, True], ids=["alike", "weighted"])
def weights(request, rng):
    return np.exp(rng.normal(size=50)) if request.param else None


def posterior_of(X, Y, weights=None, nugget=NUGGET):
    return by_cholesky(KERNEL, nugget, ScaledRows(X, Y, weights), None)[0]


@pytest.mark.parametrize("n", [1, 20, 49])
def test_further_rows(X, Y, weights, n):
    first = posterior_of(X[:n], Y[:n], None if weights is None else weights[:n])
    given = [array.copy() for array in (first.points, first.coefficients)]
    leave_one_out_scale(first.factor, first.coefficients)  # the diagonal is carried along
    later = None if weights is None else weights[n:]
    posterior, scale = first.extended(X[n:], Y[n:], later, None)
    expected = posterior_of(X, Y, weights)
    np.testing.assert_allclose(posterior.coefficients, expected.coefficients, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(
        scale,
        leave_one_out_scale(expected.factor, expected.coefficients),
        rtol=1e-9,
    )
    np.testing.assert_allclose(
        posterior.variances(X + 0.1, None), expected.variances(X + 0.1, None), rtol=1e-8, atol=1e-12
    )
    for array, copy in zip((first.points, first.coefficients), given, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_rows_with_and_without_weights(X, Y):
    half = np.full(25, 0.5)
    expected = posterior_of(X, Y, np.concatenate([np.ones(25), half]))
    posterior, _ = posterior_of(X[:25], Y[:25]).extended(X[25:], Y[25:], half, None)
    np.testing.assert_array_equal(posterior.weights, expected.weights)
    np.testing.assert_allclose(posterior.coefficients, expected.coefficients, rtol=1e-9)
    posterior, _ = posterior_of(X[25:], Y[25:], half).extended(X[:25], Y[:25], None, None)
    np.testing.assert_array_equal(posterior.weights, np.concatenate([half, np.ones(25)]))


def test_a_row_again_without_a_nugget(X, Y):
    first = posterior_of(X, Y, nugget=0.0)
    with pytest.warns(JitterWarning):
        posterior, _ = first.extended(X[:1], Y[:1], None, None)
    assert posterior.nugget > 0.0
    np.testing.assert_allclose(posterior.mean(X, None), Y, atol=1e-6)


@pytest.mark.parametrize("scale", [np.array([1.0, 1.0]), np.array([0.3, 7.0])])
def test_the_likelihood(X, Y, weights, scale):
    posterior = posterior_of(X, Y, weights)
    kernel = 0.7 * kernels.Matern52((0.5, 3.0, 1.0))

    def slow(theta):
        k = kernel.clone_with_theta(theta[:4])
        nuggets = np.exp(theta[4]) / (np.ones(50) if weights is None else weights)
        A = reference.gram(X, kernel=k) + np.diag(nuggets)
        pairs = zip(Y.T, np.exp(theta[5:]), strict=True)
        return sum(multivariate_normal.logpdf(y, cov=s**2 * A) for y, s in pairs)

    theta = np.concatenate([kernel.theta, [np.log(0.2)], np.log(scale)])
    value, gradient = posterior.log_likelihood(kernel, 0.2, scale, gradient=True, n_threads=None)
    assert value == pytest.approx(slow(theta), rel=1e-10)
    steps = 1e-5 * np.eye(len(theta))
    differences = [(slow(theta + step) - slow(theta - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(gradient, differences, rtol=1e-5, atol=1e-5)
    alone, none = posterior.log_likelihood(kernel, 0.2, scale, gradient=False, n_threads=None)
    assert (alone, none) == (value, None)
    with pytest.raises(SingularKernelError):
        posterior.log_likelihood(kernels.Gaussian(1e4), 0.0, scale, gradient=False, n_threads=None)


def written(posterior, path):
    write_model(path, "Some", {}, posterior.arrays())
    return ModelReader(path)


def test_there_and_back(X, Y, weights, tmp_path):
    posterior = posterior_of(X, Y, weights)
    with written(posterior, tmp_path / "model") as reader:
        again = read_posterior(reader, KERNEL, 3, NUGGET, 7)
        with pytest.raises(ModelFileError, match="posterior"):
            read_posterior(reader, KERNEL, 4, NUGGET, 7)
    for name in ("points", "targets", "coefficients"):
        np.testing.assert_array_equal(getattr(again, name), getattr(posterior, name))
    if weights is None:
        assert again.weights is None
    else:
        np.testing.assert_array_equal(again.weights, weights)
    assert (again.nugget, again.n_iterations, again.factor) == (NUGGET, 7, None)
    np.testing.assert_array_equal(again.variances(X, None), posterior.variances(X, None))


def test_a_file_without_targets(X, Y, tmp_path):
    posterior = posterior_of(X, Y)
    arrays = [(name, array) for name, array in posterior.arrays() if name != "targets"]
    write_model(tmp_path / "model", "Some", {}, iter(arrays))
    with ModelReader(tmp_path / "model") as reader:
        again = read_posterior(reader, KERNEL, 3, NUGGET, 0)
    np.testing.assert_allclose(again.targets, Y, rtol=1e-9, atol=1e-10)
