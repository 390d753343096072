"""How much the test error depends on the draw of interpolation points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from kflow._base.arguments import as_count, as_generator, as_nugget
from kflow._base.short_repr import ShortRepr
from kflow.evaluation import N_INTERPOLATION, interpolation_errors
from kflow.flow.estimator_flow import estimator_flow
from kflow.layers.replay import layer_count
from kflow.plotting.axes import axes_of, percent
from kflow.plotting.colours import MARKERS, PALETTE
from kflow.plotting.inputs import as_labels, as_samples

__all__ = ["SpreadDisplay"]


# Bins between the least and the largest error.
_FEWEST_BINS = 8


class SpreadDisplay(ShortRepr):
    """Distributions of the test error over draws: a histogram in each row, on a common axis.

    Parameters
    ----------
    errors : mapping of str to array_like
        Errors in [0, 1] of many draws, by name.

    Attributes
    ----------
    ax_, figure_ : matplotlib axes and figure
        The axes and the figure of the drawing.
    histograms_ : list of matplotlib.collections.FillBetweenPolyCollection
        A histogram for each row, the first on top.
    means_ : list of matplotlib.lines.Line2D
        The mean of each row, with the standard deviation to both sides.
    """

    ax_: Axes
    figure_: Any
    histograms_: list[Any]
    means_: list[Any]

    def __init__(self, errors: Mapping[Any, npt.ArrayLike]) -> None:
        self.errors = as_samples(errors, "errors", finite=True)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        X_test: npt.ArrayLike,
        y_test: npt.ArrayLike,
        *,
        n_interpolation: Sequence[int] = N_INTERPOLATION[1:],
        n_draws: int = 100,
        n_layers: int | None = None,
        nugget: float | None = None,
        random_state: Any = 0,
        ax: Axes | None = None,
        **style: Any,
    ) -> SpreadDisplay:
        """Draw the interpolation points many times, and show the errors.

        Parameters
        ----------
        estimator : KernelFlow or KernelFlowClassifier
            A fitted flow or estimator.
        X, X_test : array_like, shape (N, d) and (n, d)
            Points to interpolate from, usually those of the fit, and test points.
        y, y_test : array_like, shape (N,) and (n,)
            Classes of these points.
        n_interpolation : sequence of int
            Numbers of interpolation points, as in `kflow.evaluation.interpolation_errors`.
        n_draws : int
            Number of draws for each number of points.
        n_layers : int, optional
            Number n of layers, for the kernel K_n; all layers if not given.
        nugget : float, optional
            Nugget of the interpolants; the estimator's if not given.
        random_state : None, int or numpy.random.Generator
            Source of the draws.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        **style
            Further arguments of `plot`.

        Returns
        -------
        SpreadDisplay

        Raises
        ------
        SingularKernelError
            If the nugget is too small for these points.
        TypeError, ValueError
            If an argument has the wrong kind, shape or values. The message names it.

        Notes
        -----
        Each draw costs a factorisation and a prediction.
        """
        fitted = estimator_flow(estimator)
        count = layer_count(n_layers, fitted.flow.n_layers_)
        points, test_points = fitted.scaled(X), fitted.scaled(X_test, "X_test")
        labels = as_labels(y, len(points), "y")
        test_labels = as_labels(y_test, len(test_points), "y_test")
        draws = as_count(n_draws, "n_draws", 1)
        lam = fitted.nugget if nugget is None else as_nugget(nugget)
        rng = as_generator(random_state)
        both = np.concatenate([points, test_points])
        (moved,) = fitted.flow.trajectory(both, (count,), reduced=True)
        errors: dict[Any, list[float]] = {}
        for _ in range(draws):
            for row in interpolation_errors(
                moved[: len(points)],
                labels,
                moved[len(points) :],
                test_labels,
                kernel=fitted.flow.kernel_,
                nugget=lam,
                rng=rng,
                n_interpolation=n_interpolation,
                n_draws=1,
                n_threads=fitted.flow.n_threads,
            ):
                errors.setdefault(f"{row.n_interpolation} points", []).append(row.average)
        return cls(errors).plot(ax, **style)

    def plot(
        self, ax: Axes | None = None, *, bins: int | None = None, xlabel: str = "test error"
    ) -> SpreadDisplay:
        """Draw the data on axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        bins : int, optional
            Number of bins of the histograms. If it is not given, it depends on the number of draws.
        xlabel : str
            Name of the axis.

        Returns
        -------
        SpreadDisplay
            The display itself.
        """
        n_rows = len(self.errors)
        self.ax_ = axes_of(ax, xlabel, "", grid=False, size=(6.4, 0.9 + 0.75 * n_rows))
        self.figure_ = self.ax_.figure
        edges = bin_edges(self.errors, bins)
        self.histograms_, self.means_ = [], []
        for number, values in enumerate(self.errors.values()):
            self.histograms_.append(self._draw_histogram(number, values, edges))
            self.means_.append(self._draw_mean(number, values))
        self.ax_.set_yticks(
            [0.3 - number for number in range(n_rows)], labels=[str(key) for key in self.errors]
        )
        self.ax_.set_ylim(-n_rows + 0.75, 0.8)
        self.ax_.tick_params(axis="y", length=0.0)
        self.ax_.spines["left"].set_visible(False)
        self.ax_.xaxis.set_major_formatter(percent)
        self.ax_.grid(True, axis="x", linewidth=0.5, alpha=0.4)
        self.ax_.set_axisbelow(True)
        return self

    def _draw_histogram(
        self, number: int, values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]
    ) -> Any:
        """Draw the histogram of a row."""
        base = -float(number)
        heights = np.histogram(values, edges)[0].astype(np.float64)
        heights *= 0.7 / heights.max()
        return self.ax_.fill_between(
            edges,
            base,
            base + np.append(heights, heights[-1]),
            step="post",
            color=PALETTE[number % len(PALETTE)],
            alpha=0.45,
            linewidth=0.0,
        )

    def _draw_mean(self, number: int, values: npt.NDArray[np.float64]) -> Any:
        """Draw mean and standard deviation of a row below its histogram, and write them beside it."""
        base = -float(number)
        mean, deviation = float(values.mean()), float(values.std())
        bar = self.ax_.errorbar(
            [mean],
            [base - 0.1],
            xerr=[deviation],
            color=PALETTE[number % len(PALETTE)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=4.5,
            linewidth=1.5,
        )
        self.ax_.annotate(
            f"{100 * mean:.2f} ± {100 * deviation:.2f} %",
            (1.0, base + 0.3),
            xycoords=self.ax_.get_yaxis_transform(),
            xytext=(4.0, 0.0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
        return bar.lines[0]


def bin_edges(
    errors: Mapping[Any, npt.NDArray[np.float64]], bins: int | None
) -> npt.NDArray[np.float64]:
    every = np.concatenate(list(errors.values()))
    fewest = min(len(values) for values in errors.values())
    n_bins = int(np.clip(4.0 * fewest**0.5, 10, 60)) if bins is None else as_count(bins, "bins", 1)
    low, high = float(every.min()), float(every.max())
    if high <= low:
        lattice = width = max(abs(low), 1e-3) / n_bins
    else:
        # Errors are multiples of one over the number of test points: bins hold as many of them.
        gaps = np.diff(np.unique(every.round(12)))
        lattice = float(gaps[gaps > 1e-9].min(initial=high - low))
        # A few values that are far apart say nothing of a lattice, and are no bars from one to the next.
        lattice = min(lattice, (high - low) / _FEWEST_BINS)
        width = lattice * max(math.ceil((high - low) / n_bins / lattice - 1e-6), 1)
    # Edges half way between multiples, so that no rounding error takes one into the next bin.
    below = low - lattice / 2.0
    edges = below + width * np.arange(math.floor((high - below) / width) + 2)
    edges[-1] = max(edges[-1], high)
    return np.asarray(edges, np.float64)
