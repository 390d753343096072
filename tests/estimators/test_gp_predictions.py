from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.preprocessing import StandardScaler

from kflow import GPRegressor, SingularKernelError, kernels

KERNEL = kernels.Matern52((1.0, 2.0, 1.5))
FIXED = {"kernel": KERNEL, "learn": None, "nugget": 0.05, "random_state": 0}


@pytest.fixture
def X(rng):
    return rng.normal(size=(70, 3)) * [1, 2, 5] + [1, 0, 20]


@pytest.fixture
def y(rng, X):
    return 100 + 10 * np.sin(X[:, 0]) + X[:, 2] + rng.normal(size=len(X))


@pytest.fixture
def Y(rng, X, y):
    return np.column_stack([y, 0.01 * X[:, 1] ** 2, rng.normal(size=len(X))])


@pytest.fixture
def points(rng):
    return rng.normal(size=(30, 3)) * [1, 2, 5] + [1, 0, 20]


class Peer:
    """The same process by scikit-learn, with the amplitude and the noise as terms of the kernel."""

    def __init__(self, model, X, y):
        # Its targets have deviation 1, ours too: the amplitude is that of scaled targets.
        square = (model.scale_[0] / y.std()) ** 2
        matern = Matern(model.kernel_.length_scale, nu=2.5)
        kernel = ConstantKernel(square) * matern + WhiteKernel(square * model.nugget_)
        self.scaler, self.deviation = StandardScaler().fit(X), y.std()
        self.model = GaussianProcessRegressor(kernel, optimizer=None, normalize_y=True)
        self.model.fit(self.scaler.transform(X), y)

    def predict(self, points, **options):
        return self.model.predict(self.scaler.transform(points), **options)


# ---- covariances --------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_the_covariance_is_that_of_scikit_learn(X, y, points, solver):
    model = GPRegressor(**FIXED, solver=solver, tolerance=1e-10).fit(X, y)
    mean, covariance = model.predict(points, return_cov=True)
    expected, wanted = Peer(model, X, y).predict(points, return_cov=True)
    np.testing.assert_allclose(mean, expected, rtol=1e-9)
    np.testing.assert_allclose(covariance, wanted, rtol=1e-7, atol=1e-9 * wanted.max())
    std = model.predict(points, return_std=True)[1]
    np.testing.assert_allclose(covariance.diagonal(), std**2, rtol=1e-9)


def test_covariances_of_several_outputs(X, Y, points):
    model = GPRegressor(**FIXED).fit(X, Y)
    mean, covariance = model.predict(points, return_cov=True, include_noise=False)
    assert covariance.shape == (30, 30, 3)
    for j in range(3):
        alone = GPRegressor(**FIXED).fit(X, Y[:, j])
        expected = alone.predict(points, return_cov=True, include_noise=False)
        np.testing.assert_allclose(mean[:, j], expected[0], rtol=1e-9)
        np.testing.assert_allclose(covariance[:, :, j], expected[1], rtol=1e-6, atol=1e-9)
    std = model.predict(points, return_std=True, include_noise=False)[1]
    np.testing.assert_allclose(np.einsum("iij->ij", covariance), std**2, rtol=1e-8)
    one = GPRegressor(**FIXED).fit(X, Y[:, :1])
    assert one.predict(points, return_cov=True)[1].shape == (30, 30, 1)


def test_both_at_once_are_refused(X, y):
    model = GPRegressor(**FIXED).fit(X, y)
    with pytest.raises(ValueError, match="return_std and return_cov cannot both be true"):
        model.predict(X, return_std=True, return_cov=True)
    with pytest.raises(TypeError, match="return_cov must be"):
        model.predict(X, return_cov="yes")


# ---- samples ------------------------------------------------------------------------------------


@pytest.mark.parametrize("include_noise", [True, False])
def test_samples_have_the_mean_and_the_covariance_predicted(X, y, points, include_noise):
    model = GPRegressor(**FIXED).fit(X, y)
    samples = model.sample_y(points[:6], 40000, random_state=1, include_noise=include_noise)
    assert samples.shape == (6, 40000)
    mean, covariance = model.predict(points[:6], return_cov=True, include_noise=include_noise)
    deviation = np.sqrt(covariance.diagonal())
    np.testing.assert_allclose(samples.mean(axis=1), mean, atol=0.03 * deviation.max())
    correlation = np.cov(samples) / np.outer(deviation, deviation)
    np.testing.assert_allclose(correlation, covariance / np.outer(deviation, deviation), atol=0.03)


