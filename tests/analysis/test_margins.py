from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError

import kflow
from kflow.analysis import class_margins, hypothesis_margins, unflowed
from kflow.features import ImageEncoder
from kflow.presets import FIXED


def clusters(n=150, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.array(["low", "mid", "top"])[np.arange(n) % 3]
    centres = {"low": (0, 0), "mid": (1.4, 0), "top": (0, 1.4)}
    X = np.array([centres[label] for label in labels]) + 0.5 * rng.normal(size=(n, 2))
    return X, labels


@pytest.fixture(scope="module")
def fitted():
    X, y = clusters()
    classifier = kflow.KernelFlowClassifier(
        **{
            **FIXED,
            "n_layers": 60,
            "step_size": 0.02,
            "interpolation_nugget": 0.1,
            "random_state": 0,
        }
    )
    return classifier.fit(X, y), X, y


def moved_by(classifier, X):
    """Return where the flow takes points, as the interpolant sees them."""
    return classifier.flow_.replay().final(X, classifier.scaling_, reduced=True)


def scores_of(classifier, X):
    return classifier.interpolant_(moved_by(classifier, X)).astype(float)


def naive_hypothesis_margins(points, labels):
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    n = len(points)
    scale = np.sqrt((distances**2).sum() / (n * (n - 1)))
    margins = []
    for i in range(n):
        others = np.arange(n) != i
        hit = distances[i, others & (labels == labels[i])].min()
        miss = distances[i, labels != labels[i]].min()
        margins.append(0.5 * (miss - hit) / scale)
    return np.array(margins)


# ---- hypothesis margins -------------------------------------------------------------------------


def test_hypothesis_margins_by_the_definition(dtype):
    X, y = clusters(40)
    X = X.astype(dtype)
    np.testing.assert_allclose(
        hypothesis_margins(X, y), naive_hypothesis_margins(X.astype(float), y), rtol=1e-6
    )
    np.testing.assert_allclose(hypothesis_margins(8 * X, y), hypothesis_margins(X, y), rtol=1e-5)


def test_hypothesis_margins_on_a_line():
    margins = hypothesis_margins([[0.0], [1.0], [4.0], [6.0]], [0, 0, 1, 1])
    scale = np.sqrt((1 + 16 + 36 + 9 + 25 + 4) / 6)
    np.testing.assert_allclose(margins * scale, [1.5, 1.0, 0.5, 1.5])


def test_collapsed_classes_have_half_the_distance_between_them():
    points = np.repeat([[0.0, 0], [3.0, 4.0]], 5, axis=0)
    margins = hypothesis_margins(points, np.repeat([0, 1], 5))
    np.testing.assert_allclose(margins, 2.5 / np.sqrt(25 * 5 / 9))


def test_undefined_hypothesis_margins():
    points = np.array([[0.0], [1.0], [5.0]])
    assert np.isnan(hypothesis_margins(points, [0, 0, 0])).all()
    assert np.isnan(hypothesis_margins(points, [0, 0, 1])).tolist() == [False, False, True]
    assert np.isnan(hypothesis_margins(np.ones((4, 2)), [0, 0, 1, 1])).all()
    assert np.isnan(hypothesis_margins([[1.0]], ["a"])).all()


# ---- margins along a flow -----------------------------------------------------------------------


def test_margins_of_the_interpolant(fitted):
    classifier, X, y = fitted
    test_points, test_labels = clusters(60, seed=1)
    result = class_margins(classifier, test_points, test_labels, training=(X, y))
    assert result.layers.tolist() == [0, 60]
    assert (result.labels == test_labels).all()
    for i, one in enumerate((unflowed(classifier, X, y), classifier)):
        scores = scores_of(one, test_points)
        for j, label in enumerate(test_labels):
            own = scores[j, one.classes_ == label][0]
            other = scores[j, one.classes_ != label].max()
            assert result.interpolant[i, j] == pytest.approx(own - other, abs=1e-4)
        wrong = one.predict(test_points) != test_labels
        assert (result.interpolant[i] < 0).tolist() == wrong.tolist()
        expected = hypothesis_margins(moved_by(one, test_points), test_labels)
        np.testing.assert_allclose(result.hypothesis[i], expected, rtol=1e-3, atol=1e-4)
    summary = result.summary()
    assert summary["interpolant_negative"][1] == wrong.mean()


def test_margins_between_the_first_and_the_last_layer(fitted):
    classifier, X, y = fitted
    result = class_margins(classifier, X, y, layers=[0, 20, 40, 60], training=(X, y))
    assert np.isfinite(result.interpolant).all()
    assert (np.diff(np.median(result.interpolant, axis=1)) > 0).all()
    assert len(np.unique(result.hypothesis[:, 0])) == 4


def test_without_the_training_data(fitted):
    classifier, X, y = fitted
    alone = class_margins(classifier, X[:30], y[:30], layers=[0, 30, 60])
    assert np.isnan(alone.interpolant).all(axis=1).tolist() == [True, True, False]
    full = class_margins(classifier, X[:30], y[:30], layers=[0, 30, 60], training=(X, y))
    np.testing.assert_array_equal(alone.interpolant[2], full.interpolant[2])
    np.testing.assert_array_equal(alone.hypothesis, full.hypothesis)
    summary = json.loads(json.dumps(alone.summary(), allow_nan=False))
    assert summary["interpolant_median"][:2] == [None, None]
    assert summary["interpolant_negative"][:2] == [None, None]


def test_points_of_some_classes(fitted):
    classifier, X, y = fitted
    result = class_margins(classifier, X[y == "top"], y[y == "top"])
    assert np.isfinite(result.interpolant[1]).all()
    assert np.isnan(result.hypothesis).all()  # no near miss


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": np.full(150, "other")}, "'other', which the classifier does not know"),
        ({"y": ["low"]}, "y must hold one label"),
        ({"X": np.zeros((150, 3))}, "X must have 2 columns"),
        ({"training": 3}, "training must be a pair"),
        (
            {"training": (np.zeros((150, 2)), clusters()[1])},
            "X: the classifier was fitted on other",
        ),
        (
            {"training": (clusters()[0], np.arange(150) % 3)},
            "y: the classifier was fitted on other",
        ),
    ],
)
def test_wrong_arguments(fitted, arguments, message):
    classifier, X, y = fitted
    with pytest.raises((TypeError, ValueError), match=message):
        class_margins(classifier, **{"X": X, "y": y, **arguments})


