from __future__ import annotations

import tracemalloc
from copy import deepcopy

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import kflow
from kflow.errors import ModelFileError
from kflow.features import Augmentation, ImageEncoder
from kflow.presets import FIXED


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return data.images, data.target


@pytest.fixture(scope="module")
def model(digits):
    X, y = digits
    estimator = kflow.KernelFlowClassifier(**{**FIXED, "n_layers": 5}, random_state=0)
    encoder = ImageEncoder(J=1, n_components=20)
    return kflow.make_image_pipeline(estimator, encoder=encoder).fit(X[:500], y[:500])


def test_it_classifies_images(model, digits):
    X, y = digits
    assert model.score(X[500:], y[500:]) > 0.9
    assert type(clone(model)) is type(model)


def test_what_is_loaded_predicts_the_same(model, digits, tmp_path):
    X, _ = digits
    path = tmp_path / "model.kflow"
    model.save(path)
    loaded = kflow.load(path)
    np.testing.assert_array_equal(loaded.predict(X[500:]), model.predict(X[500:]))
    np.testing.assert_array_equal(loaded.predict(X[500:].reshape(-1, 64)), model.predict(X[500:]))
    again = tmp_path / "again.kflow"
    loaded.save(again)
    np.testing.assert_array_equal(kflow.load(again).predict(X[500:]), model.predict(X[500:]))


def test_parts_that_do_not_fit(model):
    settings, arrays = model.encoder.to_settings(), model.encoder.to_arrays()
    for name, wrong in (
        ("encoder_mean", arrays["encoder_mean"][1:]),
        ("encoder_scale", -arrays["encoder_scale"]),
        ("encoder_components", arrays["encoder_components"][1:]),
        ("encoder_components", arrays["encoder_components"] * np.float32(np.nan)),
        ("encoder_components", arrays["encoder_components"] * np.float32(2)),
    ):
        with pytest.raises(ModelFileError):
            ImageEncoder.from_parts(settings, {**arrays, name: wrong})
    for name, wrong in (
        ("image_shape", [8]),
        ("image_shape", [10**9, 8]),
        ("J", 99),
        ("n_components", 19),
        ("random_state", -1),
        ("n_threads", 3),
        ("folder", "/tmp"),
    ):
        parameters = {**settings["parameters"], name: wrong}
        with pytest.raises(ModelFileError):
            ImageEncoder.from_parts({**settings, "parameters": parameters}, arrays)


def test_only_estimators_of_kflow_can_be_saved(digits, tmp_path):
    X, y = digits
    encoder = ImageEncoder(J=1, n_components=4)
    other = kflow.make_image_pipeline(LogisticRegression(), encoder=encoder).fit(X[:99], y[:99])
    with pytest.raises(TypeError, match="only estimators of kflow"):
        other.save(tmp_path / "model.kflow")


@pytest.fixture(scope="module")
def augmented(digits):
    X, y = digits
    estimator = kflow.KernelFlowClassifier(**{**FIXED, "n_layers": 5}, random_state=0)
    encoder = ImageEncoder(J=1, n_components=20)
    augmentation = Augmentation(4, shift=1)
    pipeline = kflow.make_image_pipeline(
        estimator, encoder=encoder, augmentation=augmentation, n_views=3
    )
    return pipeline.fit(X[:300], y[:300])


def test_copies_are_further_training_points(augmented, digits):
    X, y = digits
    assert len(augmented.estimator.flow_.points_) == 5 * 300
    plain = clone(augmented.estimator)
    points = np.concatenate(
        [augmented.encoder.transform(augmented.augmentation.copy_of(X[:300], k)) for k in range(5)]
    )
    plain.fit(points, np.tile(y[:300], 5))
    coordinates = augmented.encoder.transform(X[300:])
    np.testing.assert_allclose(
        augmented.estimator.decision_function(coordinates),
        plain.decision_function(coordinates),
        atol=1e-4,
    )


