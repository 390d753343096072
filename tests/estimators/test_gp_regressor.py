from __future__ import annotations

import json
import pickle
import tracemalloc
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern, WhiteKernel
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import kflow
from kflow import GPRegressor, ModelFileError, SingularKernelError, kernels, losses
from kflow.engine import HOST
from kflow.errors import BoundsWarning, JitterWarning
from kflow.estimators.gp_learning import flexible_kernel
from kflow.estimators.gp_solvers import drawn_rows
from kflow.estimators.validation import seed_of
from kflow.storage.model_file import ModelReader

KERNEL = kernels.Matern52((1.0, 2.0, 1.5, 3.0))
# Nothing is learned, so that the rest can be compared.
FIXED = {"kernel": KERNEL, "learn": None, "nugget": 0.05, "random_state": 0}
FEW_STEPS = {"n_steps": 10, "random_state": 0}


@pytest.mark.slow
@parametrize_with_checks(
    [
        GPRegressor(**FEW_STEPS),
        GPRegressor(**FEW_STEPS, learn="nlml", solver="cg", subset_size=10),
        GPRegressor(**FEW_STEPS, solver="subset", subset_size=100),
    ],
    expected_failed_checks=lambda _: {
        "check_sample_weight_equivalence_on_dense_data": (
            "a weight is a ratio of variances of noise; a row that comes again is one more "
            "observation, from which the level of the noise is learned"
        )
    },
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


@pytest.fixture
def X(rng):
    """Four features of different size and mean."""
    return rng.normal(size=(90, 4)) * [1, 2, 5, 10] + [1, 0, 20, 0]


@pytest.fixture
def y(rng, X):
    return 100 + 10 * np.sin(X[:, 0]) + X[:, 2] + rng.normal(size=len(X))


@pytest.fixture
def Y(rng, X, y):
    return np.column_stack([y, 0.01 * X[:, 1] ** 2, rng.normal(size=len(X))])


@pytest.fixture
def points(rng):
    return rng.normal(size=(40, 4)) * [1, 2, 5, 10] + [1, 0, 20, 0]


def assert_same(first, second, points):
    for one, two in zip(
        first.predict(points, return_std=True), second.predict(points, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(one, two)


# ---- the posterior ----------------------------------------------------------------------------


@pytest.fixture
def peer(X, y):
    """The same process by scikit-learn; its amplitude is 1, on standardised targets."""
    kernel = Matern([1.0, 2.0, 1.5, 3.0], nu=2.5) + WhiteKernel(0.05)
    scaler = StandardScaler().fit(X)
    model = GaussianProcessRegressor(kernel, optimizer=None, normalize_y=True)
    model.fit(scaler.transform(X), y)
    return lambda points: model.predict(scaler.transform(points), return_std=True)


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_mean_and_deviation_are_those_of_scikit_learn(X, y, points, peer, solver):
    model = GPRegressor(**FIXED, solver=solver, tolerance=1e-10).fit(X, y)
    mean, std = model.predict(points, return_std=True)
    expected, deviation = peer(points)
    np.testing.assert_allclose(mean, expected, rtol=1e-9)
    np.testing.assert_allclose(std / model.scale_[0], deviation / y.std(), rtol=1e-7)
    np.testing.assert_array_equal(model.predict(points), mean)


def leave_one_out(A, y):
    """Residuals and variances, each row's from all others."""
    residuals, variances = [], []
    for i in range(len(y)):
        rest = np.arange(len(y)) != i
        weights = np.linalg.solve(A[np.ix_(rest, rest)], A[rest, i])
        residuals.append(y[i] - weights @ y[rest])
        variances.append(A[i, i] - weights @ A[rest, i])
    return np.array(residuals), np.array(variances)


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_amplitudes_make_leave_one_out_residuals_as_large_as_predicted(X, Y, solver):
    model = GPRegressor(**FIXED, solver=solver, tolerance=1e-12).fit(X, Y)
    A = KERNEL(model.X_train_) + 0.05 * np.eye(len(X))
    for j in range(3):
        residuals, variances = leave_one_out(A, Y[:, j] - Y[:, j].mean())
        amplitude = np.sqrt(np.mean(residuals**2 / variances))
        assert model.scale_[j] == pytest.approx(amplitude, rel=1e-7)


def test_the_noise_may_be_left_out(X, Y, points):
    model = GPRegressor(**FIXED).fit(X, Y)
    mean, std = model.predict(points, return_std=True)
    again, below = model.predict(points, return_std=True, include_noise=False)
    np.testing.assert_array_equal(again, mean)
    np.testing.assert_allclose(std**2, below**2 + model.scale_**2 * 0.05)


def test_amplitudes_are_invariant(X, y, points):
    """K -> s K, nugget -> s nugget changes nothing, and units of y are units of the result."""
    mean, std = GPRegressor(**FIXED).fit(X, y).predict(points, return_std=True)
    larger = {**FIXED, "kernel": 9.0 * KERNEL, "nugget": 0.45}
    model = GPRegressor(**larger).fit(X, 1000.0 * y - 7.0)
    scaled, scaled_std = model.predict(points, return_std=True)
    np.testing.assert_allclose(scaled, 1000.0 * mean - 7.0, rtol=1e-9)
    np.testing.assert_allclose(scaled_std, 1000.0 * std, rtol=1e-9)


def test_several_outputs_share_the_kernel(X, Y, points):
    model = GPRegressor(**FIXED).fit(X, Y)
    mean, std = model.predict(points, return_std=True)
    assert mean.shape == std.shape == (40, 3)
    assert model.scale_.shape == (3,)
    for j in range(3):
        alone = GPRegressor(**FIXED).fit(X, Y[:, j])
        one, deviation = alone.predict(points, return_std=True)
        np.testing.assert_allclose(mean[:, j], one, rtol=1e-9)
        np.testing.assert_allclose(std[:, j], deviation, rtol=1e-9)


def test_one_column_stays_a_column(X, y, points):
    mean, std = GPRegressor(**FIXED).fit(X, y[:, None]).predict(points, return_std=True)
    assert mean.shape == std.shape == (40, 1)


@pytest.mark.parametrize("scaling", ["standard", "unit", None])
def test_scaling(X, y, points, scaling):
    model = GPRegressor(**FIXED, scaling=scaling).fit(X, y)
    wanted = {
        "standard": (X - X.mean(axis=0)) / X.std(axis=0),
        "unit": X / np.linalg.norm(X, axis=1, keepdims=True),
        None: X,
    }[scaling]
    np.testing.assert_allclose(model.X_train_, wanted, rtol=1e-12, atol=1e-12)
    assert np.isfinite(model.predict(points)).all()


# ---- weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_weights_divide_the_variance_of_the_noise(rng, X, Y, points, solver):
    weights = np.exp(rng.normal(size=len(X)))
    model = GPRegressor(**FIXED, solver=solver, tolerance=1e-11).fit(X, Y, sample_weight=weights)
    mean, std = model.predict(points, return_std=True, include_noise=False)
    assert model.weight_unit_ == np.median(weights)
    ratios = weights / np.median(weights)
    np.testing.assert_allclose(model.weights_, ratios)
    centre = (weights @ Y) / weights.sum()
    Z, P = model.X_train_, model.scaling_(points)
    A = KERNEL(Z) + np.diag(0.05 / ratios)
    cross = KERNEL(P, Z)
    np.testing.assert_allclose(
        mean, cross @ np.linalg.solve(A, Y - centre) + centre, rtol=1e-8, atol=1e-8
    )
    variances = 1.0 - np.einsum("ij,ji->i", cross, np.linalg.solve(A, cross.T))
    inverse = np.linalg.inv(A)
    amplitudes = np.sqrt(np.mean((inverse @ (Y - centre)) ** 2 / np.diag(inverse)[:, None], axis=0))
    np.testing.assert_allclose(model.scale_, amplitudes, rtol=1e-7)
    np.testing.assert_allclose(std, np.sqrt(variances)[:, None] * amplitudes, rtol=1e-6)
    observed = model.predict(points, return_std=True)[1]  # with the noise of a median row
    np.testing.assert_allclose(observed**2, std**2 + amplitudes**2 * 0.05)


def test_only_ratios_of_weights_count(rng, X, y, points):
    weights = np.exp(rng.normal(size=len(X)))
    first = GPRegressor(**FEW_STEPS).fit(X, y, sample_weight=weights)
    tiny = GPRegressor(**FEW_STEPS).fit(X, y, sample_weight=2.0**-60 * weights)
    assert_same(first, tiny, points)
    assert_same(
        GPRegressor(**FEW_STEPS).fit(X, y),
        GPRegressor(**FEW_STEPS).fit(X, y, sample_weight=np.full(len(X), 4.0)),
        points,
    )
    single = GPRegressor(**FEW_STEPS).fit(X, y, sample_weight=weights.astype(np.float32))
    np.testing.assert_allclose(single.predict(points), first.predict(points), rtol=1e-3)


def test_rows_of_weight_zero_are_left_out(rng, X, y, points):
    weights = np.exp(rng.normal(size=len(X)))
    weights[::3] = 0.0
    y[::3] = 1e6
    model = GPRegressor(**FEW_STEPS).fit(X, y, sample_weight=weights)
    kept = weights > 0.0
    assert_same(
        model, GPRegressor(**FEW_STEPS).fit(X[kept], y[kept], sample_weight=weights[kept]), points
    )


def test_a_weight_is_as_many_rows_for_mean_and_deviation(rng, X, y, points):
    """With all parameters given, in units of the median weight."""
    weights = rng.integers(1, 4, len(X))
    options = {**FIXED, "scaling": None, "kernel": kernels.Matern52((1.0, 2.0, 5.0, 10.0))}
    model = GPRegressor(**options).fit(X, y, sample_weight=weights)
    repeated = GPRegressor(**{**options, "nugget": 0.05 * np.median(weights)})
    repeated.fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    mean, std = model.predict(points, return_std=True, include_noise=False)
    expected, deviation = repeated.predict(points, return_std=True, include_noise=False)
    np.testing.assert_allclose(mean, expected, rtol=1e-9)
    np.testing.assert_allclose(std / model.scale_[0], deviation / repeated.scale_[0], rtol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("learn", ["e2", "loo", "kfold", "nlml"])
def test_two_levels_of_noise(rng, learn):
    X = rng.uniform(-3.0, 3.0, (300, 1))
    noise = np.where(np.arange(300) % 2, 1.0, 0.05)
    y = np.sin(2.0 * X[:, 0]) + noise * rng.normal(size=300)
    T = np.linspace(-2.9, 2.9, 200)[:, None]
    model = GPRegressor(learn=learn, random_state=0).fit(X, y, sample_weight=noise**-2)
    plain = GPRegressor(learn=learn, random_state=0).fit(X, y)

    def error(model):
        return np.sqrt(np.mean((model.predict(T) - np.sin(2.0 * T[:, 0])) ** 2))

    assert error(model) < 0.3 * error(plain)
    # Intervals hold what they say for either kind of row.
    mean, std = model.predict(X, return_std=True, include_noise=False)
    level = model.scale_[0] ** 2 * model.nugget_ * model.weight_unit_
    inside = np.abs(y - mean) < 1.96 * np.sqrt(std**2 + level * noise**2)
    assert 0.9 < inside[::2].mean() <= 1.0
    assert 0.9 < inside[1::2].mean() <= 1.0


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.ones(3), ValueError, "sample_weight must have 90 rows"),
        (-np.ones(90), ValueError, "sample_weight must not be negative"),
        (np.zeros(90), ValueError, "all weights are zero"),
        (np.full(90, np.nan), ValueError, "sample_weight contains NaN"),
        (np.ones((90, 2)), ValueError, "sample_weight must have one dimension"),
        (np.append(np.ones(89), 5e-324), ValueError, "ratios of weights overflow"),
        (["a"] * 90, TypeError, "sample_weight must hold real numbers"),
    ],
)
def test_bad_weights(X, y, weights, error, message):
    with pytest.raises(error, match=message):
        GPRegressor(**FIXED).fit(X, y, sample_weight=weights)


# ---- further rows -----------------------------------------------------------------------------


def refitted(model, X, y, weights=None):
    """Fit all rows with the parameters and the scaling of a model."""
    scaled = (X - model.scaling_.mean) / model.scaling_.scale
    again = GPRegressor(model.kernel_, nugget=model.nugget_, learn=None, scaling=None)
    return again.fit(scaled, y, sample_weight=weights)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("q", [1, 15])
def test_rows_added_are_as_if_they_had_been_there(rng, X, y, points, q, weighted):
    weights = np.exp(rng.normal(size=len(X))) if weighted else None
    first, later = slice(0, -q), slice(-q, None)
    model = GPRegressor(**FEW_STEPS)
    model.fit(X[first], y[first], sample_weight=None if weights is None else weights[first])
    kernel, mean = model.kernel_, model._target_scaling.mean
    before = X.copy(), y.copy()
    returned = model.add_rows(
        X[later], y[later], sample_weight=None if weights is None else weights[later]
    )
    assert returned is model
    assert model.kernel_ is kernel
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])
    scaled = (X - model.scaling_.mean) / model.scaling_.scale
    ratios = np.ones(len(X)) if weights is None else weights / model.weight_unit_
    A = kernel(scaled) + np.diag(model.nugget_ / ratios)
    cross = kernel(model.scaling_(points), scaled)
    expected = cross @ np.linalg.solve(A, y - mean) + mean
    found, std = model.predict(points, return_std=True)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    inverse = np.linalg.inv(A)
    amplitude = np.sqrt(np.mean((inverse @ (y - mean)) ** 2 / np.diag(inverse)))
    assert model.scale_[0] == pytest.approx(amplitude, rel=1e-8)
    variances = kernel.diag(model.scaling_(points)) - np.einsum(
        "ij,jk,ik->i", cross, inverse, cross
    )
    np.testing.assert_allclose(std, amplitude * np.sqrt(variances + model.nugget_), rtol=1e-7)


