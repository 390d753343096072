from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import kflow
from kflow import GradientMetric, KernelFlowClassifier, KernelFlowRegressor, kernels


@pytest.fixture
def X(rng):
    return rng.normal(size=(120, 5))


@pytest.fixture
def y(X):
    return np.where(X[:, 0] * X[:, 1] > 0, "same", "other")


def distances(X):
    return np.linalg.norm(X[:, None] - X[None], axis=2)


@pytest.mark.slow
@parametrize_with_checks([GradientMetric(), GradientMetric(targets="numbers", n_steps=2)])
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def reference(X, Y, kernel, nugget, power):
    """M^(power/2) by the formulas, with the mean squared distance kept."""
    u = kflow.Interpolant(X, Y, kernel=kernel, nugget=nugget)
    C, M = u.coefficients, np.zeros((X.shape[1],) * 2)
    for x in X:
        # Of a Gaussian: grad k(x, z) = -(x - z) k(x, z) / l^2.
        k = np.exp(-np.sum((x - X) ** 2, axis=1) / (2 * kernel.length_scale**2))
        J = -(C * k[:, None]).T @ (x - X) / kernel.length_scale**2
        M += J.T @ J / len(X)
    values, vectors = np.linalg.eigh(M)
    root = (vectors * values ** (power / 2)) @ vectors.T
    return root * np.sqrt(np.mean(distances(X) ** 2) / np.mean(distances(X @ root) ** 2)), M


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_the_formula(power, X, y):
    kernel, Y = kernels.Gaussian(1.5), kflow.one_hot(y)
    metric = GradientMetric(kernel, nugget=0.2, power=power).fit(X, y)
    expected, M = reference(X, Y, kernel, 0.2, power)
    np.testing.assert_allclose(metric.components_, expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(metric.feature_importances_, np.diag(M) / np.trace(M))
    twice = GradientMetric(kernel, nugget=0.2, power=power, n_steps=2).fit(X, y)
    second, _ = reference(X @ expected, Y, kernel, 0.2, power)
    np.testing.assert_allclose(twice.components_, second @ expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(twice.transform(X), X @ expected @ second, rtol=1e-6, atol=1e-8)


def test_features_that_do_not_matter_shrink(X, y):
    metric = GradientMetric().fit(X, y)
    assert metric.feature_importances_[:2].sum() > 0.7
    assert metric.feature_importances_.sum() == pytest.approx(1.0)
    lengths = np.linalg.norm(metric.components_, axis=0)
    assert lengths[:2].min() > 1.2 * lengths[2:].max()
    moved = metric.transform(X)
    assert np.mean(distances(moved) ** 2) == pytest.approx(np.mean(distances(X) ** 2))


def test_a_diagonal_map(X, y):
    metric = GradientMetric(diagonal=True, power=1.0).fit(X, y)
    np.testing.assert_array_equal(metric.components_, np.diag(np.diag(metric.components_)))
    expected = np.sqrt(metric.feature_importances_)
    got = np.diag(metric.components_)
    np.testing.assert_allclose(got / got[0], expected / expected[0])


def test_power_0_keeps_distances(X, y):
    moved = GradientMetric(power=0.0, n_steps=3).fit(X, y).transform(X)
    np.testing.assert_allclose(distances(moved), distances(X), atol=1e-12)


def test_a_rotation_of_the_features_changes_no_distance(X, y, rng):
    Q = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    straight, turned = (GradientMetric(n_steps=2).fit(Z, y).transform(Z) for Z in (X, X @ Q))
    np.testing.assert_allclose(distances(turned), distances(straight), rtol=1e-6)


def test_numbers(X):
    y = np.sin(X[:, 2])
    metric = GradientMetric(targets="numbers").fit(X, y)
    assert metric.feature_importances_.argmax() == 2
    # The units of y do not matter, and a second output counts like the first.
    other = GradientMetric(targets="numbers").fit(X, 1e6 * y + 3)
    np.testing.assert_allclose(other.components_, metric.components_, rtol=1e-6, atol=1e-9)
    both = GradientMetric(targets="numbers").fit(X, np.column_stack([y, 100 * X[:, 4]]))
    assert set(np.argsort(both.feature_importances_)[-2:]) == {2, 4}


def test_dtypes_and_rows(X, y):
    metric = GradientMetric().fit(X, y)
    narrow = GradientMetric().fit(X.astype(np.float32), y)
    np.testing.assert_allclose(narrow.components_, metric.components_, rtol=1e-4, atol=1e-5)
    moved = narrow.transform(X.astype(np.float32))
    assert moved.dtype == np.float32
    assert metric.transform(X).dtype == np.float64
    for i in (0, 7, 119):
        np.testing.assert_array_equal(metric.transform(X[i : i + 1])[0], metric.transform(X)[i])
    one, two = (GradientMetric(n_threads=n).fit(X, y).components_ for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_some_of_the_points(X, y):
    metric = GradientMetric(max_points=40, random_state=3).fit(X, y)
    assert len(np.unique(metric.rows_)) == 40
    again = GradientMetric(metric.kernel_).fit(X[metric.rows_], y[metric.rows_])
    np.testing.assert_array_equal(metric.components_, again.components_)
    assert len(GradientMetric(max_points=120).fit(X, y).rows_) == 120


def test_what_it_was_given_stays_as_it_is(X, y):
    before = X.copy()
    metric = GradientMetric(n_steps=2).fit(X, y)
    metric.transform(X)
    np.testing.assert_array_equal(X, before)
    components = metric.components_.copy()
    X[:] = 0
    np.testing.assert_array_equal(metric.components_, components)


def test_one_feature_is_left_alone(rng):
    X = rng.normal(size=(20, 1))
    metric = GradientMetric(targets="numbers").fit(X, X[:, 0])
    np.testing.assert_allclose(metric.components_, [[1.0]])
    np.testing.assert_array_equal(metric.feature_importances_, [1.0])


def test_a_constant_feature_and_duplicates(X, y):
    X = np.column_stack([X, np.full(120, 7.0)])
    metric = GradientMetric().fit(np.vstack([X, X]), np.concatenate([y, y]))
    assert metric.feature_importances_[5] == 0.0
    with pytest.raises(kflow.SingularKernelError, match="pass a larger nugget"):
        GradientMetric(nugget=0.0).fit(np.vstack([X, X]), np.concatenate([y, y]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": "classes"}, "targets must be one of"),
        ({"power": -1}, "power must not be negative"),
        ({"power": np.inf}, "power must be"),
        ({"nugget": -1}, "nugget"),
        ({"n_steps": 0}, "n_steps"),
        ({"max_points": 1}, "max_points"),
        ({"diagonal": "yes"}, "diagonal"),
        ({"kernel": kernels.Linear(1.0)}, "must be a radial kernel"),
    ],
)
def test_parameters_that_cannot_be(options, message, X, y):
    with pytest.raises((TypeError, ValueError), match=message):
        GradientMetric(**options).fit(X, y)


def test_targets_that_cannot_be(X, y):
    with pytest.raises(ValueError, match="pass targets='numbers'"):
        GradientMetric().fit(X, X[:, 0])
    with pytest.raises(ValueError, match="one class only: same"):
        GradientMetric().fit(X, np.full(120, "same"))
    with pytest.raises(ValueError, match="y: no change"):
        GradientMetric(targets="numbers").fit(X, np.ones(120))
    with pytest.raises(ValueError, match="X: all rows coincide"):
        GradientMetric().fit(np.ones((120, 5)), y)
    with pytest.raises(ValueError, match="NaN"):
        GradientMetric().fit(np.where(X > 2, np.nan, X), y)


def test_in_a_pipeline_and_in_a_pickle(X, y):
    flow = KernelFlowClassifier(n_layers=5, batch_size=30, scaling=None, random_state=0)
    pipeline = make_pipeline(GradientMetric(kernels.Gaussian(1.0)), flow)
    pipeline.set_params(gradientmetric__kernel__length_scale=2.0, gradientmetric__power=1.0)
    fitted = clone(pipeline).fit(X, y)
    assert fitted[0].kernel_.length_scale == 2.0
    assert list(fitted[0].get_feature_names_out()) == [f"gradientmetric{k}" for k in range(5)]
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))
    numbers = make_pipeline(
        GradientMetric(targets="numbers"), KernelFlowRegressor(n_layers=2, random_state=0)
    )
    assert np.isfinite(numbers.fit(X, X[:, 0]).score(X, X[:, 0]))
