"""Velocities of points under a flow."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.quiver import Quiver

from kflow._base.arguments import as_count, as_number, as_positive
from kflow._base.array_types import FloatArray
from kflow._base.short_repr import ShortRepr
from kflow.engine import HOST
from kflow.engine.threads import resolve_n_threads
from kflow.flow.estimator_flow import EstimatorFlow, estimator_flow
from kflow.layers.replay import layer_count
from kflow.plotting.axes import axes_of, square_around, square_limits
from kflow.plotting.colours import GREY, class_style
from kflow.plotting.inputs import as_planar, class_codes
from kflow.plotting.names import legend_of_classes
from kflow.plotting.projection import plane_maps

__all__ = ["VelocityDisplay"]

# The arrow that is longer than this part of the others sets the scale: a few points may move much
# faster than the rest.
_QUANTILE = 0.9


def _reach(n_arrows: int) -> float:
    """Return the length of that arrow as a part of the extent of the points; many arrows are shorter."""
    return min(max(1.4 / math.sqrt(n_arrows), 0.03), 0.12)


class VelocityDisplay(ShortRepr):
    """Arrows that show in which direction points move, and how fast.

    Parameters
    ----------
    points : array_like, shape (n, 2)
        Points at which the arrows start.
    velocities : array_like, shape (n, 2)
        Directions and lengths of the arrows.
    labels : array_like, shape (n,), optional
        Classes of the points, which give the arrows their colours.
    background : array_like, shape (m, 2), optional
        Further points, drawn faintly under the arrows.
    background_labels : array_like, shape (m,), optional
        Classes of these points.
    title : str, optional
        Title, such as a formula of the velocity.
    axis_labels : pair of str
        Names of the coordinates.

    Attributes
    ----------
    ax_, figure_ : matplotlib axes and figure
        The axes and the figure of the drawing.
    quivers_ : list of matplotlib.quiver.Quiver
        The arrows of each class.
    key_ : matplotlib.quiver.QuiverKey or None
        The arrow that tells the scale.
    """

    ax_: Axes
    figure_: Any
    quivers_: list[Quiver]
    key_: Any

    def __init__(
        self,
        points: npt.ArrayLike,
        velocities: npt.ArrayLike,
        labels: npt.ArrayLike | None = None,
        *,
        background: npt.ArrayLike | None = None,
        background_labels: npt.ArrayLike | None = None,
        title: str | None = None,
        axis_labels: tuple[str, str] = ("$x_1$", "$x_2$"),
    ) -> None:
        self.points = as_planar(points, "points")
        self.velocities = as_planar(velocities, "velocities")
        if len(self.velocities) != len(self.points):
            raise ValueError(
                f"velocities must have {len(self.points)} rows, as points, got "
                f"{len(self.velocities)}"
            )
        self.labels = None if labels is None else np.array(labels)
        self._classes, self._codes = class_codes(labels, len(self.points))
        self.background = None if background is None else as_planar(background, "background")
        self.background_labels = None
        if background_labels is not None:
            if self.background is None:
                raise ValueError("background_labels without background: pass both")
            self.background_labels = np.array(background_labels)
            class_codes(background_labels, len(self.background), "background_labels")
        self.title = title
        self.axis_labels = axis_labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: npt.ArrayLike,
        y: npt.ArrayLike | None = None,
        *,
        n_layers: int,
        span: int = 1,
        factor: float = 1.0,
        grid: int | None = None,
        projection: str | None = None,
        ax: Axes | None = None,
        **style: Any,
    ) -> VelocityDisplay:
        """Draw v = factor (F_{n+span} - F_n) / span, n = `n_layers`.

        Parameters
        ----------
        estimator : KernelFlow, KernelFlowClassifier or KernelFlowRegressor
            A fitted flow or estimator.
        X : array_like, shape (n, d)
            Points before the flow. The arrows start at F_n(X).
        y : array_like, shape (n,), optional
            Classes of these points.
        n_layers, span : int
            The number n of layers, and the number of layers over which the velocity is averaged; 1
            for the velocity of one layer.
        factor : float
            Factor by which the velocity is multiplied.
        grid : int, optional
            Number of points on each side of a regular grid around F_n(X). With it, the velocity field
            is drawn at the grid instead of the points, which are drawn faintly. It needs d = 2 and a
            flow without a `rank`.
        projection : {"pca", "classes"} or None
            How points in more than two dimensions are drawn, as in `PointsDisplay`. One linear map
            serves F_n(X) and F_{n+span}(X) - F_n(X).
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        **style
            Further arguments of `plot`.

        Returns
        -------
        VelocityDisplay

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong kind, shape or values. The message names it.
        """
        fitted = estimator_flow(estimator)
        n = layer_count(as_count(n_layers, "n_layers", 0), fitted.flow.n_layers_)
        wide = as_count(span, "span", 1)
        if n + wide > fitted.flow.n_layers_:
            raise ValueError(
                f"n_layers + span must be at most {fitted.flow.n_layers_}, as many as the flow has, "
                f"got {n} + {wide}"
            )
        rate = as_number(factor, "factor") / wide
        points = fitted.scaled(X)
        codes = None if y is None else class_codes(y, len(points), "y")[1]
        before, after = fitted.flow.trajectory(points, (n, n + wide))
        (plane,) = plane_maps([before], projection, codes)
        here = plane(before)
        title = _title(n, wide, rate * wide)
        if grid is None:
            moved = plane.velocities(after.astype(np.float64) - before)
            display = cls(here, rate * moved, y, title=title, axis_labels=plane.names)
            return display.plot(ax, **style)
        nodes = grid_around(here, as_count(grid, "grid", 2))
        field = rate * (carried_on(fitted, nodes, n, wide) - nodes)
        return cls(
            nodes,
            field,
            background=here,
            background_labels=y,
            title=title,
            axis_labels=plane.names,
        ).plot(ax, **style)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        longest: float | None = None,
        color: str = "#222222",
        legend: bool = True,
        key: bool = True,
    ) -> VelocityDisplay:
        """Draw the data on axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        longest : float, optional
            The speed that is drawn as an arrow of about a tenth of the extent of the points, or less
            if there are many points. If it is not given, it is the speed that nine of ten points do
            not exceed.
        color : str
            Colour of the arrows where there are no classes.
        legend : bool
            Put a legend of the classes beside the axes.
        key : bool
            Show an arrow that tells the scale, above the axes on the right.

        Returns
        -------
        VelocityDisplay
            The display itself.
        """
        speed = self._usual_speed() if longest is None else as_positive(longest, "longest")
        self.ax_ = axes_of(ax, *self.axis_labels, grid=False, size=(5.2, 4.6))
        self.figure_ = self.ax_.figure
        around = self.points
        if self.background is not None:
            around = np.concatenate([self.points, self.background])
        extent = float((around.max(axis=0) - around.min(axis=0)).max()) or 1.0
        scale = speed / (_reach(len(self.points)) * extent)
        tips = self.points + self.velocities / scale
        square_limits([self.ax_], np.concatenate([around, tips]), margin=0.02)
        if self.background is not None:
            self._draw_dots(self.background, self.background_labels)
        elif self.labels is not None:
            self._draw_dots(self.points, self.labels)
        self.quivers_ = self._draw_arrows(scale, color)
        self.key_ = self._draw_key(speed) if key else None
        if self.title is not None:
            self.ax_.set_title(self.title, fontsize=10, loc="left")
        if legend:
            if self.labels is not None:
                legend_of_classes(self.ax_, self._classes)
            elif self.background_labels is not None:
                legend_of_classes(self.ax_, np.unique(self.background_labels))
        return self

    def _usual_speed(self) -> float:
        """Return the speed that nine of ten points do not exceed, or else one that is not zero."""
        speeds = np.linalg.norm(self.velocities, axis=1)
        return float(np.quantile(speeds, _QUANTILE)) or float(speeds.max()) or 1.0

    def _draw_arrows(self, scale: float, color: str) -> list[Quiver]:
        """Draw the arrows of each class."""
        shape: dict[str, Any] = {
            "width": 0.003,
            "headwidth": 4.0,
            "headlength": 4.5,
            "headaxislength": 4.0,
        }
        quivers = []
        for code in range(len(self._classes)):
            chosen = self._codes == code
            quivers.append(
                self.ax_.quiver(
                    *self.points[chosen].T,
                    *self.velocities[chosen].T,
                    color=color if self.labels is None else class_style(code)[0],
                    angles="xy",
                    scale_units="xy",
                    scale=scale,
                    minlength=0.4,
                    zorder=3,
                    **shape,
                )
            )
        return quivers

    def _draw_key(self, speed: float) -> Any:
        """Draw the arrow that tells the scale."""
        told = round_down(speed)
        return self.ax_.quiverkey(
            self.quivers_[0],
            0.86,
            1.03,
            told,
            f"{told:g}",
            labelpos="E",
            color="#222222",
            fontproperties={"size": 9},
        )

    def _draw_dots(self, points: FloatArray, labels: npt.NDArray[Any] | None) -> None:
        classes, codes = class_codes(labels, len(points))
        for code in range(len(classes)):
            colour, marker = class_style(code)
            chosen = points[codes == code]
            self.ax_.scatter(
                chosen[:, 0],
                chosen[:, 1],
                s=9.0,
                color=GREY if labels is None else colour,
                marker=marker,
                alpha=0.45,
                linewidths=0.0,
                zorder=2,
            )


def _title(n_layers: int, span: int, factor: float) -> str:
    shown = "" if factor == 1.0 else f"{factor:g}\\,"
    later = f"F_{{{n_layers + span}}}(x) - F_{{{n_layers}}}(x)"
    if span == 1:
        return f"$v = {shown}({later})$" if shown else f"$v = {later}$"
    return f"$v = {shown}({later}) / {span}$"


def round_down(value: float) -> float:
    """Return the largest number of the form 1, 2 or 5 times a power of ten that is at most `value`."""
    power = 10.0 ** np.floor(np.log10(value))
    # A product of floats may exceed the value that it stands for by a rounding error.
    return float(max(m * power for m in (1.0, 2.0, 5.0) if m == 1.0 or m * power <= value))


def grid_around(points: FloatArray, n_side: int) -> FloatArray:
    centre, half = square_around(points)
    sides = [np.linspace(middle - 1.05 * half, middle + 1.05 * half, n_side) for middle in centre]
    return np.column_stack([side.ravel() for side in np.meshgrid(*sides)])


def carried_on(fitted: EstimatorFlow, nodes: FloatArray, first: int, span: int) -> FloatArray:
    """Return the points to which `span` layers from `first` on move points of the layer before."""
    flow = fitted.flow
    if nodes.shape[1] != flow.n_features_in_ or flow.rank is not None:
        raise ValueError(
            "grid needs a flow of two features without a rank: leave grid out, which draws the "
            "velocities of the points"
        )
    points = np.array(nodes, flow.dtype, order="C")
    layers = list(islice(flow.state_.store, first, first + span))
    HOST.replay(points, layers, flow.kernel_.profile, resolve_n_threads(flow.n_threads))
    return points.astype(np.float64)
