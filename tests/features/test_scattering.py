from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from kflow.features import Scattering
from kflow.features.filters import make_filters
from kflow.testing import slow

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def images(rng):
    return rng.random((5, 12, 9))


def test_published_implementation():
    """Values of kymatio 0.3.0, which takes 3.1415 for pi in the norm of each of its filters."""
    stored = np.load(FIXTURES / "scattering.npz")
    factor = 3.1415 / np.pi
    for name, parameters, ends in (
        ("two_orders", {"J": 2, "L": 4}, (1, 9)),
        ("one_order", {"J": 3, "L": 4, "max_order": 1}, (1, 13)),
    ):
        image, expected = stored[f"{name}_image"], stored[name]
        features = Scattering(**parameters).fit(image).transform(image).reshape(expected.shape)
        order = np.repeat([1, 2, 3], [ends[0], ends[1] - ends[0], expected.shape[1] - ends[1]])
        np.testing.assert_allclose(features, expected * factor ** order[:, None, None], atol=2e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("padding", ["zero", "reflect"])
def test_definition(images, dtype, padding):
    X = images.astype(dtype)
    scattering = Scattering(J=2, L=3, padding=padding, n_threads=2).fit(X)
    features = scattering.transform(X)
    assert features.dtype == dtype
    assert features.shape == (5, np.prod(scattering.map_shape_))
    filters = make_filters((12, 9), 2, 3, 2, padding, "float64")
    atol = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(features, slow.scattering(filters, X), atol=atol)


def test_rows_of_a_matrix_need_a_shape(images):
    rows = images.reshape(5, -1)
    with pytest.raises(ValueError, match="pass image_shape"):
        Scattering().fit(rows)
    by_rows = Scattering(image_shape=(12, 9)).fit(rows)
    same = Scattering().fit(images)
    np.testing.assert_array_equal(by_rows.transform(rows), same.transform(images))
    np.testing.assert_array_equal(by_rows.transform(images), same.transform(rows))


def test_colours_are_transformed_one_by_one(rng):
    X = rng.random((4, 8, 8, 3))
    features = Scattering(J=1, colours="rgb").fit(X).transform(X).reshape(4, 3, -1)
    for colour in range(3):
        plane = Scattering(J=1).fit(X[..., colour]).transform(X[..., colour])
        np.testing.assert_array_equal(features[:, colour], plane)
    grey = np.repeat(rng.random((4, 8, 8, 1)), 3, axis=3)
    maps = Scattering(J=1).fit(grey).transform(grey).reshape(4, 3, -1)
    np.testing.assert_allclose(maps[:, 1:], 0.0, atol=1e-5)  # grey images have no colour
    np.testing.assert_allclose(
        maps[:, 0], Scattering(J=1).fit(grey[..., 0]).transform(grey[..., 0]), atol=1e-12
    )


@pytest.mark.parametrize("shape", [(12, 9), (8, 8, 3)])
def test_gradients(rng, shape):
    X, along = rng.random((2, 3, *shape))
    scattering = Scattering(J=2, L=3).fit(X)
    A = rng.normal(size=(3, np.prod(scattering.map_shape_)))
    gradients = scattering.pull_back(X, A)
    h = 1e-6
    ahead, behind = scattering.transform(X + h * along), scattering.transform(X - h * along)
    expected = (A * (ahead - behind)).sum(axis=1) / (2 * h)
    np.testing.assert_allclose((gradients * along.reshape(3, -1)).sum(axis=1), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="covectors must have shape"):
        scattering.pull_back(X, A[:2])


def test_covectors_that_are_refused(images):
    scattering = Scattering().fit(images)
    A = np.zeros((len(images), np.prod(scattering.map_shape_)))
    for value, message in ((np.nan, "NaN"), (1e300, "too large|infinit")):
        with pytest.raises(ValueError, match=message):
            scattering.pull_back(images.astype(np.float32), A + value)
    masked = np.ma.masked_array(A, np.arange(A.size).reshape(A.shape) == 3)
    with pytest.raises(ValueError, match="masked"):
        scattering.pull_back(images, masked)


def test_parameters_that_are_set_after_the_fit_count_from_the_next_one(rng):
    images = rng.random((3, 12, 9, 3))
    scattering = Scattering(J=1).fit(images)
    expected = scattering.transform(images)
    scattering.set_params(J=2, L=4, max_order=1, padding="zero", colours="rgb")
    np.testing.assert_array_equal(scattering.transform(images), expected)
    single = scattering.transform(images.astype(np.float32))  # for which filters are made now
    np.testing.assert_allclose(single, expected, rtol=1e-3, atol=1e-5)
    with pytest.raises(ValueError, match="choose a smaller J"):
        scattering.set_params(J=5).fit(images)
    np.testing.assert_array_equal(scattering.transform(images), expected)
    assert scattering.set_params(J=2).fit(images).transform(images).shape != expected.shape


def test_what_is_given_stays_as_it_is(images):
    X = images[:, ::-1]  # not contiguous
    before = X.copy()
    features = Scattering().fit(X).transform(X)
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(features, Scattering().fit(before).transform(before))


def test_integers_and_no_images(images):
    scattering = Scattering().fit(images)
    assert scattering.transform(images[:0]).shape == (0, np.prod(scattering.map_shape_))
    pixels = (images * 255).astype(np.uint8)
    np.testing.assert_array_equal(
        scattering.transform(pixels), scattering.transform(pixels.astype(float))
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"J": 0}, "J"),
        ({"J": 4}, "choose a smaller J"),
        ({"L": 1.5}, "L"),
        ({"L": 10**9}, "L must be at most 64"),
        ({"max_order": 3}, "max_order must be at most 2"),
        ({"padding": "none"}, "padding must be one of"),
        ({"colours": "hsv"}, "colours must be one of"),
        ({"image_shape": (9, 12)}, "is not that of images of 9 x 12"),
        ({"image_shape": "12"}, "image_shape must be a tuple"),
        ({"image_shape": (3,)}, "image_shape must have 2 or 3 numbers"),
    ],
)
def test_parameters_that_are_refused(images, parameters, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Scattering(**parameters).fit(images)


def test_images_that_are_refused(images):
    scattering = Scattering()
    with pytest.raises(NotFittedError):
        scattering.transform(images)
    scattering.fit(images)
    with pytest.raises(ValueError, match=r"must have shape \(n, 12, 9\) or \(n, 108\)"):
        scattering.transform(images[:, :8])
    with pytest.raises(ValueError, match="NaN"):
        scattering.transform(np.where(images > 0.5, np.nan, images))
    with pytest.raises(ValueError, match="too large"):
        scattering.transform((images * 1e30).astype(np.float32))


def test_copies(images):
    scattering = Scattering(J=1, padding="zero").fit(images)
    again = pickle.loads(pickle.dumps(scattering))
    np.testing.assert_array_equal(again.transform(images), scattering.transform(images))
    assert clone(scattering).get_params() == scattering.get_params()
    assert len(scattering.get_feature_names_out()) == np.prod(scattering.map_shape_)