def test_samples_of_several_outputs(X, Y, points):
    model = GPRegressor(**FIXED).fit(X, Y)
    samples = model.sample_y(points[:2], 20000, random_state=1)
    assert samples.shape == (2, 3, 20000)
    mean, std = model.predict(points[:2], return_std=True)
    np.testing.assert_allclose(samples.mean(axis=2), mean, atol=0.04 * std.max())
    np.testing.assert_allclose(samples.std(axis=2), std, rtol=0.03)
    between = np.corrcoef(samples[0])  # outputs are independent
    np.testing.assert_allclose(between, np.eye(3), atol=0.03)
    assert GPRegressor(**FIXED).fit(X, Y[:, :1]).sample_y(points).shape == (30, 1, 1)


def test_samples_repeat(X, y, points):
    model = GPRegressor(**FIXED).fit(X, y)
    first = model.sample_y(points, 3)
    np.testing.assert_array_equal(first, model.sample_y(points, 3))
    np.testing.assert_array_equal(first, model.sample_y(points, 3, random_state=0))
    assert not np.array_equal(first, model.sample_y(points, 3, random_state=1))
    generator = np.random.default_rng(0)
    draws = [model.sample_y(points, random_state=generator) for _ in range(2)]
    assert not np.array_equal(*draws)


def test_samples_of_a_function_through_points_without_noise(X, y):
    """A covariance of zeros up to rounding errors, some of them below zero."""
    model = GPRegressor(**{**FIXED, "nugget": 1e-9}).fit(X, y)
    twice = np.concatenate([X, X])
    samples = model.sample_y(twice, 5, include_noise=False)
    np.testing.assert_allclose(samples, np.tile(np.append(y, y), (5, 1)).T, atol=0.05)
    np.testing.assert_allclose(samples[:70], samples[70:], atol=0.05)


def test_arguments_of_samples(X, y):
    with pytest.raises(NotFittedError):
        GPRegressor().sample_y(X)
    model = GPRegressor(**FIXED).fit(X, y)
    with pytest.raises(ValueError, match="n_samples must be"):
        model.sample_y(X, 0)
    with pytest.raises(ValueError, match="X has 2 features"):
        model.sample_y(X[:, :2])
    with pytest.raises(ValueError, match="NaN"):
        model.sample_y(np.full((1, 3), np.nan))


# ---- the likelihood -----------------------------------------------------------------------------


def test_the_likelihood_is_that_of_scikit_learn(X, y):
    model = GPRegressor(**FIXED).fit(X, y)
    peer = Peer(model, X, y).model
    # Scikit-learn's is that of standardised targets, this one of y.
    expected = peer.log_marginal_likelihood_value_ - len(y) * np.log(y.std())
    assert model.log_marginal_likelihood() == pytest.approx(expected, rel=1e-9)


def test_the_gradient_is_that_of_scikit_learn(X, y):
    model = GPRegressor(**FIXED).fit(X, y)
    peer = Peer(model, X, y).model
    theta = model.theta_ + 0.1
    value, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    # There: log s^2, the length scales, log (s^2 nugget).
    log_square = 2 * theta[4] - 2 * np.log(y.std())
    there = np.concatenate([[log_square], theta[:3], [log_square + theta[3]]])
    expected, slopes = peer.log_marginal_likelihood(there, eval_gradient=True)
    assert value == pytest.approx(expected - len(y) * np.log(y.std()), rel=1e-9)
    np.testing.assert_allclose(gradient[:3], slopes[1:4], rtol=1e-6)
    assert gradient[3] == pytest.approx(slopes[4], rel=1e-6)
    assert gradient[4] == pytest.approx(2 * slopes[0] + 2 * slopes[4], rel=1e-6)


def test_theta_is_all_that_the_process_is_made_of(X, Y):
    model = GPRegressor(**FIXED).fit(X, Y)
    assert model.theta_.shape == (3 + 1 + 3,)
    np.testing.assert_allclose(np.exp(model.theta_[:3]), [1.0, 2.0, 1.5])
    assert np.exp(model.theta_[3]) == pytest.approx(model.nugget_)
    np.testing.assert_allclose(np.exp(model.theta_[4:]), model.scale_)
    value = model.log_marginal_likelihood()
    assert model.log_marginal_likelihood(model.theta_) == pytest.approx(value, rel=1e-10)
    # The sum over the outputs.
    alone = [GPRegressor(**FIXED).fit(X, column).log_marginal_likelihood() for column in Y.T]
    assert value == pytest.approx(sum(alone), rel=1e-9)


def test_the_likelihood_has_the_unit_of_y(X, y):
    values = [
        GPRegressor(**FIXED).fit(X, unit * y).log_marginal_likelihood() for unit in (1.0, 1000.0)
    ]
    assert values[1] == pytest.approx(values[0] - len(y) * np.log(1000.0), rel=1e-9)


