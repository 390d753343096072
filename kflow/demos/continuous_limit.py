"""As steps shrink and layers multiply, a flow of random layers becomes a differential equation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kflow import KernelFlow
from kflow._base.array_types import Doubles
from kflow.demos import Options
from kflow.demos.mean_flow import MeanFlow
from kflow.demos.report import Report
from kflow.demos.spirals import spirals
from kflow.kernels import Gaussian, Radial
from kflow.plotting import ConvergenceDisplay
from kflow.plotting.colours import PALETTE

__all__ = ["run"]


@dataclass(frozen=True)
class _Sizes:
    """How large the two problems are, and how often they are solved."""

    n_flows: int
    layers: tuple[int, ...]
    n_points: int
    time: float
    n_layers: tuple[int, ...]
    n_seeds: int


_FULL = _Sizes(4000, (4, 8, 16, 32, 64), 250, 500.0, (50, 100, 200, 400, 800, 1600), 5)
_QUICK = _Sizes(400, (4, 8, 16, 32), 100, 60.0, (20, 40, 80, 160, 320), 6)

# The small problem: 12 points, 924 halves.
_N, _LENGTH_SCALE, _NUGGET, _TIME = 12, 1.0, 0.1, 16.0
# The Swiss roll.
_ROLL_LENGTH_SCALE, _ROLL_NUGGET, _ROLL_HALVES = 0.3, 1.0, 32
_N_TRACKED = 8


def run(options: Options) -> Report:
    """Run the demo.

    Parameters
    ----------
    options : kflow.demos.Options
        Options of the demo. With `quick`, there are fewer flows and steps.

    Returns
    -------
    kflow.demos.report.Report
        The report. Its numbers are the distances from the limit for each step size, and fitted orders.
    """
    sizes = _QUICK if options.quick else _FULL
    n_steps = len(sizes.layers) + len(sizes.n_layers) + 1
    with options.steps(n_steps, "step size") as done:
        small = _small_problem(sizes, options, done)
        roll = _swiss_roll(sizes, options, done)
    orders = small["orders"]
    report = Report(
        "The continuous limit",
        "Halve the step, double the layers: the flow of random layers becomes a differential "
        "equation, in which each random half is replaced by the mean over all of them. A single "
        f"flow approaches it with order {orders['single flow']:.2f} in the step size (√ε is order "
        f"1/2), the mean of many flows with order {orders['mean of flows']:.2f}, and layers that "
        f"average over all halves with order {orders['all halves']:.2f} (ε is order 1).",
        options.command("continuous-limit"),
    )
    report.settings.update(
        {
            "small problem": f"{_N} points of the Swiss roll, {comb(_N, _N // 2)} halves, Gaussian "
            f"of length scale {_LENGTH_SCALE:g}, nugget {_NUGGET:g}, t = {_TIME:g}, "
            f"{sizes.n_flows} flows",
            "Swiss roll": f"N = N_f = {sizes.n_points}, Gaussian of length scale "
            f"{_ROLL_LENGTH_SCALE:g}, nugget {_ROLL_NUGGET:g}, t = {sizes.time:g}, "
            f"{sizes.n_seeds} flows",
            "step rule": "fixed",
            "seed": options.seed,
        }
    )
    picture = {"figure": roll.pop("figure")}
    report.numbers.update({"small_problem": small, "swiss_roll": roll})
    _explain(report)
    _show_small(report, small, sizes)
    _show_roll(report, roll, picture["figure"], sizes)
    return report


# ---- twelve points --------------------------------------------------------------------------------


def _small_problem(sizes: _Sizes, options: Options, done: Callable[[], None]) -> dict[str, Any]:
    """Measure how far flows of a few points are from their limit."""
    X, y = spirals(_N)
    mean_flow = MeanFlow(X, y, Gaussian(_LENGTH_SCALE), _NUGGET)
    limit = mean_flow.solution(_TIME)
    steps = [_TIME / n for n in sizes.layers]
    errors: dict[str, list[float]] = {"single flow": [], "mean of flows": [], "all halves": []}
    sampling = []
    for n in sizes.layers:
        ends = np.stack(
            [
                _flow(
                    X, y, mean_flow.kernel, _NUGGET, n, _TIME, [options.seed, n, number], 1
                ).points_
                for number in range(sizes.n_flows)
            ]
        )
        mean = ends.mean(axis=0)
        errors["single flow"].append(_rms(ends - limit))
        sampling.append(_rms(ends - mean) / (sizes.n_flows - 1) ** 0.5)
        # The square of a mean's distance has the variance of the mean in it.
        square = _rms(mean - limit) ** 2 - sampling[-1] ** 2
        told = square > sampling[-1] ** 2
        errors["mean of flows"].append(float(np.sqrt(square)) if told else float("nan"))
        errors["all halves"].append(_rms(mean_flow.euler(_TIME, n) - limit))
        done()
    return {
        "layers": list(sizes.layers),
        "steps": steps,
        "errors": errors,
        "sampling_error": sampling,
        "orders": ConvergenceDisplay(steps, errors).orders,
        "moved": _rms(limit - X),
    }


def _flow(
    X: Doubles,
    y: Doubles,
    kernel: Radial,
    nugget: float,
    n_layers: int,
    time: float,
    seed: Sequence[int],
    n_threads: int | None,
    n_halves: int = 1,
) -> KernelFlow:
    """Run so many layers with the step that takes them to a time."""
    return KernelFlow(
        kernel,
        n_layers=n_layers,
        batch_size=len(X),
        nugget=nugget,
        step="fixed",
        step_size=time / n_layers,
        n_halves=n_halves,
        dtype="float64",
        random_state=list(seed),
        n_threads=n_threads,
    ).fit(X, y)


def _rms(distances: Doubles) -> float:
    """Return the root mean square of the lengths of vectors (..., d)."""
    return float(np.sqrt((distances**2).sum(axis=-1).mean()))


# ---- the Swiss roll -------------------------------------------------------------------------------


def _swiss_roll(sizes: _Sizes, options: Options, done: Callable[[], None]) -> dict[str, Any]:
    """Measure how far flows of the spirals are from one that averages over many halves."""
    X, y = spirals(sizes.n_points)
    kernel = Gaussian(_ROLL_LENGTH_SCALE)

    def flow(n: int, seed: int, n_halves: int = 1) -> KernelFlow:
        where = [options.seed, n, n_halves, seed]
        return _flow(X, y, kernel, _ROLL_NUGGET, n, sizes.time, where, options.n_threads, n_halves)

    most = sizes.n_layers[-1]
    averaged = flow(most, 0, _ROLL_HALVES)
    coarser = flow(most // 2, 0, _ROLL_HALVES)
    limit = averaged.points_
    done()
    along = np.linspace(0, len(X) - 2, _N_TRACKED).round().astype(np.intp)
    tracked = along - along % 2 + np.arange(_N_TRACKED) % 2  # in turn from one arm and the other
    figure = Figure(figsize=(7.6, 2.9), layout="constrained")
    shown = dict(
        zip((sizes.n_layers[0], sizes.n_layers[2], most), figure.subplots(1, 3), strict=True)
    )
    distances = []
    for n in sizes.n_layers:
        flows = [flow(n, seed) for seed in range(sizes.n_seeds)]
        distances.append([_rms(one.points_ - limit) for one in flows])
        if n in shown:
            _draw_paths(shown[n], averaged, flows, X[tracked], y[tracked], sizes.time / n)
        done()
    for number, ax in enumerate(shown.values()):
        if number:
            ax.set_ylabel("")
    steps = [sizes.time / n for n in sizes.n_layers]
    rms = [float(np.sqrt(np.mean(np.square(one)))) for one in distances]
    half = (len(steps) + 1) // 2
    larger = slice(None, len(steps) - half + 1)
    return {
        "layers": list(sizes.n_layers),
        "steps": steps,
        "distances": distances,
        "rms_distance": rms,
        "order": ConvergenceDisplay(steps[-half:], {"": rms[-half:]}).orders[""],
        "order_of_larger_steps": ConvergenceDisplay(steps[larger], {"": rms[larger]}).orders[""],
        "limit_changes_by": _rms(coarser.points_ - limit),
        "moved": _rms(limit - X),
        "figure": figure,
    }


def _draw_paths(
    ax: Any, averaged: KernelFlow, flows: Sequence[KernelFlow], X: Doubles, y: Doubles, step: float
) -> None:
    """Draw the paths of some points: in the limit, wide and grey, and in single flows."""

    def paths(flow: KernelFlow) -> Doubles:
        layers = np.linspace(0, flow.n_layers_, 51).round().astype(int)
        return np.stack(list(flow.trajectory(X, layers.tolist())), axis=1)

    for path in paths(averaged):
        ax.plot(*path.T, color="#bbbbbb", linewidth=4.0, solid_capstyle="round", zorder=1)
    for flow in flows:
        for path, label in zip(paths(flow), y, strict=True):
            colour = PALETTE[1] if label > 0 else PALETTE[0]
            ax.plot(*path.T, color=colour, linewidth=0.7, alpha=0.8, zorder=2)
            ax.plot(*path[-1], color=colour, marker="s" if label > 0 else "o", markersize=2.5)
    ax.set_aspect("equal")
    ax.set_xlim(-1.3, 1.3)
    ax.set_ylim(-1.3, 1.3)
    ax.set_xlabel("$x_1$")
    ax.set_ylabel("$x_2$")
    ax.set_title(rf"$\epsilon$ = {step:g}", fontsize=10)


# ---- words ----------------------------------------------------------------------------------------


def _explain(report: Report) -> None:
    report.section(
        "Why the orders are 1/2 and 1",
        "A layer moves all points by ε times a velocity that depends on the half π that it has "
        "drawn. Let b be the mean of this velocity over all halves, and ξ what is left of it:\n\n"
        "```\n"
        "Fₙ₊₁ = Fₙ + ε b(Fₙ) + ε ξₙ,    E[ξₙ | Fₙ] = 0\n"
        "dF/dt = b(F) = −E[ (∇ρ(Z, π))ᵀ (K(Z, Z) + λI)⁻¹ K(Z, x) ]  at Z = F\n"
        "```\n\n"
        "Taylor's formula for F gives the error eₙ = Fₙ − F(nε):\n\n"
        "```\n"
        "eₙ₊₁ = eₙ + ε (b(Fₙ) − b(F(nε))) + ε ξₙ − (ε²/2) F″\n"
        "```\n\n"
        "- **Growth.** If L is a Lipschitz constant of b, the first bracket is at most L |eₙ|, and "
        "by Gronwall's lemma whatever the other two terms add up to grows by exp(Lt) at most, a "
        "number without ε.\n"
        "- **Bias.** The last term is of size ε² in each of t/ε layers: **O(ε)**, the error of "
        "Euler's method. It is all there is if every layer averages over all halves.\n"
        "- **Fluctuation.** The halves of different layers are independent, so that the sum of ε ξₙ "
        "is a martingale, whose terms are uncorrelated: its mean square is t/ε times ε² E|ξ|², which "
        "is ε t E|ξ|². Its size is **O(√ε)**, and outweighs the bias: a single flow has order 1/2.\n"
        "- **Mean.** The mean of the martingale is 0. What the fluctuations leave in the mean of "
        "many flows is the difference between E[b(Fₙ)] and b(E[Fₙ]), half the second derivative of "
        "b times their variance, which is O(ε) again: order 1, with a constant of its own. A mean of "
        "M flows also has a sampling error, O(√(ε/M)).",
    )


def _draw_orders(small: dict[str, Any], n_flows: int) -> Figure:
    """Draw the errors of the small problem against the step size."""
    errors, sampling = small["errors"], np.array(small["sampling_error"])
    shown = {
        "single flow": errors["single flow"],
        f"mean of {n_flows} flows": errors["mean of flows"],
        "all halves in each layer": errors["all halves"],
    }
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    ax = figure.subplots()
    ConvergenceDisplay(small["steps"], shown).plot(ax, ylabel=f"rms error at t = {_TIME:g}")
    ax.plot(
        small["steps"], sampling, color="#888888", linestyle=":", label="sampling error of the mean"
    )
    ax.set_ylim(
        0.6 * min(sampling.min(), min(errors["all halves"])), 6.0 * max(errors["single flow"])
    )
    _tick(ax, small["steps"])
    ax.legend(frameon=False, fontsize=9)
    return figure


def _show_small(report: Report, small: dict[str, Any], sizes: _Sizes) -> None:
    errors = small["errors"]
    section = report.section(
        "Twelve points, all halves",
        f"With {_N} points the mean over all {comb(_N, _N // 2)} halves can be computed, and the "
        "equation solved to ten digits. Until t = "
        f"{_TIME:g} the points move by {small['moved']:.2g}, and the flows end this far from where "
        "the equation takes them:",
    )
    section.figure(
        _draw_orders(small, sizes.n_flows),
        "orders",
        "Distance from the solution of the equation against the step size, as root mean squares "
        "over points and flows, with the slopes of the fitted lines. Of the mean, its sampling "
        "variance has been subtracted.",
        alt="Logarithmic axes and fitted lines with these slopes: "
        + ", ".join(f"{name} {order:.2f}" for name, order in small["orders"].items())
        + ".",
    )
    section.table(
        ["ε", "layers", "single flow", "mean of flows", "its sampling error", "all halves"],
        list(
            zip(
                small["steps"],
                small["layers"],
                errors["single flow"],
                errors["mean of flows"],
                small["sampling_error"],
                errors["all halves"],
                strict=True,
            )
        ),
        f"Root mean square distances from the solution at t = {_TIME:g}.",
    )
    ratios = np.array(errors["mean of flows"]) / errors["all halves"]
    ratios = ratios[np.isfinite(ratios)]  # NaN where the sampling error hides the mean's
    if len(ratios):
        section.text(
            f"The mean of the flows is {ratios.min():.2g} to {ratios.max():.2g} times as far from the "
            "solution as layers that average over all halves."
        )


def _tick(ax: Any, steps: Sequence[float]) -> None:
    ax.set_xticks(steps, [f"{step:g}" for step in steps])
    ax.minorticks_off()


def _draw_distances(roll: dict[str, Any], time: float) -> Figure:
    """Draw the distances of the Swiss roll's flows from the limit against the step size."""
    half = (len(roll["steps"]) + 1) // 2
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    ax = figure.subplots()
    ConvergenceDisplay(roll["steps"][-half:], {"smaller steps": roll["rms_distance"][-half:]}).plot(
        ax, ylabel=f"rms distance at t = {time:g}"
    )
    ax.plot(
        roll["steps"][:-half],
        roll["rms_distance"][:-half],
        marker="o",
        markersize=5.5,
        linestyle="",
        color=PALETTE[0],
        markerfacecolor="white",
        label="larger steps, left out of the fit",
    )
    ax.set_xlim(0.7 * min(roll["steps"]), 1.4 * max(roll["steps"]))
    ax.set_ylim(0.7 * min(roll["rms_distance"]), 1.4 * max(roll["rms_distance"]))
    _tick(ax, roll["steps"])
    ax.legend(frameon=False)
    return figure


