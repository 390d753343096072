from __future__ import annotations

import numpy as np
import pytest

from kflow.features import Augmentation, ImageEncoder
from kflow.features.copies import check_views, copies_encoded, iterate_views


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((20, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def encoder(images):
    return ImageEncoder(J=1, L=4, n_components=6).fit(images)


def test_copies_are_encoded_one_after_the_other(encoder, images):
    augmentation = Augmentation(2, shift=1)
    coordinates = copies_encoded(encoder, augmentation, images)
    for k in range(3):
        expected = encoder.transform(augmentation.copy_of(images, k))
        np.testing.assert_allclose(coordinates[20 * k : 20 * (k + 1)], expected, atol=1e-6)
    np.testing.assert_array_equal(copies_encoded(encoder, None, images), encoder.transform(images))


def test_views_of_an_image_do_not_depend_on_the_others(encoder, images):
    augmentation = Augmentation(2, rotation=10.0)
    views = list(iterate_views(encoder, augmentation, 3, images))
    alone = list(iterate_views(encoder, augmentation, 3, images[7:8]))
    assert len(views) == 3
    for view, one in zip(views, alone, strict=True):
        np.testing.assert_allclose(view[7:8], one, atol=1e-6)


def test_more_views_than_copies():
    assert check_views(None, 1) == 1
    with pytest.raises(ValueError, match="n_views is 3, but an image has 1 copies"):
        check_views(Augmentation(1, mirror=True), 3)
    with pytest.raises(ValueError, match="n_views must be at least 1"):
        check_views(None, 0)