def test_the_likelihood_with_weights(rng, X, y):
    weights = np.exp(rng.normal(size=len(X)))
    model = GPRegressor(**FIXED).fit(X, y, sample_weight=weights)
    theta = model.theta_ - 0.05
    _, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    steps = 1e-5 * np.eye(len(theta))
    differences = [
        (model.log_marginal_likelihood(theta + e) - model.log_marginal_likelihood(theta - e)) / 2e-5
        for e in steps
    ]
    np.testing.assert_allclose(gradient, differences, rtol=1e-5, atol=1e-5)


def test_a_likelihood_without_noise(rng):
    X = rng.uniform(-3, 3, (12, 1))
    model = GPRegressor(kernels.Laplacian(1.0), learn=None, nugget=0.0).fit(X, np.sin(X[:, 0]))
    value, gradient = model.log_marginal_likelihood(eval_gradient=True)
    assert model.theta_[1] == -np.inf
    assert model.log_marginal_likelihood(model.theta_) == pytest.approx(value, rel=1e-12)
    assert gradient[1] == 0.0


def test_one_row_has_a_likelihood():
    model = GPRegressor(learn=None).fit([[1.0, 2.0]], [7.0])
    assert np.isfinite(model.log_marginal_likelihood())


def test_arguments_of_the_likelihood(X, Y):
    with pytest.raises(NotFittedError):
        GPRegressor().log_marginal_likelihood()
    with pytest.raises(NotFittedError):
        _ = GPRegressor().theta_
    model = GPRegressor(**FIXED).fit(X, Y)
    with pytest.raises(ValueError, match=r"theta must have shape \(7,\), 3 parameters"):
        model.log_marginal_likelihood(np.zeros(3))
    with pytest.raises(ValueError, match="theta contains NaN"):
        model.log_marginal_likelihood(np.full(7, np.nan))
    with pytest.raises(TypeError, match="eval_gradient must be"):
        model.log_marginal_likelihood(eval_gradient=1)
    theta = model.theta_
    theta[:3], theta[3] = 11.0, -np.inf
    with pytest.raises(SingularKernelError):
        model.log_marginal_likelihood(theta)
    model.set_params(max_memory=8 * 69 * 69)
    with pytest.raises(ValueError, match="more than max_memory"):
        model.log_marginal_likelihood()
    Y[:, 1] = 2.5
    with pytest.raises(ValueError, match="output 1 is constant"):
        GPRegressor(**FIXED).fit(X, Y).log_marginal_likelihood()


# ---- leave-one-out ------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_leave_one_out_is_that_of_systems_without_each_row(X, Y, rng, weighted):
    X, Y = X[:20], Y[:20]
    weights = rng.uniform(0.5, 2.0, 20) if weighted else None
    model = GPRegressor(**FIXED).fit(X, Y, weights)
    mean, std = model.leave_one_out()
    U, Z, scaling = model.X_train_, model.y_train_, model._target_scaling
    noise = model.nugget_ / (np.ones(20) if weights is None else model.weights_)
    for i in range(20):
        rest = np.delete(np.arange(20), i)
        A = KERNEL(U[rest]) + np.diag(noise[rest])
        k = KERNEL(U[rest], U[i : i + 1])[:, 0]
        np.testing.assert_allclose(
            mean[i], k @ np.linalg.solve(A, Z[rest]) * scaling.scale + scaling.mean, rtol=1e-9
        )
        variance = 1.0 + noise[i] - k @ np.linalg.solve(A, k)
        np.testing.assert_allclose(std[i], np.sqrt(variance) * model.scale_, rtol=1e-9)


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_leave_one_out_among_some_rows(X, y, solver):
    model = GPRegressor(**FIXED, solver=solver, subset_size=30).fit(X, y)
    rows = np.array([5, 1, 40, 33])
    mean, std = model.leave_one_out(rows)
    assert mean.shape == std.shape == (4,)
    some, _ = GPRegressor(**FIXED).fit(X, y).leave_one_out(rows)
    np.testing.assert_allclose(mean, some, rtol=1e-9)


def test_leave_one_out_of_one_row(X, y):
    mean, std = GPRegressor(**FIXED).fit(X, y).leave_one_out([3])
    np.testing.assert_allclose(mean, y.mean())  # nothing is known of it
    assert std[0] > 0.0


def test_wrong_rows_are_refused(X, y):
    model = GPRegressor(**FIXED, solver="cg", subset_size=30).fit(X, y)
    with pytest.raises(ValueError, match="rows: the matrix of all rows was not factored"):
        model.leave_one_out()
    for rows, error in (
        ([0.5], TypeError),
        ([[1]], TypeError),
        ([], TypeError),
        ([1, 1], ValueError),
        ([-1], ValueError),
        ([len(y)], ValueError),
    ):
        with pytest.raises(error, match="rows must"):
            model.leave_one_out(rows)
    with pytest.raises(NotFittedError):
        GPRegressor().leave_one_out()
