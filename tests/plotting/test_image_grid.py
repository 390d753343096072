from __future__ import annotations

import numpy as np
import pytest

from kflow.plotting import ImageGridDisplay


@pytest.mark.parametrize("colours", [(), (3,)])
def test_every_image_has_its_place(colours, rng, ax):
    images = rng.random((5, 6, 4, *colours))
    display = ImageGridDisplay(images, [f"{n}\n→ {n}" for n in range(5)]).plot(ax, n_columns=2)
    drawn = np.ma.filled(display.image_.get_array().astype(float), np.nan)
    scaled = images if not colours else images / images.max()
    height, width = drawn.shape[0] // 3, drawn.shape[1] // 2
    for number, image in enumerate(scaled):
        row, column = divmod(number, 2)
        cell = drawn[row * height : (row + 1) * height, column * width : (column + 1) * width]
        np.testing.assert_array_equal(cell[-6:, :4], image)
        x, y = display.texts_[number].get_position()
        assert column * width < x < column * width + 4
        assert row * height < y < row * height + height - 6
    last = drawn[2 * height :, width:]
    assert np.isnan(last).all() if not colours else (last == 1.0).all()


def test_without_texts(ax):
    display = ImageGridDisplay(np.zeros((3, 2, 2))).plot(ax)
    assert display.texts_ == []
    assert ImageGridDisplay(np.zeros((3, 2, 2)), ["a", "b", "c"]).size()[1] > display.size()[1]


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"images must have shape \(n, height, width\) or"):
        ImageGridDisplay(np.zeros((3, 2, 2, 2)))
    with pytest.raises(ValueError, match="images contains NaN"):
        ImageGridDisplay(np.full((3, 2, 2), np.nan))
    with pytest.raises(ValueError, match="one text for each of 3 images, got 2"):
        ImageGridDisplay(np.zeros((3, 2, 2)), ["a", "b"])
