"""Gaussian-process regression with learned kernels."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process import kernels as theirs
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import kflow
from kflow import GPRegressor, ModelFileError, SingularKernelError
from kflow.errors import JitterWarning
from kflow.kernels import FunctionKernel, Gaussian, Matern52

QUICK = {"n_steps": 20, "batch_size": 60, "random_state": 0}


@parametrize_with_checks([GPRegressor(n_steps=30, random_state=0), GPRegressor(learn=None)])
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def data():
    X, y = make_friedman1(400, n_features=6, noise=0.5, random_state=1)
    return X[:250], y[:250], X[250:], y[250:]


@pytest.fixture
def several(data):
    X, y, X_new, _ = data
    return X, np.column_stack([y, 100.0 - 7.0 * y, X[:, 0]]), X_new


# ---- what it computes -------------------------------------------------------------------------


def test_posterior_is_that_of_scikit_learn(data):
    X, y, X_new, _ = data
    kernel, nugget = 1.0 * Matern52([1.0, 2.0, 3.0, 1.0, 2.0, 3.0]), 0.1
    mine = GPRegressor(kernel, nugget=nugget, learn=None).fit(X, y)
    scaler = StandardScaler().fit(X)
    other = GaussianProcessRegressor(
        theirs.Matern([1.0, 2.0, 3.0, 1.0, 2.0, 3.0], nu=2.5),
        alpha=nugget,
        optimizer=None,
        normalize_y=True,
    ).fit(scaler.transform(X), y)
    mean, std = mine.predict(X_new, return_std=True, include_noise=False)
    want, want_std = other.predict(scaler.transform(X_new), return_std=True)
    np.testing.assert_allclose(mean, want, rtol=1e-8)
    # Theirs has amplitude 1 for targets of variance 1; mine is calibrated.
    np.testing.assert_allclose(std, want_std * mine.scale_ / y.std(), rtol=1e-6)
    noisy = mine.predict(X_new, return_std=True)[1]
    np.testing.assert_allclose(noisy**2 - std**2, nugget * mine.scale_[0] ** 2, rtol=1e-9)


def test_amplitude_makes_leave_one_out_residuals_standard(data):
    X, y, _, _ = data
    X, y = X[:60], y[:60]
    model = GPRegressor(Gaussian(2.0), nugget=0.05, learn=None, scaling=None).fit(X, y)
    standard = []
    for i in range(len(X)):
        rest = np.delete(np.arange(len(X)), i)
        A = model.kernel_(X[rest]) + 0.05 * np.eye(len(rest))
        cross = model.kernel_(X[i : i + 1], X[rest])
        centred = (y - y.mean()) / y.std()
        residual = centred[i] - (cross @ np.linalg.solve(A, centred[rest]))[0]
        variance = 1.05 - (cross @ np.linalg.solve(A, cross.T))[0, 0]
        standard.append(residual**2 / variance)
    np.testing.assert_allclose(model.scale_, np.sqrt(np.mean(standard)) * y.std(), rtol=1e-8)


@pytest.mark.parametrize("learn", ["rho", "e2", "loo", "kfold", "nlml"])
def test_every_loss_learns(data, learn):
    X, y, X_new, y_new = data
    model = GPRegressor(learn=learn, n_steps=40, batch_size=150, random_state=0).fit(X, y)
    assert model.learned_.history["loss"][-1] < model.learned_.history["loss"][0]
    assert model.score(X_new, y_new) > 0.9
    mean, std = model.predict(X_new, return_std=True)
    inside = np.abs(mean - y_new) < 1.96 * std
    assert 0.88 < inside.mean() <= 1.0


def test_learning_beats_not_learning(data):
    X, y, X_new, y_new = data
    start = Matern52(0.2)
    learned = GPRegressor(start, learn="e2", n_steps=40, random_state=0).fit(X, y)
    fixed = GPRegressor(start, learn=None).fit(X, y)
    assert learned.score(X_new, y_new) > fixed.score(X_new, y_new) + 0.1
    assert fixed.learned_ is None
    assert fixed.kernel_ == start


def test_several_outputs_share_the_kernel(several):
    X, Y, X_new = several
    model = GPRegressor(Gaussian(2.0), nugget=0.1, learn=None).fit(X, Y)
    mean, std = model.predict(X_new, return_std=True)
    assert mean.shape == std.shape == (len(X_new), 3)
    assert model.scale_.shape == (3,)
    for column in range(3):
        alone = GPRegressor(Gaussian(2.0), nugget=0.1, learn=None).fit(X, Y[:, column])
        got, got_std = alone.predict(X_new, return_std=True)
        np.testing.assert_allclose(mean[:, column], got, rtol=1e-9)
        np.testing.assert_allclose(std[:, column], got_std, rtol=1e-9)
    # An affine map of the targets maps predictions alike.
    np.testing.assert_allclose(mean[:, 1], 100.0 - 7.0 * mean[:, 0], rtol=1e-9)
    one = GPRegressor(Gaussian(2.0), learn=None).fit(X, Y[:, :1])
    assert one.predict(X_new).shape == (len(X_new), 1)


# ---- solvers ----------------------------------------------------------------------------------


def test_conjugate_gradients_agree_with_cholesky(several):
    X, Y, X_new = several
    settings = {"kernel": Matern52(2.0), "nugget": 0.05, "learn": None, "random_state": 0}
    exact = GPRegressor(**settings).fit(X, Y)
    assert exact.solver_ == "cholesky"
    assert exact.n_iterations_ == 0
    # Small enough for the variance to be exact, and a budget that a matrix does not fit into.
    iterated = GPRegressor(**settings, max_memory=8e4, tolerance=1e-10).fit(X, Y)
    assert iterated.solver_ == "cg"
    assert iterated.n_iterations_ > 0
    for got, want in zip(
        iterated.predict(X_new, return_std=True), exact.predict(X_new, return_std=True), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_variance_from_a_subset_is_calibrated(data):
    X, y, X_new, y_new = data
    model = GPRegressor(
        Matern52(2.0), nugget=0.05, learn=None, solver="cg", subset_size=80, random_state=0
    ).fit(X, y)
    exact = GPRegressor(Matern52(2.0), nugget=0.05, learn=None).fit(X, y)
    mean, std = model.predict(X_new, return_std=True)
    np.testing.assert_allclose(mean, exact.predict(X_new), rtol=1e-4)
    inside = np.abs(mean - y_new) < 1.96 * std
    assert 0.8 < inside.mean() <= 1.0


def test_subset(data):
    X, y, X_new, _ = data
    model = GPRegressor(
        Gaussian(2.0), learn=None, solver="subset", subset_size=50, random_state=0
    ).fit(X, y)
    assert model.X_train_.shape == (50, 6)
    assert np.isfinite(model.predict(X_new, return_std=True)).all()


def test_conjugate_gradients_that_do_not_arrive_say_so(data):
    X, y, _, _ = data
    model = GPRegressor(
        Gaussian(2.0), nugget=1e-6, learn=None, solver="cg", max_iterations=1, max_memory=1e4
    )
    with pytest.warns(ConvergenceWarning, match="ended after 1 iterations with a residual"):
        model.fit(X, y)


def test_results_do_not_depend_on_threads(data):
    X, y, X_new, _ = data
    one, two = (
        GPRegressor(**QUICK, n_threads=n).fit(X, y).predict(X_new, return_std=True) for n in (1, 2)
    )
    np.testing.assert_array_equal(one, two)


# ---- what can go wrong ------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["cholesky", "cg", "subset"])
def test_constant_targets(solver, rng):
    X = rng.normal(size=(40, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = GPRegressor(solver=solver, random_state=0).fit(X, np.full(40, 3.0))
    mean, std = model.predict(X, return_std=True)
    np.testing.assert_allclose(mean, 3.0)
    np.testing.assert_allclose(std, 0.0, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_rows(n, rng):
    X, y = rng.normal(size=(n, 2)), rng.normal(size=n)
    model = GPRegressor(n_steps=5, random_state=0).fit(X, y)
    mean, std = model.predict(X, return_std=True)
    assert np.isfinite(mean).all()
    assert np.isfinite(std).all()
    if n == 1:
        np.testing.assert_allclose(mean, y)


def test_duplicates(rng):
    X = np.repeat(rng.normal(size=(20, 2)), 2, axis=0)
    y = X[:, 0] + np.tile([0.1, -0.1], 20)
    model = GPRegressor(**QUICK).fit(X, y)
    assert np.isfinite(model.predict(X)).all()
    with pytest.warns(JitterWarning):
        GPRegressor(Gaussian(), nugget=0.0, learn=None).fit(X, y)


def test_one_feature_and_a_constant_one(rng):
    x = rng.uniform(-3, 3, size=(80, 1))
    y = np.sin(2 * x[:, 0])
    assert GPRegressor(**QUICK).fit(x, y).score(x, y) > 0.9
    padded = np.column_stack([x, np.full(80, 5.0)])
    assert GPRegressor(**QUICK).fit(padded, y).score(padded, y) > 0.9


def test_float32_is_computed_in_float64(data):
    X, y, X_new, _ = data
    got = GPRegressor(**QUICK).fit(X.astype(np.float32), y).predict(X_new.astype(np.float32))
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, GPRegressor(**QUICK).fit(X, y).predict(X_new), rtol=0.05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"solver": "lu"}, "solver must be one of"),
        ({"nugget": -1.0}, "nugget must be finite and not negative"),
        ({"learn": "aic"}, "loss must be one of"),
        ({"max_memory": 0}, "max_memory must be positive"),
        ({"subset_size": 0}, "subset_size must be at least 1"),
        ({"tolerance": 0.0}, "tolerance must be positive"),
        ({"scaling": "robust"}, "scaling"),
        ({"kernel": Gaussian([1.0, 2.0])}, "2 entries in length_scale"),
    ],
)
def test_bad_settings(settings, message, data):
    X, y, _, _ = data
    with pytest.raises(ValueError, match=message):
        GPRegressor(**settings).fit(X, y)


def test_what_is_no_kernel(data):
    X, y, _, _ = data
    with pytest.raises(TypeError, match="kernel must be one of"):
        GPRegressor("gaussian").fit(X, y)
    with pytest.raises(SingularKernelError):
        GPRegressor(FunctionKernel(lambda X, Z: -(X @ Z.T)), nugget=0.0, learn=None).fit(X, y)


def test_a_fit_that_fails_leaves_the_earlier_one(data):
    X, y, X_new, _ = data
    model = GPRegressor(**QUICK).fit(X, y)
    before = model.predict(X_new)
    with pytest.raises(ValueError, match="solver"):
        model.set_params(solver="lu").fit(X[:50], y[:50])
    np.testing.assert_array_equal(model.predict(X_new), before)


def test_not_fitted(data):
    with pytest.raises(NotFittedError):
        GPRegressor().predict(data[0])


# ---- among other estimators -------------------------------------------------------------------


def test_clone_pipeline_and_search(data):
    X, y, _, _ = data
    model = GPRegressor(2.0 * Gaussian(1.0), **QUICK)
    assert clone(model).get_params() == model.get_params()
    pipeline = make_pipeline(StandardScaler(), GPRegressor(n_steps=5, random_state=0))
    assert np.isfinite(cross_val_score(pipeline, X[:90], y[:90], cv=2)).all()
    grid = {"learn": ["e2", None], "kernel": [Gaussian(1.0), Matern52(1.0)]}
    search = GridSearchCV(GPRegressor(**QUICK), grid, cv=2).fit(X[:90], y[:90])
    assert set(search.best_params_) == {"learn", "kernel"}


def test_feature_names(data):
    X, y, _, _ = data
    frame = pd.DataFrame(X, columns=list("abcdef"))
    model = GPRegressor(**QUICK).fit(frame, y)
    assert list(model.feature_names_in_) == list("abcdef")
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[list("fedcba")])


def test_callbacks_and_pickle(data):
    X, y, X_new, _ = data
    states = []
    GPRegressor(**QUICK, callbacks=[states.append]).fit(X, y)
    assert [state.step for state in states] == list(range(len(states)))
    assert 2 < len(states) <= 21
    model = GPRegressor(**QUICK).fit(X, y)
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(twin.predict(X_new), model.predict(X_new))


@pytest.mark.parametrize("solver", ["cholesky", "cg", "subset"])
def test_files(several, solver, tmp_path):
    X, Y, X_new = several
    model = GPRegressor(
        2.0 * Matern52([2.0] * 6) + 0.5, **QUICK, solver=solver, subset_size=100
    ).fit(X, Y)
    model.save(tmp_path / "m.kflow")
    twin = kflow.load(tmp_path / "m.kflow")
    assert twin.kernel_ == model.kernel_
    assert twin.get_params()["solver"] == solver
    assert twin.solver_ == solver
    for got, want in zip(
        twin.predict(X_new, return_std=True), model.predict(X_new, return_std=True), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-9)


def test_a_users_function_cannot_be_saved(data, tmp_path):
    X, y, _, _ = data
    model = GPRegressor(FunctionKernel(lambda X, Z: X @ Z.T + 1.0), learn=None).fit(X, y)
    with pytest.raises(TypeError, match="no file can hold"):
        model.save(tmp_path / "m.kflow")
    assert not (tmp_path / "m.kflow").exists()


def test_a_damaged_file_is_refused(data, tmp_path):
    X, y, _, _ = data
    GPRegressor(Gaussian(), learn=None).fit(X, y).save(tmp_path / "m.kflow")
    content = bytearray((tmp_path / "m.kflow").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "m.kflow").write_bytes(content)
    with pytest.raises(ModelFileError):
        kflow.load(tmp_path / "m.kflow")
