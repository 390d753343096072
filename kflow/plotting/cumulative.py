"""Cumulative distributions of samples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kflow.plotting.colours import PALETTE

__all__ = ["draw_cumulative"]

_DASHES = ("--", "-", "-.", ":")


def draw_cumulative(ax: Axes, samples: Mapping[str, npt.NDArray[np.float64]]) -> list[Line2D]:
    """Draw the part of each sample that is at most x.

    Infinite values and NaN count in the size of a sample, so that its curve then stays below 1.
    """
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