def test_rows_one_by_one_and_at_once(X, Y, points):
    model = GPRegressor(**FIXED).fit(X[:80], Y[:80])
    together = pickle.loads(pickle.dumps(model)).add_rows(X[80:], Y[80:])  # without its factor
    for row in range(80, 90):
        model.add_rows(X[row : row + 1], Y[row : row + 1])
    for one, two in zip(
        model.predict(points, return_std=True),
        together.predict(points, return_std=True),
        strict=True,
    ):
        np.testing.assert_allclose(one, two, rtol=1e-9)


def test_rows_are_added_to_a_subset(X, y):
    model = GPRegressor(**FIXED, solver="subset", subset_size=30).fit(X[:80], y[:80])
    model.add_rows(X[80:], y[80:])
    assert model.X_train_.shape == (40, 4)
    np.testing.assert_allclose(model.X_train_[30:], model.scaling_(X[80:]))


def test_rows_are_added_to_conjugate_gradients(X, Y, points):
    options = {**FIXED, "solver": "cg", "tolerance": 1e-11, "subset_size": 30}
    model = GPRegressor(**options).fit(X[:80], Y[:80])
    rows, scale = model.variance_rows_.copy(), model.scale_.copy()
    before = model.predict(points, return_std=True)[1]
    model.add_rows(X[80:], Y[80:])
    whole = GPRegressor(**FIXED).fit(X[:80], Y[:80]).add_rows(X[80:], Y[80:])
    np.testing.assert_allclose(model.predict(points), whole.predict(points), rtol=1e-7, atol=1e-7)
    np.testing.assert_array_equal(model.variance_rows_, rows)
    np.testing.assert_array_equal(model.scale_, scale)
    after = model.predict(points, return_std=True)[1]  # the new rows count
    assert (after <= before * (1 + 1e-9)).all()
    assert after.mean() < before.mean()


