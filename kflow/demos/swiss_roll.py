"""The Swiss roll cheesecake: a flow that unrolls two spirals until a line separates them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kflow import Interpolant, KernelFlow, one_hot
from kflow._base.array_types import Doubles
from kflow.demos import Options
from kflow.demos.report import Report
from kflow.demos.spirals import LENGTH_SCALE, SpiralFlow, spiral_flows, spirals
from kflow.evaluation import class_distance_ratio
from kflow.linear.interpolant import balanced_subset
from kflow.linear_separation import Hyperplane, best_line, separating_hyperplane
from kflow.plotting import DecisionRegionDisplay, LossDisplay, PointsDisplay, VelocityDisplay
from kflow.plotting.colours import PALETTE
from kflow.plotting.gif import animated_gif

__all__ = ["run", "summary"]


_INTERPOLATION_NUGGET = 0.01
_FEW = 10
# The slides' average velocity: 10 (F_{n + 300} - F_n) / 300.
_SPAN, _FACTOR = 300, 10.0
_LINES = (
    "The line is the one with the fewest points on the wrong side: dotted and grey, or dashed and "
    "green where there are none."
)
# Linear separability is looked for after every so many layers.
_EVERY = 10


def run(options: Options) -> Report:
    """Run the demo.

    Parameters
    ----------
    options : kflow.demos.Options
        Options of the demo. With `quick`, there are 100 points and fewer, larger steps.

    Returns
    -------
    kflow.demos.report.Report
        The report. Its numbers tell, for each flow, whether and when a line separates F_n(X), and rho.
    """
    X, y = spirals(100 if options.quick else 250)
    small, large, bare = spiral_flows(options.quick)
    with options.steps(9, "part") as done:
        flows = {}
        for settings in (small, large, bare):
            flows[settings.name] = settings.flow(X, y, options)
            done()
        measured = {s.name: _measure(s, flows[s.name], X, y) for s in (small, large, bare)}
        done()
        report = _begun((small, large, bare), measured, len(X), options)
        _small_steps(report, small, flows[small.name], measured[small.name], X, y)
        done()
        _large_steps(report, large, flows[large.name], measured[large.name], X, y)
        _small_nugget(report, bare, small, flows[bare.name], measured, X, y)
        done()
        _velocities(report, small, flows[small.name], X, y)
        done()
        _regions(report, small, flows[small.name], X, y, options.seed)
        done()
        _loss(report, flows)
        _separation(report, (small, large, bare), measured)
        done()
    return report


def _begun(
    all_settings: Sequence[SpiralFlow],
    measured: dict[str, dict[str, Any]],
    n_points: int,
    options: Options,
) -> Report:
    """Return the report with its summary, settings and numbers."""
    small, large = (measured[settings.name] for settings in all_settings[:2])
    report = Report(
        "The Swiss roll cheesecake",
        summary(small, large, n_points),
        options.command("swiss-roll"),
    )
    report.settings.update(
        {
            "points": f"N = N_f = {n_points}, d = 2",
            "kernel": f"Gaussian, length scale {LENGTH_SCALE:g}",
            **{settings.name: settings.words() for settings in all_settings},
            "interpolation nugget": _INTERPOLATION_NUGGET,
            "seed": options.seed,
        }
    )
    report.numbers.update(measured)
    return report


# ---- what is measured -----------------------------------------------------------------------------


def _measure(settings: SpiralFlow, flow: KernelFlow, X: Doubles, y: Doubles) -> dict[str, Any]:
    """Return how well lines separate F_n(X) at the n that are shown, and rho."""
    shown = list(flow.trajectory(X, settings.layers))
    lines = [best_line(points, y) for points in shown]
    separable = [separating_hyperplane(points, y) is not None for points in shown]
    rho = flow.history_["rho"]
    tail = max(1, len(rho) // 20)
    return {
        "layers": list(settings.layers),
        "linearly_separable": separable,
        "best_line_error": [line.error for line in lines],
        "class_distance_ratio": [class_distance_ratio(points, y) for points in shown],
        "first_linearly_separable": _first_separable(flow, X, y) if any(separable) else None,
        "rho": {"first": float(rho[:tail].mean()), "last": float(rho[-tail:].mean())},
        "lines": [{"normal": line.normal, "offset": line.offset} for line in lines],
    }


def _first_separable(flow: KernelFlow, X: Doubles, y: Doubles) -> int | None:
    """Return the first n, of every tenth, at which a line separates F_n(X)."""
    tested = range(0, flow.n_layers_ + 1, _EVERY)
    for n, points in zip(tested, flow.trajectory(X, tested), strict=True):
        if separating_hyperplane(points, y) is not None:
            return n
    return None


def _first(measured: dict[str, Any]) -> str:
    n = measured["first_linearly_separable"]
    if n is None:
        return "No line separates the classes at any n shown"
    return f"A line separates the classes for the first time at n = {n}"


def summary(small: dict[str, Any], large: dict[str, Any], n_points: int) -> str:
    """Return what came out of it, from the numbers of the flows with small and with large steps."""
    start, end = small["best_line_error"][0], small["best_line_error"][-1]
    first = {"small": small["first_linearly_separable"], "large": large["first_linearly_separable"]}
    found = " or ".join(f"{n} {steps} steps" for steps, n in first.items() if n is not None)
    if not found:
        outcome = "It knows nothing of lines, and none separates the classes at any n shown."
    else:
        outcome = (
            "It knows nothing of lines, and yet it unrolls the spirals: after "
            f"{found} a straight line separates the classes."
        )
        for steps, n in first.items():
            outcome += f" With {steps} steps none does at any n shown." if n is None else ""
    if end > 0.0:
        outcome += f" After all small steps the best line has {end:.1%} on its wrong side."
    return (
        f"Two interleaved spirals of {n_points} points with labels 1 and -1. The best of all lines "
        f"has {start:.0%} of them on its wrong side. The flow moves every point so that ρ falls: so "
        f"that half of the points, drawn anew in each layer, predicts the labels of all. {outcome}"
    )


# ---- pictures -------------------------------------------------------------------------------------


def _panels(n_rows: int, n_columns: int, height: float = 2.55) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(7.6, height * n_rows), layout="constrained")
    return figure, list(figure.subplots(n_rows, n_columns, squeeze=False).ravel())


def _points(
    settings: SpiralFlow, flow: KernelFlow, measured: dict[str, Any], X: Doubles, y: Doubles
) -> Figure:
    figure, axes = _panels(len(settings.layers) // 3, 3)
    PointsDisplay.from_estimator(flow, X, y, layers=settings.layers, ax=axes, size=7.0)
    for ax, line, error in zip(axes, measured["lines"], measured["best_line_error"], strict=True):
        _draw_line(ax, Hyperplane(line["normal"], line["offset"], error))
        ax.label_outer()
    return figure


def _draw_line(ax: Axes, line: Hyperplane) -> None:
    colour, dashes = (PALETTE[2], (0, (5, 2))) if line.error == 0.0 else ("#888888", (0, (2, 2)))
    direction = np.array([-line.normal[1], line.normal[0]])
    through = line.offset * line.normal
    ax.axline(
        (float(through[0]), float(through[1])),
        (float(through[0] + direction[0]), float(through[1] + direction[1])),
        color=colour,
        linestyle=dashes,
        linewidth=1.2,
        zorder=2,
    )


def _small_steps(
    report: Report,
    settings: SpiralFlow,
    flow: KernelFlow,
    measured: dict[str, Any],
    X: Doubles,
    y: Doubles,
) -> None:
    section = report.section(
        "Small steps",
        f"In each layer the points move by {settings.step_size:.1%} of their size, as root mean "
        f"squares. {_first(measured)}. The movement is smooth: each spiral unrolls and straightens "
        "as a whole before it shrinks.",
    )
    section.figure(
        _points(settings, flow, measured, X, y),
        "small-steps",
        f"Fₙ(xᵢ) with small steps. {_LINES}",
    )
    section.animation(
        _animated(flow, X, y, 12 if len(X) < 200 else 61),
        "small-steps-animated",
        f"The same flow from n = 0 to n = {settings.layers[-1]}.",
        alt="Animation of two interleaved spirals that unroll and move apart.",
    )


def _large_steps(
    report: Report,
    settings: SpiralFlow,
    flow: KernelFlow,
    measured: dict[str, Any],
    X: Doubles,
    y: Doubles,
) -> None:
    ends = (
        "; those of a class still end up side by side."
        if measured["linearly_separable"][-1]
        else "."
    )
    report.section(
        "Large steps",
        f"The same kernel and nugget, but larger steps: no point moves by more than "
        f"{settings.step_size:.0%} of its norm in a layer. {_first(measured)}. The spirals come apart "
        f"into pieces, each of which draws together{ends}",
    ).figure(
        _points(settings, flow, measured, X, y),
        "large-steps",
        f"Fₙ(xᵢ) with large steps. {_LINES}",
    )


def _small_nugget(
    report: Report,
    settings: SpiralFlow,
    other: SpiralFlow,
    flow: KernelFlow,
    measured: dict[str, dict[str, Any]],
    X: Doubles,
    y: Doubles,
) -> None:
    """Compare a flow with a small nugget with another one."""
    own, others = measured[settings.name], measured[other.name]
    report.section(
        "What the nugget does",
        f"With a nugget of {settings.nugget:g} instead of {other.nugget:g} the next neighbours of a "
        "point are enough to tell its label. ρ is small once each point has some of its own "
        "class close by: those of one arm gather in clumps, and little is left that drives the "
        f"arms apart. ρ is {own['rho']['last']:.2g} at the end "
        f"({others['rho']['last']:.2g} with the large nugget). "
        f"{_first(own)}. A large nugget asks for many points that agree, and so for whole arms "
        "that straighten and shrink.",
    ).figure(
        _points(settings, flow, own, X, y),
        "small-nugget",
        f"Fₙ(xᵢ) with nugget {settings.nugget:g}. {_LINES}",
    )


def _animated(flow: KernelFlow, X: Doubles, y: Doubles, n_frames: int) -> bytes:
    """Return a GIF of F_n(X) at evenly spaced n."""
    layers = np.linspace(0, flow.n_layers_, n_frames).round().astype(int).tolist()
    moved = list(flow.trajectory(X, layers))
    half = 1.05 * max(float(np.abs(points).max()) for points in moved)
    figure = Figure(figsize=(4.2, 4.2), layout="constrained")
    ax = figure.subplots()
    scatters = PointsDisplay(X, y).plot(ax, class_names=None, size=12.0).scatters_[0]
    ax.set_xlim(-half, half)
    ax.set_ylim(-half, half)

    def frames() -> Iterator[None]:
        for n, points in zip(layers, moved, strict=True):
            for label, scatter in zip(np.unique(y), scatters, strict=True):
                scatter.set_offsets(points[y == label])
            ax.set_title(f"n = {n}", fontsize=10)
            yield

    return animated_gif(figure, frames())


def _velocities(
    report: Report, settings: SpiralFlow, flow: KernelFlow, X: Doubles, y: Doubles
) -> None:
    section = report.section(
        "Velocities",
        "Each layer sees one half of the points, drawn at random, and its velocity Fₙ₊₁ − Fₙ "
        "depends on which. The average over 300 layers, ten times enlarged, shows where the points "
        "really go: the arms outwards and the inner ends along them, until every class has drawn "
        "together. Both fields are sums of one Gaussian around each point, and vanish some length "
        "scales away from the points.",
    )
    words = (
        "Above the instantaneous velocity Fₙ₊₁(x) − Fₙ(x), below the average velocity "
        "10 (Fₙ₊₃₀₀(x) − Fₙ(x)) / 300"
    )
    every = len(settings.layers) // 3
    chosen = [n for n in settings.layers[::every] if n + _SPAN <= flow.n_layers_]
    for grid, name, what in (
        (17, "velocity-fields", "at the nodes of a grid; the points are Fₙ(xᵢ)"),
        (None, "velocities-of-points", "at the points Fₙ(xᵢ), by class"),
    ):
        figure, axes = _panels(2, len(chosen), 2.75)
        for column, n in enumerate(chosen):
            for row, (span, factor) in enumerate(((1, 1.0), (_SPAN, _FACTOR))):
                ax = axes[len(chosen) * row + column]
                display = VelocityDisplay.from_estimator(
                    flow,
                    X,
                    y,
                    n_layers=n,
                    span=span,
                    factor=factor,
                    grid=grid,
                    ax=ax,
                    legend=False,
                    key=False,
                )
                _tell_scale(display)
                ax.set_title(f"n = {n}", fontsize=10, loc="left")
                # Each with ticks of its own, because the points draw together.
                ax.set_xlabel("$x_1$" if row else "")
                ax.set_ylabel("" if column else "$x_2$")
        section.figure(figure, name, f"{words}, {what}. The arrow above a panel is its scale.")


def _tell_scale(display: VelocityDisplay) -> None:
    """Draw an arrow of a tenth of the panel's width beside the title, and write its speed."""
    arrows = display.quivers_[0]
    low, high = display.ax_.get_xlim()
    speed = 0.1 * (high - low) * float(arrows.scale or 1.0)
    display.ax_.quiverkey(
        arrows, 0.88, 1.05, speed, f"{speed:.2g}", labelpos="W", fontproperties={"size": 9}
    )


