"""Images before and after a flow, and what it added to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from kflow._base.arguments import as_count, as_generator
from kflow._base.array_types import FloatArray
from kflow._base.short_repr import ShortRepr
from kflow.flow.estimator_flow import estimator_flow
from kflow.layers.replay import layer_count
from kflow.plotting.axes import axes_of
from kflow.plotting.brightness import as_shown, brightness_limits, check_images
from kflow.plotting.inputs import as_labels, as_numbers, class_codes
from kflow.plotting.names import drawn_name

__all__ = ["ImageStripDisplay"]

_GAP = 0.08  # between images, in parts of one
_LONG_NAME = 5  # longer names of classes are written small


class ImageStripDisplay(ShortRepr):
    """Three rows of images: x, F_n(x), and the difference F_n(x) - x.

    Parameters
    ----------
    images : array_like, shape (n, height, width) or (n, height, width, 3)
        The images x, in the units of the pixels.
    moved : array_like, of the same shape
        The images F_n(x). The difference of images in colour is its mean over the colours.
    labels : array_like, shape (n,), optional
        Classes, written above the columns where they change.
    layer : int, optional
        Number n of layers.

    Attributes
    ----------
    ax_, figure_ : matplotlib axes and figure
        The axes and the figure of the drawing.
    images_ : list of matplotlib.image.AxesImage
        The three rows.
    colorbar_ : matplotlib.colorbar.Colorbar
        The colour bar of the difference.
    """

    ax_: Axes
    figure_: Any
    images_: list[AxesImage]
    colorbar_: Any

    def __init__(
        self,
        images: npt.ArrayLike,
        moved: npt.ArrayLike,
        labels: npt.ArrayLike | None = None,
        layer: int | None = None,
    ) -> None:
        self.images = as_numbers(images, "images")
        self.moved = as_numbers(moved, "moved")
        check_images(self.images)
        if self.moved.shape != self.images.shape:
            raise ValueError(
                f"moved must have shape {self.images.shape}, as images, got {self.moved.shape}"
            )
        check_images(self.moved, "moved")
        self.labels = None if labels is None else np.array(labels)
        class_codes(labels, len(self.images))
        self.layer = None if layer is None else as_count(layer, "layer", 0)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: npt.ArrayLike,
        y: npt.ArrayLike | None = None,
        *,
        image_shape: tuple[int, ...],
        n_layers: int | None = None,
        images_per_class: int = 1,
        random_state: Any = None,
        ax: Axes | None = None,
        **style: Any,
    ) -> ImageStripDisplay:
        """Draw images, what F_n makes of them, and the difference, all in units of their pixels.

        Parameters
        ----------
        estimator : KernelFlow, KernelFlowClassifier or KernelFlowRegressor
            A fitted flow or estimator.
        X : array_like, shape (n, d)
            Images, one in a row.
        y : array_like, shape (n,), optional
            Classes of these images. Without them, every row of X is drawn.
        image_shape : tuple of int
            Height, width and, for images in colour, 3; their product is d.
        n_layers : int, optional
            Number n of layers; all layers if not given.
        images_per_class : int
            Number of images of each class that are drawn, if the class has that many.
        random_state : None, int or numpy.random.Generator
            Source of the draws of these images; None for the first ones of each class.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        **style
            Further arguments of `plot`.

        Returns
        -------
        ImageStripDisplay

        Notes
        -----
        An estimator's scaling is undone: F_n(x / |x|) is multiplied with |x|, F_n((x - mean) / scale)
        with scale, and mean added.
        """
        fitted = estimator_flow(estimator)
        count = layer_count(n_layers, fitted.flow.n_layers_)
        sides = _as_sides(image_shape)
        raw = fitted.checked(X)
        if np.prod(sides) != raw.shape[1]:
            raise ValueError(
                f"image_shape {' x '.join(map(str, sides))} does not make {raw.shape[1]} pixels, the "
                "columns of X"
            )
        labels = None
        if y is not None:
            labels = as_labels(y, len(raw), "y")
            wanted = as_count(images_per_class, "images_per_class", 1)
            rows = _some_of_each_class(labels, len(raw), wanted, random_state)
            raw, labels = raw[rows], labels[rows]
        (moved,) = fitted.flow.trajectory(fitted.scaling(raw), (count,))
        shape = (len(raw), *sides)
        back = fitted.scaling.undone(moved, raw)
        return cls(raw.reshape(shape), back.reshape(shape), labels, count).plot(ax, **style)

    def plot(
        self, ax: Axes | None = None, *, cmap: str = "gray_r", difference_cmap: str = "PuOr_r"
    ) -> ImageStripDisplay:
        """Draw the data on axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        cmap : str
            Colour map of the images. It reaches from zero, or their smallest value if that is
            negative, to their largest value. Values of F_n(x) beyond get the colour at the end.
        difference_cmap : str
            Diverging colour map of the difference, centred at zero.

        Returns
        -------
        ImageStripDisplay
            The display itself.
        """
        n, height, width = self.images.shape[:3]
        aspect = height / width
        size = (max(0.62 * n + 2.2, 4.0), 0.62 * 3 * aspect + 0.9)
        self.ax_ = axes_of(ax, "", "", grid=False, size=size)
        self.figure_ = self.ax_.figure
        difference = self.moved - self.images
        if difference.ndim == 4:
            difference = difference.mean(axis=3)
        largest = float(np.abs(difference).max()) or 1.0
        low, high = brightness_limits(self.images)
        grey = {"cmap": cmap, "vmin": low, "vmax": high}
        rows: list[tuple[FloatArray, dict[str, Any]]] = [
            (self.images, grey),
            (self.moved, grey),
            (difference, {"cmap": difference_cmap, "vmin": -largest, "vmax": largest}),
        ]
        step = aspect + _GAP
        self.images_ = [
            self.ax_.imshow(
                as_shown(_strip(pictures), low, high),
                extent=(0.0, n * (1.0 + _GAP) - _GAP, -number * step - aspect, -number * step),
                interpolation="nearest",
                aspect="equal",
                **colours,
            )
            for number, (pictures, colours) in enumerate(rows)
        ]
        self.ax_.set_xlim(-_GAP, n * (1.0 + _GAP))
        self.ax_.set_ylim(-2 * step - aspect - _GAP, _GAP)
        name = "n" if self.layer is None else f"{{{self.layer}}}"
        moved = f"F_{name}(x)"
        self.ax_.set_yticks(
            [-number * step - aspect / 2.0 for number in range(3)],
            labels=["$x$", f"${moved}$", f"${moved} - x$"],
        )
        self._name_columns(n)
        self.ax_.spines[:].set_visible(False)
        self.ax_.tick_params(length=0.0, labeltop=True, labelbottom=False)
        self.colorbar_ = self.figure_.colorbar(
            self.images_[2], ax=self.ax_, shrink=0.9, aspect=16, pad=0.02
        )
        self.colorbar_.set_label(f"${moved} - x$ (pixel units)")
        self.colorbar_.outline.set_visible(False)
        return self

    def _name_columns(self, n: int) -> None:
        places, names = [], []
        if self.labels is not None:
            first = 0
            for column in range(1, n + 1):
                if column == n or self.labels[column] != self.labels[first]:
                    places.append(((first + column) * (1.0 + _GAP) - _GAP) / 2.0)
                    names.append(drawn_name(self.labels[first]))
                    first = column
            self.ax_.xaxis.set_label_position("top")
            self.ax_.set_xlabel("class")
        is_long = max(map(len, names), default=0) > _LONG_NAME
        self.ax_.set_xticks(places, labels=names, fontsize=8 if is_long else None)


def _as_sides(image_shape: Any) -> tuple[int, ...]:
    try:
        sides = tuple(as_count(side, "image_shape", 1) for side in image_shape)
    except (TypeError, ValueError):
        sides = ()
    if len(sides) != 2 and sides[2:] != (3,):
        raise TypeError(
            f"image_shape must be a pair of whole numbers, or such a pair and 3, got {image_shape!r}"
        )
    return sides


def _strip(pictures: FloatArray) -> npt.NDArray[np.float64]:
    """Return images side by side, with gaps of NaN, which Matplotlib does not draw."""
    n, height, width = pictures.shape[:3]
    # Whole pixels do not make gaps of the width wanted: each pixel is repeated.
    fine = max(1, round(1.0 / (_GAP * width)))
    gap = max(1, round(_GAP * width * fine))
    cells = np.full((n, height, width * fine + gap, *pictures.shape[3:]), np.nan)
    cells[:, :, : width * fine] = np.repeat(pictures, fine, axis=2)
    whole: npt.NDArray[np.float64] = np.concatenate(list(cells), axis=1)[:, :-gap]
    return whole


def _some_of_each_class(
    labels: npt.NDArray[Any], n: int, wanted: int, random_state: Any
) -> npt.NDArray[np.intp]:
    classes, codes = class_codes(labels, n, "y")
    order = np.arange(n)
    if random_state is not None:
        order = as_generator(random_state).permutation(n)
    chosen = [order[codes[order] == code][:wanted] for code in range(len(classes))]
    return np.concatenate(chosen).astype(np.intp)
