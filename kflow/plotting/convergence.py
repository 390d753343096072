"""Errors against step sizes, and the order of convergence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kflow._base.short_repr import ShortRepr
from kflow.plotting.axes import axes_of, log_scale
from kflow.plotting.colours import MARKERS, PALETTE
from kflow.plotting.inputs import as_samples, as_series

__all__ = ["ConvergenceDisplay"]


class ConvergenceDisplay(ShortRepr):
    """Errors against step sizes on logarithmic axes, each with a fitted power law.

    Parameters
    ----------
    steps : array_like, shape (n,)
        Step sizes, positive.
    errors : mapping of str to array_like (n,)
        Errors by name, not negative; zeros and NaN are left out of the picture and the fit.

    Attributes
    ----------
    orders : dict of str to float
        Slopes of the least-squares lines through (log step, log error). A slope is NaN if there are
        fewer than two points.
    ax_, figure_ : matplotlib axes and figure
        The axes and the figure of the drawing.
    lines_, fits_ : list of matplotlib.lines.Line2D
        The errors, and the power law of each sample of errors that has one.
    """

    ax_: Axes
    figure_: Any
    lines_: list[Line2D]
    fits_: list[Line2D]

    def __init__(self, steps: npt.ArrayLike, errors: Mapping[str, npt.ArrayLike]) -> None:
        self.steps = as_series(steps, "steps")
        if not len(self.steps) or not (np.isfinite(self.steps) & (self.steps > 0.0)).all():
            raise ValueError("steps must be positive and finite, one at least")
        self.errors = as_samples(errors, "errors", length=len(self.steps), nan=True)
        for name, values in self.errors.items():
            if (values < 0.0).any():
                raise ValueError(f"errors[{name!r}] has negative entries: pass absolute errors")
        self._laws = {name: self._fitted(values) for name, values in self.errors.items()}
        self.orders = {name: law[0] for name, law in self._laws.items()}

    def _shown(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        return np.asarray(np.isfinite(values) & (values > 0.0))

    def _fitted(self, values: npt.NDArray[np.float64]) -> tuple[float, float]:
        """Return order p and logarithm of C in error = C step^p."""
        shown = self._shown(values)
        if len(np.unique(self.steps[shown])) < 2:
            return np.nan, np.nan
        slope, constant = np.polyfit(np.log(self.steps[shown]), np.log(values[shown]), 1)
        return float(slope), float(constant)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        xlabel: str = r"step size $\epsilon$",
        ylabel: str = "error",
    ) -> ConvergenceDisplay:
        """Draw the data on axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        xlabel, ylabel : str
            Names of the step and of the error.

        Returns
        -------
        ConvergenceDisplay
            The display itself.
        """
        self.ax_ = axes_of(ax, xlabel, ylabel, size=(5.2, 4.0))
        self.figure_ = self.ax_.figure
        self.lines_, self.fits_ = [], []
        ends = np.array([self.steps.min(), self.steps.max()])
        for number, (name, values) in enumerate(self.errors.items()):
            colour, shown = PALETTE[number % len(PALETTE)], self._shown(values)
            order, constant = self._laws[name]
            told = "" if np.isnan(order) else f", slope {order:.2f}"
            self.lines_ += self.ax_.plot(
                self.steps[shown],
                values[shown],
                color=colour,
                marker=MARKERS[number % len(MARKERS)],
                markersize=5.5,
                linestyle="",
                label=f"{name}{told}",
            )
            if not np.isnan(order):
                law = np.exp(constant) * ends**order
                self.fits_ += self.ax_.plot(ends, law, color=colour, linewidth=1.2, alpha=0.7)
        every = np.concatenate([values[self._shown(values)] for values in self.errors.values()])
        log_scale(self.ax_, self.steps, "x")
        log_scale(self.ax_, every)
        self.ax_.grid(True, axis="x", linewidth=0.5, alpha=0.4)
        self.ax_.legend(frameon=False)
        return self