def test_rows_after_a_file(X, y, points, tmp_path):
    model = GPRegressor(**FIXED).fit(X[:80], y[:80], sample_weight=np.full(80, 3.0))
    model.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    later = {"sample_weight": np.full(10, 6.0)}
    model.add_rows(X[80:], y[80:], **later)
    loaded.add_rows(X[80:], y[80:], **later)
    np.testing.assert_allclose(loaded.predict(points), model.predict(points), rtol=1e-9)
    np.testing.assert_array_equal(loaded.weights_, np.repeat([1.0, 2.0], [80, 10]))


def test_one_row_and_one_more():
    model = GPRegressor(learn=None).fit([[1.0, 2.0]], [7.0])
    model.add_rows([[2.0, 2.0]], [9.0], sample_weight=[2.0])
    assert model.predict([[2.0, 2.0]])[0] == pytest.approx(9.0, abs=0.05)


def test_the_same_row_again_without_a_nugget(X, y):
    model = GPRegressor(**{**FIXED, "nugget": 0.0}).fit(X, y)
    with pytest.warns(JitterWarning):
        model.add_rows(X[:2], y[:2])
    assert model.nugget_ > 0.0
    np.testing.assert_allclose(model.predict(X), y, atol=0.01 * y.std())


def test_rows_that_cannot_be_added(X, y, Y, points):
    model = GPRegressor(**FIXED).fit(X, y)
    before = model.predict(points)
    for error, arguments in (
        ("NaN", (np.full((1, 4), np.nan), [1.0])),
        ("NaN", (X[:1], [np.nan])),
        ("3 features", (X[:1, :3], y[:1])),
        (r"y must have shape \('q',\) as in fit", (X[:2], Y[:2])),
        ("all weights are zero", (X[:2], y[:2], [0.0, 0.0])),
    ):
        with pytest.raises(ValueError, match=error):
            model.add_rows(*arguments)
    np.testing.assert_array_equal(model.predict(points), before)
    with pytest.raises(ValueError, match=r"y must have shape \('q', 3\) as in fit"):
        GPRegressor(**FIXED).fit(X, Y).add_rows(X[:2], Y[:2, :2])
    with pytest.raises(NotFittedError):
        GPRegressor().add_rows(X, y)


