"""The names of classes and lines: beside them, at their means or in a legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kflow._base.array_types import FloatArray
from kflow.plotting.colours import class_style

__all__ = [
    "class_name",
    "drawn_name",
    "label_lines",
    "legend_beside",
    "legend_of_classes",
    "moved_apart",
    "name_class_means",
]

# Around the names of classes.
_BOX = {"boxstyle": "round,pad=0.18", "facecolor": "white", "linewidth": 1.1, "alpha": 0.9}


def class_name(label: Any) -> str:
    """Return a class as text. Whole numbers have no decimal point."""
    if isinstance(label, (float, np.floating)) and float(label).is_integer():
        return str(int(label))
    return str(label)


def drawn_name(label: Any) -> str:
    """Return a class as text for Matplotlib, which takes what is between two $ for a formula."""
    return class_name(label).replace("$", r"\$")


def name_class_means(
    ax: Axes, points: FloatArray, classes: npt.NDArray[Any], codes: npt.NDArray[np.intp]
) -> list[Any]:
    """Write the name of each class at the mean of its points, or beside them if it would hide them.

    Names that would overlap are moved apart, and a line leads to the mean.
    """
    width = ax.get_xlim()[1] - ax.get_xlim()[0]
    middle = points.mean(axis=0)
    means = np.empty((len(classes), 2))
    offsets = np.zeros((len(classes), 2))  # in points
    for code in range(len(classes)):
        members = points[codes == code]
        means[code] = members.mean(axis=0)
        # Medians: a point or two that end elsewhere do not make a class less of a dot.
        centre = np.median(members, axis=0)
        radius = float(np.median(np.linalg.norm(members - centre, axis=1)))
        if radius < 0.03 * width:
            means[code], outwards = centre, centre - middle
            offsets[code] = 14.0 * outwards / max(float(np.linalg.norm(outwards)), 1e-300)
    names = [drawn_name(label) for label in classes]
    to_points = 72.0 / ax.figure.dpi
    places = ax.transData.transform(means) * to_points
    longest = max(map(len, names))
    apart = moved_apart(places + offsets, (7.0 + 6.0 * longest, 14.0)) - places
    texts = []
    for code, name in enumerate(names):
        moved = float(np.linalg.norm(apart[code] - offsets[code])) > 4.0
        colour, _ = class_style(code)
        text = ax.annotate(
            name,
            (float(means[code, 0]), float(means[code, 1])),
            xytext=(float(apart[code, 0]), float(apart[code, 1])),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8,
            bbox={**_BOX, "edgecolor": colour},
            arrowprops={"arrowstyle": "-", "linewidth": 0.8} if moved else None,
            zorder=5,
        )
        texts.append(text)
    return texts


def moved_apart(
    places: npt.NDArray[np.float64], size: tuple[float, float]
) -> npt.NDArray[np.float64]:
    """Return centres (n, 2) of boxes of one size, moved until hardly any two overlap."""
    centres = places.astype(np.float64)
    box = np.array(size)
    first, second = np.triu_indices(len(centres), 1)
    for _ in range(200):
        between = centres[second] - centres[first]
        overlap = box - np.abs(between)
        hits = np.flatnonzero((overlap > 0.1).all(axis=1))
        if not len(hits):
            break
        for pair in hits:
            axis = int(overlap[pair].argmin())  # the shorter way out
            push = 0.26 * overlap[pair, axis] * (1.0 if between[pair, axis] >= 0.0 else -1.0)
            centres[first[pair], axis] -= push
            centres[second[pair], axis] += push
    return centres


def legend_of_classes(ax: Axes, classes: npt.NDArray[Any], title: str = "class") -> None:
    """Put a legend of classes, colours and markers beside axes."""
    handles = []
    for code, label in enumerate(classes):
        colour, marker = class_style(code)
        handles.append(
            Line2D([], [], linestyle="", marker=marker, color=colour, label=drawn_name(label))
        )
    legend_beside(ax, title=title, handles=handles)


def legend_beside(ax: Axes, *, title: str | None = None, **kwargs: Any) -> None:
    """Put the legend beside the axes, because a drawing may leave no corner of them free."""
    ax.legend(
        title=title,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        borderaxespad=0.0,
        alignment="left",
        **kwargs,
    )


def label_lines(
    ax: Axes, x: float, heights: Sequence[float], names: Sequence[str], colours: Sequence[str]
) -> list[Any]:
    """Write the names of lines beside their right ends, moved apart where they would overlap."""
    figure = ax.figure
    line_height = 10.0 / 72.0 * figure.dpi  # pixels of a line of text
    places = ax.transData.transform([(x, height) for height in heights])[:, 1]
    order = np.argsort(places, kind="stable")
    wanted = places[order]
    spread = wanted.copy()
    # The least squares solution of "at least a line apart": blocks of labels at their mean.
    blocks: list[list[int]] = []
    for number in range(len(order)):
        blocks.append([number])
        while len(blocks) > 1:
            first, second = blocks[-2], blocks[-1]
            if _block(second, wanted, line_height)[0] - _block(first, wanted, line_height)[-1] >= (
                line_height
            ):
                break
            blocks[-2:] = [first + second]
    for block in blocks:
        spread[block] = _block(block, wanted, line_height)
    texts = []
    for number, row in enumerate(order):
        offset = (spread[number] - wanted[number]) * 72.0 / figure.dpi
        texts.append(
            ax.annotate(
                names[row],
                (x, heights[row]),
                xytext=(22.0, offset),
                textcoords="offset points",
                va="center",
                fontsize=8,
                annotation_clip=False,
                arrowprops={
                    "arrowstyle": "-",
                    "color": colours[row],
                    "linewidth": 0.8,
                    "shrinkA": 1.0,
                    "shrinkB": 4.0,
                    "relpos": (0.0, 0.5),
                },
            )
        )
    return texts


def _block(
    members: list[int], wanted: npt.NDArray[np.float64], height: float
) -> npt.NDArray[np.float64]:
    """Return the heights of labels in a column, as near as possible to the heights they should have."""
    steps = height * np.arange(len(members), dtype=np.float64)
    places: npt.NDArray[np.float64] = steps + float((wanted[members] - steps).mean())
    return places
