from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import kflow
from kflow.plotting import ImageStripDisplay
from kflow.presets import FIXED


@pytest.fixture
def images(rng):
    return rng.random((24, 6)) * 200


Y = np.arange(24) // 2 % 3


@pytest.mark.slow
@pytest.mark.parametrize("scaling", ["unit", "standard", None])
@pytest.mark.parametrize("rank", [None, 4])
def test_the_difference_is_in_units_of_the_pixels(scaling, rank, images, ax):
    classifier = kflow.KernelFlowClassifier(
        **{
            **FIXED,
            "n_layers": 5,
            "scaling": scaling,
            "rank": rank,
            "dtype": "float64",
            "random_state": 0,
        }
    ).fit(images, Y.astype(float))
    display = ImageStripDisplay.from_estimator(classifier, images, image_shape=(2, 3), ax=ax)
    moved = classifier.transform(images)
    if scaling == "unit":
        expected = moved * np.linalg.norm(images, axis=1)[:, None]
    elif scaling == "standard":
        expected = moved * images.std(axis=0) + images.mean(axis=0)
    else:
        expected = moved
    np.testing.assert_array_equal(display.images, images.reshape(24, 2, 3))
    np.testing.assert_allclose(display.moved, expected.reshape(24, 2, 3))


def test_no_layers_change_nothing(images, ax):
    flow = kflow.KernelFlow(n_layers=3, batch_size=20, dtype="float64").fit(images, Y.astype(float))
    display = ImageStripDisplay.from_estimator(
        flow, images, Y, image_shape=(3, 2), n_layers=0, ax=ax
    )
    np.testing.assert_array_equal(display.moved, display.images)
    assert "$F_{0}(x)$" in [label.get_text() for label in ax.get_yticklabels()]


def test_some_images_of_each_class(images, ax):
    flow = kflow.KernelFlow(n_layers=1, batch_size=20).fit(images, Y.astype(float))
    display = ImageStripDisplay.from_estimator(
        flow, images, Y, image_shape=(3, 2), images_per_class=3, ax=ax
    )
    np.testing.assert_array_equal(display.labels, np.repeat([0, 1, 2], 3))
    rows = np.concatenate([np.flatnonzero(c == Y)[:3] for c in range(3)])
    np.testing.assert_array_equal(display.images.reshape(9, 6), images[rows])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1", "2"]


def test_images_drawn_at_random(images, ax):
    flow = kflow.KernelFlow(n_layers=1, batch_size=20).fit(images, Y.astype(float))
    display = ImageStripDisplay.from_estimator(
        flow, images, Y, image_shape=(3, 2), images_per_class=99, random_state=1, ax=ax
    )
    np.testing.assert_array_equal(np.sort(display.labels), np.sort(Y))
    assert {tuple(row) for row in display.images.reshape(24, 6)} == {tuple(row) for row in images}


def test_three_rows(rng, ax):
    images, moved = rng.random((2, 4, 5, 3))
    display = ImageStripDisplay(images, moved, layer=9).plot(ax)
    x, f, difference = display.images_
    assert x.get_clim() == f.get_clim()
    low, high = difference.get_clim()
    assert low == -high == -np.abs(moved - images).max()
    # Every column of pixels of the first row is one of the images', or a gap.
    strip = np.ma.filled(x.get_array().astype(float), np.nan)
    gaps = np.isnan(strip).all(axis=0)
    assert gaps.sum() > 0
    columns = list(strip.T[~gaps])
    expected = images.transpose(0, 2, 1).reshape(-1, 5)
    kept = [columns[0], *(b for a, b in pairwise(columns) if (a != b).any())]
    np.testing.assert_array_equal(kept, expected)
    assert display.colorbar_.ax.get_ylabel() == "$F_{9}(x) - x$ (pixel units)"


def test_images_in_colour(rng, ax):
    images, moved = 200 * rng.random((2, 4, 5, 3, 3))
    moved[0, 0, 0] = [300.0, -10.0, 0.0]
    display = ImageStripDisplay(images, moved).plot(ax)
    x, f, difference = display.images_
    for drawn in (x, f):
        assert drawn.get_array().shape[2] == 3
        assert drawn.get_array().min() >= 0.0
        assert drawn.get_array().max() == 1.0
    np.testing.assert_array_equal(f.get_array()[0, 0], [1.0, 0.0, 0.0])
    assert difference.get_clim()[1] == np.abs((moved - images).mean(axis=3)).max()
    flow = kflow.KernelFlow(n_layers=1, batch_size=4).fit(images.reshape(4, -1), [0.0, 1, 0, 1])
    strip = ImageStripDisplay.from_estimator(
        flow, images.reshape(4, -1), image_shape=(5, 3, 3), ax=ax
    )
    np.testing.assert_allclose(strip.images, images, rtol=1e-6)


@pytest.mark.parametrize("images", [np.zeros((1, 1, 1)), np.full((2, 3, 3), 7.0)])
def test_constant_images(images, ax):
    ImageStripDisplay(images, images).plot(ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "$x$",
        "$F_n(x)$",
        "$F_n(x) - x$",
    ]


def test_wrong_arguments(images):
    flow = kflow.KernelFlow(n_layers=1, batch_size=20).fit(images, Y.astype(float))
    with pytest.raises(ValueError, match="image_shape 2 x 2 does not make 6 pixels"):
        ImageStripDisplay.from_estimator(flow, images, image_shape=(2, 2))
    for shape in (6, (6,), (2.0, 3.0), (1, 3, 2), (1, 2, 3, 1)):
        with pytest.raises(TypeError, match="image_shape must be a pair of whole numbers"):
            ImageStripDisplay.from_estimator(flow, images, image_shape=shape)
    with pytest.raises(ValueError, match=r"y must have shape \(24,\), got \(12, 2\)"):
        ImageStripDisplay.from_estimator(flow, images, Y.reshape(12, 2), image_shape=(3, 2))
    with pytest.raises(ValueError, match=r"images must have shape \(n, height, width\)"):
        ImageStripDisplay(images, images)
    stack = images.reshape(24, 2, 3)
    with pytest.raises(ValueError, match="moved must have shape"):
        ImageStripDisplay(stack, stack[:-1])
    with pytest.raises(ValueError, match="moved contains NaN"):
        ImageStripDisplay(stack, stack * np.nan)
