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
from kflow.features import ImageEncoder
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
