"""Pictures of a run on Matplotlib axes. Needs the ``plot`` extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

try:
    from matplotlib.axes import Axes
    from matplotlib.ticker import LogLocator, NullFormatter
except ImportError as error:
    raise ImportError(
        "kflow.plotting needs Matplotlib: pip install 'kflow[plot]' (or matplotlib)"
    ) from error

__all__ = ["plot_class_distance_ratio", "plot_errors", "plot_rho"]

History = Mapping[str, npt.NDArray[np.float64]]

# Okabe and Ito: told apart with any colour vision. Markers help where colours are not printed.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")


def _axes(ax: Axes | None) -> Axes:
    if ax is None:
        # Not needed, and no window system either, by those who bring their axes.
        from matplotlib import pyplot

        ax = pyplot.subplots(layout="constrained")[1]
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, axis="y", linewidth=0.5, alpha=0.4)
    ax.set_xlabel("layer n")
    return ax


def _log_scale(ax: Axes, values: npt.NDArray[np.float64]) -> None:
    """Make the vertical axis logarithmic around positive `values`, with ticks 1, 2, 5, 10."""
    low, high = values.min() / 1.6, values.max() * 1.6  # at least one tick lies in between
    ax.set_yscale("log")
    ax.set_ylim(low, high)
    few_decades = high < 1e3 * low
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few_decades else (1.0,)))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _running_mean(values: npt.NDArray[np.float64], window: int) -> npt.NDArray[np.float64]:
    """Return the mean over the `window` entries around each entry, fewer at the ends."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    entries = np.arange(len(values))
    first = np.maximum(entries - window // 2, 0)
    last = np.minimum(entries + window // 2 + 1, len(values))
    mean: npt.NDArray[np.float64] = (sums[last] - sums[first]) / (last - first)
    return mean


def plot_rho(history: History, ax: Axes | None = None) -> Axes:
    """Plot the loss rho of each layer's batch, faint, and its running mean.

    Parameters
    ----------
    history : mapping
        A flow's `history_`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; new axes if not given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax)
    rho = history["rho"]
    layers = np.arange(len(rho))
    window = max(1, len(rho) // 20)
    ax.plot(layers, rho, color=_COLOURS[0], alpha=0.3, linewidth=0.8, label="each layer")
    ax.plot(
        layers,
        _running_mean(rho, window),
        color=_COLOURS[0],
        linewidth=1.8,
        label="running mean",
    )
    ax.set_ylim(bottom=0.0)
    ax.set_ylabel(r"loss $\rho$")
    ax.legend(frameon=False)
    return ax


def plot_errors(
    layers: Sequence[int],
    errors_by_n_interpolation: Mapping[int, Sequence[float]],
    ax: Axes | None = None,
) -> Axes:
    """Plot the test error against the layer, a line for each number of interpolation points.

    Parameters
    ----------
    layers : sequence of int
        Where the errors were measured.
    errors_by_n_interpolation : mapping of int to sequence of float
        Number of points to errors in [0, 1], as in `kflow.evaluation.ErrorCurve`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; new axes if not given.

    Returns
    -------
    matplotlib.axes.Axes
        With a logarithmic error axis, unless an error is zero.
    """
    ax = _axes(ax)
    for number, (size, errors) in enumerate(
        sorted(errors_by_n_interpolation.items(), reverse=True)
    ):
        ax.plot(
            layers,
            errors,
            color=_COLOURS[number % len(_COLOURS)],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=4,
            linewidth=1.5,
            label=f"{size}",
        )
    values = np.array([v for errors in errors_by_n_interpolation.values() for v in errors])
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0.0:
        _log_scale(ax, values)
    else:
        ax.set_ylim(bottom=0.0)
    ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
    ax.set_ylabel("test error")
    # Beside the axes: the lines leave no corner free for sure.
    ax.legend(
        title="interpolation\npoints", frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0)
    )
    return ax


def plot_class_distance_ratio(history: History, ax: Axes | None = None) -> Axes:
    """Plot the squared distances within classes over those between classes, of each layer's batch.

    Parameters
    ----------
    history : mapping
        A flow's `history_`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; new axes if not given.

    Returns
    -------
    matplotlib.axes.Axes
        With a logarithmic axis.
    """
    ax = _axes(ax)
    ratio = history["class_distance_ratio"]
    ax.plot(np.arange(len(ratio)), ratio, color=_COLOURS[0], linewidth=1.5)
    positive = ratio[ratio > 0.0]
    if positive.size:
        _log_scale(ax, positive)
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    ax.set_ylabel("squared distance within / between classes")
    return ax