# ---- a warm start -----------------------------------------------------------------------------


def test_a_warm_start(X, y):
    model = GPRegressor(warm_start=True, random_state=0).fit(X, y)
    assert model.learned_.history["theta"][0].tolist() == flexible_kernel(4).theta.tolist()
    kernel, nugget = model.kernel_, model.nugget_
    model.fit(X, y)
    np.testing.assert_allclose(model.learned_.history["theta"][0], kernel.theta)
    assert model.learned_.history["nugget"][0] == pytest.approx(nugget)
    assert model.learned_.n_steps < 10
    with pytest.warns(BoundsWarning, match="a bound of the nugget"):
        model.set_params(nugget_bounds=(2 * nugget, 1.0)).fit(X, y)
    assert model.learned_.history["nugget"][0] == pytest.approx(2 * nugget)
    with pytest.raises(ValueError, match="length_scale"):
        model.fit(X[:, :3], y)
    with pytest.raises(TypeError, match="warm_start must be"):
        model.set_params(warm_start=1).fit(X, y)


def test_a_warm_start_without_learning_keeps_the_kernel(X, y, points):
    model = GPRegressor(**FEW_STEPS).fit(X, y)
    again = model.set_params(warm_start=True, learn=None)
    expected = refitted(model, X, y)
    np.testing.assert_allclose(
        again.fit(X, y).predict(points), expected.predict(model.scaling_(points)), rtol=1e-9
    )


# ---- what it learns ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("learn", ["auto", "e2", "loo", "kfold", "nlml", "rho"])
def test_learning_helps(learn):
    X, y = make_friedman1(150, noise=0.5, random_state=0)
    T, t = make_friedman1(300, noise=0.5, random_state=1)
    model = GPRegressor(learn=learn, n_batches=2, n_steps=40, random_state=0).fit(X, y)
    plain = GPRegressor(learn=None).fit(X, y)
    assert model.score(T, t) > plain.score(T, t) + 0.02
    assert model.kernel_ is model.learned_.kernel
    assert model.nugget_ == model.learned_.nugget
    assert model.learned_.n_steps <= 41
    # The columns without effect are found.
    scales = dict(zip(model.kernel_.parameter_names, model.kernel_.theta, strict=True))
    scales = [v for name, v in scales.items() if "length_scale" in name]
    assert min(scales[5:]) > max(scales[:3])


@pytest.mark.slow
def test_deviations_are_calibrated():
    X, y = make_friedman1(300, noise=1.0, random_state=0)
    T, t = make_friedman1(1000, noise=1.0, random_state=1)
    model = GPRegressor(random_state=0).fit(X, y)
    mean, std = model.predict(T, return_std=True)
    assert 0.92 < np.mean(np.abs(t - mean) < 1.96 * std) < 0.98
    assert model.scale_[0] * np.sqrt(model.nugget_) == pytest.approx(1.0, abs=0.15)


def test_the_kernel_to_start_from(X, y):
    model = GPRegressor(learn=None).fit(X, y)
    assert model.kernel_ == kernels.Matern52((2.0, 2.0, 2.0, 2.0))
    with_amplitude = GPRegressor(learn="nlml", n_steps=1, random_state=0).fit(X, y).kernel_
    assert with_amplitude.parameter_names[0] == "amplitude"
    kernel = 2.0 * kernels.Gaussian(1.5)
    assert GPRegressor(kernel, learn=None).fit(X, y).kernel_ is kernel


@pytest.mark.parametrize("learn", ["loo", "nlml"])
def test_equal_batches_are_taken_once(X, y, points, learn):
    one = GPRegressor(learn=learn, n_steps=5, n_batches=1, random_state=0).fit(X, y)
    seen = []
    four = GPRegressor(
        learn=learn, n_steps=5, n_batches=4, random_state=0, callbacks=[seen.append]
    ).fit(X, y)
    assert_same(one, four, points)
    assert seen[0].loss == pytest.approx(one.learned_.history["loss"][0], rel=1e-12)


def test_a_loss_of_ones_own(X, y):
    model = GPRegressor(learn=losses.loo, **FEW_STEPS).fit(X, y)
    assert model.learned_.history["loss"][-1] < model.learned_.history["loss"][0]


