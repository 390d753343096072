"""Many narrow layers against few wide ones, at equal cost, for a tree of functions and digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from kflow import KernelFlow
from kflow._base.array_types import Doubles
from kflow._base.workers import Workers
from kflow.demos import Options
from kflow.demos.report import Report
from kflow.demos.theory.claims import Claim
from kflow.demos.theory.spread import percents, spread
from kflow.demos.theory.tasks import (
    DIMENSION,
    SPREAD,
    Parts,
    Task,
    digit_task,
    interpolated,
    node,
    plain_kernel,
    tree,
    tree_task,
)
from kflow.errors import DivergenceError
from kflow.kernels import Gaussian
from kflow.linear.interpolant import Interpolant
from kflow.plotting.axes import axes_of, log_scale, percent
from kflow.plotting.colours import MARKERS, PALETTE

__all__ = ["add_layers_or_width"]

# Nugget of the flows.
_NUGGET = 0.1


@dataclass(frozen=True)
class _Sizes:
    """How many points there are, and which flows share the same number of centres."""

    n_points: int
    n_test: int
    total: int
    widths: tuple[int, ...]
    lengths: tuple[float, ...]
    n_seeds: int
    sides: tuple[int, ...]
    numbers: tuple[int, ...]


_FULL = _Sizes(
    500,
    1000,
    8000,
    (500, 200, 100, 50, 20),
    (0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
    5,
    (4, 6, 8, 12, 16),
    (125, 250, 500, 1000, 2000),
)


_QUICK = _Sizes(150, 300, 1500, (150, 50, 15), (0.5, 2.0), 2, (4, 8, 12), (100, 200, 400))


# Halves of the flow with less noise.
_MANY_HALVES = 8


# Centres on a square around the arguments of a function of the tree, and their length scale in gaps.
_REACH, _GAPS = 2.8, 2.0


def add_layers_or_width(report: Report, options: Options, workers: Workers) -> dict[str, Any]:
    """Add the sections, and return their claims and their answer in a sentence.

    Parameters
    ----------
    report : Report
        The report.
    options : Options
        The options of the demo.
    workers : Workers
        Threads, each of which takes a flow.
    """
    sizes = _QUICK if options.quick else _FULL
    found = {
        "tree": _compared(
            lambda seed: tree_task(sizes.n_points, sizes.n_test, [options.seed, seed]),
            sizes,
            options,
            workers,
        ),
        "digits": _compared(
            lambda seed: digit_task(sizes.n_points, [options.seed, seed]), sizes, options, workers
        ),
    }
    by_hand = _by_hand(sizes, options)
    turned = _turned(sizes, options, found["tree"])
    report.settings.update(
        {
            "layers or width": f"{sizes.n_points} points, as many to choose the length of the flow "
            f"among {', '.join(f'{length:g}' for length in sizes.lengths)} and the length scale, "
            f"{sizes.n_test} test points of the tree and 449 test images; {sizes.total} centres in "
            f"all layers, nugget {_NUGGET:g}; {sizes.n_seeds} draws",
            "test points": "looked at once for each width and draw",
        }
    )
    report.numbers.update(layers_or_width=found, tree_by_hand=by_hand, turned_tree=turned)
    _show_widths(report, found, sizes)
    _show_tree(report, by_hand, turned)
    return _answer(found, by_hand, turned, sizes)


def _flowed(
    task: Task,
    scale: float,
    width: int,
    n_layers: int,
    length: float,
    seed: list[int],
    n_halves: int = 1,
) -> Parts:
    """Return all points after some layers of a width that together have a length."""
    flow = KernelFlow(
        Gaussian(scale),
        n_layers=n_layers,
        batch_size=width,
        n_halves=n_halves,
        nugget=_NUGGET,
        step="rms",
        step_size=length / n_layers,
        layers="none",
        dtype="float64",
        random_state=seed,
        n_threads=1,
    ).fit(task.X[0], task.y[0], follow={"choice": task.X[1], "test": task.X[2]})
    followed = flow.follow_
    return flow.points_, followed["choice"], followed["test"]


def _compared(
    task_of: Callable[[int], Task], sizes: _Sizes, options: Options, workers: Workers
) -> dict[str, Any]:
    """Return errors of the plain kernel, and of flows of each width, with the lengths chosen."""
    seeds = range(sizes.n_seeds)
    tasks = [task_of(seed) for seed in seeds]
    plain = [plain_kernel(task) for task in tasks]

    def job(one: tuple[int, int, int, int, float]) -> tuple[float, float]:
        """Return the error of the points for choosing, and that of the test points."""
        width, n_layers, n_halves, seed, length = one
        task, (scale, nugget, _) = tasks[seed], plain[seed]
        where = [options.seed, seed, width, n_layers]
        try:
            points = _flowed(task, scale, width, n_layers, length, where, n_halves)
        except DivergenceError:
            return np.inf, np.nan
        chosen, tested = (
            task.error(interpolated(points, task.y[0], scale, nugget, part), part)
            for part in (1, 2)
        )
        return chosen, tested

    widths, most = sizes.widths, sizes.total // sizes.widths[-1]
    flows = [(width, sizes.total // width, 1) for width in widths]
    # What is due to the number of layers, and what to the noise of one half.
    flows += [(widths[0], most, 1), (widths[-1], most, _MANY_HALVES)]
    jobs = [(*flow, seed, length) for flow in flows for seed in seeds for length in sizes.lengths]
    shape = (len(flows), sizes.n_seeds, len(sizes.lengths), 2)
    results = np.array(list(workers.map(job, jobs))).reshape(shape)
    best = results[..., 0].argmin(axis=2)
    chosen, errors = np.moveaxis(
        np.take_along_axis(results, best[..., None, None], axis=2)[:, :, 0], 2, 0
    )
    n = len(widths)
    return {
        "widths": list(widths),
        "layers": [sizes.total // width for width in widths],
        "errors": errors[:n],
        "lengths": np.array(sizes.lengths)[best[:n]],
        "best": int(chosen[:n].mean(axis=1).argmin()),
        "plain": np.array([error for _, _, error in plain]),
        "wide_and_deep": errors[n],
        "less_noise": errors[n + 1],
    }


def _turned(sizes: _Sizes, options: Options, found: dict[str, Any]) -> dict[str, float]:
    """Turn the points of the tree at random, and return how much the flow's predictions change."""
    task = tree_task(sizes.n_points, sizes.n_test, [options.seed, 0])
    rotation = np.linalg.qr(
        np.random.default_rng(options.seed).normal(size=(DIMENSION, DIMENSION))
    )[0]
    other = Task((task.X[0] @ rotation, task.X[1] @ rotation, task.X[2] @ rotation), task.y, False)
    scale, nugget, _ = plain_kernel(task)
    place = found["best"]
    width, length = sizes.widths[place], float(np.asarray(found["lengths"])[place, 0])
    n_layers = sizes.total // width
    values = [
        interpolated(
            _flowed(each, scale, width, n_layers, length, [options.seed, 0, width, n_layers]),
            task.y[0],
            scale,
            nugget,
            2,
        )
        for each in (task, other)
    ]
    return {
        "error": task.error(values[0], 2),
        "turned_error": task.error(values[1], 2),
        "largest_change": float(np.abs(values[1] - values[0]).max()),
    }


