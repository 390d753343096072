"""Learning the conductivity of -(a u')' = f from values of u: the paper's first example."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kflow import Interpolant
from kflow._base.array_types import Doubles
from kflow.demos import Options
from kflow.demos.report import Report
from kflow.pde import (
    LearnedConductivity,
    example_problem,
    greens_kernel,
    half_errors,
    learn_conductivity,
    true_greens_kernel,
)
from kflow.plotting import LossDisplay
from kflow.plotting.colours import PALETTE

__all__ = ["MANY", "ONE", "descent", "run"]


_SOLUTIONS = 4
_BLUE, _ORANGE, _GREY = *PALETTE[:2], "#888888"

# The names of what was learned, in the numbers and the pictures.
ONE, MANY = "b from one solution", f"b from {_SOLUTIONS} solutions"


def run(options: Options) -> Report:
    """Run the demo.

    Parameters
    ----------
    options : kflow.demos.Options
        Options of the demo. With `quick`, there are 64 points and fewer steps. The seed is that of
        the halves; the problem is that of the documentation.

    Returns
    -------
    kflow.demos.report.Report
        The report. Its numbers are rho and the errors of b and of u, before the descent and after it.
    """
    n_points, n_steps = (64, 120) if options.quick else (128, 350)
    x, u, a = example_problem(n_points)
    settings: dict[str, Any] = {
        "n_steps": n_steps,
        "truth": a,
        "random_state": options.seed,
        "n_threads": options.n_threads,
    }
    with options.steps(2 * n_steps, "step") as done:
        settings["callbacks"] = [lambda _: done()]
        one = learn_conductivity(x, u, **settings)
        four = learn_conductivity(
            *example_problem(n_points, n_solutions=_SOLUTIONS)[:2], **settings
        )
    measured = _measured(x, u, a, one, four)
    report = Report(
        "Learning a conductivity",
        _summary(measured, n_points, n_steps),
        options.command("pde"),
    )
    report.settings.update(
        {
            "points": n_points,
            "modes of log b": one.history["weights"].shape[2],
            "steps": f"{n_steps} of Adam, 4 halves each, the nugget learned, too",
            "seed": options.seed,
        }
    )
    report.numbers.update(
        {
            "errors": measured,
            "nugget": {ONE: one.nugget, MANY: four.nugget},
            "history": {
                name: {key: learned.history[key] for key in ("rho", *learned.errors)}
                for name, learned in ((ONE, one), (MANY, four))
            },
        }
    )
    _show_conductivity(report, _draw_conductivity(x, u, a, one, four), measured)
    _show_history(report, one, four, measured)
    _show_halves(report, x, u, one, measured, options)
    _show_table(report, measured)
    return report


def _measured(
    x: Doubles, u: Doubles, a: Any, one: LearnedConductivity, four: LearnedConductivity
) -> dict[str, dict[str, float]]:
    """Return rho and the errors of u and b for b = 1, for what was learned, and for the true a."""
    start, truth = greens_kernel(1), true_greens_kernel(a)
    kernels = {"b = 1": start, ONE: one.kernel, MANY: four.kernel, "the true a": truth}
    measured: dict[str, dict[str, float]] = {
        name: half_errors(kernel, x, u, nugget=one.nugget) for name, kernel in kernels.items()
    }
    measured["b = 1"] |= {name: float(one.history[name][0]) for name in one.errors}
    measured[ONE] |= one.errors
    measured[MANY] |= four.errors
    measured["the true a"] |= dict.fromkeys(one.errors, 0.0)
    return measured


def _summary(measured: dict[str, dict[str, float]], n_points: int, n_steps: int) -> str:
    before, after = measured["b = 1"], measured[ONE]
    return (
        "A function u on [0, 1], zero at both ends, is known at "
        f"{n_points} points. It solves −(a u′)′ = f, but neither a nor f is known. Among the Green's "
        "functions of −(b u′)′, as kernels, descend ρ: how badly half of the points interpolates "
        f"all of them. {n_steps} steps take ρ from {before['rho']:.2g} to {after['rho']:.2g} and the "
        f"error of u from half of its points from {before['u_error']:.1%} to "
        f"{after['u_error']:.1%}. They take the relative L² error of b, as an estimate of a, from "
        f"{before['l2_error']:.0%} to {after['l2_error']:.0%}, and to "
        f"{measured[MANY]['l2_error']:.0%} with {_SOLUTIONS} solutions for different f."
    )


def _axes(ax: Axes, xlabel: str, ylabel: str, *, log: bool = True) -> Axes:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, axis="y", linewidth=0.5, alpha=0.4)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if log:
        ax.set_yscale("log")
    return ax


def _draw_conductivity(
    x: Doubles, u: Doubles, a: Any, one: LearnedConductivity, four: LearnedConductivity
) -> Figure:
    """Draw u, and below it the true conductivity and those that were learned."""
    figure = Figure(figsize=(7.4, 5.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1.0, 2.0))
    _axes(upper, "", "u", log=False).plot(x, u, "o", color="black", markersize=2.5)
    upper.set_ylim(0.0, 1.08)
    _axes(lower, "x", "a, b (geometric mean 1)")
    t = np.linspace(0.0, 1.0, 801)
    true_a = np.exp(np.log(a(t)) - np.log(a(t[:-1])).mean())
    peak = float(x[u.argmax()])
    for ax in (upper, lower):
        ax.axvspan(peak - 0.03, peak + 0.03, color="0.9", linewidth=0)
    upper.text(peak, 0.1, "u′ = 0", ha="center")
    lower.plot(t, true_a, color="0.7", linewidth=5, label="true a")
    lower.plot(t, four.conductivity(t), color=_BLUE, linewidth=1.4, label=MANY)
    lower.plot(t, one.conductivity(t), color=_ORANGE, linewidth=1.6, dashes=(4, 1), label=ONE)
    lower.axhline(1.0, color="black", linewidth=1, linestyle=":", label="start, b = 1")
    lower.set_xlim(0.0, 1.0)
    shown = (*true_a, *one.conductivity(t), *four.conductivity(t))
    lower.set_ylim(0.5 * min(shown), 1.3 * max(shown))
    ticks = [tick for tick in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if lower.get_ylim()[0] < tick]
    ticks = [tick for tick in ticks if tick < lower.get_ylim()[1]]
    lower.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    lower.minorticks_off()
    lower.legend(frameon=False, ncols=4, loc="lower left", fontsize=9, columnspacing=1.2)
    return figure


def _show_conductivity(
    report: Report, figure: Figure, measured: dict[str, dict[str, float]]
) -> None:
    report.section(
        "The conductivity",
        "A constant factor of b changes nothing but the scale of the kernel, so that all "
        "conductivities are divided by their geometric means. Where u′ = 0 the conductivity has no "
        "effect on u and cannot be learned from it. Solutions for different f have their zeros of "
        "u′ at different places, and together determine a.",
    ).figure(
        figure,
        "conductivity",
        "Above: the observed values of u. Below: the true conductivity a and what was learned of "
        "it. Grey: where u′ is near 0.",
        alt="Above, a bump of dots. Below, a wavy curve, the true a, and the two that were learned: "
        + ", ".join(f"{name}, {measured[name]['l2_error']:.0%} away" for name in (MANY, ONE))
        + ".",
    )


def _show_history(
    report: Report,
    one: LearnedConductivity,
    four: LearnedConductivity,
    measured: dict[str, dict[str, float]],
) -> None:
    figure = Figure(figsize=(7.6, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_loss(left, one, measured["the true a"]["rho"])
    _draw_errors(right, one, four)
    report.section("The descent", descent(measured)).figure(
        figure,
        "descent",
        "Left: ρ of each step's halves, and its running mean. Right: how far b is from a.",
    )


def _draw_loss(left: Axes, one: LearnedConductivity, true_rho: float) -> None:
    """Draw rho against the step, and its value for the true conductivity."""
    steps = np.arange(len(one.history["rho"]))
    loss = LossDisplay(steps, one.history["rho"]).plot(left)
    loss.line_.set_label("each step")
    loss.mean_line_.set_label("running mean")
    left.set_yscale("log")
    left.set_ylim(0.5 * one.history["rho"].min(), 1.5 * one.history["rho"].max())
    left.axhline(
        true_rho,
        color="black",
        linestyle="--",
        linewidth=1,
        label="with the true a",
    )
    left.set_xlabel("step n")
    left.set_title("ρ, one solution", fontsize=10)
    left.legend(frameon=False, fontsize=9)


def _draw_errors(right: Axes, one: LearnedConductivity, four: LearnedConductivity) -> None:
    """Draw the error of b against the step."""
    steps = np.arange(len(one.history["rho"]))
    _axes(right, "step n", "relative L² error of b")
    errors = {ONE: (one, _ORANGE, (4, 1)), MANY: (four, _BLUE, ())}
    for name, (learned, colour, dashes) in errors.items():
        (line,) = right.plot(steps, learned.history["l2_error"], color=colour, label=name)
        if dashes:
            line.set_dashes(dashes)
    everything = np.concatenate([one.history["l2_error"], four.history["l2_error"]])
    right.set_ylim(0.8 * everything.min(), 1.25 * everything.max())
    ticks = [
        t
        for t in (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
        if everything.min() * 0.8 < t < 1.25 * everything.max()
    ]
    right.set_yticks(ticks, [f"{tick:.0%}" for tick in ticks])
    right.minorticks_off()
    right.set_title("error of b", fontsize=10)
    right.legend(frameon=False, fontsize=9)


def descent(measured: dict[str, dict[str, float]]) -> str:
    """Return what rho says of the true a, by its values there and at what was learned."""
    learned, true = measured[ONE]["rho"], measured["the true a"]["rho"]
    return (
        f"Over 50 halves ρ is {learned:.2g} with the b learned from one solution, and {true:.2g} with "
        "the true a. "
        + ("So a is not where ρ is smallest. " if learned < true else "")
        + "Every b makes u the solution for some f, namely −(b u′)′, and ρ prefers small f: more steps "
        "need not bring b closer to a."
    )


def _show_halves(
    report: Report,
    x: Doubles,
    u: Doubles,
    one: LearnedConductivity,
    measured: dict[str, dict[str, float]],
    options: Options,
) -> None:
    order = np.random.default_rng([options.seed, 1]).permutation(len(x))
    half, left_out = order[: len(x) // 2], np.sort(order[len(x) // 2 :])
    figure = Figure(figsize=(7.4, 3.2), layout="constrained")
    ax = _axes(figure.subplots(), "x", "u − interpolant", log=False)
    for name, kernel, colour, marker in (
        ("b = 1", greens_kernel(1), _GREY, "o"),
        ("the learned b", one.kernel, _ORANGE, "s"),
    ):
        interpolant = Interpolant(
            x[half, None], u[half], kernel=kernel, nugget=one.nugget, n_threads=options.n_threads
        )
        errors = u[left_out] - interpolant(x[left_out, None])[:, 0]
        ax.vlines(x[left_out], 0.0, errors, color=colour, linewidth=0.8)
        ax.plot(x[left_out], errors, marker, color=colour, markersize=4, label=name)
    ax.axhline(0.0, color="black", linewidth=0.8)
    ax.plot(x[half], np.zeros(len(half)), "|", color="black", markersize=7, label="the half")
    ax.set_xlim(0.0, 1.0)
    ax.legend(frameon=False, fontsize=9, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.14))
    report.section(
        "u from half of its points",
        "What ρ asks for: that one half of the points gives the others. Over 50 halves the relative "
        f"L² error at the points left out is {measured['b = 1']['u_error']:.2%} with b = 1, and "
        f"{measured[ONE]['u_error']:.2%} with the learned b.",
    ).figure(
        figure,
        "halves",
        "Errors at the points left out of one half, from which u was interpolated with b = 1 and "
        "with the learned b. u is between 0 and 1.",
    )


def _show_table(report: Report, measured: dict[str, dict[str, float]]) -> None:
    report.section("Numbers").table(
        ["kernel", "ρ", "error of u", "L² error of b", "log error", "log error, weighted"],
        [
            (
                name,
                f"{values['rho']:.2g}",
                f"{values['u_error']:.2%}",
                f"{values['l2_error']:.1%}",
                f"{values['log_error']:.2f}",
                f"{values['weighted_log_error']:.2f}",
            )
            for name, values in measured.items()
        ],
        "ρ, and the relative L² error of u at the points left out, are means over 50 halves, with "
        "the nugget learned from one solution. Log errors are root mean squares of log b − log a; "
        "the last has the energy a u′² as weight.",
    )