def test_options_of_learning(X, y):
    with pytest.warns(BoundsWarning):  # blamed on the kernel that is given
        model = GPRegressor(
            kernels.Gaussian(1.0, length_scale_bounds=(0.9, 1.1)),
            learn="rho",
            learn_nugget=False,
            nugget=0.25,
            optimizer="adam",
            learning_rate=0.2,
            n_batches=1,
            n_halves=3,
            batch_size=40,
            batches="neighbours",
            **FEW_STEPS,
        ).fit(X, y)
    assert model.nugget_ == 0.25
    assert model.learned_.n_steps == 10
    assert 0.9 <= model.kernel_.length_scale <= 1.1
    with pytest.warns(BoundsWarning, match="a bound of the nugget"):
        bounded = GPRegressor(nugget_bounds=(0.009, 0.011), **FEW_STEPS).fit(X, y)
    assert 0.009 <= bounded.nugget_ <= 0.011


def test_callbacks_and_progress(X, y, capfd):
    seen = []

    def stop(state):
        seen.append(state)
        return state.step == 2

    GPRegressor(learn="e2", callbacks=[stop], progress=True, **FEW_STEPS).fit(X, y)
    assert [state.step for state in seen] == [0, 1, 2]
    assert "step" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["cholesky", "cg", "subset"])
def test_random_state(X, y, points, solver):
    options = {"n_steps": 5, "batch_size": 30, "solver": solver, "subset_size": 40}
    first = GPRegressor(random_state=3, **options).fit(X, y)
    assert_same(first, GPRegressor(random_state=3, **options).fit(X, y), points)
    other = GPRegressor(random_state=4, **options).fit(X, y)
    assert not np.array_equal(first.predict(points), other.predict(points))


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_threads_do_not_matter(X, y, points, solver):
    models = [
        GPRegressor(n_threads=n, solver=solver, subset_size=30, **FEW_STEPS).fit(X, y)
        for n in (1, 2)
    ]
    assert_same(*models, points)


@pytest.mark.slow
def test_a_users_function_as_kernel(X, y, points):
    def function(X, Z, rate):
        return np.exp(-rate * np.abs(X[:, None] - Z[None]).sum(axis=-1))

    given = kernels.FunctionKernel(function, {"rate": 0.5})
    model = GPRegressor(given, learn=None).fit(X, y)
    twin = GPRegressor(
        kernels.FunctionKernel(function, {"rate": 0.5}), learn=None, solver="cg", tolerance=1e-10
    ).fit(X, y)
    np.testing.assert_allclose(model.predict(points), twin.predict(points), rtol=1e-7)
    learned = GPRegressor(given, **FEW_STEPS).fit(X, y)
    assert learned.kernel_.parameters["rate"] != 0.5


# ---- large N ----------------------------------------------------------------------------------


def test_the_solver_follows_the_memory(X, y):
    size = 8 * len(X) ** 2
    for max_memory, solver in ((size, "cholesky"), (size - 1, "cg")):
        model = GPRegressor(**FIXED, max_memory=max_memory).fit(X, y)
        assert model.solver_ == solver
        assert (model.n_iterations_ > 0) == (solver == "cg")
    assert GPRegressor(**FIXED, solver="cholesky", max_memory=1).fit(X, y).solver_ == "cholesky"


@pytest.mark.parametrize("subset_size", [1, 30, 85, 89])
def test_conjugate_gradients_with_a_variance_from_pivots(X, Y, points, subset_size):
    model = GPRegressor(**FIXED, solver="cg", tolerance=1e-9, subset_size=subset_size)
    whole = GPRegressor(**FIXED).fit(X, Y)
    mean, std = model.fit(X, Y).predict(points, return_std=True)
    np.testing.assert_allclose(mean, whole.predict(points), rtol=1e-6, atol=1e-6)
    # The amplitude is another matter.
    unit, full = std / model.scale_, whole.predict(points, return_std=True)[1] / whole.scale_
    np.testing.assert_allclose(unit, full, rtol=0.05)
    # A few pivots: what they do not tell counts as unknown.
    model.set_params(max_memory=8 * len(X) * 10).fit(X, Y)
    assert len(model.variance_rows_) <= 10
    few = model.predict(points, return_std=True)[1] / model.scale_
    assert few.mean() > full.mean()
    assert (few <= np.sqrt(1.05) + 1e-9).all()


@pytest.mark.slow
def test_amplitudes_from_held_out_rows():
    X, y = make_friedman1(900, noise=1.0, random_state=0)
    T, t = make_friedman1(1000, noise=1.0, random_state=1)
    kernel = kernels.Matern52((2.0, 2.0, 3.0, *(20.0,) * 7))
    options = {"learn": None, "nugget": 0.05, "random_state": 0}
    model = GPRegressor(kernel, solver="cg", subset_size=100, **options).fit(X, y)
    whole = GPRegressor(kernel, **options).fit(X, y)
    mean, std = model.predict(T, return_std=True)
    np.testing.assert_allclose(std, whole.predict(T, return_std=True)[1], rtol=0.3)
    assert 0.9 < np.mean(np.abs(t - mean) < 1.96 * std) < 0.99
    np.testing.assert_allclose(mean, whole.predict(T), atol=1e-3 * y.std())


