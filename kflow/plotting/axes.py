"""Axes: how they are made, and their limits, scales, ticks and the numbers beside the ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from kflow._base.array_types import FloatArray

__all__ = [
    "axes_of",
    "log_scale",
    "panels",
    "percent",
    "plain_number",
    "round_ticks",
    "square_around",
    "square_limits",
]


def axes_of(
    ax: Any, xlabel: str, ylabel: str, *, grid: bool = True, size: tuple[float, float] | None = None
) -> Axes:
    """Return the given axes, or new ones, with the names of both coordinates."""
    if ax is not None and not isinstance(ax, Axes):
        raise TypeError(f"ax must be Matplotlib axes, got {type(ax).__name__}")
    axes: Axes = _new_axes(1, size or (6.4, 4.0))[0] if ax is None else ax
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.set_axisbelow(True)
        axes.grid(True, axis="y", linewidth=0.5, alpha=0.4)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    return axes


def panels(ax: Any, n_panels: int, *, size: tuple[float, float]) -> list[Axes]:
    """Return a list of `n_panels` axes: the given ones, or new ones side by side."""
    if ax is None:
        return _new_axes(n_panels, (size[0] * n_panels, size[1]))
    axes = list(np.ravel(np.asarray(ax, dtype=object)))
    if not all(isinstance(one, Axes) for one in axes):
        raise TypeError("ax must be Matplotlib axes, or a sequence of them")
    if len(axes) != n_panels:
        raise ValueError(
            f"ax must hold one axes for each of {n_panels} panels, got {len(axes)}: pass "
            f"figure.subplots(1, {n_panels})"
        )
    return axes


def _new_axes(n_panels: int, size: tuple[float, float]) -> list[Axes]:
    # Not needed, and no window system either, by those who bring their axes.
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=size, layout="compressed")
    return list(figure.subplots(1, n_panels, squeeze=False)[0])


def square_limits(axes: Sequence[Axes], points: FloatArray, margin: float = 0.05) -> None:
    """Give axes equal scales and limits around all points (..., 2)."""
    centre, half = square_around(points.reshape(-1, 2))
    half *= 1.0 + 2.0 * margin
    for ax in axes:
        ax.set_aspect("equal", adjustable="box")
        ax.set_xlim(centre[0] - half, centre[0] + half)
        ax.set_ylim(centre[1] - half, centre[1] + half)
        ax.xaxis.set_major_locator(round_ticks())
        ax.yaxis.set_major_locator(round_ticks())


def square_around(points: FloatArray) -> tuple[FloatArray, float]:
    """Return centre and half the side of a square around points (n, 2).

    The side is large enough for limits of axes, also where all points coincide.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    centre = (low + high) / 2.0
    return centre, max(float((high - low).max()) / 2.0, 1e-9 * float(np.abs(centre).max()), 1e-12)


def round_ticks() -> MaxNLocator:
    """Return a locator of a few ticks at multiples of 1, 2 or 5 times a power of ten."""
    return MaxNLocator(5, steps=[1, 2, 5, 10])


def log_scale(ax: Axes, values: npt.ArrayLike, axis: str = "y") -> bool:
    """Make an axis logarithmic around positive values, with ticks 1, 2, 5, 10.

    The function returns whether it did so. It does not if a value is zero or negative, or if none is
    finite.
    """
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    if not array.size or array.min() <= 0.0:
        return False
    low, high = array.min() / 1.6, array.max() * 1.6  # at least one tick lies in between
    scale, limits = (ax.set_yscale, ax.set_ylim) if axis == "y" else (ax.set_xscale, ax.set_xlim)
    scale("log")
    limits(low, high)
    one = ax.yaxis if axis == "y" else ax.xaxis
    few_decades = high < 1e3 * low
    one.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few_decades else (1.0,)))
    one.set_minor_formatter(NullFormatter())
    return True


def percent(value: float, _position: float = 0.0) -> str:
    """Format a share as a percentage."""
    return f"{100 * value:.3g} %"


def plain_number(value: float, _position: float = 0.0) -> str:
    """Return a number as text with few digits; a power of ten is written as such."""
    power = math.log10(value) if value > 0.0 else 0.0
    if abs(power) > 3.0 and abs(power - round(power)) < 1e-9:
        return f"$10^{{{round(power)}}}$"
    return f"{value:.3g}"
