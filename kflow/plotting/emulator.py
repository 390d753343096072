"""How far an emulator is off, output by output, and whether its intervals hold what they promise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from kflow._base.short_repr import ShortRepr
from kflow.emulator import HeldOutErrors
from kflow.plotting.axes import axes_of, log_scale, panels, percent
from kflow.plotting.colours import GREY, PALETTE

__all__ = ["EmulatorDisplay"]


class EmulatorDisplay(ShortRepr):
    """Errors of the outputs at rows held out, and the coverage of intervals against what they promise.

    Parameters
    ----------
    errors : kflow.emulator.HeldOutErrors
        The errors: ``emulator.held_out_``.
    grid_shape : tuple of int, optional
        The shape of the field that the outputs make up, row by row. A field of several rows has a line
        for each of up to ten rows, and is drawn as an image if there are more. By default the outputs
        are one row.

    Attributes
    ----------
    axes_ : list of matplotlib axes
        The axes of the errors, and those of the coverage.
    figure_ : matplotlib figure
        Their figure.
    lines_ : list of matplotlib.lines.Line2D
        The lines of errors; none where they are an image.
    image_ : matplotlib.image.AxesImage or None
        The image of errors.
    """

    axes_: list[Axes]
    figure_: Any
    lines_: list[Any]
    image_: Any

    def __init__(self, errors: HeldOutErrors, grid_shape: Sequence[int] | None = None) -> None:
        if not isinstance(errors, HeldOutErrors):
            raise TypeError(
                f"errors must be the held_out_ of an emulator, got {type(errors).__name__}"
            )
        m = len(errors.rmse)
        self.errors = errors
        self.grid_shape = (m,) if grid_shape is None else tuple(map(int, grid_shape))
        if math.prod(self.grid_shape) != m:
            raise ValueError(f"grid_shape={self.grid_shape} is no grid of {m} outputs")

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, grid_shape: Sequence[int] | None = None, ax: Any = None
    ) -> EmulatorDisplay:
        """Draw the errors of a fitted emulator.

        Parameters
        ----------
        estimator : kflow.Emulator
            A fitted emulator.
        grid_shape : tuple of int, optional
            The shape of the field that the outputs make up.
        ax : pair of matplotlib axes, optional
            Axes to draw on; new axes if not given.

        Returns
        -------
        EmulatorDisplay
        """
        return cls(estimator.held_out_, grid_shape).plot(ax)

    def plot(self, ax: Any = None) -> EmulatorDisplay:
        """Draw the data on axes.

        Parameters
        ----------
        ax : pair of matplotlib axes, optional
            Axes to draw on; new axes if not given.

        Returns
        -------
        EmulatorDisplay
            The display itself.
        """
        self.axes_ = panels(ax, 2, size=(5.2, 3.6))
        self.figure_ = self.axes_[0].figure
        field = self.errors.relative.reshape(-1, self.grid_shape[-1])
        self.lines_, self.image_ = [], None
        if len(field) > 10:
            self._draw_image(field)
        else:
            self._draw_lines(field)
        self._draw_coverage()
        return self

    def _draw_lines(self, field: Any) -> None:
        axes = axes_of(self.axes_[0], "output", "rmse / standard deviation")
        for number, row in enumerate(field):
            # Constant outputs have no error, which no logarithm shows.
            shown = np.where(row > 0.0, row, np.nan)
            marker = "o" if len(row) == 1 else ""
            self.lines_ += axes.plot(
                shown,
                marker=marker,
                color=PALETTE[number % len(PALETTE)],
                label=f"row {number}",
            )
        if (field > 0.0).any():
            log_scale(axes, field[field > 0.0])
        if len(field) > 1:
            axes.legend(frameon=False, fontsize="small")

    def _draw_image(self, field: Any) -> None:
        axes = axes_of(self.axes_[0], "column", "row", grid=False)
        self.image_ = axes.imshow(field, aspect="auto", interpolation="nearest")
        bar = axes.figure.colorbar(self.image_, ax=axes)
        bar.set_label("rmse / standard deviation")

    def _draw_coverage(self) -> None:
        axes = axes_of(self.axes_[1], "promised coverage", "coverage at rows held out")
        axes.plot([0.0, 1.0], [0.0, 1.0], color=GREY, linewidth=1.0)
        axes.plot(self.errors.levels, self.errors.reliability, "o-", color=PALETTE[0])
        axes.set_xlim(0.0, 1.0)
        axes.set_ylim(0.0, 1.0)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(percent)
