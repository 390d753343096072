"""The effective dimension of flowed points."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kflow._base.short_repr import ShortRepr
from kflow.plotting.axes import axes_of, log_scale, plain_number
from kflow.plotting.colours import class_style
from kflow.plotting.inputs import as_series, as_table
from kflow.plotting.names import drawn_name, label_lines

__all__ = ["DimensionDisplay"]


class DimensionDisplay(ShortRepr):
    """Effective dimension of the flowed points against the layer: of all, and of each class.

    Parameters
    ----------
    layers : array_like, shape (n_layers,)
        Numbers of layers after which the dimensions were measured.
    dimensions : array_like, shape (n_layers, 1 + n_classes)
        Dimension of all points in column 0, and of the points of each class in the other columns.
    classes : array_like, shape (n_classes,), optional
        Names of the classes.
    measure : str
        Which dimension it is. The axis gets this name.

    Attributes
    ----------
    ax_, figure_ : matplotlib axes and figure
        The axes and the figure of the drawing.
    line_ : matplotlib.lines.Line2D
        The dimension of all points.
    lines_ : list of matplotlib.lines.Line2D
        The dimension of each class.
    """

    ax_: Axes
    figure_: Any
    line_: Line2D
    lines_: list[Line2D]

    def __init__(
        self,
        layers: npt.ArrayLike,
        dimensions: npt.ArrayLike,
        classes: npt.ArrayLike | None = None,
        *,
        measure: str = "effective dimension",
    ) -> None:
        self.layers = as_series(layers, "layers")
        self.dimensions = as_table(dimensions, "dimensions", len(self.layers))
        n_classes = self.dimensions.shape[1] - 1
        self.classes = np.arange(n_classes) if classes is None else np.array(classes)
        if self.classes.shape != (n_classes,):
            raise ValueError(
                f"classes must name {n_classes} classes, one for each column of dimensions after "
                f"the first, got shape {self.classes.shape}"
            )
        self.measure = measure

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: npt.ArrayLike,
        y: npt.ArrayLike | None = None,
        *,
        measure: str = "participation",
        layers: Iterable[int] | None = None,
        ax: Axes | None = None,
        log: bool = True,
        **options: Any,
    ) -> DimensionDisplay:
        """Compute `kflow.analysis.effective_dimension`, and draw.

        Parameters
        ----------
        estimator : KernelFlow, KernelFlowClassifier or KernelFlowRegressor
            A fitted flow or estimator.
        X : array_like, shape (n, d)
            The points, one in each row.
        y : array_like, shape (n,), optional
            Classes of these points.
        measure : {"participation", "explained", "neighbours"}
            Which dimension of the result is drawn.
        layers : iterable of int, optional
            Numbers of layers after which to measure; evenly spaced ones if not given.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        log : bool
            Whether the axis of values is logarithmic where it can be, as in `plot`.
        **options
            Further options of `kflow.analysis.effective_dimension`.

        Returns
        -------
        DimensionDisplay
        """
        from kflow.analysis import effective_dimension

        measures = ("participation", "explained", "neighbours")
        if measure not in measures:
            raise ValueError(f"measure must be one of {measures}, got {measure!r}")
        result = effective_dimension(estimator, X, y, layers=layers, **options)
        names = {
            "participation": "participation ratio",
            "explained": f"directions that explain {100 * result.share:g} % of the variance",
            "neighbours": "dimension by nearest neighbours",
        }
        return cls(
            result.layers, getattr(result, measure), result.classes, measure=names[measure]
        ).plot(ax, log=log)

    def plot(self, ax: Axes | None = None, *, log: bool = True) -> DimensionDisplay:
        """Draw the data on axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        log : bool
            Make the axis of dimensions logarithmic, if all are positive.

        Returns
        -------
        DimensionDisplay
            The display itself.
        """
        self.ax_ = axes_of(ax, "layer n", self.measure)
        self.figure_ = self.ax_.figure
        self.lines_ = []
        for code in range(len(self.classes)):
            colour, marker = class_style(code)
            self.lines_ += self.ax_.plot(
                self.layers,
                self.dimensions[:, 1 + code],
                color=colour,
                marker=marker,
                markersize=3.5,
                linewidth=1.1,
            )
        (self.line_,) = self.ax_.plot(
            self.layers, self.dimensions[:, 0], color="#000000", linewidth=2.4
        )
        if log and log_scale(self.ax_, self.dimensions):
            self.ax_.yaxis.set_major_formatter(plain_number)
        else:
            self.ax_.set_ylim(bottom=0.0)
        self._name_lines()
        return self

    def _name_lines(self) -> None:
        """Write the names of the lines beside their last known points."""
        names = ["all", *(drawn_name(label) for label in self.classes)]
        colours = ["#000000", *(class_style(code)[0] for code in range(len(self.classes)))]
        known = [
            column for column in range(len(names)) if np.isfinite(self.dimensions[:, column]).any()
        ]
        ends = {
            column: float(self.dimensions[np.isfinite(self.dimensions[:, column]), column][-1])
            for column in known
        }
        if known:
            label_lines(
                self.ax_,
                float(self.layers[-1]),
                [ends[column] for column in known],
                [names[column] for column in known],
                [colours[column] for column in known],
            )
