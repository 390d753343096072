"""Flows of many nuggets and steps: what becomes of small signals in them, and their errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from kflow import KernelFlow
from kflow._base.array_types import Doubles, Rows
from kflow.analysis import singular_values
from kflow.demos import Options
from kflow.demos.report import Report
from kflow.demos.theory.digit_points import DigitPoints, error_of
from kflow.demos.theory.spread import percents, spread
from kflow.errors import DivergenceError
from kflow.linear.interpolant import balanced_subset
from kflow.operations import one_hot
from kflow.plotting.axes import axes_of, log_scale, percent
from kflow.plotting.colours import MARKERS, PALETTE

__all__ = [
    "BATCH",
    "DIMENSION",
    "EDGE",
    "ScanSizes",
    "Scanned",
    "as_good",
    "before",
    "groups_of",
    "rank_correlation",
    "scan_one",
    "scanned_flow",
    "show_scan",
]


@dataclass(frozen=True)
class ScanSizes:
    """How large the problems are, and which flows are tried."""

    n_points: int
    n_held_out: int
    n_layers: int
    n_seeds: int
    nuggets: tuple[float, ...]
    steps: tuple[float, ...]
    n_local: int
    random_layers: int
    dimensions: tuple[int, ...]


DIMENSION = 20
BATCH = 100


# Exponents that are this close to 0 are said to be at the edge.
EDGE = 0.3


@dataclass(frozen=True, eq=False)
class Scanned:
    """What was measured for each nugget, step and seed: arrays (n_nuggets, n_steps, n_seeds)."""

    error: Doubles
    one_shot: Doubles
    mean: Doubles
    gain: Doubles
    isometry: Doubles
    test_error: Doubles
    test_one_shot: Doubles


def rows_of(data: DigitPoints, sizes: ScanSizes, options: Options, seed: int) -> tuple[Rows, Rows]:
    """Return rows of training points drawn at random, and of others that are held out."""
    rows = np.random.default_rng([options.seed, seed]).permutation(len(data.X))
    return rows[: sizes.n_points], rows[sizes.n_points : sizes.n_points + sizes.n_held_out]


def scanned_flow(
    data: DigitPoints, sizes: ScanSizes, options: Options, nugget: float, step: float, seed: int
) -> tuple[KernelFlow, Rows, Rows]:
    """Return a flow of points drawn at random, their rows, and the rows that are held out."""
    rows, held_out = rows_of(data, sizes, options, seed)
    flow = KernelFlow(
        None,
        n_layers=sizes.n_layers,
        batch_size=BATCH,
        n_halves=2,
        nugget=nugget,
        step="rms",
        step_size=step,
        dtype="float64",
        random_state=[options.seed, seed, 1],
        n_threads=1,
    ).fit(
        data.X[rows],
        one_hot(data.y[rows]),
        follow={"held out": data.X[held_out], "test": data.X_test},
    )
    return flow, rows, held_out


def scan_one(
    data: DigitPoints, sizes: ScanSizes, options: Options, nugget: float, step: float, seed: int
) -> tuple[float, ...]:
    """Return what `Scanned` holds for one flow."""
    try:
        flow, rows, held_out = scanned_flow(data, sizes, options, nugget, step, seed)
    except DivergenceError:
        return (np.nan,) * 7
    points, labels = flow.points_, data.y[rows]
    one_each = _one_each(labels, options, seed)
    errors = [
        error_of(points, labels, flow.follow_[name], truth, flow.kernel_, some)
        for name, truth in (("held out", data.y[held_out]), ("test", data.y_test))
        for some in (None, one_each)
    ]
    found = singular_values(
        flow, data.X[held_out], layers=[sizes.n_layers], max_points=sizes.n_local
    )
    measures = (found.mean_exponent, found.gain_exponent, found.distance_from_isometry)
    return (*errors[:2], *(float(measure[0]) for measure in measures), *errors[2:])


def _one_each(labels: npt.NDArray[Any], options: Options, seed: int) -> Rows:
    """Return rows of ten points, one of each class."""
    return balanced_subset(labels, 10, np.random.default_rng([options.seed, seed, 2]))


def before(data: DigitPoints, sizes: ScanSizes, options: Options) -> Doubles:
    """Return the held-out errors of the plain kernel, from all points and from ten, (2, n_seeds)."""
    errors = []
    for seed in range(sizes.n_seeds):
        rows, held_out = rows_of(data, sizes, options, seed)
        labels = data.y[rows]
        kernel = (
            KernelFlow(None, n_layers=0, batch_size=BATCH)
            .fit(data.X[rows], one_hot(labels))
            .kernel_
        )
        errors.append(
            [
                error_of(data.X[rows], labels, data.X[held_out], data.y[held_out], kernel, some)
                for some in (None, _one_each(labels, options, seed))
            ]
        )
    return np.array(errors).T


def rank_correlation(measure: Doubles, error: Doubles) -> float:
    """Return the rank correlation of errors with the size of a measure, over all flows."""
    seen = np.isfinite(measure) & np.isfinite(error)
    return float(spearmanr(np.abs(measure[seen]), error[seen]).statistic)


def as_good(scanned: Scanned, best: Any) -> npt.NDArray[np.bool_]:
    """Return which settings have no larger error than the best one, to two standard errors of pairs."""
    differences = scanned.one_shot - scanned.one_shot[best]
    n = differences.shape[2]
    error = differences.std(axis=2, ddof=1) / n**0.5
    return np.asarray(differences.mean(axis=2) <= 2.0 * error)


def groups_of(scanned: Scanned) -> dict[str, dict[str, Any]]:
    """Return the errors of flows whose volumes vanish, that are at the edge, and that explode."""
    explode = scanned.gain > EDGE
    vanish = ~explode & (scanned.mean < -EDGE)
    kinds = {"vanish": vanish, "edge": ~explode & ~vanish, "explode": explode}
    finite = np.isfinite(scanned.gain)
    return {
        name: {
            "flows": int((here & finite).sum()),
            "error": scanned.error[here & finite],
            "one_shot": scanned.one_shot[here & finite],
        }
        for name, here in kinds.items()
    }


def show_scan(
    report: Report,
    sizes: ScanSizes,
    scanned: Scanned,
    before: Doubles,
    correlations: dict[str, dict[str, float]],
    groups: dict[str, dict[str, Any]],
) -> None:
    """Add the section on nuggets and steps to a report."""
    figure = Figure(figsize=(7.0, 3.3), layout="constrained")
    names = {"mean": "mean exponent", "gain": "gain exponent"}
    for ax, (measure, label) in zip(figure.subplots(1, 2, sharey=True), names.items(), strict=True):
        axes_of(ax, label, "held-out error, 10 points" if measure == "mean" else "")
        for number, nugget in enumerate(sizes.nuggets):
            ax.plot(
                getattr(scanned, measure)[number].ravel(),
                scanned.one_shot[number].ravel(),
                color=PALETTE[number],
                marker=MARKERS[number],
                markersize=4.0,
                linestyle="",
                label=f"nugget {nugget:g}",
            )
        ax.axvline(0.0, color="#999999", linewidth=0.8)
        log_scale(ax, scanned.one_shot)
        ax.yaxis.set_major_formatter(percent)
        ax.set_xscale("symlog", linthresh=1.0)
        ax.set_xticks([-4, -2, -1, 0, 1, 2, 5, 10], ["-4", "-2", "-1", "0", "1", "2", "5", "10"])
        low, high = np.nanmin(getattr(scanned, measure)), np.nanmax(getattr(scanned, measure))
        ax.set_xlim(min(1.2 * low, -0.3), max(1.2 * high, 0.3))
    ax.legend(frameon=False, fontsize=8)
    rows: list[list[Any]] = [
        ["plain kernel", "", 0.0, 0.0, *(percents(errors) for errors in before)]
    ]
    rows += [
        [
            nugget,
            step,
            spread(scanned.mean[i, j]),
            spread(scanned.gain[i, j]),
            percents(scanned.error[i, j]),
            percents(scanned.one_shot[i, j]),
        ]
        for i, nugget in enumerate(sizes.nuggets)
        for j, step in enumerate(sizes.steps)
    ]
    kinds = {
        "vanish": f"volumes vanish: mean exponent below -{EDGE:g}, gain below {EDGE:g}",
        "edge": f"at the edge: neither beyond {EDGE:g}",
        "explode": f"signals explode: gain exponent above {EDGE:g}",
    }
    report.section(
        "Which nugget and step keep a flow at the edge",
        "Each flow with its exponents at held-out images, and its errors on them: by "
        "interpolation from "
        "all training points, and from ten, one of each class. The latter are low only if the flow has "
        "learned; a flow that does nothing is at the edge, too.",
    ).figure(
        figure,
        "scan",
        f"Held-out error of ten centres against both exponents after {sizes.n_layers} layers, one mark "
        "for each flow.",
    ).table(
        ["nugget", "step", "mean exponent", "gain exponent", "error, all points", "10 points"],
        rows,
        f"Mean ± standard deviation over {sizes.n_seeds} draws of the images.",
    ).table(
        ["flows", "number", "error, all points", "10 points", "best of 10 points"],
        [
            [
                kinds[name],
                group["flows"],
                percents(group["error"]),
                percents(group["one_shot"]),
                f"{100 * group['one_shot'].min():.2f} %" if group["flows"] else "",
            ]
            for name, group in groups.items()
        ],
        "Held-out errors of all flows by what becomes of signals: mean ± standard deviation.",
    ).table(
        ["distance from the edge", "error, all points", "error, 10 points"],
        [
            [name, *(f"{value:+.2f}" for value in correlations[measure].values())]
            for measure, name in {
                "mean": "size of the mean exponent",
                "gain": "size of the gain exponent",
                "isometry": "root mean square logarithm (from isometry)",
            }.items()
        ],
        "Rank correlation of the held-out error with the distance from the edge, over all flows.",
    )