def _show_roll(report: Report, roll: dict[str, Any], paths: Figure, sizes: _Sizes) -> None:
    report.section(
        "The Swiss roll",
        f"{sizes.n_points} points have too many halves. Their limit is a flow with the smallest "
        f"step and {_ROLL_HALVES} halves in each layer; with twice the step it ends "
        f"{roll['limit_changes_by']:.1g} away, while the points move by {roll['moved']:.2g}. Single "
        f"flows wander about it, at a distance of order {roll['order']:.2f} in ε over the smaller "
        "half of the steps. Over the larger ones, for whose errors the expansion above need not hold, "
        f"it is {roll['order_of_larger_steps']:.2f}.",
    ).figure(
        paths,
        "trajectories",
        f"Paths of {_N_TRACKED} points in {sizes.n_seeds} flows of one half a layer (thin; marks at "
        f"their ends, t = {sizes.time:g}) and in the limit (wide, grey), for three step sizes.",
    ).figure(
        _draw_distances(roll, sizes.time),
        "swiss-roll-distance",
        "Distance of all points from the limit, as root mean square over points and flows.",
    ).table(
        ["ε", "layers", "distance", "smallest", "largest"],
        [
            (step, n, rms, min(each), max(each))
            for step, n, rms, each in zip(
                roll["steps"], roll["layers"], roll["rms_distance"], roll["distances"], strict=True
            )
        ],
        f"Root mean square distance from the limit at t = {sizes.time:g}, and of single flows.",
    )
