"""What changes from layer to layer: loss, test error, distances within and between classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kflow._base.arguments import as_count, as_generator, as_nugget
from kflow._base.short_repr import ShortRepr
from kflow.evaluation import N_INTERPOLATION, average_error, class_distances, sizes_that_fit
from kflow.flow.estimator_flow import as_layers, estimator_flow
from kflow.plotting.axes import axes_of, log_scale, percent, plain_number
from kflow.plotting.colours import MARKERS, PALETTE
from kflow.plotting.inputs import as_labels, as_series
from kflow.plotting.names import legend_beside

__all__ = ["ClassDistanceDisplay", "ErrorDisplay", "LossDisplay"]


def running_mean(values: npt.NDArray[np.float64], window: int) -> npt.NDArray[np.float64]:
    """Return the mean over the `window` entries around each entry, fewer at the ends."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    entries = np.arange(len(values))
    first = np.maximum(entries - window // 2, 0)
    last = np.minimum(entries + (window + 1) // 2, len(values))
    mean: npt.NDArray[np.float64] = (sums[last] - sums[first]) / (last - first)
    return mean


class LossDisplay(ShortRepr):
    """The loss rho of each layer's batch, faint, and its running mean.

    Parameters
    ----------
    layers : array_like, shape (n,)
        Numbers of layers after which the loss was measured.
    rho : array_like, shape (n,)
        The loss, in [0, 1].

    Attributes
    ----------
    ax_, figure_ : matplotlib axes and figure
        The axes and the figure of the drawing.
    line_, mean_line_ : matplotlib.lines.Line2D
        The loss of each layer, and its running mean.
    """

    ax_: Axes
    figure_: Any
    line_: Line2D
    mean_line_: Line2D

    def __init__(self, layers: npt.ArrayLike, rho: npt.ArrayLike) -> None:
        self.layers = as_series(layers, "layers")
        self.rho = as_series(rho, "rho", len(self.layers))

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Axes | None = None, **style: Any) -> LossDisplay:
        """Draw the history of a fitted flow.

        Parameters
        ----------
        estimator : KernelFlow, KernelFlowClassifier or KernelFlowRegressor
            A fitted flow or estimator.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        **style
            Further arguments of `plot`.

        Returns
        -------
        LossDisplay
        """
        rho = estimator_flow(estimator).flow.history_["rho"]
        return cls(np.arange(len(rho)), rho).plot(ax, **style)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        window: int | None = None,
        color: str = PALETTE[0],
        label: str | None = None,
    ) -> LossDisplay:
        """Draw the data on axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        window : int, optional
            Number of layers in the running mean; a twentieth of all if not given.
        color : str
            Colour of both lines.
        label : str, optional
            Name of the flow in the legend, where there are several.

        Returns
        -------
        LossDisplay
            The display itself.
        """
        wide = max(1, len(self.rho) // 20) if window is None else as_count(window, "window", 1)
        self.ax_ = axes_of(ax, "layer n", r"loss $\rho$")
        self.figure_ = self.ax_.figure
        (self.line_,) = self.ax_.plot(
            self.layers,
            self.rho,
            color=color,
            alpha=0.3,
            linewidth=0.8,
            label="each layer" if label is None else "_",
        )
        (self.mean_line_,) = self.ax_.plot(
            self.layers,
            running_mean(self.rho, wide),
            color=color,
            linewidth=1.8,
            label=f"mean of {wide} layers" if label is None else label,
        )
        self.ax_.set_ylim(bottom=0.0)
        self.ax_.margins(x=0.02)
        self.ax_.legend(frameon=False)
        return self


class ErrorDisplay(ShortRepr):
    """The test error against the layer, a line for each number of interpolation points.

    Parameters
    ----------
    layers : array_like, shape (n,)
        Numbers of layers after which the errors were measured.
    errors : mapping of int to array_like (n,)
        Errors in [0, 1] for each number of interpolation points, as in
        `kflow.evaluation.ErrorCurve`.

    Attributes
    ----------
    ax_, figure_ : matplotlib axes and figure
        The axes and the figure of the drawing. The axis of errors is logarithmic, unless an error is
        zero.
    lines_ : list of matplotlib.lines.Line2D
        A line for each number of points, the largest first.
    """

    ax_: Axes
    figure_: Any
    lines_: list[Line2D]

    def __init__(self, layers: npt.ArrayLike, errors: Mapping[int, npt.ArrayLike]) -> None:
        if not isinstance(errors, Mapping) or not errors:
            raise TypeError(
                "errors must map numbers of interpolation points to errors, one at least, got "
                f"{errors!r:.60}"
            )
        self.layers = as_series(layers, "layers")
        self.errors = {
            size: as_series(values, f"errors[{size!r}]", len(self.layers))
            for size, values in sorted(errors.items(), reverse=True)
        }

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        X_test: npt.ArrayLike,
        y_test: npt.ArrayLike,
        *,
        layers: Iterable[int] | None = None,
        n_interpolation: Sequence[int] = N_INTERPOLATION[1:],
        n_draws: int = 5,
        nugget: float | None = None,
        random_state: Any = 0,
        ax: Axes | None = None,
        **style: Any,
    ) -> ErrorDisplay:
        """Measure the errors of interpolants with K_n after several numbers of layers, and draw.

        Parameters
        ----------
        estimator : KernelFlow or KernelFlowClassifier
            A fitted flow or estimator.
        X, X_test : array_like, shape (N, d) and (n, d)
            Points to interpolate from, usually those of the fit, and test points.
        y, y_test : array_like, shape (N,) and (n,)
            Classes of these points.
        layers : iterable of int, optional
            Numbers of layers after which to measure, increasing; eleven evenly spaced ones if not given.
        n_interpolation : sequence of int
            Numbers of interpolation points, as in `kflow.evaluation.interpolation_errors`.
        n_draws : int
            Number of draws of interpolation points over which each error is averaged.
        nugget : float, optional
            Nugget of the interpolants; the estimator's if not given.
        random_state : None, int or numpy.random.Generator
            Source of the draws.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        **style
            Further arguments of `plot`.

        Returns
        -------
        ErrorDisplay

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong kind, shape or values. The message names it.

        Notes
        -----
        The layers are replayed once for all points. Each draw costs a factorisation.
        """
        fitted = estimator_flow(estimator)
        counts = as_layers(layers, fitted.flow, 11)
        points, test_points = fitted.scaled(X), fitted.scaled(X_test, "X_test")
        labels = as_labels(y, len(points), "y")
        test_labels = as_labels(y_test, len(test_points), "y_test")
        draws = as_count(n_draws, "n_draws", 1)
        lam = fitted.nugget if nugget is None else as_nugget(nugget)
        rng = as_generator(random_state)
        sizes = sizes_that_fit(labels, n_interpolation)
        errors: dict[int, list[float]] = {size: [] for size in sizes}
        both = np.concatenate([points, test_points])
        for moved in fitted.flow.trajectory(both, counts, reduced=True):
            for size in sizes:
                errors[size].append(
                    average_error(
                        fitted.flow,
                        moved[: len(points)],
                        labels,
                        moved[len(points) :],
                        test_labels,
                        nugget=lam,
                        rng=rng,
                        n_interpolation=size,
                        n_draws=draws,
                    )
                )
        return cls(counts, errors).plot(ax, **style)

    def plot(self, ax: Axes | None = None, *, log: bool = True) -> ErrorDisplay:
        """Draw the data on axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        log : bool
            Make the error axis logarithmic, if no error is zero.

        Returns
        -------
        ErrorDisplay
            The display itself.
        """
        self.ax_ = axes_of(ax, "layer n", "test error")
        self.figure_ = self.ax_.figure
        self.lines_ = []
        for number, (size, values) in enumerate(self.errors.items()):
            self.lines_ += self.ax_.plot(
                self.layers,
                values,
                color=PALETTE[number % len(PALETTE)],
                marker=MARKERS[number % len(MARKERS)],
                markersize=4,
                linewidth=1.5,
                label=f"{size}",
            )
        every = np.concatenate(list(self.errors.values()))
        if not (log and log_scale(self.ax_, every)):
            self.ax_.set_ylim(bottom=0.0)
        self.ax_.yaxis.set_major_formatter(percent)
        legend_beside(self.ax_, title="interpolation\npoints")
        return self


