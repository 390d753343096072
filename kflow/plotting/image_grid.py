"""Images side by side and below each other, each with a line of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from kflow._base.arguments import as_count
from kflow._base.short_repr import ShortRepr
from kflow.plotting.axes import axes_of
from kflow.plotting.brightness import as_shown, brightness_limits, check_images
from kflow.plotting.inputs import as_numbers

__all__ = ["ImageGridDisplay"]

_GAP = 0.08  # between columns, in parts of an image
_LINE = 0.17  # the height of a line of text in inches, with the gap below it
_INCHES = 0.66  # the width of a column of new axes


class ImageGridDisplay(ShortRepr):
    """Images in rows, with a text above each.

    Parameters
    ----------
    images : array_like, shape (n, height, width) or (n, height, width, 3)
        The images, in grey or in colour.
    titles : sequence of str, optional
        A text for each image, of one line or several.

    Attributes
    ----------
    ax_, figure_ : matplotlib axes and figure
        The axes and the figure of the drawing.
    image_ : matplotlib.image.AxesImage
        All images.
    texts_ : list of matplotlib.text.Text
        The texts.
    """

    ax_: Axes
    figure_: Any
    image_: AxesImage
    texts_: list[Any]

    def __init__(self, images: npt.ArrayLike, titles: Sequence[str] | None = None) -> None:
        self.images = as_numbers(images, "images")
        check_images(self.images)
        self.titles = None if titles is None else [str(title) for title in titles]
        if self.titles is not None and len(self.titles) != len(self.images):
            raise ValueError(
                f"titles must hold one text for each of {len(self.images)} images, got "
                f"{len(self.titles)}"
            )

    def size(self, n_columns: int = 10) -> tuple[float, float]:
        """Return width and height in inches of axes in which the texts fit."""
        columns = as_count(n_columns, "n_columns", 1)
        n, height, width = self.images.shape[:3]
        of_row = _INCHES * height / width + self._n_lines * _LINE
        return _INCHES * (1.0 + _GAP) * min(columns, n), of_row * -(-n // columns)

    @property
    def _n_lines(self) -> int:
        return 0 if self.titles is None else max(title.count("\n") + 1 for title in self.titles)

    def plot(
        self, ax: Axes | None = None, *, n_columns: int = 10, cmap: str = "gray_r"
    ) -> ImageGridDisplay:
        """Draw the images on axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on, best of a figure of `size`; new axes if not given.
        n_columns : int
            The largest number of images in a row.
        cmap : str
            Colour map of images in grey, from zero, or their smallest value if that is negative, to
            their largest value. Images in colour are shown between the same limits.

        Returns
        -------
        ImageGridDisplay
            The display itself.
        """
        size = self.size(n_columns)
        self.ax_ = axes_of(ax, "", "", grid=False, size=size)
        self.figure_ = self.ax_.figure
        n, height, width = self.images.shape[:3]
        columns = min(as_count(n_columns, "n_columns", 1), n)
        rows = -(-n // columns)
        between = max(1, round(_GAP * width))
        above = max(1, round(self._n_lines * _LINE / _INCHES * width))
        cell = (height + above, width + between)
        canvas = np.full((rows * cell[0], columns * cell[1], *self.images.shape[3:]), np.nan)
        self.texts_ = []
        for number, image in enumerate(self.images):
            top, left = number // columns * cell[0] + above, number % columns * cell[1]
            canvas[top : top + height, left : left + width] = image
            if self.titles is not None:
                place = (left + 0.5 * width - 0.5, top - 0.5 - 0.1 * above)
                text = self.ax_.text(
                    *place, self.titles[number], ha="center", va="bottom", fontsize=6.5
                )
                self.texts_.append(text)
        low, high = brightness_limits(self.images)
        self.image_ = self.ax_.imshow(
            as_shown(canvas, low, high), cmap=cmap, vmin=low, vmax=high, interpolation="nearest"
        )
        self.ax_.set_axis_off()
        return self