def test_predictions_are_averages_over_views(augmented, digits):
    X, y = digits
    X, y = X[300:340], y[300:340]
    views = [augmented.augmentation.copy_of(X, k) for k in range(3)]
    for method in ("decision_function", "predict_proba"):
        function = getattr(augmented.estimator, method)
        each = [function(augmented.encoder.transform(view)) for view in views]
        found = getattr(augmented, method)(X)
        np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-5)
    labels = augmented.decision_function(X).argmax(axis=1)
    np.testing.assert_array_equal(augmented.predict(X), labels)
    np.testing.assert_array_equal(augmented.predict(X[5:6]), labels[5:6])
    assert augmented.score(X, y) == np.mean(labels == y)


def test_two_classes_and_regression_have_views_too(digits):
    X, y = digits
    two = y < 2
    X, y = X[two][:120], y[two][:120]
    options = {
        "encoder": ImageEncoder(J=1, n_components=10),
        "augmentation": Augmentation(1, shift=1),
        "n_views": 2,
    }
    names = np.array(["nought", "one"])[y]
    classifier = kflow.KernelFlowClassifier(**{**FIXED, "n_layers": 3}, random_state=0)
    model = kflow.make_image_pipeline(classifier, **options).fit(X, names)
    assert model.predict(X).dtype == names.dtype
    assert model.score(X, names) > 0.95
    regressor = kflow.KernelFlowRegressor(**{**FIXED, "n_layers": 3}, random_state=0)
    model = kflow.make_image_pipeline(regressor, **options).fit(X, y.astype(float))
    assert model.score(X, y) > 0.8
    assert not hasattr(model, "predict_proba")


def test_the_augmentation_is_saved_and_cloned(augmented, digits, tmp_path):
    X, _ = digits
    augmented.save(tmp_path / "model.kflow")
    for model in (kflow.load(tmp_path / "model.kflow"), clone(augmented)):
        assert model.augmentation == augmented.augmentation
        assert model.n_views == 3
    loaded = kflow.load(tmp_path / "model.kflow")
    np.testing.assert_array_equal(loaded.decision_function(X), augmented.decision_function(X))


def test_nothing_is_held_out_among_copies(digits):
    X, y = digits
    for estimator in (
        kflow.KernelFlowClassifier(),
        kflow.KernelFlowClassifier(**FIXED, early_stopping=True),
    ):
        pipeline = kflow.make_image_pipeline(
            estimator,
            encoder=ImageEncoder(J=1, n_components=10),
            augmentation=Augmentation(1, shift=1),
        )
        with pytest.raises(ValueError, match="copies of one image would be on both sides"):
            pipeline.fit(X[:100], y[:100])


def test_what_fit_does_not_take_with_copies(augmented, digits):
    X, y = digits
    with pytest.raises(ValueError, match="fit takes no estimator__sample_weight"):
        clone(augmented).fit(X[:100], y[:100], estimator__sample_weight=np.ones(100))
    with pytest.raises(ValueError, match="one target for each of 100 images"):
        clone(augmented).fit(X[:100], y[:99])
    with pytest.raises(ValueError, match="n_views is 9"):
        clone(augmented).set_params(n_views=9).fit(X[:100], y[:100])


def test_a_file_that_claims_huge_images_takes_no_memory(model):
    settings, arrays = model.encoder.to_settings(), model.encoder.to_arrays()
    parameters = {**settings["parameters"], "image_shape": [30000, 30000]}
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match="do not fit its features"):
            ImageEncoder.from_parts({**settings, "parameters": parameters}, arrays)
        assert tracemalloc.get_traced_memory()[1] < 1e7
    finally:
        tracemalloc.stop()


def test_what_is_set_after_the_fit_does_not_change_what_is_saved(model, digits, tmp_path):
    X, _ = digits
    changed = deepcopy(model)
    changed.encoder.set_params(J=2, padding="reflect", image_shape=(4, 16), n_threads=1)
    changed.save(tmp_path / "model.kflow")
    loaded = kflow.load(tmp_path / "model.kflow")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    changed.encoder.set_params(n_components="many")
    with pytest.raises(TypeError, match="n_components must be a whole number"):
        changed.save(tmp_path / "model.kflow")