def _by_hand(sizes: _Sizes, options: Options) -> dict[str, Any]:
    """Return errors of a tree of seven interpolants of two arguments, and of plain interpolants."""
    rng = np.random.default_rng([options.seed, 0])
    X = SPREAD * rng.normal(size=(max(sizes.numbers) + 2 * sizes.n_test, DIMENSION))
    y = tree(X)[:, None]
    test, choice = X[-sizes.n_test :], X[-2 * sizes.n_test : -sizes.n_test]
    truth = y[-sizes.n_test :, 0]

    def relative(values: Doubles) -> float:
        return float(np.sqrt(((values - truth) ** 2).mean()) / truth.std())

    stacked = []
    for side in sizes.sides:
        line = np.linspace(-_REACH, _REACH, side)
        centres = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
        learned = Interpolant(
            centres,
            node(*centres.T),
            kernel=Gaussian(_GAPS * (line[1] - line[0])),
            nugget=1e-8,
            n_threads=1,
        )
        values = test
        while values.shape[1] > 1:
            pairs = values.reshape(len(test), -1, 2)
            values = np.stack([learned(pair)[:, 0] for pair in pairs.transpose(1, 0, 2)], axis=1)
        stacked.append({"numbers": 7 * 3 * side**2, "error": relative(values[:, 0])})
    plain = []
    for number in sizes.numbers:
        task = Task(
            (X[:number], choice, test),
            (y[:number], y[-2 * sizes.n_test : -sizes.n_test], y[-sizes.n_test :]),
            False,
        )
        plain.append({"numbers": (DIMENSION + 1) * number, "error": plain_kernel(task)[2]})
    return {"tree": stacked, "plain": plain}


