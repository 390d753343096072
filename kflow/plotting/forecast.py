"""An ensemble of forecasts as a fan: its median, its intervals, and what happened."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D

from kflow._base.arguments import as_count
from kflow._base.short_repr import ShortRepr
from kflow.plotting.axes import axes_of
from kflow.plotting.colours import PALETTE
from kflow.plotting.inputs import as_numbers, as_series

__all__ = ["ForecastDisplay"]

# The parts of the members that the bands hold, the widest first, and how opaque the bands are.
_LEVELS = {0.9: 0.2, 0.5: 0.4}


class ForecastDisplay(ShortRepr):
    """The median of an ensemble of forecasts, the bands that hold 50 and 90 % of it, and observations.

    Parameters
    ----------
    members : array_like, shape (n_members, n_steps)
        One column of an ensemble. Members that ran away are NaN; they are left out.
    observed : array_like, shape (n_steps,), optional
        What happened; NaN where nobody knows.
    times : array_like, shape (n_steps,), optional
        Places along the horizontal axis; 1, 2, ... by default.

    Attributes
    ----------
    ax_, figure_ : matplotlib axes and figure
        The axes and the figure of the drawing.
    bands_ : list of matplotlib.collections.PolyCollection
        The bands, the widest first.
    median_ : matplotlib.lines.Line2D
        The median of the members.
    observed_ : matplotlib.lines.Line2D or None
        The line of what happened.
    """

    ax_: Axes
    figure_: Any
    bands_: list[PolyCollection]
    median_: Line2D
    observed_: Line2D | None

    def __init__(
        self,
        members: npt.ArrayLike,
        observed: npt.ArrayLike | None = None,
        times: npt.ArrayLike | None = None,
    ) -> None:
        self.members = as_numbers(members, "members")
        if self.members.ndim != 2 or 0 in self.members.shape:
            raise ValueError(
                "members must have shape (n_members, n_steps), one column of an ensemble, got "
                f"{self.members.shape}"
            )
        n = self.members.shape[1]
        self.observed = None if observed is None else as_series(observed, "observed", n)
        self.times = np.arange(1.0, n + 1.0) if times is None else as_series(times, "times", n)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        n_steps: int,
        *,
        column: int = 0,
        observed: npt.ArrayLike | None = None,
        times: npt.ArrayLike | None = None,
        n_samples: int = 200,
        ax: Axes | None = None,
        **options: Any,
    ) -> ForecastDisplay:
        """Draw an ensemble of forecasts.

        Parameters
        ----------
        estimator : kflow.timeseries.Forecaster
            A fitted forecaster.
        n_steps : int
            Number of steps, at least 1.
        column : int
            The column of the series that is drawn.
        observed : array_like, shape (n_steps,), optional
            What happened in that column.
        times : array_like, shape (n_steps,), optional
            If the forecaster was fitted with times: those of the forecast.
        n_samples : int
            Members of the ensemble.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        **options
            Further arguments of `kflow.timeseries.Forecaster.sample`, such as ``controls``.

        Returns
        -------
        ForecastDisplay
        """
        q = estimator.n_features_in_
        chosen = as_count(column, "column", 0, q - 1)
        members = estimator.sample(n_steps, times=times, n_samples=n_samples, **options)
        one = members if members.ndim == 2 else members[..., chosen]
        return cls(one, observed, times).plot(ax)

    def plot(
        self, ax: Axes | None = None, *, xlabel: str | None = None, ylabel: str = "forecast"
    ) -> ForecastDisplay:
        """Draw the data on axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        xlabel, ylabel : str
            Names of the axes; by default steps, or times where these were given.

        Returns
        -------
        ForecastDisplay
            The display itself.
        """
        steps = np.array_equal(self.times, np.arange(1.0, len(self.times) + 1.0))
        self.ax_ = axes_of(ax, xlabel or ("steps ahead" if steps else "time"), ylabel)
        self.figure_ = self.ax_.figure
        self.bands_ = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # steps at which all members are lost
            for level, alpha in _LEVELS.items():
                low, high = np.nanquantile(self.members, [0.5 - level / 2, 0.5 + level / 2], axis=0)
                band = self.ax_.fill_between(
                    self.times,
                    low,
                    high,
                    color=PALETTE[0],
                    alpha=alpha,
                    linewidth=0,
                    label=f"{100 * level:.0f} % of the members",
                )
                self.bands_.append(band)
            median = np.nanmedian(self.members, axis=0)
        (self.median_,) = self.ax_.plot(self.times, median, color=PALETTE[0], label="median")
        self.observed_ = None
        if self.observed is not None:
            (self.observed_,) = self.ax_.plot(
                self.times, self.observed, color="0.2", linewidth=1.0, label="observed"
            )
        self.ax_.legend(
            frameon=False, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4
        )
        return self
