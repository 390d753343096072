from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from kflow.features import ImageEncoder, Scattering, image_encoder
from kflow.features import images as images_module


@pytest.fixture
def images(rng):
    return rng.random((60, 12, 9))


def _by_definition(encoder, X, n_channels):
    features = Scattering(J=1, padding="zero").fit(X).transform(X)
    maps = features.reshape(len(X), n_channels, -1)
    mean, scale = maps.mean(axis=(0, 2)), maps.std(axis=(0, 2))
    standardised = ((maps - mean[:, None]) / scale[:, None]).reshape(len(X), -1)
    unit = standardised / np.linalg.norm(standardised, axis=1, keepdims=True)
    _, singular, directions = np.linalg.svd(unit, full_matrices=False)
    n = encoder.n_components
    return unit, singular, directions[:n], mean, scale


def test_definition(images):
    encoder = ImageEncoder(J=1, n_components=5).fit(images)
    unit, singular, directions, mean, scale = _by_definition(encoder, images, 9)
    np.testing.assert_allclose(encoder.mean_, mean, rtol=1e-5)
    np.testing.assert_allclose(encoder.scale_, scale, rtol=1e-4)
    same = np.abs(directions @ encoder.components_)  # up to signs
    np.testing.assert_allclose(same, np.eye(5), atol=2e-2)
    dropped = 1.0 - (singular[:5] ** 2).sum() / (singular**2).sum()
    assert encoder.energy_dropped_ == pytest.approx(dropped, rel=1e-2)
    coordinates = encoder.transform(images)
    assert coordinates.dtype == np.float32
    np.testing.assert_allclose(coordinates, unit @ encoder.components_, atol=1e-5)


def test_chunks_and_threads_change_nothing(images, monkeypatch):
    whole = ImageEncoder(J=1, n_components=7, n_threads=1).fit(images)
    threads = ImageEncoder(J=1, n_components=7, n_threads=2).fit(images)
    np.testing.assert_array_equal(whole.components_, threads.components_)
    np.testing.assert_array_equal(whole.transform(images), threads.transform(images))
    expected = whole.transform(images)
    monkeypatch.setattr(images_module, "_CHUNK_FEATURES", 1)
    np.testing.assert_array_equal(whole.transform(images), expected)


def test_few_images_are_learned_from(images, monkeypatch):
    features = np.prod(Scattering(J=1, padding="zero").fit(images).map_shape_)
    monkeypatch.setattr(image_encoder, "_SAMPLE_BYTES", 4 * features * 20)
    encoder = ImageEncoder(J=1, n_components=40).fit(images)
    assert encoder.components_.shape == (features, 20)
    again = ImageEncoder(J=1, n_components=40).fit(images)
    np.testing.assert_array_equal(encoder.transform(images), again.transform(images))


def test_patches_make_up_half_of_the_squared_norm(images):
    settings = {"J": 1, "n_filters": 8, "patch_size": 4, "n_cells": 2}
    encoder = ImageEncoder(n_components=6, **settings).fit(images)
    parts = []
    for source in (encoder.scattering_, encoder.patches_):
        maps = source.transform(images).reshape(len(images), source.map_shape_[0], -1)
        standardised = (maps - maps.mean(axis=(0, 2))[:, None]) / maps.std(axis=(0, 2))[:, None]
        rows = standardised.reshape(len(images), -1)
        parts.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    both = np.concatenate(parts, axis=1) / np.sqrt(2.0)
    np.testing.assert_allclose(encoder.transform(images), both @ encoder.components_, atol=1e-4)
    assert len(encoder.mean_) == len(encoder.scale_) == 9 + 16
    same = ImageEncoder.from_parts(encoder.to_settings(), encoder.to_arrays())
    np.testing.assert_array_equal(same.transform(images), encoder.transform(images))


@pytest.mark.parametrize(("shape", "n_filters"), [((12, 9), 0), ((8, 8, 3), 0), ((8, 8, 3), 5)])
def test_gradients(rng, shape, n_filters):
    X, along = rng.random((2, 30, *shape))
    encoder = ImageEncoder(
        J=1, L=4, n_components=6, n_filters=n_filters, patch_size=3, n_cells=2
    ).fit(X)
    A = rng.normal(size=(30, 6))
    gradients = encoder.pull_back(X, A)
    h = 1e-3
    ahead, behind = (encoder.transform(X + by * along).astype(float) for by in (h, -h))
    expected = (A * (ahead - behind)).sum(axis=1) / (2 * h)
    got = (gradients * along.reshape(30, -1)).sum(axis=1)
    is_near = np.abs(got - expected) < 2e-3 * np.abs(expected).max()
    # A few of the responses to patches pass their threshold on the way.
    assert is_near.all() if n_filters == 0 else is_near.mean() > 0.8
    with pytest.raises(ValueError, match="covectors must have shape"):
        encoder.pull_back(X, A[:, :2])


def test_images_that_are_all_alike():
    X = np.zeros((5, 8, 8))
    encoder = ImageEncoder(J=1, n_components=3).fit(X)
    assert not encoder.transform(X).any()
    assert np.isfinite(encoder.pull_back(X, np.ones((5, encoder.components_.shape[1])))).all()


def test_refusals(images):
    with pytest.raises(NotFittedError):
        ImageEncoder().transform(images)
    with pytest.raises(ValueError, match="X is empty"):
        ImageEncoder(J=1).fit(images[:0])
    with pytest.raises(ValueError, match="n_components"):
        ImageEncoder(n_components=0).fit(images)
    with pytest.raises(TypeError, match="random_state"):
        ImageEncoder(random_state="one").fit(images)
    with pytest.raises(ValueError, match="pass image_shape"):
        ImageEncoder().fit(images.reshape(60, -1))


def test_copies(images):
    encoder = ImageEncoder(J=1, n_components=4).fit(images)
    again = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(again.transform(images), encoder.transform(images))
    assert clone(encoder).get_params() == encoder.get_params()
    assert len(encoder.get_feature_names_out()) == 4


def test_images_that_are_tiny_or_huge(images):
    encoder = ImageEncoder(J=1, n_components=3).fit(images)
    large, larger = (encoder.transform((size * images).astype(np.float32)) for size in (1e8, 1e18))
    np.testing.assert_allclose(larger, large, rtol=1e-3, atol=1e-5)
    with pytest.raises(ValueError, match="too small for features of float32"):
        encoder.fit((1e-42 * images).astype(np.float32))
