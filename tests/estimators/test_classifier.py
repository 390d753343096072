from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import kflow
from kflow import (
    KernelFlowClassifier,
    KernelFlowRegressor,
)
from kflow.presets import FIXED

SETTINGS = {**FIXED, "n_layers": 5, "batch_size": 20, "random_state": 0}


def assert_same(first, second, X):
    np.testing.assert_array_equal(first.predict(X), second.predict(X))
    np.testing.assert_array_equal(first.transform(X), second.transform(X))
    np.testing.assert_array_equal(first.interpolant_.coefficients, second.interpolant_.coefficients)


@pytest.mark.parametrize("n", [3, 9, 10, 60])
def test_interpolation_points_of_the_classes(X, labels, n):
    model = KernelFlowClassifier(**SETTINGS, n_interpolation=n).fit(X, labels)
    rows = rows_of(centres(model), model)
    assert len(set(rows)) == n
    counts = np.unique(labels[rows], return_counts=True)[1]
    assert counts.sum() == n
    assert counts.max() - counts.min() <= 1


def centres(model):
    return model.interpolant_.centres


def rows_of(points, model):
    """Return which training points these are."""
    place = {point.tobytes(): row for row, point in enumerate(model.flow_.points_)}
    return [place[point.tobytes()] for point in points]


def test_interpolation_points_that_the_classes_do_not_have(X, labels):
    with pytest.raises(ValueError, match=r"n_interpolation: class .* pass at most 60"):
        KernelFlowClassifier(**SETTINGS, n_interpolation=63).fit(X, labels)
    with pytest.raises(ValueError, match=r"n_interpolation: .*less than one point for each of 3"):
        KernelFlowClassifier(**SETTINGS, n_interpolation=2).fit(X, labels)


@pytest.mark.parametrize("n_rare", [6, 180])
def test_more_rows_than_interpolation_points(rng, monkeypatch, n_rare):
    most, n = 400, 500
    monkeypatch.setattr("kflow.estimators.classifier.MAX_INTERPOLATION", most)
    monkeypatch.setattr("kflow.estimators.regressor.MAX_INTERPOLATION", most)
    y = np.zeros(n, dtype=int)
    y[:n_rare] = 1
    X = rng.normal(size=(n, 2)) + 4 * y[:, None]
    order = rng.permutation(n)
    X, y = X[order], y[order]
    model = KernelFlowClassifier(**{**SETTINGS, "n_layers": 1}).fit(X, y)
    # Each class has its share, so that the interpolant sees how frequent it is.
    rows = rows_of(centres(model), model)
    assert len(set(rows)) == len(rows) == most
    assert abs(y[rows].sum() - n_rare * most / n) <= 1
    assert model.score(X, y) > 0.95
    model = KernelFlowRegressor(**{**SETTINGS, "n_layers": 1}).fit(X, y)
    assert len(centres(model)) == most


def test_string_labels(X, labels):
    model = KernelFlowClassifier(**SETTINGS).fit(X, labels)
    assert model.classes_.tolist() == ["first", "plain", "second"]
    assert set(model.predict(X)) <= set(model.classes_)
    assert model.score(X, labels) > 0.8
    codes = np.unique(labels, return_inverse=True)[1]
    numbers = KernelFlowClassifier(**SETTINGS).fit(X, codes)
    np.testing.assert_array_equal(model.classes_[numbers.predict(X)], model.predict(X))
    objects = KernelFlowClassifier(**SETTINGS).fit(X, labels.astype(object))
    np.testing.assert_array_equal(objects.predict(X), model.predict(X))


def test_probabilities(X, labels):
    model = KernelFlowClassifier(**SETTINGS).fit(X, labels)
    probabilities = model.predict_proba(X)
    assert probabilities.shape == (80, 3)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_array_equal(model.classes_[probabilities.argmax(axis=1)], model.predict(X))


EARLY = {**SETTINGS, "n_layers": 200, "early_stopping": True, "validation_fraction": 0.2}


@pytest.fixture
def apart(X):
    """Rows of three classes that can be told apart."""
    return X + np.repeat([[0, 0, 0, 0], [4, 0, 0, 0], [0, 8, 0, 0]], [40, 20, 20], axis=0)


def kept_rows(model, X):
    """Return the rows for the flow and those held out, which no layers leave where they were."""
    start = clone(model).set_params(n_layers=0, scaling=None, dtype="float64").fit(X[0], X[1])
    place = {row.tobytes(): number for number, row in enumerate(X[0])}
    return [
        np.array([place[row.tobytes()] for row in points])
        for points in (start.flow_.points_, start.flow_.follow_["validation"])
    ]


@pytest.mark.slow
def test_early_stopping_is_the_shorter_flow_of_the_rows_kept(apart, labels):
    model = KernelFlowClassifier(**EARLY).fit(apart, labels)
    n = model.flow_.n_layers_
    assert n == model.stopping_.stopped_at == model.stopping_.layers[-1]
    assert 10 <= n < 200
    assert list(model.stopping_.errors) == [48, 3]
    kept, held = kept_rows(model, (apart, labels))
    assert sorted([*kept, *held]) == list(range(80))
    assert np.unique(labels[held], return_counts=True)[1].tolist() == [4, 8, 4]
    # What is held out has no influence, not even on the scaling.
    whole = KernelFlowClassifier(**{**SETTINGS, "n_layers": n}).fit(apart[kept], labels[kept])
    assert_same(model, whole, apart)
    np.testing.assert_array_equal(model.interpolant_.centres, model.flow_.points_)
    np.testing.assert_allclose(
        model.flow_.follow_["validation"], model.transform(apart[held]), rtol=1e-4, atol=1e-5
    )
    assert whole.stopping_ is None


