"""Results of `kflow.analysis`: dimensions, margins, Lipschitz constants, adversarial distances."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kflow.plotting._style import (
    GREY,
    PALETTE,
    as_samples,
    as_series,
    axes_of,
    class_name,
    class_style,
    label_lines,
    legend_beside,
    log_scale,
    plain_number,
    round_ticks,
)

__all__ = ["AdversarialDisplay", "DimensionDisplay", "LipschitzDisplay", "MarginDisplay"]

_DASHES = ("--", "-", "-.", ":")


def _as_table(values: Any, name: str, n_rows: int) -> npt.NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or len(array) != n_rows or array.shape[1] == 0:
        raise ValueError(f"{name} must have shape ({n_rows}, m), m at least 1, got {array.shape}")
    return array


class DimensionDisplay:
    """Effective dimension of the flowed points against the layer: of all, and of each class.

    Parameters
    ----------
    layers : array_like, shape (n_layers,)
        After how many layers.
    dimensions : array_like, shape (n_layers, 1 + n_classes)
        Of all points, in column 0, and of those of each class.
    classes : array_like, shape (n_classes,), optional
        Names of the classes.
    measure : str
        Which dimension it is: the name of the axis.

    Attributes
    ----------
    ax_, figure_ : matplotlib axes and figure
        Where it was drawn.
    line_ : matplotlib.lines.Line2D
        Of all points.
    lines_ : list of matplotlib.lines.Line2D
        Of each class.
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
        self.dimensions = _as_table(dimensions, "dimensions", len(self.layers))
        n_classes = self.dimensions.shape[1] - 1
        self.classes = np.arange(n_classes) if classes is None else np.asarray(classes)
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
            Fitted.
        X : array_like, shape (n, d)
            Points.
        y : array_like, shape (n,), optional
            Their classes.
        measure : {"participation", "explained", "neighbours"}
            Which of the result's dimensions.
        layers : iterable of int, optional
            Where to measure.
        ax : matplotlib.axes.Axes, optional
            Where to draw; new axes if not given.
        log : bool
            As in `plot`.
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
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; new axes if not given.
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
        names = ["all", *(class_name(label) for label in self.classes)]
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
        return self


class MarginDisplay:
    """Distributions of the margins of a classifier's points, such as before and after the flow.

    Parameters
    ----------
    margins : mapping of str to array_like
        Margins by name, positive where the class is right.
    xlabel : str
        Name of the margin.

    Attributes
    ----------
    ax_, figure_ : matplotlib axes and figure
        Where it was drawn.
    lines_ : list of matplotlib.lines.Line2D
        Part of the points with at most that margin.
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
        estimator : KernelFlowClassifier
            Fitted.
        X : array_like, shape (n, d)
            Points.
        y : array_like, shape (n,)
            Their classes.
        measure : {"interpolant", "hypothesis"}
            Which of the result's margins.
        layers : iterable of int, optional
            After how many layers; before the flow and after it if not given.
        training : pair of array_like, optional
            The X and y of the fit, without which the interpolant's margins are known after all
            layers only.
        ax : matplotlib.axes.Axes, optional
            Where to draw; new axes if not given.

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
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; new axes if not given.

        Returns
        -------
        MarginDisplay
            The display itself.
        """
        self.ax_ = axes_of(ax, self.xlabel, "part of the points")
        self.figure_ = self.ax_.figure
        self.lines_ = _draw_cumulative(self.ax_, self.margins)
        self.ax_.axvline(0.0, color=GREY, linewidth=0.8, zorder=1)
        self.ax_.legend(frameon=False)
        return self