def _told(name: str, values: npt.ArrayLike) -> str:
    return spread(values, ".3f") if name == "tree" else percents(values)


def _show_widths(report: Report, found: dict[str, dict[str, Any]], sizes: _Sizes) -> None:
    figure = Figure(figsize=(7.0, 3.1), layout="constrained")
    labels = {"tree": "rms error of the tree / its spread", "digits": "test error of digits"}
    for number, (ax, (name, label)) in enumerate(
        zip(figure.subplots(1, 2), labels.items(), strict=True)
    ):
        axes_of(ax, "layers, of ever fewer centres", label)
        values = found[name]
        ax.errorbar(
            values["layers"],
            values["errors"].mean(axis=1),
            values["errors"].std(axis=1),
            color=PALETTE[number],
            marker=MARKERS[number],
            capsize=3.0,
            label="flow",
        )
        ax.axhline(values["plain"].mean(), color="#999999", linestyle="--", label="plain kernel")
        log_scale(ax, values["layers"], "x")
        ax.set_xticks(values["layers"], [str(n) for n in values["layers"]])
        ax.minorticks_off()
        ax.legend(frameon=False, fontsize=9)
        if name == "digits":
            ax.yaxis.set_major_formatter(percent)
    rows = [
        [
            name,
            layers,
            width,
            _told(name, values["errors"][i]),
            _told(name, values["errors"][i] - values["errors"][0]),
            ", ".join(f"{length:g}" for length in np.unique(values["lengths"][i])),
        ]
        for name, values in found.items()
        for i, (layers, width) in enumerate(zip(values["layers"], values["widths"], strict=True))
    ]
    rows += [
        [
            name,
            layers,
            what,
            _told(name, errors),
            _told(name, errors - values["errors"][0]),
            "",
        ]
        for name, values in found.items()
        for layers, what, errors in (
            (0, "plain kernel", values["plain"]),
            (values["layers"][-1], f"{sizes.widths[0]}, at a higher cost", values["wide_and_deep"]),
            (
                values["layers"][-1],
                f"{sizes.widths[-1]}, {_MANY_HALVES} halves",
                values["less_noise"],
            ),
        )
    ]
    report.section(
        "Layers against width, at equal cost",
        f"Flows with {sizes.total} centres in all their layers store the same numbers, and to move "
        "a point takes the same time. Few layers whose batch is all points, or many layers of few? "
        "How far all layers together move the points, as a part of their norm, is chosen for "
        "each by points "
        "that were held out from the training points, and so is the best width; the step is that "
        "length over the number of layers. For comparison there are flows of all points with "
        "as many layers as the "
        f"narrowest, which cost {sizes.widths[0] // sizes.widths[-1]} times as much, and narrow ones "
        f"that average over {_MANY_HALVES} halves, which have less noise.",
    ).figure(
        figure,
        "layers-or-width",
        f"Test error against the number of layers, with {sizes.total} centres in all. Bars are "
        f"standard deviations over {sizes.n_seeds} draws of the points.",
    ).table(
        ["target", "layers", "centres of each", "test error", "less the first", "lengths chosen"],
        rows,
        f"Mean ± standard deviation over {sizes.n_seeds} draws of {sizes.n_points} points.",
    )