def _draw_regions(
    chosen: Sequence[int], few: npt.NDArray[np.intp], flow: KernelFlow, X: Doubles, y: Doubles
) -> tuple[Figure, dict[str, list[float]]]:
    """Draw the decision regions of interpolants from all points and from few of them.

    Returns the figure, and the part of the labels that each interpolant gets wrong.
    """
    figure, axes = _panels(2, 3, 2.75)
    sides = np.linspace(-1.2, 1.2, 61 if len(X) < 200 else 121)
    xx0, xx1 = np.meshgrid(sides, sides)
    nodes = np.column_stack([xx0.ravel(), xx1.ravel()])
    wrong: dict[str, list[float]] = {"all": [], "few": []}
    fields = zip(flow.trajectory(nodes, chosen), flow.trajectory(X, chosen), strict=True)
    for column, (n, (field, points)) in enumerate(zip(chosen, fields, strict=True)):
        for row, (name, used) in enumerate((("all", np.arange(len(X))), ("few", few))):
            interpolant = _interpolant(flow, points[used], y[used])
            predicted = np.unique(y)[interpolant(points).argmax(axis=1)]
            wrong[name].append(float((predicted != y).mean()))
            ax = axes[3 * row + column]
            DecisionRegionDisplay(
                xx0,
                xx1,
                interpolant(field).reshape(*xx0.shape, 2),
                points=X[used],
                labels=y[used],
                layer=n,
            ).plot(ax, size=6.0 if name == "all" else 24.0, legend=False)
            ax.set_aspect("equal")
            ax.label_outer()
    return figure, wrong