class AdversarialDisplay:
    """Distributions of distances to the nearest point that gets another class.

    Parameters
    ----------
    distances : mapping of str to array_like
        Distances by name, not negative; infinite or NaN where no such point was found.
    xlabel : str
        Name of the distance.

    Attributes
    ----------
    ax_, figure_ : matplotlib axes and figure
        Where it was drawn.
    lines_ : list of matplotlib.lines.Line2D
        Part of the points with at most that distance.
    """

    ax_: Axes
    figure_: Any
    lines_: list[Line2D]

    def __init__(
        self, distances: Mapping[str, npt.ArrayLike], *, xlabel: str = "adversarial distance"
    ) -> None:
        self.distances = as_samples(distances, "distances", nan=True)
        self.xlabel = xlabel

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: npt.ArrayLike,
        y: npt.ArrayLike | None = None,
        *,
        training: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        ax: Axes | None = None,
        log: bool = False,
        **options: Any,
    ) -> AdversarialDisplay:
        """Compute `kflow.analysis.adversarial_distance`, and draw.

        Parameters
        ----------
        estimator : KernelFlowClassifier
            Fitted.
        X : array_like, shape (n, d)
            Points.
        y : array_like, shape (n,), optional
            Their classes; those predicted if not given.
        training : pair of array_like, optional
            The X and y of the fit. With them, the distances of `kflow.analysis.unflowed` are drawn
            as well: the same classifier without layers.
        ax : matplotlib.axes.Axes, optional
            Where to draw; new axes if not given.
        log : bool
            As in `plot`.
        **options
            Further options of `kflow.analysis.adversarial_distance`.

        Returns
        -------
        AdversarialDisplay
        """
        from kflow.analysis import adversarial_distance, unflowed

        before = [] if training is None else [unflowed(estimator, *training)]
        distances = {
            f"n = {each.flow_.n_layers_}": adversarial_distance(each, X, y, **options).distances
            for each in (*before, estimator)
        }
        return cls(distances, xlabel="adversarial distance, of scaled points").plot(ax, log=log)

    def plot(self, ax: Axes | None = None, *, log: bool = False) -> AdversarialDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; new axes if not given.
        log : bool
            Make the axis of distances logarithmic, if none is zero.

        Returns
        -------
        AdversarialDisplay
            The display itself.
        """
        self.ax_ = axes_of(ax, self.xlabel, "part of the points")
        self.figure_ = self.ax_.figure
        self.lines_ = _draw_cumulative(self.ax_, self.distances)
        every = np.concatenate(list(self.distances.values()))
        if log and log_scale(self.ax_, every, "x"):
            self.ax_.xaxis.set_major_formatter(plain_number)
        else:
            self.ax_.set_xlim(left=0.0)
        self.ax_.legend(frameon=False)
        return self


class LipschitzDisplay:
    """Local Lipschitz constants of F_n against the layer, and a bound on the global one.

    Parameters
    ----------
    layers : array_like, shape (n_layers,)
        After how many layers.
    local : array_like, shape (n_layers, n_points)
        Local constants at some points.
    log10_bound : array_like, shape (n_layers,), optional
        Logarithm of the bound: the bound itself may exceed the largest float.
    within, between : array_like, shape (n_layers, m), optional
        How much distances to the nearest point of the same class, and of another, have grown.

    Attributes
    ----------
    ax_, figure_ : matplotlib axes and figure
        Where it was drawn.
    bands_ : list of matplotlib.collections.FillBetweenPolyCollection
        The local constants of 90 % of the points, and of 50 %.
    line_ : matplotlib.lines.Line2D
        Their median.
    bound_line_ : matplotlib.lines.Line2D or None
        The bound.
    pair_lines_ : list of matplotlib.lines.Line2D
        Medians of `within` and `between`, where given.
    """

    ax_: Axes
    figure_: Any
    bands_: list[Any]
    line_: Line2D
    bound_line_: Line2D | None
    pair_lines_: list[Line2D]

    def __init__(
        self,
        layers: npt.ArrayLike,
        local: npt.ArrayLike,
        log10_bound: npt.ArrayLike | None = None,
        *,
        within: npt.ArrayLike | None = None,
        between: npt.ArrayLike | None = None,
    ) -> None:
        self.layers = as_series(layers, "layers")
        n = len(self.layers)
        self.local = _as_table(local, "local", n)
        if not np.isfinite(self.local).all() or not (self.local >= 0.0).all():
            raise ValueError("local has entries that are negative or not finite")
        self.log10_bound = None if log10_bound is None else as_series(log10_bound, "log10_bound", n)
        self.within = None if within is None else _as_table(within, "within", n)
        self.between = None if between is None else _as_table(between, "between", n)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: npt.ArrayLike,
        y: npt.ArrayLike | None = None,
        *,
        layers: Iterable[int] | None = None,
        ax: Axes | None = None,
        **options: Any,
    ) -> LipschitzDisplay:
        """Compute `kflow.analysis.lipschitz`, and draw.

        Parameters
        ----------
        estimator : KernelFlow, KernelFlowClassifier or KernelFlowRegressor
            Fitted.
        X : array_like, shape (n, d)
            Points.
        y : array_like, shape (n,), optional
            Their classes. With them, the growth of distances within and between classes is drawn.
        layers : iterable of int, optional
            Where to measure.
        ax : matplotlib.axes.Axes, optional
            Where to draw; new axes if not given.
        **options
            Further options of `kflow.analysis.lipschitz`.

        Returns
        -------
        LipschitzDisplay
        """
        from kflow.analysis import lipschitz

        result = lipschitz(estimator, X, y, layers=layers, **options)
        pairs = {} if y is None else {"within": result.within, "between": result.between}
        return cls(result.layers, result.local, result.log10_bound, **pairs).plot(ax)

    def plot(self, ax: Axes | None = None, *, color: str = PALETTE[0]) -> LipschitzDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; new axes if not given.
        color : str
            Colour of the local constants.

        Returns
        -------
        LipschitzDisplay
            The display itself.
        """
        self.ax_ = axes_of(ax, "layer n", r"$\log_{10}$ of the Lipschitz constant", size=(7.2, 4.2))
        self.figure_ = self.ax_.figure
        tiny = np.finfo(np.float64).tiny
        logs = np.log10(np.maximum(self.local, tiny))
        low, lower, median, upper, high = np.quantile(logs, (0.05, 0.25, 0.5, 0.75, 0.95), axis=1)
        self.bands_ = [
            self.ax_.fill_between(
                self.layers, bottom, top, color=color, alpha=alpha, linewidth=0.0, label=label
            )
            for bottom, top, alpha, label in (
                (low, high, 0.2, "local, 5 % to 95 %"),
                (lower, upper, 0.35, "local, 25 % to 75 %"),
            )
        ]
        (self.line_,) = self.ax_.plot(
            self.layers, median, color=color, linewidth=1.8, label="local, median"
        )
        self.pair_lines_ = []
        for number, (name, pairs) in enumerate(
            (("pairs of two classes", self.between), ("pairs of one class", self.within))
        ):
            if pairs is None:
                continue
            known = [row[~np.isnan(row)] for row in pairs]
            middle = [np.log10(max(np.median(row), tiny)) if len(row) else np.nan for row in known]
            self.pair_lines_ += self.ax_.plot(
                self.layers,
                middle,
                color=PALETTE[2 + number],
                linestyle=("-.", ":")[number],
                linewidth=1.8,
                label=f"{name}, median",
            )
        self.bound_line_ = None
        if self.log10_bound is not None:
            (self.bound_line_,) = self.ax_.plot(
                self.layers,
                np.where(np.isfinite(self.log10_bound), self.log10_bound, np.nan),
                color=PALETTE[1],
                linestyle="--",
                linewidth=1.8,
                label="bound",
            )
        self._make_room()
        self.ax_.margins(x=0.02)
        legend_beside(self.ax_)
        return self

    def _make_room(self) -> None:
        """Draw what is far beyond the constants on a logarithmic scale, where it would dwarf them."""
        if self.bound_line_ is None:
            return
        heights = [line.get_ydata() for line in (self.line_, *self.pair_lines_)]
        heights += [band.get_paths()[0].vertices[:, 1] for band in self.bands_]
        measured = np.concatenate([np.asarray(values, np.float64) for values in heights])
        bounds = np.append(np.asarray(self.bound_line_.get_ydata(), np.float64), 0.0)
        low, high, top = np.nanmin(measured), np.nanmax(measured), np.nanmax(bounds)
        if top < 4.0 * max(high, 0.25):
            return
        edge = math.ceil(2.0 * max(high, 0.25)) / 2.0
        # As much room for what is above the edge as for what is below.
        bend = (edge - min(low, -0.1)) / math.log(1.3 * top / edge)
        self.ax_.set_yscale(
            "function",
            functions=(
                lambda y: np.where(y > edge, edge + bend * np.log(np.maximum(y, edge) / edge), y),
                lambda z: np.where(z > edge, edge * np.exp((z - edge) / bend), z),
            ),
        )
        self.ax_.set_ylim(min(low, -0.1), 1.3 * top)
        power = 10.0 ** math.floor(math.log10(top))
        ticks = [*round_ticks().tick_values(min(low, -0.1), edge)]
        ticks = [tick for tick in ticks if min(low, -0.1) <= tick <= edge]
        ticks += [m * p for p in (power / 10.0, power) for m in (1.0, 2.0, 5.0)]
        ticks = [tick for tick in ticks if tick <= edge or 1.4 * edge < tick <= 1.3 * top]
        self.ax_.set_yticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        self.ax_.axhline(edge, color=GREY, linewidth=0.8, zorder=1)


def _draw_cumulative(ax: Axes, samples: Mapping[str, npt.NDArray[np.float64]]) -> list[Line2D]:
    """Draw the part of each sample that is at most x; it stays below 1 where some are infinite."""
    lines: list[Line2D] = []
    for number, (name, values) in enumerate(samples.items()):
        ordered = np.sort(values[np.isfinite(values)])
        parts = np.arange(len(ordered) + 1) / len(values)
        places = np.concatenate([ordered[:1], ordered])
        lines += ax.step(
            places,
            parts[: len(places)],
            where="post",
            color=PALETTE[number % len(PALETTE)],
            linestyle=_DASHES[number % len(_DASHES)],
            linewidth=1.8,
            label=name,
        )
    ax.set_ylim(0.0, 1.02)
    return lines
