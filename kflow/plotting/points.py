"""Points in the plane, before and after layers of a flow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from kflow._base.arguments import as_count
from kflow._base.array_types import FloatArray
from kflow._base.short_repr import ShortRepr
from kflow.data.arrays import refuse_masked
from kflow.flow.estimator_flow import as_layers, estimator_flow
from kflow.plotting.axes import panels, square_limits
from kflow.plotting.colours import class_style, marker_area, shade
from kflow.plotting.inputs import as_planar, class_codes
from kflow.plotting.names import legend_of_classes, name_class_means
from kflow.plotting.projection import plane_maps

__all__ = ["PointsDisplay"]

# Up to so many classes a legend serves better than names at the classes' means, which may coincide.
_MAX_LEGEND = 4


class PointsDisplay(ShortRepr):
    """Points in the plane, coloured and marked by class: one panel for each number of layers.

    Parameters
    ----------
    points : array_like, shape (n, 2) or (p, n, 2)
        Points, or the same points in p panels.
    labels : array_like, shape (n,), optional
        Classes of these points.
    layer : int or sequence of p int, optional
        Number of layers of each panel, which is its title.
    axis_labels : pair of str, or sequence of p pairs
        Names of the coordinates.

    Attributes
    ----------
    ax_, axes_, figure_ : matplotlib axes, list of axes, and figure
        The first panel, all panels, and their figure.
    scatters_ : list of list of matplotlib.collections.PathCollection
        For each panel, the points of each class.
    """

    ax_: Axes
    axes_: list[Axes]
    figure_: Any
    scatters_: list[list[Any]]

    def __init__(
        self,
        points: npt.ArrayLike,
        labels: npt.ArrayLike | None = None,
        layer: int | Sequence[int] | None = None,
        *,
        axis_labels: tuple[str, str] | Sequence[tuple[str, str]] = ("$x_1$", "$x_2$"),
    ) -> None:
        refuse_masked(points, "points")
        try:
            array = np.asarray(points)
        except ValueError as error:
            raise ValueError(f"points must be the same in all panels: {error}") from None
        stack = array[None] if array.ndim == 2 else array
        if stack.ndim != 3 or stack.shape[0] == 0:
            raise ValueError(f"points must have shape (n, 2) or (p, n, 2), got {array.shape}")
        self.points: FloatArray = np.stack([as_planar(panel, "points") for panel in stack])
        n_panels, n, _ = self.points.shape
        self.labels = None if labels is None else np.array(labels)
        self._classes, self._codes = class_codes(labels, n)
        layers = [layer] if layer is None or np.ndim(layer) == 0 else list(layer)  # type: ignore[arg-type]
        if layer is not None and len(layers) != n_panels:
            raise ValueError(f"layer must have {n_panels} entries, got {len(layers)}")
        self.layers = None if layer is None else [as_count(n, "layer", 0) for n in layers]
        pairs: list[Any] = list(axis_labels)
        if all(isinstance(name, str) for name in pairs):
            pairs = [tuple(pairs)] * n_panels
        if len(pairs) != n_panels or any(len(pair) != 2 for pair in pairs):
            raise ValueError("axis_labels must be a pair of str, or one pair for each panel")
        self.axis_labels = pairs

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: npt.ArrayLike,
        y: npt.ArrayLike | None = None,
        *,
        layers: Iterable[int] | None = None,
        projection: str | None = None,
        ax: Any = None,
        **style: Any,
    ) -> PointsDisplay:
        """Draw F_n(X) for several n.

        Parameters
        ----------
        estimator : KernelFlow, KernelFlowClassifier or KernelFlowRegressor
            A fitted flow or estimator.
        X : array_like, shape (n, d)
            The points, one in each row.
        y : array_like, shape (n,), optional
            Classes of these points.
        layers : iterable of int, optional
            The numbers n of layers, increasing, with a panel for each; four evenly spaced ones if not
            given.
        projection : {"pca", "classes"} or None
            How points in more than two dimensions are drawn. ``"pca"``: by their two leading
            principal directions, which for each n are those of F_n(X) itself. ``"classes"``: by the
            linear least-squares map of the last F_n(X) to the classes' places on a circle, the same for
            all n; it needs y. None: as they are, for d = 2.
        ax : matplotlib.axes.Axes or sequence of them, optional
            Axes to draw on, one for each n; a new figure if not given. Panels are square, which suits
            figures with Matplotlib's ``layout="compressed"``.
        **style
            Further arguments of `plot`.

        Returns
        -------
        PointsDisplay

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong kind, shape or values. The message names it.
        """
        fitted = estimator_flow(estimator)
        counts = as_layers(layers, fitted.flow, 4)
        points = fitted.scaled(X)
        codes = None if y is None else class_codes(y, len(points), "y")[1]
        moved = list(fitted.flow.trajectory(points, counts))
        maps = plane_maps(moved, projection, codes)
        planar = [plane(positions) for plane, positions in zip(maps, moved, strict=True)]
        display = cls(np.stack(planar), y, counts, axis_labels=[plane.names for plane in maps])
        # Principal directions differ from panel to panel, and so does what they measure.
        style.setdefault("share_limits", projection != "pca")
        return display.plot(ax, **style)

    def plot(
        self,
        ax: Any = None,
        *,
        share_limits: bool = True,
        size: float | None = None,
        class_names: str | None = "auto",
    ) -> PointsDisplay:
        """Draw the data on axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or sequence of them, optional
            Axes to draw on, one for each panel; a new figure if not given.
        share_limits : bool
            Give all panels the same limits.
        size : float, optional
            Area of a marker in points squared. If it is not given, it depends on the number of points.
        class_names : {"auto", "means", "legend"} or None
            Where the names of the classes are. ``"means"``: at the mean of each class.
            ``"legend"``: in a legend beside the last panel. ``"auto"``: in a legend for up to four
            classes, else at the means. None: nowhere.

        Returns
        -------
        PointsDisplay
            The display itself.
        """
        choices = ("auto", "means", "legend", None)
        if class_names not in choices:
            raise ValueError(f"class_names must be one of {choices}, got {class_names!r}")
        if class_names == "auto":
            class_names = "legend" if len(self._classes) <= _MAX_LEGEND else "means"
        n_panels, n, _ = self.points.shape
        self.axes_ = panels(ax, n_panels, size=(5.0, 4.0) if n_panels == 1 else (2.9, 3.0))
        self.ax_ = self.axes_[0]
        self.figure_ = self.ax_.figure
        area = marker_area(n) if size is None else size
        self.scatters_ = []
        for number, (panel, planar) in enumerate(zip(self.axes_, self.points, strict=True)):
            self.scatters_.append(draw_points(panel, planar, len(self._classes), self._codes, area))
            panel.set_xlabel(self.axis_labels[number][0])
            panel.set_ylabel(self.axis_labels[number][1])
            if self.layers is not None:
                panel.set_title(f"n = {self.layers[number]}", fontsize=10)
            named = class_names == "means" and self.labels is not None
            square_limits(
                [panel], self.points if share_limits else planar, margin=0.16 if named else 0.05
            )
            if named:
                name_class_means(panel, planar, self._classes, self._codes)
        if share_limits and len({tuple(pair) for pair in self.axis_labels}) == 1:
            for left, panel in pairwise(self.axes_):
                bottoms = [one.get_position(original=True).y0 for one in (left, panel)]
                if math.isclose(*bottoms):  # in one row
                    panel.set_ylabel("")
        if class_names == "legend" and self.labels is not None:
            legend_of_classes(self.axes_[-1], self._classes)
        return self


def draw_points(
    ax: Axes, points: FloatArray, n_classes: int, codes: npt.NDArray[np.intp], area: float
) -> list[Any]:
    """Draw points (n, 2) by class."""
    scatters = []
    for code in range(n_classes):
        colour, marker = class_style(code)
        chosen = points[codes == code]
        scatters.append(
            ax.scatter(
                chosen[:, 0],
                chosen[:, 1],
                s=area,
                color=colour,
                marker=marker,
                alpha=0.85,
                edgecolors=[shade(colour)],
                linewidths=0.4,
                zorder=3,
            )
        )
    return scatters