def _show_tree(report: Report, by_hand: dict[str, Any], turned: dict[str, float]) -> None:
    figure = Figure(figsize=(6.0, 3.4), layout="constrained")
    ax = axes_of(figure.subplots(), "numbers that are stored", "rms error / spread")
    names = {"tree": "7 kernels of 2 arguments, as a tree", "plain": "one kernel of 8 arguments"}
    for number, (key, name) in enumerate(names.items()):
        ax.plot(
            [row["numbers"] for row in by_hand[key]],
            [row["error"] for row in by_hand[key]],
            color=PALETTE[number],
            marker=MARKERS[number],
            label=f"{name}, slope {_slope(by_hand[key]):.2f}",
        )
    log_scale(ax, [row["numbers"] for row in (*by_hand["tree"], *by_hand["plain"])], "x")
    log_scale(ax, [row["error"] for row in (*by_hand["tree"], *by_hand["plain"])])
    ax.xaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.legend(frameon=False, fontsize=9)
    report.section(
        "A tree of functions",
        "Mhaskar and Poggio: a function of eight arguments that is a tree of functions of two is as "
        "easy as those, for a network that is the same tree. So it is here, if the tree is known and "
        "its seven functions are interpolated one by one. A flow does not know the tree, and cannot "
        "find it: its kernel sees distances only, so that it commutes with rotations, "
        "and a rotation mixes all arguments. Turned at random, the "
        "task is no tree any more, and the flow's predictions change by "
        f"{turned['largest_change']:.1g} "
        f"at most: its error is {turned['error']:.4f} before and {turned['turned_error']:.4f} after.",
    ).figure(
        figure,
        "tree",
        "Error against the number of stored numbers, coordinates of centres and coefficients, on "
        "logarithmic axes, and the slopes of fitted lines.",
    )


def _slope(rows: list[dict[str, float]]) -> float:
    numbers, errors = (np.log([row[key] for row in rows]) for key in ("numbers", "error"))
    return float(np.polyfit(numbers, errors, 1)[0])


def _answer(
    found: dict[str, dict[str, Any]],
    by_hand: dict[str, Any],
    turned: dict[str, float],
    sizes: _Sizes,
) -> dict[str, Any]:
    values = found["tree"]
    best = values["best"]
    digits = found["digits"]
    best_digits = digits["best"]
    measured = (
        f"tree: {_told('tree', values['errors'][0])} with {values['layers'][0]} layers, "
        f"{_told('tree', values['errors'][best])} with {values['layers'][best]} (plain kernel "
        f"{_told('tree', values['plain'])}); digits: {_told('digits', digits['errors'][0])} with "
        f"{digits['layers'][0]}, {_told('digits', digits['errors'][best_digits])} with "
        f"{digits['layers'][best_digits]} (plain {_told('digits', digits['plain'])}); "
        f"{values['layers'][-1]} layers of all points: {_told('tree', values['wide_and_deep'])} and "
        f"{_told('digits', digits['wide_and_deep'])}; {values['layers'][-1]} narrow ones with less "
        f"noise: {_told('tree', values['less_noise'])} and {_told('digits', digits['less_noise'])}"
    )
    difference = values["errors"][best] - values["errors"][0]
    error = difference.std(ddof=1) / len(difference) ** 0.5
    # How much of it more layers bring if their batches stay as large.
    first = values["errors"][0].mean()
    gain = first - values["errors"][best].mean()
    share = max(float((first - values["wide_and_deep"].mean()) / gain), 0.0) if gain > 0.0 else 0.0
    part = "it" if share < 0.2 else "most of it" if share < 0.5 else "a part of it"
    deeper = best > 0 and float(difference.mean()) < -2.0 * float(error)
    return {
        "sentence": f"With {sizes.total} centres in all, {values['layers'][best]} layers of "
        f"{values['widths'][best]} learn a tree of functions best, with an error of "
        f"{values['errors'][best].mean():.3f} against {values['errors'][0].mean():.3f} of "
        f"{values['layers'][0]} layers of {values['widths'][0]} and {values['plain'].mean():.3f} of a "
        f"plain kernel. The small batches do {part}: {values['layers'][-1]} layers of all points have "
        f"{values['wide_and_deep'].mean():.3f}, and less noise in the small ones gives "
        f"{values['less_noise'].mean():.3f}.",
        "claims": [
            Claim(
                "At equal cost and numbers, depth is better than width",
                "-",
                measured,
                "yes for the tree, but more layers of all points bring only "
                f"{100 * share:.0f} % of that"
                if deeper
                else "not beyond the spread",
            ),
            Claim(
                "Compositional targets need depth (Mhaskar and Poggio)",
                f"power of the stored numbers: {-1 / 2:g} a derivative for two arguments, "
                f"{-1 / DIMENSION:g} for eight",
                f"tree by hand {_slope(by_hand['tree']):.2f}, plain kernel "
                f"{_slope(by_hand['plain']):.2f}; a flow predicts the same to "
                f"{turned['largest_change']:.0e} when the tree is turned away",
                "yes by hand; no flow with a radial kernel can see the tree",
            ),
        ],
    }