@pytest.mark.slow
def test_conjugate_gradients_form_no_large_matrix(rng):
    X = rng.random((3000, 2))
    y = np.sin(5 * X[:, 0]) + X[:, 1]
    model = GPRegressor(
        kernels.Matern52(0.5), learn=None, nugget=0.01, solver="cg", subset_size=100, max_memory=4e6
    )
    tracemalloc.start()
    try:
        model.fit(X, y)
        model.predict(X[:500], return_std=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.4 * 8 * len(X) ** 2


def test_a_subset(X, y, points):
    model = GPRegressor(**FIXED, solver="subset", subset_size=30).fit(X, y)
    assert model.X_train_.shape == (30, 4)
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    rows = [int(np.abs(scaled - row).sum(axis=1).argmin()) for row in model.X_train_]
    assert rows == sorted(set(rows))
    np.testing.assert_allclose(model.X_train_, scaled[rows])
    # All rows scale the data.
    targets = (y[rows] - y.mean()) / y.std()
    A = KERNEL(model.X_train_) + 0.05 * np.eye(30)
    np.testing.assert_allclose(model.coefficients_[:, 0], np.linalg.solve(A, targets), rtol=1e-8)
    everything = GPRegressor(**FIXED, solver="subset", subset_size=500).fit(X, y)
    assert_same(everything, GPRegressor(**FIXED).fit(X, y), points)


def test_conjugate_gradients_that_do_not_converge(X, y, points):
    options = {**FIXED, "nugget": 1e-6, "solver": "cg", "max_memory": 8 * len(X)}
    with pytest.warns(ConvergenceWarning, match="after 2 iterations with a residual of") as caught:
        model = GPRegressor(**options, max_iterations=2).fit(X, y)
    assert len(caught) == 1
    assert model.n_iterations_ == 2
    assert np.isfinite(model.predict(points)).all()


# ---- unusual data -----------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["cholesky", "cg", "subset"])
@pytest.mark.parametrize("constant", [0.0, -3.5, 1e9, 0.1])
def test_constant_targets(X, points, constant, solver):
    model = GPRegressor(solver=solver, subset_size=30, random_state=0)
    mean, std = model.fit(X, np.full(len(X), constant)).predict(points, return_std=True)
    np.testing.assert_array_equal(mean, constant)
    np.testing.assert_array_equal(std, 0.0)
    assert model.learned_ is None


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_a_constant_target_beside_others(X, y, points, solver):
    options = {"solver": solver, "subset_size": 30, "tolerance": 1e-9, **FEW_STEPS}
    both = GPRegressor(**options).fit(X, np.column_stack([np.full(len(X), 2.5), y]))
    mean, std = both.predict(points, return_std=True)
    np.testing.assert_array_equal(mean[:, 0], 2.5)
    np.testing.assert_array_equal(std[:, 0], 0.0)
    alone = GPRegressor(**options).fit(X, y)
    np.testing.assert_allclose(mean[:, 1], alone.predict(points), rtol=1e-6)


@pytest.mark.parametrize("solver", ["cholesky", "cg", "subset"])
def test_one_row(solver):
    model = GPRegressor(solver=solver).fit([[1.0, 2.0]], [7.0])
    mean, std = model.predict([[1.0, 2.0], [3.0, 4.0]], return_std=True)
    np.testing.assert_array_equal(mean, 7.0)
    assert np.isfinite(std).all()


@pytest.mark.slow
@pytest.mark.parametrize("learn", ["auto", "e2", "loo", "kfold", "nlml", "rho"])
@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_rows(rng, learn, n):
    X = rng.normal(size=(n, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what can be learned from two rows is another matter
        model = GPRegressor(learn=learn, **FEW_STEPS).fit(X, X[:, 0] ** 3)
    mean, std = model.predict(X, return_std=True)
    assert np.isfinite(mean).all()
    assert (std >= 0).all()


def test_one_column(rng):
    X = rng.uniform(0, 6, size=(60, 1))
    model = GPRegressor(random_state=0).fit(X, np.sin(X[:, 0]))
    T = np.linspace(0.5, 5.5, 50)[:, None]
    np.testing.assert_allclose(model.predict(T), np.sin(T[:, 0]), atol=1e-3)


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_duplicates(X, y, points, solver):
    """Two noisy observations at a point are one of half the variance: weights, not failures."""
    twice, targets = np.concatenate([X, X]), np.concatenate([y + 1.0, y - 1.0])
    model = GPRegressor(**{**FIXED, "nugget": 0.1}, solver=solver, tolerance=1e-10)
    once = GPRegressor(**{**FIXED, "nugget": 0.05}).fit(X, y)
    model.fit(twice, targets)
    np.testing.assert_allclose(model.predict(points), once.predict(points), rtol=1e-7)


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_duplicates_without_a_nugget(X, y, solver):
    twice, targets = np.concatenate([X, X[:5]]), np.concatenate([y, y[:5]])
    model = GPRegressor(**{**FIXED, "nugget": 0.0}, solver=solver)
    with pytest.warns(JitterWarning) as caught:
        model.fit(twice, targets)
    assert len(caught) == 1
    assert 0.0 < model.nugget_ < 1e-6
    np.testing.assert_allclose(model.predict(X), y, atol=0.01 * y.std())


def test_a_constant_column(X, y, points):
    X[:, 3] = 4.2
    model = GPRegressor(**FEW_STEPS).fit(X, y)
    assert np.isfinite(model.predict(points)).all()


def test_a_kernel_that_is_not_positive_definite(X, y):
    kernel = kernels.FunctionKernel(lambda X, Z: -(X @ Z.T))
    for solver in ("cholesky", "cg"):
        with pytest.raises(SingularKernelError, match="positive definite"):
            GPRegressor(kernel, learn=None, solver=solver).fit(X, y)


# ---- arguments --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        ({"kernel": "gaussian"}, TypeError, "kernel must be"),
        ({"kernel": kernels.Gaussian((1.0, 2.0))}, ValueError, "has 2 entries in length_scale"),
        ({"nugget": -1.0}, ValueError, "nugget must be"),
        ({"learn": "r2"}, ValueError, "learn must be"),
        ({"optimizer": "newton"}, ValueError, "optimizer must be"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be"),
        ({"batch_size": 0}, ValueError, "batch_size must be"),
        ({"n_batches": 0}, ValueError, "n_batches must be"),
        ({"n_folds": 1}, ValueError, "n_folds must be"),
        ({"scaling": "minmax"}, ValueError, "scaling must be"),
        ({"solver": "qr"}, ValueError, "solver must be one of"),
        ({"max_memory": 0}, ValueError, "max_memory must be"),
        ({"subset_size": 0}, ValueError, "subset_size must be"),
        ({"tolerance": 0.0}, ValueError, "tolerance must be"),
        ({"max_iterations": 0}, ValueError, "max_iterations must be"),
        ({"progress": 1}, TypeError, "progress must be"),
        ({"callbacks": [3]}, TypeError, "callbacks"),
        ({"n_threads": 0}, ValueError, "n_threads must be"),
    ],
)
def test_bad_parameters_are_named(X, y, points, option, error, message):
    model = GPRegressor(**FEW_STEPS).fit(X, y)
    before = model.predict(points)
    model.set_params(**option)
    with pytest.raises(error, match=message):
        model.fit(X[:, :3] if "kernel" in option else X[:50], y if "kernel" in option else y[:50])
    # A fit that fails leaves the earlier one as it was.
    model.set_params(n_threads=None)
    np.testing.assert_array_equal(model.predict(points), before)


def test_what_is_solved_by_is_checked_before_learning(X, y):
    def fail(state):
        raise AssertionError(state)

    for option in ({"solver": "qr"}, {"subset_size": 0}, {"tolerance": -1}, {"max_memory": -1}):
        with pytest.raises(ValueError, match=next(iter(option))):
            GPRegressor(callbacks=[fail], **option).fit(X, y)


def test_predictions_need_a_fit(X):
    with pytest.raises(NotFittedError):
        GPRegressor().predict(X)
    with pytest.raises(NotFittedError):
        GPRegressor().save("nowhere.kflow")


def test_bad_flags_of_predictions(X, y):
    model = GPRegressor(**FIXED).fit(X, y)
    with pytest.raises(TypeError, match="return_std must be"):
        model.predict(X, return_std="yes")
    with pytest.raises(TypeError, match="include_noise must be"):
        model.predict(X, return_std=True, include_noise=2)


# ---- scikit-learn -----------------------------------------------------------------------------


@pytest.mark.slow
def test_grid_search_in_a_pipeline(X, y):
    pipeline = make_pipeline(StandardScaler(), GPRegressor(**FEW_STEPS))
    grid = {
        "gpregressor__kernel": [kernels.Gaussian(1.0), kernels.Laplacian(1.0)],
        "gpregressor__learn": [None, "e2"],
    }
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_pickle_and_clone_of_a_fitted_estimator(X, y, points):
    model = GPRegressor(**FIXED).fit(X, y)
    pickled = pickle.dumps(model)
    assert len(pickled) < 8 * len(X) ** 2 / 2  # without the factor
    assert_same(model, pickle.loads(pickled), points)
    again = clone(model)
    assert not hasattr(again, "coefficients_")
    assert_same(model, again.fit(X, y), points)


@pytest.mark.slow
def test_it_is_imported_when_it_is_used(run_python):
    run_python(
        """
        import sys, kflow
        assert "GPRegressor" in dir(kflow)
        assert not {"kflow.gp", "kflow.estimators.gp_regressor"} & set(sys.modules) and "sklearn" not in sys.modules
        assert kflow.GPRegressor().learn == "auto"
        """
    )


# ---- files ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"learn": "nlml", "nugget_bounds": (1e-6, 10.0)},
        {"solver": "cg", "subset_size": 25, "scaling": None},
        {"solver": "subset", "subset_size": np.int64(25), "scaling": "unit"},
        {"kernel": 2.0 * kernels.Gaussian(1.0) + kernels.Linear(), "nugget": np.float32(0.5)},
    ],
)
def test_round_trip(X, Y, points, tmp_path, options):
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = GPRegressor(**{**FEW_STEPS, **options}).fit(frame, Y)
    path = tmp_path / "model.kflow"
    model.save(path)
    loaded = kflow.load(path)
    loaded_points = pd.DataFrame(points, columns=list("abcd"))
    assert_same(model, loaded, loaded_points)
    assert loaded.get_params() == model.get_params()
    assert list(loaded.feature_names_in_) == list("abcd")
    assert loaded.learned_ is None
    for name in ("kernel_", "nugget_", "solver_", "n_iterations_", "n_features_in_"):
        assert getattr(loaded, name) == getattr(model, name)
    for name in ("scale_", "theta_", "y_train_"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(model, name))
    likelihood = model.log_marginal_likelihood()
    assert loaded.log_marginal_likelihood() == pytest.approx(likelihood, rel=1e-12)
    np.testing.assert_array_equal(loaded.sample_y(loaded_points), model.sample_y(loaded_points))
    again = tmp_path / "again.kflow"
    loaded.save(again)
    assert kflow.load(again).get_params() == model.get_params()


