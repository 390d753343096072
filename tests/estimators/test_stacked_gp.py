from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

import kflow
from kflow import GPRegressor, StackedGPRegressor, kernels
from kflow.errors import LearningWarning, ModelFileError, SingularKernelError
from kflow.estimators.stack_members import Member, default_kernels
from kflow.storage.model_file import ModelReader, write_model

FIXED = GPRegressor(learn=None, nugget=0.05)
SHORT, LONG = kernels.Matern52(0.3), kernels.Gaussian(2.0)


@pytest.mark.slow
@parametrize_with_checks(
    [StackedGPRegressor(estimator=GPRegressor(n_steps=5, learn="map"), random_state=0)],
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
    return rng.normal(size=(60, 3)) * [1, 2, 5] + [1, 0, 20]


@pytest.fixture
def y(rng, X):
    return 100 + 10 * np.sin(X[:, 0]) + X[:, 2] + rng.normal(size=len(X))


@pytest.fixture
def points(rng):
    return rng.normal(size=(20, 3)) * [1, 2, 5] + [1, 0, 20]


def stack(given=(SHORT, LONG), **options):
    options = {"estimator": FIXED, "log_targets": "never", "random_state": 0, **options}
    return StackedGPRegressor(None if given is None else list(given), **options)


def alone(kernel, X, y, **options):
    return GPRegressor(kernel, learn=None, nugget=0.05, **options).fit(X, y)


# ---- the average --------------------------------------------------------------------------------


def test_the_mean_is_the_weighted_one_and_the_variance_that_of_the_mixture(X, y, points):
    model = stack().fit(X, y)
    members = [alone(kernel, X, y).predict(points, return_std=True) for kernel in (SHORT, LONG)]
    w = model.weights_[:, 0]
    expected = w[0] * members[0][0] + w[1] * members[1][0]
    variance = sum(
        weight * (std**2 + (mean - expected) ** 2)
        for weight, (mean, std) in zip(w, members, strict=True)
    )
    mean, std = model.predict(points, return_std=True)
    np.testing.assert_allclose(mean, expected, rtol=1e-12)
    np.testing.assert_allclose(std, np.sqrt(model.variance_factor_ * variance), rtol=1e-12)
    np.testing.assert_allclose(model.predict(points), mean, rtol=1e-12)


def test_weights_and_errors_are_those_of_refits_without_each_row(X, y):
    X, y = X[:25], y[:25]
    model = stack().fit(X, y)
    predicted = np.empty((2, len(y)))
    for number, member in enumerate(model.estimators_):
        # Scaled by all rows, as leave-one-out of a fitted process is.
        U, z = member.X_train_, member.y_train_[:, 0]
        for i in range(len(y)):
            rest = np.delete(np.arange(len(y)), i)
            K = member.kernel_(U[rest]) + member.nugget_ * np.eye(len(rest))
            predicted[number, i] = member.kernel_(U[i : i + 1], U[rest])[0] @ np.linalg.solve(
                K, z[rest]
            )
    errors = (predicted - model.estimators_[0].y_train_[:, 0]) * y.std()
    np.testing.assert_allclose(model.errors_[:, 0], np.sqrt(np.mean(errors**2, axis=1)), rtol=1e-9)
    w = np.linspace(0.0, 1.0, 2001)
    least = errors.var(axis=1) + errors.mean(axis=1) ** 2
    objective = [
        np.sum((a * errors[0] + (1 - a) * errors[1]) ** 2)
        + 3.0 * least.min() * (a**2 + (1 - a) ** 2)
        for a in w
    ]
    assert model.weights_[0, 0] == pytest.approx(w[np.argmin(objective)], abs=1e-3)


def test_the_better_kernel_has_more_weight(rng):
    X = rng.uniform(-2.0, 2.0, size=(80, 1))
    model = stack((kernels.Gaussian(1.0), kernels.Gaussian(1e-3))).fit(X, np.sin(2.0 * X[:, 0]))
    assert model.weights_[0, 0] > 0.95
    assert model.errors_[0, 0] < 0.1 * model.errors_[1, 0]


def test_outputs_have_weights_of_their_own(X, y, rng, points):
    Y = np.column_stack([y, rng.normal(size=len(y))])
    model = stack().fit(X, Y)
    assert model.weights_.shape == model.errors_.shape == (2, 2)
    for j in range(2):
        single = stack().fit(X, Y[:, j])
        np.testing.assert_allclose(model.weights_[:, j], single.weights_[:, 0], rtol=1e-6)
        for together, apart in zip(
            model.predict(points, return_std=True),
            single.predict(points, return_std=True),
            strict=True,
        ):
            np.testing.assert_allclose(together[:, j], apart, rtol=1e-6)


@pytest.mark.parametrize("include_noise", [True, False])
@pytest.mark.parametrize("log_targets", ["auto", "never"])
def test_the_diagonal_of_the_covariance_is_the_squared_deviation(
    X, y, points, include_noise, log_targets
):
    model = stack(log_targets=log_targets).fit(X, y)
    mean, std = model.predict(points, return_std=True, include_noise=include_noise)
    again, covariance = model.predict(points, return_cov=True, include_noise=include_noise)
    np.testing.assert_allclose(again, mean, rtol=1e-9)
    np.testing.assert_allclose(covariance.diagonal(), std**2, rtol=1e-7)
    np.testing.assert_array_equal(covariance, covariance.T)
    noisy = model.predict(points, return_std=True)[1]
    assert (std <= noisy).all()
    assert include_noise or (std < noisy).all()


@pytest.mark.parametrize("include_noise", [True, False])
@pytest.mark.parametrize("log_targets", ["auto", "never"])
def test_samples_have_mean_and_covariance(X, y, points, include_noise, log_targets):
    model = stack(log_targets=log_targets).fit(X, y)
    samples = model.sample_y(points, 20000, include_noise=include_noise)
    mean, covariance = model.predict(points, return_cov=True, include_noise=include_noise)
    std = np.sqrt(covariance.diagonal())
    np.testing.assert_allclose(samples.mean(axis=1), mean, atol=0.04 * std.max())
    np.testing.assert_allclose(np.cov(samples), covariance, atol=0.06 * std.max() ** 2)
    assert samples.shape == (20, 20000)
    again = model.sample_y(points, 3, random_state=5)
    np.testing.assert_array_equal(again, model.sample_y(points, 3, random_state=5))


def test_samples_of_several_outputs(X, y, points):
    model = stack().fit(X, np.column_stack([y, -y]))
    assert model.sample_y(points, 7).shape == (20, 2, 7)
    mean, covariance = model.predict(points, return_cov=True)
    assert mean.shape == (20, 2)
    assert covariance.shape == (20, 20, 2)


def test_leave_one_out_errors_are_as_large_as_predicted(X, y):
    model = stack((SHORT,)).fit(X, y)
    mean, std = model.estimators_[0].leave_one_out()
    factor = np.mean((y - mean) ** 2 / std**2)
    np.testing.assert_allclose(model.variance_factor_, factor, rtol=1e-9)


# ---- logarithms ---------------------------------------------------------------------------------


def test_a_process_of_logarithms_has_the_moments_of_the_log_normal_distribution(X, y, points):
    member = Member.fitted(clone(FIXED), X, y, None, of_logarithms=True)
    mean, std = alone(None, X, np.log(y)).predict(points, return_std=True)
    quantiles = norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    values = np.exp(mean[:, None] + std[:, None] * quantiles)
    found, variance = member.moments(points, noise=True)
    np.testing.assert_allclose(found[:, 0], values.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(variance[:, 0], values.var(axis=1), rtol=1e-3)
    np.testing.assert_allclose(member.mean(points), found)


def test_there_is_a_process_of_logarithms_if_all_targets_are_positive(X, y):
    assert stack(log_targets="auto").fit(X, y).is_logarithmic_ == [False, False, True]
    assert stack(log_targets="auto").fit(X, y - y.min()).is_logarithmic_ == [False, False]
    assert stack(log_targets="never").fit(X, y).is_logarithmic_ == [False, False]


def test_it_is_taken_where_targets_grow_by_factors(rng):
    X = rng.uniform(-2.0, 2.0, size=(150, 2))
    y = np.exp(X[:, 0] + 0.3 * rng.normal(size=150))
    model = stack((LONG,), log_targets="auto").fit(X[:100], y[:100])
    assert model.weights_[1, 0] > 0.6
    assert model.errors_[1, 0] < model.errors_[0, 0]


def test_it_predicts_at_most_twice_the_largest_target():
    X = np.linspace(0.0, 1.0, 30)[:, None]
    member = Member.fitted(
        GPRegressor(kernels.Linear(), learn=None, nugget=1e-3),
        X,
        np.exp(5.0 * X[:, 0]),
        None,
        of_logarithms=True,
    )
    far = np.array([[10.0]])
    assert member.mean(far)[0, 0] == pytest.approx(2.0 * np.exp(5.0))
    assert np.isfinite(member.moments(far, noise=True)).all()
    assert member.samples(far, 5, 0, noise=True).max() <= 2.0 * np.exp(5.0) * (1 + 1e-12)


# ---- rows and weights ---------------------------------------------------------------------------


def test_rows_of_weight_zero_do_not_count(X, y, points):
    weights = np.r_[np.zeros(10), np.full(50, 3.0)]
    some, rest = stack().fit(X, y, weights), stack().fit(X[10:], y[10:])
    np.testing.assert_allclose(some.predict(points), rest.predict(points), rtol=1e-9)
    np.testing.assert_allclose(some.weights_, rest.weights_, atol=1e-7)


def test_noisy_rows_count_less(X, y, points):
    bad = y.copy()
    bad[:10] += 1000.0
    weights = np.r_[np.full(10, 1e-8), np.ones(50)]
    found = stack().fit(X, bad, weights).predict(points)
    expected = stack().fit(X[10:], y[10:]).predict(points)
    assert np.abs(found - expected).max() < 0.1 * y.std()


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_of_many_rows_some_are_predicted_from_each_other(rng, solver):
    X = rng.uniform(-1.0, 1.0, size=(2300, 2))
    y = np.sin(3.0 * X[:, 0]) + 0.1 * rng.normal(size=2300)
    template = GPRegressor(learn=None, nugget=0.05, solver=solver, subset_size=500)
    model = stack((kernels.Gaussian(0.5), kernels.Gaussian(0.05)), estimator=template).fit(X, y)
    assert model.weights_[0, 0] > 0.9
    mean, std = model.predict(X[:200], return_std=True)
    assert 0.9 < np.mean(np.abs(mean - y[:200]) < 1.96 * std) <= 1.0


def test_added_rows_are_those_of_a_fit_with_the_same_weights(X, y, points):
    model = stack(log_targets="auto").fit(X[:40], y[:40])
    before = copy.deepcopy(model)
    weights = model.weights_.copy()
    assert model.add_rows(X[40:], y[40:]) is model
    np.testing.assert_array_equal(model.weights_, weights)
    for number, kernel in enumerate((SHORT, LONG)):
        reference = alone(kernel, X[:40], y[:40]).add_rows(X[40:], y[40:])
        np.testing.assert_allclose(
            model.estimators_[number].predict(points), reference.predict(points), rtol=1e-9
        )
    assert len(before.estimators_[0].X_train_) == 40


def test_rows_that_cannot_be_added_change_nothing(X, y, points):
    model = stack(log_targets="auto").fit(X[:40], y[:40])
    expected = model.predict(points)
    with pytest.raises(ValueError, match=r"y must be positive, .*log_targets="):
        model.add_rows(X[40:], -y[40:])
    with pytest.raises(ValueError, match="y"):
        model.add_rows(X[40:], np.c_[y[40:], y[40:]])
    np.testing.assert_array_equal(model.predict(points), expected)


# ---- edges and errors ---------------------------------------------------------------------------


def test_one_row_and_constant_targets(points):
    one = stack(None, estimator=None).fit([[1.0, 2.0, 3.0]], [5.0])
    np.testing.assert_allclose(one.predict(points), 5.0, atol=5.0)
    flat = stack(None, estimator=None).fit(points, np.full(20, 3.0))
    mean, std = flat.predict(points, return_std=True)
    np.testing.assert_allclose(mean, 3.0)
    np.testing.assert_allclose(std, 0.0, atol=1e-12)
    two = stack(None, estimator=None).fit(points[:2], [1.0, 2.0])
    assert np.isfinite(two.predict(points, return_std=True)).all()


@pytest.mark.parametrize("d", [1, 2, 16, 17])
def test_the_default_kernels_fit_the_columns(d, rng):
    found = default_kernels(d)
    assert len(found) == (2 if d == 1 else 4 if d <= 16 else 3)
    X = rng.normal(size=(8, d))
    for kernel in found:
        kernel.check_dimension(d)
        assert np.linalg.eigvalsh(kernel(X)).min() > -1e-9


def test_duplicates_and_single_precision(X, y, points):
    twice = stack().fit(np.r_[X, X], np.r_[y, y])
    assert np.isfinite(twice.predict(points, return_std=True)).all()
    single = stack().fit(X.astype(np.float32), y.astype(np.float32))
    double = stack().fit(X, y)
    np.testing.assert_allclose(single.predict(points), double.predict(points), rtol=1e-4)


def test_a_member_that_cannot_be_fitted_is_left_out_and_said(X, y, monkeypatch):
    fit = GPRegressor.fit

    def failing(self, *args):
        if self.kernel == SHORT:
            raise SingularKernelError("no")
        return fit(self, *args)

    monkeypatch.setattr(GPRegressor, "fit", failing)
    with pytest.warns(LearningWarning, match="member 0 of the stack is left out: no"):
        model = stack().fit(X, y)
    assert model.weights_.tolist() == [[1.0]]
    with (
        pytest.warns(LearningWarning, match="member 0"),
        pytest.raises(SingularKernelError, match="no"),
    ):
        stack((SHORT,)).fit(X, y)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kernels": []}, ValueError, "kernels must hold at least one kernel"),
        ({"kernels": SHORT}, TypeError, "kernels must be a sequence of kernels"),
        ({"kernels": ["rbf"]}, TypeError, "kernel"),
        ({"estimator": 3}, TypeError, "estimator must be a GPRegressor or None, not a int"),
        ({"estimator": GPRegressor(SHORT)}, ValueError, "estimator.kernel must be None"),
        ({"estimator": GPRegressor(solver="subset")}, ValueError, "estimator.solver must not be"),
        ({"log_targets": "always"}, ValueError, "log_targets"),
    ],
)
def test_wrong_parameters_are_named(X, y, options, error, message):
    with pytest.raises(error, match=message):
        StackedGPRegressor(**options).fit(X, y)