class ClassDistanceDisplay(ShortRepr):
    """Mean squared distances between two points of one class, and of different ones.

    Parameters
    ----------
    layers : array_like, shape (n,)
        Numbers of layers after which the distances were measured.
    within, between : array_like, shape (n,), optional
        Mean squared distances between points of one class, and of different classes.
    ratio : array_like, shape (n,), optional
        The ratio of both, if the distances are not known, as in a flow's `history_`.

    Attributes
    ----------
    ax_, figure_ : matplotlib axes and figure
        The axes and the figure of the drawing. The axis of distances is logarithmic.
    lines_ : list of matplotlib.lines.Line2D
        The distances within and between classes, or the ratio.
    """

    ax_: Axes
    figure_: Any
    lines_: list[Line2D]

    def __init__(
        self,
        layers: npt.ArrayLike,
        within: npt.ArrayLike | None = None,
        between: npt.ArrayLike | None = None,
        *,
        ratio: npt.ArrayLike | None = None,
    ) -> None:
        self.layers = as_series(layers, "layers")
        n = len(self.layers)
        if (within is None) != (between is None) or (within is None) == (ratio is None):
            raise ValueError("pass within and between, or ratio alone")
        self.within = None if within is None else as_series(within, "within", n)
        self.between = None if between is None else as_series(between, "between", n)
        if self.within is not None and self.between is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                self.ratio = self.within / self.between
        else:
            self.ratio = as_series(ratio, "ratio", n)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: npt.ArrayLike | None = None,
        y: npt.ArrayLike | None = None,
        *,
        layers: Iterable[int] | None = None,
        ax: Axes | None = None,
        **style: Any,
    ) -> ClassDistanceDisplay:
        """Draw the distances of given points, or the ratio in each layer's batch.

        Parameters
        ----------
        estimator : KernelFlow or KernelFlowClassifier
            A fitted flow or estimator.
        X : array_like, shape (n, d), optional
            Points. Without them, the ratio that the flow measured on its batches is drawn.
        y : array_like, shape (n,), optional
            Classes of these points. They are needed with X.
        layers : iterable of int, optional
            Numbers of layers after which to measure, increasing; 21 evenly spaced ones if not given.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        **style
            Further arguments of `plot`.

        Returns
        -------
        ClassDistanceDisplay

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong kind, shape or values. The message names it.
        """
        fitted = estimator_flow(estimator)
        if X is None:
            if layers is not None:
                raise ValueError("layers are of use with points only: pass X and y")
            ratio = fitted.flow.history_["class_distance_ratio"]
            return cls(np.arange(len(ratio)), ratio=ratio).plot(ax, **style)
        if y is None:
            raise ValueError("y is missing: pass the classes of X")
        counts = as_layers(layers, fitted.flow, 21)
        points = fitted.scaled(X)
        labels = as_labels(y, len(points), "y")
        pairs = [
            class_distances(moved, labels)
            for moved in fitted.flow.trajectory(points, counts, reduced=True)
        ]
        return cls(counts, [w for w, _ in pairs], [b for _, b in pairs]).plot(ax, **style)

    def plot(
        self, ax: Axes | None = None, *, color: str = PALETTE[0], label: str | None = None
    ) -> ClassDistanceDisplay:
        """Draw the data on axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        color : str
            Colour of the ratio's line.
        label : str, optional
            Name of the ratio's line in a legend, where there are several.

        Returns
        -------
        ClassDistanceDisplay
            The display itself.
        """
        if self.within is None or self.between is None:
            self.ax_ = axes_of(ax, "layer n", "ratio within / between")
            lines = {label: (self.ratio, color, "-")}
        else:
            self.ax_ = axes_of(ax, "layer n", "mean squared distance")
            lines = {
                "between classes": (self.between, PALETTE[1], "--"),
                "within classes": (self.within, PALETTE[0], "-"),
            }
        self.figure_ = self.ax_.figure
        self.lines_ = []
        for name, (values, colour, dashes) in lines.items():
            self.lines_ += self.ax_.plot(
                self.layers, values, color=colour, linestyle=dashes, linewidth=1.6, label=name
            )
        every = np.concatenate([values[values > 0.0] for values, _, _ in lines.values()])
        if log_scale(self.ax_, every):
            self.ax_.yaxis.set_major_formatter(plain_number)
        self.ax_.margins(x=0.02)
        if None not in lines:
            self.ax_.legend(frameon=False)
        return self