def test_round_trip_of_one_output(X, y, points, tmp_path):
    model = GPRegressor(**FIXED).fit(X, y)
    path = tmp_path / "model.kflow"
    model.save(path)
    loaded = kflow.load(path)
    assert loaded.predict(points).shape == (40,)
    assert_same(model, loaded, points)
    assert not hasattr(loaded, "feature_names_in_")
    assert_same(model, loaded.fit(X, y), points)


def test_no_matrix_is_saved(X, y, tmp_path):
    path = tmp_path / "model.kflow"
    GPRegressor(**FIXED).fit(X, y).save(path)
    assert path.stat().st_size < 8 * len(X) ** 2 / 2


def test_what_belongs_to_the_machine_is_not_saved(X, y, tmp_path):
    model = GPRegressor(n_threads=1, callbacks=[print], progress=False, **FIXED)
    path = tmp_path / "model.kflow"
    model.fit(X, y).save(path)
    loaded = kflow.load(path)
    assert loaded.n_threads is None
    assert loaded.callbacks == ()


def test_functions_are_not_saved(X, y, tmp_path):
    path = tmp_path / "model.kflow"
    GPRegressor(learn=losses.loo, **FEW_STEPS).fit(X, y).save(path)
    assert kflow.load(path).learn == "auto"
    kernel = kernels.FunctionKernel(lambda X, Z: np.exp(-np.abs(X[:, :1] - Z[:, 0])))
    model = GPRegressor(kernel, learn=None).fit(X, y)
    with pytest.raises(TypeError, match="no file can hold"):
        model.save(tmp_path / "other.kflow")
    assert not (tmp_path / "other.kflow").exists()