def test_before_fit_and_both_at_once(X, y):
    with pytest.raises(NotFittedError):
        stack().predict(X)
    with pytest.raises(ValueError, match="cannot both be true"):
        stack().fit(X, y).predict(X, return_std=True, return_cov=True)


def test_a_failed_fit_leaves_the_earlier_one(X, y, points):
    model = stack().fit(X, y)
    expected = model.predict(points)
    with pytest.raises(ValueError, match="log_targets"):
        model.set_params(log_targets="always").fit(X[:, :2], y)
    np.testing.assert_array_equal(model.predict(points), expected)


def test_what_was_given_is_not_written_to(X, y, points):
    template = clone(FIXED)
    before = X.copy(), y.copy(), template.get_params()
    stack(estimator=template).fit(X, y).predict(points)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])
    assert template.get_params() == before[2]
    assert not hasattr(template, "kernel_")


def test_threads_do_not_change_the_result(X, y, points):
    results = [stack(n_threads=n).fit(X, y).predict(points) for n in (1, 2)]
    np.testing.assert_array_equal(*results)


# ---- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, (SHORT, LONG)])
def test_a_saved_stack_is_the_same(X, y, points, tmp_path, given):
    template = GPRegressor(learn="map", n_steps=2)
    model = stack(given, estimator=template, log_targets="auto").fit(X, y)
    model.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    for one, other in zip(
        loaded.predict(points, return_std=True), model.predict(points, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert loaded.is_logarithmic_ == model.is_logarithmic_
    assert (loaded.estimator.n_steps, loaded.log_targets) == (2, "auto")
    assert loaded.kernels == (None if given is None else list(given))
    np.testing.assert_array_equal(loaded.errors_, model.errors_)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(model)).predict(points), model.predict(points)
    )


