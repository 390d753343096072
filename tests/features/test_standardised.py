from __future__ import annotations

import numpy as np
import pytest

from kflow.features import Patches, Scattering
from kflow.features.standardised import StandardisedFeatures


@pytest.mark.parametrize("source", [Scattering(1, 4), Patches(5, size=3, n_cells=2)])
def test_definition(source, rng):
    images = rng.random((30, 8, 8)).astype(np.float32)
    rows = images.reshape(30, 64)
    source.fit(images)
    features = source.transform(images)
    channels = source.map_shape_[0]
    out = np.empty_like(features)
    learned = StandardisedFeatures.learned(source, rows, out)
    maps = features.reshape(30, channels, -1).astype(np.float64)
    mean, scale = maps.mean(axis=(0, 2)), maps.std(axis=(0, 2))
    np.testing.assert_allclose(learned.mean, mean, rtol=1e-4)
    np.testing.assert_allclose(learned.scale, scale, rtol=1e-3)
    expected = ((maps - mean[:, None]) / scale[:, None]).reshape(30, -1)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(out, expected, atol=1e-4)
    np.testing.assert_array_equal(learned.transform(rows[4:9]), out[4:9])
    assert learned.n_features == features.shape[1]


def test_constant_channels_are_left_as_they_are():
    images = np.full((6, 8, 8), 3.0, np.float32)
    source = Scattering(1, 4, padding="reflect").fit(images)
    out = np.empty_like(source.transform(images))
    learned = StandardisedFeatures.learned(source, images.reshape(6, 64), out)
    assert (learned.scale == 1.0).all()
    assert np.isfinite(out).all()