def test_other_estimators(fitted):
    _, X, y = fitted
    with pytest.raises(TypeError, match="must be a KernelFlowClassifier, got KernelFlowRegressor"):
        class_margins(kflow.KernelFlowRegressor(**{**FIXED, "n_layers": 1}).fit(X, X[:, 0]), X, y)
    with pytest.raises(NotFittedError):
        class_margins(kflow.KernelFlowClassifier(), X, y)


# ---- a classifier without its flow --------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{}, {"early_stopping": True}, {"rank": 2}, {"scaling": "unit"}]
)
@pytest.mark.parametrize("n_interpolation", [None, 20])
def test_unflowed_is_a_fit_without_layers(settings, n_interpolation, tmp_path):
    X, y = clusters(90)
    X = np.hstack([X, X[:, :1] ** 2])
    classifier = kflow.KernelFlowClassifier(
        **{
            **FIXED,
            "n_layers": 6,
            "n_interpolation": n_interpolation,
            "random_state": 5,
            **settings,
        }
    ).fit(X, y)
    refitted = clone(classifier).set_params(n_layers=0, kernel=classifier.flow_.kernel_).fit(X, y)
    assert (refitted.interpolation_rows_ == classifier.interpolation_rows_).all()
    classifier.save(tmp_path / "model")
    for one in (classifier, kflow.load(tmp_path / "model")):
        before = unflowed(one, X, y)
        assert before.flow_.n_layers_ == 0
        assert before.flow_.kernel_ == classifier.flow_.kernel_
        np.testing.assert_array_equal(before.interpolation_rows_, refitted.interpolation_rows_)
        np.testing.assert_allclose(
            scores_of(before, X), scores_of(refitted, X), rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(before.transform(X), refitted.transform(X), atol=1e-6)
        assert (before.predict(X) == refitted.predict(X)).all()


def test_unflowed_without_a_random_state():
    X, y = clusters(90)
    classifier = kflow.KernelFlowClassifier(
        **{
            **FIXED,
            "n_layers": 5,
            "n_interpolation": 15,
            "early_stopping": True,
            "layers": "memory",
        }
    ).fit(X, y)
    rows = classifier.interpolation_rows_
    before = unflowed(classifier, X, y)
    np.testing.assert_allclose(before.interpolant_.centres, classifier.scaling_(X)[rows], rtol=1e-6)
    moved = moved_by(classifier, X[rows])
    np.testing.assert_allclose(moved, classifier.interpolant_.centres, rtol=1e-3, atol=1e-5)


def test_unflowed_is_a_classifier_like_others(fitted, tmp_path):
    classifier, X, y = fitted
    before = unflowed(classifier, X, y)
    before.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert (loaded.predict(X) == before.predict(X)).all()
    assert before.score(X, y) > 0.8
    assert clone(before).get_params()["n_layers"] == 0
    again = unflowed(before, X, y)
    np.testing.assert_array_equal(scores_of(again, X), scores_of(before, X))
    assert classifier.flow_.n_layers_ == 60  # as it was


def test_unflowed_of_other_data(fitted):
    classifier, X, y = fitted
    for data, labels, name in (
        (X + 1.0, y, "X"),
        (X[:50], y[:50], "X"),
        (X, np.roll(y, 1) == "top", "y"),
    ):
        with pytest.raises(ValueError, match=f"{name}: the classifier was fitted on other data"):
            unflowed(classifier, data, labels)


def test_models_of_early_versions(fitted):
    classifier, X, y = fitted
    old = clone(classifier).fit(X, y)
    del old.interpolation_rows_
    with pytest.raises(ValueError, match="fit it again"):
        unflowed(old, X, y)


# ---- images -------------------------------------------------------------------------------------


def test_a_pipeline_has_the_margins_of_its_classifier():
    digits = load_digits()
    X, y = digits.images[:200], digits.target[:200]
    flow = kflow.KernelFlowClassifier(**{**FIXED, "n_layers": 4, "scaling": None}, random_state=0)
    model = kflow.make_image_pipeline(flow, encoder=ImageEncoder(J=1, n_components=10)).fit(X, y)
    points = model.encoder.transform(X)
    got = class_margins(model, X[:50], y[:50], training=(X, y))
    expected = class_margins(model.estimator, points[:50], y[:50], training=(points, y))
    np.testing.assert_array_equal(got.interpolant, expected.interpolant)
    np.testing.assert_array_equal(got.hypothesis, expected.hypothesis)
    before = unflowed(model, X, y)
    assert before.encoder is model.encoder
    scores = before.decision_function(X[:50])
    own = scores[np.arange(50), y[:50]]
    scores[np.arange(50), y[:50]] = -np.inf
    np.testing.assert_allclose(got.interpolant[0], own - scores.max(axis=1), atol=1e-5)
