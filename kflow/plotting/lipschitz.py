"""Lipschitz constants of flows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kflow._base.short_repr import ShortRepr
from kflow.plotting.axes import axes_of, round_ticks
from kflow.plotting.colours import GREY, PALETTE
from kflow.plotting.inputs import as_series, as_table
from kflow.plotting.names import legend_beside

__all__ = ["LipschitzDisplay"]

# Constants that are zero are drawn as this number, which has a logarithm.
_TINY = np.finfo(np.float64).tiny


class LipschitzDisplay(ShortRepr):
    """Local Lipschitz constants of F_n against the layer, and a bound on the global one.

    Parameters
    ----------
    layers : array_like, shape (n_layers,)
        Numbers of layers after which the constants were measured.
    local : array_like, shape (n_layers, n_points)
        Local constants at some points.
    log10_bound : array_like, shape (n_layers,), optional
        Decimal logarithm of the bound. The bound itself may exceed the largest float.
    within, between : array_like, shape (n_layers, m), optional
        Factors by which distances to the nearest point of the same class, and of another class, have
        grown.

    Attributes
    ----------
    ax_, figure_ : matplotlib axes and figure
        The axes and the figure of the drawing.
    bands_ : list of matplotlib.collections.FillBetweenPolyCollection
        The local constants of 90 % of the points, and of 50 %.
    line_ : matplotlib.lines.Line2D
        The median of the local constants.
    bound_line_ : matplotlib.lines.Line2D or None
        The line of the bound.
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
        self.local = as_table(local, "local", n)
        if not np.isfinite(self.local).all() or not (self.local >= 0.0).all():
            raise ValueError("local has entries that are negative or not finite")
        self.log10_bound = None if log10_bound is None else as_series(log10_bound, "log10_bound", n)
        self.within = None if within is None else as_table(within, "within", n)
        self.between = None if between is None else as_table(between, "between", n)

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
            A fitted flow or estimator.
        X : array_like, shape (n, d)
            The points, one in each row.
        y : array_like, shape (n,), optional
            Their classes. With them, the growth of distances within and between classes is drawn.
        layers : iterable of int, optional
            Numbers of layers after which to measure; evenly spaced ones if not given.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
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
        """Draw the data on axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        color : str
            Colour of the local constants.

        Returns
        -------
        LipschitzDisplay
            The display itself.
        """
        self.ax_ = axes_of(ax, "layer n", r"$\log_{10}$ of the Lipschitz constant", size=(7.2, 4.2))
        self.figure_ = self.ax_.figure
        self._draw_local(color)
        self._draw_pairs()
        self._draw_bound()
        self._make_room()
        self.ax_.margins(x=0.02)
        legend_beside(self.ax_)
        return self

    def _draw_local(self, color: str) -> None:
        """Draw median and quantiles of the local constants."""
        logs = np.log10(np.maximum(self.local, _TINY))
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

    def _draw_pairs(self) -> None:
        """Draw medians of the growth of distances within and between classes."""
        self.pair_lines_ = []
        for number, (name, pairs) in enumerate(
            (("pairs of two classes", self.between), ("pairs of one class", self.within))
        ):
            if pairs is None:
                continue
            known = [row[~np.isnan(row)] for row in pairs]
            middle = [np.log10(max(np.median(row), _TINY)) if len(row) else np.nan for row in known]
            self.pair_lines_ += self.ax_.plot(
                self.layers,
                middle,
                color=PALETTE[2 + number],
                linestyle=("-.", ":")[number],
                linewidth=1.8,
                label=f"{name}, median",
            )

    def _draw_bound(self) -> None:
        """Draw the bound where it is finite."""
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

    def _make_room(self) -> None:
        """Make the upper part of the axis logarithmic where the bound is far above the constants."""
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