def test_names_of_features_come_back(y, X, tmp_path):
    import pandas as pd

    model = stack().fit(pd.DataFrame(X, columns=["a", "b", "c"]), y)
    model.save(tmp_path / "model")
    assert list(kflow.load(tmp_path / "model").feature_names_in_) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stack_weights", [[0.7], [0.7]]),
        ("stack_weights", [[1.5], [-0.5]]),
        ("stack_errors", [[1.0]]),
        ("variance_factor", [0.0]),
        ("variance_factor", [1.0, 1.0]),
        ("highest_1", [-1.0]),
    ],
)
def test_a_damaged_file_is_refused(X, y, tmp_path, name, value):
    model = stack((LONG,), log_targets="auto").fit(X, y)
    settings, parts = model.to_parts()
    arrays = {**dict(parts), name: np.array(value)}
    write_model(tmp_path / "model", "StackedGPRegressor", settings, arrays.items())
    with pytest.raises(ModelFileError, match=r"does not fit|do not fit"):
        kflow.load(tmp_path / "model")


def test_a_member_with_other_features_is_refused(X, y, tmp_path):
    settings, parts = stack((LONG,)).fit(X, y).to_parts()
    settings["n_features_in"] = 2
    write_model(tmp_path / "model", "StackedGPRegressor", settings, parts)
    with pytest.raises(ModelFileError, match="member_0 does not fit its 2 features"):
        kflow.load(tmp_path / "model")
    with ModelReader(tmp_path / "model") as reader:
        assert "member_0_points" in reader
        assert "points" not in reader
        assert "points" in reader.within("member_0", prefix="member_0_")
