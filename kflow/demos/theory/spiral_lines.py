"""Regions that lines through two spirals cross, for interpolation from two points and from all."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

from kflow import KernelFlow
from kflow._base.workers import Workers
from kflow.analysis import crossed_regions
from kflow.demos import Options
from kflow.demos.report import Report
from kflow.demos.spirals import LENGTH_SCALE, spirals
from kflow.demos.theory.spread import percents, spread
from kflow.kernels import Gaussian
from kflow.linear.interpolant import Interpolant, balanced_subset
from kflow.plotting.axes import axes_of
from kflow.plotting.colours import MARKERS, PALETTE

__all__ = ["lines_through_spirals", "show_lines", "spiral_settings"]

# The spirals: 250 points, and lines through the middle.
_N_SPIRALS, _SPIRAL_STEP, _PER_LINE = 250, 0.04, 300


def lines_through_spirals(
    n_layers: int, n_lines: int, n_seeds: int, options: Options, workers: Workers
) -> dict[str, Any]:
    """Count the regions that lines through the middle of the spirals cross, for few centres and all."""
    X, y = spirals(_N_SPIRALS)
    many, labels = spirals(8 * _N_SPIRALS)
    angles = np.random.default_rng(options.seed).uniform(0.0, np.pi, n_lines)
    ends = np.column_stack([np.cos(angles), np.sin(angles)])
    layers = np.unique(np.linspace(0, n_layers, 9).round().astype(int)).tolist()
    kernel = Gaussian(LENGTH_SCALE)

    nearest = cKDTree(many)
    truth = crossed_regions(
        lambda points: labels[nearest.query(points)[1]], -ends, ends, n_points=_PER_LINE
    )

    def flow(seed: int) -> list[list[float]]:
        fitted = KernelFlow(
            kernel,
            n_layers=n_layers,
            batch_size=len(X),
            nugget=1.0,
            step="rms",
            step_size=_SPIRAL_STEP,
            dtype="float64",
            random_state=[options.seed, seed],
            n_threads=1,
        ).fit(X, y)
        two = balanced_subset(y, 2, np.random.default_rng([options.seed, seed]))
        t = np.linspace(-1.0, 1.0, _PER_LINE)[:, None]
        line = (t * ends[:, None]).reshape(-1, 2)
        found = []
        for moved in fitted.trajectory(np.concatenate([X, line]), layers):
            row = []
            for rows in (two, np.arange(len(X))):
                u = Interpolant(moved[rows], y[rows], kernel=kernel, nugget=0.01, n_threads=1)
                on_lines = u(moved[len(X) :])[:, 0].reshape(len(ends), -1) > 0.0
                changes = (on_lines[:, 1:] != on_lines[:, :-1]).sum(axis=1)
                at_points = float(((u(moved[: len(X)])[:, 0] > 0.0) != (y > 0.0)).mean())
                row += [1.0 + float(changes.mean()), at_points]
            found.append(row)
        return found

    values = np.array(list(workers.map(flow, range(n_seeds))))
    return {
        "layers": layers,
        "truth": float(truth.mean()),
        "two_centres": values[..., 0],
        "two_centres_error": values[..., 1],
        "all_centres": values[..., 2],
        "all_centres_error": values[..., 3],
    }


def show_lines(report: Report, found: dict[str, Any], n_lines: int, n_seeds: int) -> None:
    """Add the section on lines to a report."""
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    ax = axes_of(figure.subplots(), "layers", "regions that a line crosses")
    for number, (key, name) in enumerate(
        {"two_centres": "2 centres", "all_centres": f"{_N_SPIRALS} centres"}.items()
    ):
        array = np.asarray(found[key])
        ax.errorbar(
            found["layers"],
            array.mean(axis=0),
            array.std(axis=0),
            color=PALETTE[number],
            marker=MARKERS[number],
            capsize=3.0,
            label=name,
        )
    ax.axhline(found["truth"], color="#999999", linewidth=3.0, zorder=0, label="the spirals")
    ax.axhline(2.0, color="#999999", linestyle=":", label="most for 2 Gaussians")
    ax.legend(frameon=False, fontsize=9)
    report.section(
        "Distributed representations: lines through the spirals",
        f"{n_lines} lines through the middle of two interleaved spirals cross "
        f"{found['truth']:.1f} regions on average. A local representation needs a centre for each: "
        "on any line, in any number of dimensions, the sum of two Gaussians changes its sign at most "
        "once. After the flow, two centres suffice, one on each spiral, because all centres share its "
        "layers.",
    ).figure(
        figure,
        "lines",
        "Regions of constant class that a line through the middle crosses, against the layer, by "
        f"interpolation from one point of each spiral and from all. Bars are standard deviations over "
        f"{n_seeds} flows.",
    ).table(
        ["layers", "regions, 2 centres", "errors", f"regions, {_N_SPIRALS} centres", "errors"],
        [
            [
                n,
                spread(found["two_centres"][:, i]),
                percents(found["two_centres_error"][:, i], ".1f"),
                spread(found["all_centres"][:, i]),
                percents(found["all_centres_error"][:, i], ".1f"),
            ]
            for i, n in enumerate(found["layers"])
        ],
        f"Mean ± standard deviation over {n_seeds} flows; errors are those of the "
        f"{_N_SPIRALS} points.",
    )


def spiral_settings() -> dict[str, str]:
    """Return the settings as a report tells them."""
    return {
        "spirals": f"{_N_SPIRALS} points, Gaussian of length scale {LENGTH_SCALE:g}, nugget "
        "1, rms step "
        f"{_SPIRAL_STEP:g}"
    }