@pytest.fixture
def change(X, Y, tmp_path):
    """Return a function that changes the settings or the arrays of a saved model."""
    path = tmp_path / "model.kflow"
    GPRegressor(**FIXED, solver="cg", subset_size=20).fit(X, Y).save(path)

    def apply(settings=None, **arrays):
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        header = json.loads(members["model.json"])
        header["settings"].update(settings or {})
        members["model.json"] = json.dumps(header).encode()
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                if name.removesuffix(".npy") not in arrays:
                    archive.writestr(name, content)
            for name, array in arrays.items():
                if array is not None:
                    with archive.open(f"{name}.npy", "w") as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)
        return path

    return apply


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"parameters": {"kernels": None}},
        {"parameters": 3},
        {"kernel": {"kernel": "sigmoid"}},
        {"kernel": {"kernel": "matern52", "length_scale": [1.0, 2.0]}},
        {"nugget": -1.0},
        {"nugget": None},
        {"n_features_in": 3},
        {"n_features_in": "four"},
        {"n_iterations": -1},
        {"one_dimensional": True},
        {"one_dimensional": 1},
        {"weight_unit": 0.0},
    ],
)
def test_damaged_settings(change, settings):
    with pytest.raises(ModelFileError):
        kflow.load(change(settings))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("points", None),
        ("points", np.ones((90, 3))),
        ("points", np.empty((0, 4))),
        ("points", np.full((90, 4), np.nan)),
        ("coefficients", np.ones((89, 3))),
        ("coefficients", np.ones((90, 2))),
        ("coefficients", np.ones(90)),
        ("targets", np.ones((90, 2))),
        ("targets", np.full((90, 3), np.nan)),
        ("weights", np.ones(89)),
        ("weights", np.zeros(90)),
        ("scale", np.ones(2)),
        ("scale", np.full(3, np.inf)),
        ("target_mean", np.ones((3, 1))),
        ("target_scale", None),
        ("variance_rows", np.array([-1])),
        ("pivots", np.array([90])),
        ("pivots", np.array([0.5])),
        ("pivots", np.array([], np.intp)),
        ("preprocessing_mean", None),
        ("feature_names", np.array(["a", "b"])),
    ],
)
def test_damaged_arrays(change, name, value):
    with pytest.raises(ModelFileError):
        kflow.load(change(**{name: value}))


def test_an_interrupted_fit_leaves_the_earlier_one(X, y, points):
    model = GPRegressor(learn=None).fit(X, y)
    before = model.predict(points)

    def interrupt(_):
        raise KeyboardInterrupt

    model.set_params(learn="e2", callbacks=[interrupt])
    with pytest.raises(KeyboardInterrupt):
        model.fit(X[:, :2], y)
    np.testing.assert_array_equal(model.predict(points), before)


def test_parameters_of_the_kernel_can_be_searched(rng):
    X = rng.uniform(-1, 1, size=(60, 1))
    y = np.sin(6 * X[:, 0])
    model = GPRegressor(2.0 * kernels.Gaussian(1.0), learn=None)
    model.set_params(kernel__kernel__length_scale=0.5, nugget=0.1)
    assert model.kernel == 2.0 * kernels.Gaussian(0.5)
    assert model.nugget == 0.1
    grid = {"kernel__kernel__length_scale": [0.01, 0.4]}
    search = GridSearchCV(model, grid, cv=3).fit(X, y)
    assert search.best_params_ == {"kernel__kernel__length_scale": 0.4}
    with pytest.raises(ValueError, match="has no parameter 'beta'"):
        model.set_params(kernel__beta=1.0)
    with pytest.raises(TypeError, match="kernel must be one of"):
        GPRegressor().set_params(kernel__length_scale=1.0)


def test_amplitude_is_the_subsets_own_where_conjugate_gradients_end_early(rng):
    X = rng.normal(size=(200, 2))
    y = np.sin(2 * X[:, 0]) + 0.1 * rng.normal(size=200)
    settings = {"nugget": 1e-3, "learn": None, "subset_size": 60, "random_state": 0}
    model = GPRegressor(
        kernels.Matern52(1.0), solver="cg", max_iterations=1, max_memory=1e4, **settings
    )
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    # The rows that are held out are drawn first, then those of the subset.
    rng = np.random.default_rng(np.random.SeedSequence(seed_of(0)).spawn(2)[1])
    kept = np.setdiff1d(np.arange(200), drawn_rows(rng, 200, 10))
    subset = kept[drawn_rows(rng, 190, 60)]
    points, targets = model.X_train_[subset], (y - y.mean()) / y.std()
    A = model.kernel_(points) + 1e-3 * np.eye(60)
    residuals, variances = losses.leave_one_out(A, targets[subset])
    np.testing.assert_allclose(
        model.scale_, np.sqrt(np.mean(residuals**2 / variances)) * y.std(), rtol=1e-7
    )


def test_a_file_names_the_engine_that_computed(X, y, tmp_path):
    GPRegressor(**FIXED).fit(X, y).save(tmp_path / "model")
    with ModelReader(tmp_path / "model") as reader:
        assert reader.settings["engine"] == [HOST.name, HOST.build]
