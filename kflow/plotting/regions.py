"""Decision regions of a classifier of points in the plane."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from kflow._base.arguments import as_count, as_nugget
from kflow._base.array_types import FloatArray
from kflow._base.short_repr import ShortRepr
from kflow.flow.estimator_flow import EstimatorFlow, estimator_flow
from kflow.layers.replay import layer_count
from kflow.linear.interpolant import Interpolant
from kflow.operations import one_hot
from kflow.plotting.axes import axes_of, round_ticks
from kflow.plotting.colours import class_style, marker_area, tint
from kflow.plotting.inputs import as_numbers, as_planar, class_codes
from kflow.plotting.names import legend_of_classes
from kflow.plotting.points import draw_points

__all__ = ["DecisionRegionDisplay"]

# Where the shades of a region change: the winner's value minus the next one's.
_LEVELS = (0.0, 0.25, 0.5, 0.75)
_STRENGTHS = (0.16, 0.26, 0.36, 0.46)


class DecisionRegionDisplay(ShortRepr):
    """Regions in which each class wins, with the boundaries between them; darker means clearer.

    Parameters
    ----------
    xx0, xx1 : array_like, shape (r, s)
        Coordinates of a grid, as from `numpy.meshgrid`.
    response : array_like, shape (r, s, n_classes)
        A value for each class at each node. The class with the largest value wins.
    points : array_like, shape (n, 2), optional
        Points to draw on top.
    labels : array_like, shape (n,), optional
        Classes of these points.
    classes : array_like, shape (n_classes,), optional
        Names of the classes; those of `labels` if not given.
    layer : int, optional
        Number of layers, which is the title.

    Attributes
    ----------
    ax_, figure_ : matplotlib axes and figure
        The axes and the figure of the drawing.
    regions_, boundaries_ : list of matplotlib.contour.QuadContourSet
        Region and boundary of each class that wins somewhere. A class that wins everywhere has no
        boundary.
    scatters_ : list of matplotlib.collections.PathCollection
        The points of each class.
    """

    ax_: Axes
    figure_: Any
    regions_: list[Any]
    boundaries_: list[Any]
    scatters_: list[Any]

    def __init__(
        self,
        xx0: npt.ArrayLike,
        xx1: npt.ArrayLike,
        response: npt.ArrayLike,
        *,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        classes: npt.ArrayLike | None = None,
        layer: int | None = None,
    ) -> None:
        self.xx0, self.xx1 = as_numbers(xx0, "xx0"), as_numbers(xx1, "xx1")
        self.response = as_numbers(response, "response")
        _check_grid(self.xx0, self.xx1, self.response)
        n_classes = self.response.shape[2]
        if labels is not None and points is None:
            raise ValueError("labels without points: pass both")
        self.points = None if points is None else as_planar(points, "points")
        self.labels = None if labels is None else np.array(labels)
        if classes is not None:
            self.classes = np.array(classes)
        elif self.labels is not None:
            self.classes = np.unique(self.labels)
        else:
            self.classes = np.arange(n_classes)
        if self.classes.shape != (n_classes,):
            raise ValueError(
                f"classes must name {n_classes} classes, as response has, got shape "
                f"{self.classes.shape}"
            )
        self._codes = None
        if self.points is not None:
            self._codes = _codes_of(labels, len(self.points), self.classes)
        self.layer = layer

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        n_layers: int | None = None,
        grid_resolution: int = 200,
        margin: float = 0.08,
        nugget: float | None = None,
        ax: Axes | None = None,
        **style: Any,
    ) -> DecisionRegionDisplay:
        """Draw the regions of the interpolant of one-hot classes with K_n.

        Parameters
        ----------
        estimator : KernelFlow or KernelFlowClassifier
            A flow or estimator that was fitted to points (N, 2).
        X : array_like, shape (n, 2)
            Points to draw. The grid covers them.
        y : array_like, shape (n,)
            Classes of these points.
        n_layers : int, optional
            Number n of layers. If it is not given, the regions of a classifier are those of its own
            interpolant, with which it predicts. Otherwise, and for a flow, they are those of an
            interpolant of (X, y) with K_n.
        grid_resolution : int
            Number of points on each side of the grid.
        margin : float
            Distance by which the grid reaches beyond X, as a part of the extent of X.
        nugget : float, optional
            Nugget of the interpolant of (X, y); the estimator's if not given.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        **style
            Further arguments of `plot`.

        Returns
        -------
        DecisionRegionDisplay

        Raises
        ------
        SingularKernelError
            If the nugget is too small for these points.
        TypeError, ValueError
            If an argument has the wrong kind, shape or values. The message names it.

        Notes
        -----
        The layers are replayed for grid_resolution^2 points.
        """
        fitted = estimator_flow(estimator)
        raw = fitted.checked(X)
        if raw.shape[1] != 2:
            raise ValueError(f"X must have two columns to be drawn, got {raw.shape[1]}")
        side = as_count(grid_resolution, "grid_resolution", 2)
        xx0, xx1 = _grid_around(raw, side, as_nugget(margin, "margin"))
        nodes = np.column_stack([xx0.ravel(), xx1.ravel()])
        classes, codes = class_codes(y, len(raw), "y")
        if n_layers is None and nugget is None and hasattr(estimator, "classes_"):
            interpolant, classes = estimator.interpolant_, estimator.classes_
            count = fitted.flow.n_layers_
        else:
            count = layer_count(n_layers, fitted.flow.n_layers_)
            interpolant = _interpolant(fitted, raw, codes, count, nugget)
        (moved,) = fitted.flow.trajectory(fitted.scaled(nodes), (count,), reduced=True)
        response = interpolant(moved).reshape(side, side, -1)
        return cls(
            xx0,
            xx1,
            response,
            points=raw,
            labels=np.asarray(y).ravel(),
            classes=classes,
            layer=count,
        ).plot(ax, **style)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        size: float | None = None,
        legend: bool = True,
        xlabel: str = "$x_1$",
        ylabel: str = "$x_2$",
    ) -> DecisionRegionDisplay:
        """Draw the data on axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        size : float, optional
            Area of a marker in points squared. If it is not given, it depends on the number of points.
        legend : bool
            Put a legend of the classes beside the axes.
        xlabel, ylabel : str
            Names of the coordinates.

        Returns
        -------
        DecisionRegionDisplay
            The display itself.
        """
        self.ax_ = axes_of(ax, xlabel, ylabel, grid=False, size=(5.2, 4.4))
        self.figure_ = self.ax_.figure
        self.scatters_ = []
        self._draw_winners()
        self._draw_leads()
        if self.points is not None and self._codes is not None:
            area = marker_area(len(self.points)) if size is None else size
            self.scatters_ = draw_points(
                self.ax_, self.points, len(self.classes), self._codes, area
            )
        self.ax_.set_xlim(self.xx0.min(), self.xx0.max())
        self.ax_.set_ylim(self.xx1.min(), self.xx1.max())
        self.ax_.xaxis.set_major_locator(round_ticks())
        self.ax_.yaxis.set_major_locator(round_ticks())
        if self.layer is not None:
            self.ax_.set_title(f"n = {self.layer}", fontsize=10)
        if legend:
            legend_of_classes(self.ax_, self.classes)
        return self

    def _draw_winners(self) -> None:
        """Colour each node of the grid faintly by its class."""
        # Under the contours, which leave holes where a boundary turns within one cell of the grid.
        faint = [tint(class_style(code)[0], _STRENGTHS[0]) for code in range(len(self.classes))]
        self.ax_.pcolormesh(
            self.xx0,
            self.xx1,
            self.response.argmax(axis=2),
            cmap=ListedColormap(faint),
            vmin=-0.5,
            vmax=len(faint) - 0.5,
            shading="nearest",
            rasterized=True,
            zorder=0.5,
        )

    def _draw_leads(self) -> None:
        """Draw regions by how far the winner leads, and the boundaries where nobody does."""
        self.regions_, self.boundaries_ = [], []
        grid = self.xx0, self.xx1
        order = np.sort(self.response, axis=2)
        for code in range(len(self.classes)):
            own = self.response[:, :, code]
            # The winner's lead over the next; for the others, how far they are behind.
            lead = own - np.where(own == order[:, :, -1], order[:, :, -2], order[:, :, -1])
            if not lead.max() > 0.0:
                continue
            colour = class_style(code)[0]
            top = max(float(lead.max()), _LEVELS[-1]) + 1.0
            self.regions_.append(
                self.ax_.contourf(
                    *grid,
                    lead,
                    levels=[*_LEVELS, top],
                    colors=[tint(colour, strength) for strength in _STRENGTHS],
                    zorder=1,
                )
            )
            if lead.min() < 0.0:
                boundary: dict[str, Any] = {"colors": "#222222", "linewidths": 0.8, "zorder": 2}
                self.boundaries_.append(self.ax_.contour(*grid, lead, levels=[0.0], **boundary))


def _check_grid(
    xx0: npt.NDArray[np.float64], xx1: npt.NDArray[np.float64], response: npt.NDArray[np.float64]
) -> None:
    """Raise ValueError unless a response of at least two classes fits a grid."""
    shape = xx0.shape
    if len(shape) != 2 or min(shape) < 2 or xx1.shape != shape:
        raise ValueError(
            "xx0 and xx1 must have one shape (r, s), r and s at least 2, got "
            f"{shape} and {xx1.shape}"
        )
    if response.ndim != 3 or response.shape[:2] != shape:
        raise ValueError(
            f"response must have shape ({shape[0]}, {shape[1]}, n_classes), got {response.shape}"
        )
    if response.shape[2] < 2:
        raise ValueError("response must have a value for each of at least two classes")


def _codes_of(
    labels: npt.ArrayLike | None, n_points: int, classes: npt.NDArray[Any]
) -> npt.NDArray[np.intp]:
    """Return the number of each point's class among `classes`; 0 without labels."""
    given, codes = class_codes(labels, n_points)
    if labels is None:
        return codes
    places = {label: code for code, label in enumerate(classes.tolist())}
    unknown = [label for label in given.tolist() if label not in places]
    if unknown:
        raise ValueError(f"labels has {unknown[0]!r}, which is none of the classes")
    return np.array([places[label] for label in given.tolist()], dtype=np.intp)[codes]


def _grid_around(
    points: FloatArray, side: int, margin: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the coordinates of a grid that reaches beyond points by a part of their extent."""
    low, high = points.min(axis=0), points.max(axis=0)
    reach = margin * np.where(high > low, high - low, 1.0)
    xx0, xx1 = np.meshgrid(
        *(np.linspace(a - r, b + r, side) for a, b, r in zip(low, high, reach, strict=True))
    )
    return xx0, xx1


def _interpolant(
    fitted: EstimatorFlow,
    X: FloatArray,
    codes: npt.NDArray[np.intp],
    count: int,
    nugget: float | None,
) -> Interpolant:
    (moved,) = fitted.flow.trajectory(fitted.scaling(X), (count,), reduced=True)
    return Interpolant(
        moved,
        one_hot(codes),
        kernel=fitted.flow.kernel_,
        nugget=fitted.nugget if nugget is None else as_nugget(nugget),
        n_threads=fitted.flow.n_threads,
    )