@pytest.mark.slow
def test_early_stopping_follows_from_the_seed(apart, labels):
    def fit(seed):
        options = {**EARLY, "random_state": seed, "n_layers": 40}
        return KernelFlowClassifier(**options).fit(apart, labels)

    first, again, other = fit(0), fit(0), fit(1)
    assert_same(first, again, apart)
    assert first.stopping_.errors == again.stopping_.errors
    assert not np.array_equal(first.flow_.points_, other.flow_.points_)
    state = fit(np.random.RandomState(5))
    assert_same(state, fit(np.random.RandomState(5)), apart)


@pytest.mark.slow
def test_classes_that_do_not_collapse_run_through(X, labels):
    model = KernelFlowClassifier(**{**EARLY, "step": "fixed", "step_size": 1e-9, "n_layers": 60})
    model.fit(X, labels)
    assert model.flow_.n_layers_ == 60
    assert model.stopping_.stopped_at is None
    assert model.stopping_.layers == [1, *range(3, 61, 3)]


def test_early_stopping_beside_other_callbacks_and_follow(apart, labels):
    seen = []
    frame = pd.DataFrame(apart, columns=list("abcd"))
    model = KernelFlowClassifier(**EARLY, callbacks=[lambda flow: seen.append(flow.n_layers_)])
    model.fit(frame, labels, follow={"test": frame[:3]})
    assert len(seen) == model.stopping_.stopped_at
    assert set(model.flow_.follow_) == {"test", "validation"}
    with pytest.raises(ValueError, match="follow: 'validation' is the name of the rows held out"):
        model.fit(frame, labels, follow={"validation": frame})
    model.set_params(early_stopping=False, n_layers=3)
    model.fit(frame, labels, follow={"validation": frame})
    assert len(model.flow_.follow_["validation"]) == 80


@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        ({"early_stopping": "yes"}, TypeError, "early_stopping must be True or False"),
        ({"early_stopping": None}, TypeError, "early_stopping must be True or False"),
        ({"validation_fraction": 0.0}, ValueError, "validation_fraction must lie between 0 and 1"),
        ({"validation_fraction": 1.0}, ValueError, "validation_fraction must lie between 0 and 1"),
        ({"validation_fraction": "0.1"}, TypeError, "validation_fraction must be a number"),
        ({"validation_fraction": 0.99}, ValueError, "a smaller validation_fraction"),
        ({"n_interpolation": 60}, ValueError, "n_interpolation: class .* pass at most 48"),
        ({"interpolation_nugget": -1}, ValueError, "interpolation_nugget must be finite"),
        ({"n_layers": -1}, ValueError, "n_layers must be at least 0"),
    ],
    ids=str,
)
def test_bad_parameters_of_early_stopping(X, labels, option, error, message):
    layers = []
    with pytest.raises(error, match=message):
        KernelFlowClassifier(**{**EARLY, "callbacks": [layers.append], **option}).fit(X, labels)
    assert layers == []


def test_early_stopping_needs_rows_of_every_class(X, labels):
    model = KernelFlowClassifier(**EARLY)
    for n in (1, 2):
        with pytest.raises(ValueError, match=rf"early_stopping .* {n} rows of class .*second"):
            model.fit(X[: 60 + n], labels[: 60 + n])
    assert not hasattr(model, "stopping_")


@pytest.mark.slow
def test_early_stopping_is_saved_as_a_parameter(apart, labels, tmp_path):
    model = KernelFlowClassifier(**EARLY).fit(apart, labels)
    assert_same(pickle.loads(pickle.dumps(model)), model, apart)
    model.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert (loaded.early_stopping, loaded.validation_fraction) == (True, 0.2)
    assert loaded.stopping_ is None
    assert_same(loaded, model, apart)
    assert_same(loaded.fit(apart, labels), model, apart)
    assert loaded.stopping_.errors == model.stopping_.errors


def test_the_classifier_adds_parameters_to_the_common_ones():
    own = {"early_stopping": False, "validation_fraction": 0.1, "class_weight": None}
    common = KernelFlowRegressor().get_params()
    assert KernelFlowClassifier().get_params() == {**common, **own}


@pytest.mark.parametrize(
    "y",
    [np.arange(80) % 3 - 1, np.arange(80) % 2 == 0, np.float32(np.arange(80) % 2)],
    ids=lambda y: str(y.dtype),
)
def test_round_trip_of_labels(X, y, tmp_path):
    model = KernelFlowClassifier(**SETTINGS).fit(X, y)
    model.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert loaded.classes_.dtype == y.dtype
    assert_same(loaded, model, X)


def test_round_trip_of_text_in_objects(X, labels, tmp_path):
    model = KernelFlowClassifier(**SETTINGS).fit(X, labels.astype(object))
    model.save(tmp_path / "model")
    assert_same(kflow.load(tmp_path / "model"), model, X)


def test_labels_that_no_file_holds(X, labels, tmp_path):
    # scikit-learn refuses most of them already.
    model = KernelFlowClassifier(**SETTINGS).fit(X, labels)
    model.classes_ = np.array([0, "one", (2,)], dtype=object)
    with pytest.raises(TypeError, match="neither numbers nor text"):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