def _regions(
    report: Report, settings: SpiralFlow, flow: KernelFlow, X: Doubles, y: Doubles, seed: int
) -> None:
    chosen = [settings.layers[at] for at in (0, len(settings.layers) // 2, -1)]
    few = balanced_subset(y, _FEW, np.random.default_rng([seed, 1]))
    figure, wrong = _draw_regions(chosen, few, flow, X, y)
    told = ", ".join(
        f"{error:.0%} at n = {n}" for n, error in zip(chosen, wrong["few"], strict=True)
    )
    report.section(
        "What the learned kernel knows",
        "The kernel Kₙ(x, x′) = K₁(Fₙ(x), Fₙ(x′)) interpolates labels in the space in which the "
        f"points were given. From {_FEW} points, five of each class, Kₙ gets these parts of all "
        f"{len(X)} labels wrong: {told}. "
        "Where the flow pulls neighbouring arms apart, the boundary runs close to one of them.",
    ).figure(
        figure,
        "decision-regions",
        f"Which label the interpolant with Kₙ gives to each x: above from all {len(X)} points, "
        f"below from {_FEW} of them. The darker, the clearer.",
    )
    report.numbers["interpolation"] = {
        "layers": list(chosen),
        "error_from_all": wrong["all"],
        f"error_from_{_FEW}": wrong["few"],
    }


def _interpolant(flow: KernelFlow, points: Doubles, labels: Doubles) -> Interpolant:
    """Return the interpolant of labels at flowed points."""
    return Interpolant(
        points,
        one_hot(labels),
        kernel=flow.kernel_,
        nugget=_INTERPOLATION_NUGGET,
        n_threads=flow.n_threads,
    )


def _loss(report: Report, flows: dict[str, KernelFlow]) -> None:
    figure = Figure(figsize=(7.6, 2.7), layout="constrained")
    axes = figure.subplots(1, len(flows), sharey=True)
    for ax, (name, flow) in zip(axes, flows.items(), strict=True):
        LossDisplay.from_estimator(flow, ax=ax)
        ax.set_title(name, fontsize=10)
        ax.label_outer()
        if ax is not axes[0]:
            ax.get_legend().remove()
    report.section(
        "The loss",
        "ρ is the squared relative distance, in the norm of the kernel's space, between the "
        "interpolants from all points and from half of them. It differs from layer to layer with "
        "the half that is drawn.",
    ).figure(figure, "rho", "ρ of each layer, and its running mean.")


def _separation(
    report: Report, all_settings: Sequence[SpiralFlow], measured: dict[str, dict[str, Any]]
) -> None:
    rows = [
        (settings.name, n, separable, f"{error:.1%}", ratio)
        for settings in all_settings
        for n, separable, error, ratio in zip(
            settings.layers,
            *(
                measured[settings.name][key]
                for key in ("linearly_separable", "best_line_error", "class_distance_ratio")
            ),
            strict=True,
        )
    ]
    report.section(
        "Linear separability",
        "Whether a line separates Fₙ(X) is decided by a linear program. The best line, the one with "
        "the fewest points on its wrong side, is found by turning a line around each of the points. "
        "The last column is the mean squared distance between points of one "
        "class over that between classes.",
    ).table(
        ["flow", "n", "separable", "best line's error", "distance ratio"],
        rows,
        "Fₙ(X) at the n shown above.",
    )
