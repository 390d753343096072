from __future__ import annotations

import numpy as np
import pytest

from kflow.datasets import Dataset
from kflow.demos import Options, image_flow
from kflow.demos.image_flow import ImageSettings, fitted_flow, one_per_class
from kflow.presets import FIXED


def made_up(name, n_train, n_test, shape, rng):
    """Noise, brighter in the row of pixels that belongs to the class."""
    y = np.arange(n_train) % shape[0]
    X, X_test = rng.random((n_train, *shape)), rng.random((n_test, *shape))
    X[np.arange(n_train), y] += 1.0
    X_test[np.arange(n_test), y[:n_test]] += 1.0
    rows = (images.reshape(len(images), -1).astype(np.float32) for images in (X, X_test))
    X, X_test = rows
    return Dataset(name, X, y, X_test, y[:n_test], "classification", shape)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar-10"])
def test_the_small_form_of_large_sets(name, monkeypatch, rng):
    data = made_up(name, 3600, 600, (10, 3), rng)
    monkeypatch.setattr(image_flow, "load_dataset", lambda *_: data)
    whole = image_flow.load_images(name, Options())
    small = image_flow.load_images(name, Options(quick=True))
    assert (len(whole.y_train), len(small.y_train), len(small.y_test)) == (3600, 600, 100)
    for features in image_flow.FEATURES:
        preset = image_flow.image_settings(name, features, Options()).estimator
        settings = image_flow.image_settings(
            name, features, Options(quick=True, seed=3, n_threads=1)
        ).estimator
        assert settings["n_layers"] == preset["n_layers"] // 3
        assert max(settings["nugget"]) == max(preset["nugget"]) // 3
        assert (settings["random_state"], settings["n_threads"]) == (3, 1)


@pytest.mark.parametrize("encoder", [None, {"J": 1, "n_components": 12}])
@pytest.mark.parametrize("shape", [(6, 6), (6, 6, 3)])
def test_what_a_fitted_flow_tells(encoder, shape, rng):
    data = made_up("digits", 120, 30, shape, rng)
    settings = {**FIXED, "n_layers": 4, "batch_size": 40, "random_state": 0, "n_threads": 1}
    features = "pixels" if encoder is None else "scattering"
    images = fitted_flow(data, ImageSettings(features, encoder, settings), Options())
    predicted = images.predicted()
    np.testing.assert_array_equal(images.model.predict(data.X_test), predicted)
    assert (predicted == data.y_test).mean() > 0.8
    n = 40
    np.testing.assert_allclose(
        images.unmoved()[1][:n],
        images.unflowed().transform(data.X_test[:n])
        if encoder is None
        else images.unflowed().estimator.transform(images.inputs[1][:n]),
        atol=1e-5,
    )
    draws = one_per_class(images, 3, np.random.default_rng(0))
    assert draws.rows.shape == (3, 6)
    assert (data.y_train[draws.rows] == np.arange(6)).all()
    assert draws.flowed.shape == draws.unflowed.shape == (3,)
    assert (draws.flowed < 0.84).all()
    assert ("encoder J" in images.described()) == (encoder is not None)
