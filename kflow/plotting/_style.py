"""What all pictures share: axes, colours, markers, scales and the labels of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from kflow._base.array_types import FloatArray
from kflow.data.arrays import as_matrix

__all__ = [
    "CLASS_COLOURS",
    "GREY",
    "MARKERS",
    "PALETTE",
    "as_labels",
    "as_planar",
    "as_samples",
    "as_series",
    "axes_of",
    "class_codes",
    "class_name",
    "class_style",
    "label_lines",
    "legend_beside",
    "legend_of_classes",
    "log_scale",
    "marker_area",
    "moved_apart",
    "name_class_means",
    "panels",
    "percent",
    "plain_number",
    "round_ticks",
    "shade",
    "square_around",
    "square_limits",
    "tint",
]

# Okabe and Ito: told apart with any colour vision. Markers help where colours are not printed.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# Okabe and Ito's eight and two of Tol's, which come no closer to the eight than these to each other,
# whatever the colour vision (simulated after Machado, Oliveira and Fernandes).
CLASS_COLOURS = (*PALETTE, "#000000", "#F0E442", "#882255", "#332288")

GREY = "#666666"

# Around the names of classes.
_BOX = {"boxstyle": "round,pad=0.18", "facecolor": "white", "linewidth": 1.1, "alpha": 0.9}


def class_style(code: int) -> tuple[str, str]:
    """Return colour and marker of a class: 70 pairs before one comes again."""
    return CLASS_COLOURS[code % len(CLASS_COLOURS)], MARKERS[code % len(MARKERS)]


def shade(colour: str) -> tuple[float, float, float]:
    """Return a darker colour, for outlines."""
    red, green, blue = (0.55 * part for part in to_rgb(colour))
    return red, green, blue


def tint(colour: str, strength: float) -> tuple[float, float, float]:
    """Return a colour mixed with white: all white at strength 0."""
    red, green, blue = (1.0 - strength * (1.0 - part) for part in to_rgb(colour))
    return red, green, blue


# ---- axes -----------------------------------------------------------------------------------------


def axes_of(
    ax: Any, xlabel: str, ylabel: str, *, grid: bool = True, size: tuple[float, float] | None = None
) -> Axes:
    """Return the axes given, or new ones, with labels."""
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
    """Return so many axes: those given, or new ones side by side."""
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
    """Return centre and half the side of a square around points (n, 2), wide enough for axes."""
    low, high = points.min(axis=0), points.max(axis=0)
    centre = (low + high) / 2.0
    return centre, max(float((high - low).max()) / 2.0, 1e-9 * float(np.abs(centre).max()), 1e-12)


def round_ticks() -> MaxNLocator:
    """Return a locator of a few ticks at multiples of 1, 2 or 5 times a power of ten."""
    return MaxNLocator(5, steps=[1, 2, 5, 10])


def log_scale(ax: Axes, values: npt.ArrayLike, axis: str = "y") -> bool:
    """Make an axis logarithmic around positive values, with ticks 1, 2, 5, 10.

    Returns whether it did: not if a value is zero or negative, or none is finite.
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
    """Format a number of a few digits: powers of ten where it would have many zeros."""
    power = math.log10(value) if value > 0.0 else 0.0
    if abs(power) > 3.0 and abs(power - round(power)) < 1e-9:
        return f"$10^{{{round(power)}}}$"
    return f"{value:.3g}"


# ---- data -----------------------------------------------------------------------------------------


def as_series(values: Any, name: str, length: int | None = None) -> npt.NDArray[np.float64]:
    """Return numbers as a vector of floats, which may hold NaN."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must hold real numbers") from None
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got shape {array.shape}")
    if length is not None and len(array) != length:
        raise ValueError(f"{name} must have {length} entries, got {len(array)}")
    return array


def as_samples(
    samples: Any, name: str, *, length: int | None = None, finite: bool = False, nan: bool = False
) -> dict[Any, npt.NDArray[np.float64]]:
    """Return named samples as vectors of one number at least, without NaN unless it is allowed."""
    if not isinstance(samples, Mapping) or not samples:
        raise TypeError(f"{name} must map names to arrays, one at least, got {samples!r:.60}")
    result = {key: as_series(values, f"{name}[{key!r}]", length) for key, values in samples.items()}
    for key, values in result.items():
        bad = ~np.isfinite(values) if finite else np.isnan(values) & (not nan)
        if not len(values) or bad.any():
            kinds = "NaN or infinity" if finite else "NaN"
            raise ValueError(f"{name}[{key!r}] is empty or has {kinds}: leave those entries out")
    return result


def as_planar(points: Any, name: str) -> FloatArray:
    """Return points of the plane as an array (n, 2)."""
    return as_matrix(points, name, dtype=np.float64, n_columns=2, allow_no_rows=False)


def as_labels(labels: Any, n: int, name: str) -> npt.NDArray[Any]:
    """Return the classes of n points, which may be a column, as a vector."""
    array = np.asarray(labels)
    if array.shape not in ((n,), (n, 1)):
        raise ValueError(f"{name} must have shape ({n},), got {array.shape}")
    return array.ravel()


def class_codes(
    labels: Any, n: int, name: str = "labels"
) -> tuple[npt.NDArray[Any], npt.NDArray[np.intp]]:
    """Return the classes of n points, sorted, and the number of each point's class.

    Without labels all points are of one class, which has no name.
    """
    if labels is None:
        return np.array([""]), np.zeros(n, dtype=np.intp)
    classes, codes = np.unique(as_labels(labels, n, name), return_inverse=True)
    return classes, codes.astype(np.intp)


def class_name(label: Any) -> str:
    """Return a class as text: whole numbers without a decimal point."""
    if isinstance(label, (float, np.floating)) and float(label).is_integer():
        return str(int(label))
    return str(label)


def marker_area(n_points: int) -> float:
    """Return the area of a marker, in points squared, that suits so many of them."""
    return float(np.clip(5000.0 / max(n_points, 1), 5.0, 28.0))


# ---- names of classes and lines ---------------------------------------------------------------------


def name_class_means(
    ax: Axes, points: FloatArray, classes: npt.NDArray[Any], codes: npt.NDArray[np.intp]
) -> list[Any]:
    """Write each class's name at the mean of its points: outside of it where it hides them.

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
    names = [class_name(label) for label in classes]
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
    """Return centres (n, 2) of boxes of one size, moved until no two overlap, or nearly so."""
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
            Line2D([], [], linestyle="", marker=marker, color=colour, label=class_name(label))
        )
    legend_beside(ax, title=title, handles=handles)


def legend_beside(ax: Axes, *, title: str | None = None, **kwargs: Any) -> None:
    """Put the legend beside the axes: what is drawn leaves no corner free for sure."""
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
    """Return the places of labels one below the other, nearest to the places that they want."""
    steps = height * np.arange(len(members), dtype=np.float64)
    places: npt.NDArray[np.float64] = steps + float((wanted[members] - steps).mean())
    return places
