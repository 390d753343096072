"""Distributions of margins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kflow._base.short_repr import ShortRepr
from kflow.plotting.axes import axes_of
from kflow.plotting.colours import GREY
from kflow.plotting.cumulative import draw_cumulative
from kflow.plotting.inputs import as_samples

__all__ = ["MarginDisplay"]


class MarginDisplay(ShortRepr):
    """Distributions of the margins of a classifier's points, such as before and after the flow.

    Parameters
    ----------
    margins : mapping of str to array_like
        Margins by name. A margin is positive if the predicted class is right.
    xlabel : str
        Name of the margin.

    Attributes
    ----------
    ax_, figure_ : matplotlib axes and figure
        The axes and the figure of the drawing.
    lines_ : list of matplotlib.lines.Line2D
        For each sample, the part of the points with at most that margin.
    """

    ax_: Axes
    figure_: Any
    lines_: list[Line2D]

    def __init__(self, margins: Mapping[str, npt.ArrayLike], *, xlabel: str = "margin") -> None:
        self.margins = as_samples(margins, "margins", finite=True)
        self.xlabel = xlabel

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        measure: str = "interpolant",
        layers: Iterable[int] | None = None,
        training: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        ax: Axes | None = None,
    ) -> MarginDisplay:
        """Compute `kflow.analysis.class_margins`, and draw.

        Parameters
        ----------
        estimator : KernelFlowClassifier or the result of kflow.make_image_pipeline
            A fitted classifier, or an encoder of images and the classifier behind it.
        X : array_like, shape (n, d)
            The points, one in each row.
        y : array_like, shape (n,)
            Classes of these points.
        measure : {"interpolant", "hypothesis"}
            Which margin of the result is drawn.
        layers : iterable of int, optional
            Numbers of layers after which to measure; 0 and all layers if not given.
        training : pair of array_like, optional
            The X and y of the fit. Without them the margins of the interpolant are known after all
            layers only.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.

        Returns
        -------
        MarginDisplay
        """
        from kflow.analysis import class_margins

        measures = {
            "interpolant": "margin of the interpolant",
            "hypothesis": "hypothesis margin / rms distance",
        }
        if measure not in measures:
            raise ValueError(f"measure must be one of {tuple(measures)}, got {measure!r}")
        result = class_margins(estimator, X, y, layers=layers, training=training)
        margins = {}
        for count, values in zip(result.layers, getattr(result, measure), strict=True):
            if not np.isnan(values).all():  # without training data, before the last layer
                margins[f"n = {count}"] = values[~np.isnan(values)]
        if not margins:
            raise ValueError("no margin is defined: pass training, and points of two classes")
        return cls(margins, xlabel=measures[measure]).plot(ax)

    def plot(self, ax: Axes | None = None) -> MarginDisplay:
        """Draw the data on axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.

        Returns
        -------
        MarginDisplay
            The display itself.
        """
        self.ax_ = axes_of(ax, self.xlabel, "part of the points")
        self.figure_ = self.ax_.figure
        self.lines_ = draw_cumulative(self.ax_, self.margins)
        self.ax_.axvline(0.0, color=GREY, linewidth=0.8, zorder=1)
        self.ax_.legend(frameon=False)
        return self
