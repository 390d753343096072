"""Is depth needed? What layers can represent, and what the descent of rho finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

from kflow import KernelFlow
from kflow._base.array_types import Doubles, FloatArray
from kflow._base.workers import Workers
from kflow.analysis import crossed_regions
from kflow.demos import Options
from kflow.demos.report import Report, percent
from kflow.demos.spirals import LENGTH_SCALE, spirals
from kflow.demos.theory.claims import Claim, add_claims
from kflow.demos.theory.layers_or_width import add_layers_or_width
from kflow.engine.threads import resolve_n_threads
from kflow.kernels import Gaussian
from kflow.linear.interpolant import Interpolant, balanced_subset
from kflow.plotting.axes import axes_of, log_scale, plain_number
from kflow.plotting.axes import percent as percent_tick
from kflow.plotting.colours import MARKERS, PALETTE

__all__ = ["run"]


@dataclass(frozen=True)
class _Sizes:
    """How large the problems are, and how often they are solved."""

    n_seeds: int
    doublings: tuple[int, ...]
    n_layers: int
    n_spiral_layers: int
    n_lines: int


_FULL = _Sizes(5, (1, 2, 3, 4, 5, 6, 7, 8), 64, 240, 40)
_QUICK = _Sizes(2, (1, 2, 3, 4, 5), 32, 160, 12)

# Layers made by hand: centres of each, length scale, and a nugget that is rounding.
_CENTRES, _LENGTH, _TINY = 10, 0.5, 1e-13
# Points of the line on which regions are counted, and on which maps are compared.
_N_LINE = 16001

# The learned teeth: 2^4, by so many points.
_DOUBLINGS, _N_TEETH_POINTS, _TEETH_NUGGET = 4, 64, 0.01
_SMALL_STEP, _LARGE_STEP = 0.002, 0.05
_LINE = slice(None, None, 4)

# The spirals: 250 points, and lines through the middle.
_N_SPIRALS, _SPIRAL_STEP, _PER_LINE = 250, 0.04, 300


def run(options: Options) -> Report:
    """Run the demo.

    Parameters
    ----------
    options : kflow.demos.Options
        Options of the demo. With `quick`, there are fewer layers, widths and seeds.

    Returns
    -------
    kflow.demos.report.Report
        The report. Its numbers are regions and errors of deep and of plain kernels.
    """
    sizes = _QUICK if options.quick else _FULL
    with (
        options.steps(4, "part") as done,
        Workers(resolve_n_threads(options.n_threads)) as workers,
    ):
        by_hand = _teeth_by_hand(sizes)
        done()
        learned = _learned_teeth(sizes, options, workers)
        done()
        lines = _lines_through_spirals(sizes, options, workers)
        done()
        report = Report("Is depth needed?", "", options.command("depth"))
        report.settings.update(
            {
                "teeth by hand": f"{_CENTRES} Gaussians of length scale {_LENGTH:g} in each layer",
                "learned teeth": f"{_N_TEETH_POINTS} points, nugget {_TEETH_NUGGET:g}, rms steps of "
                f"{_SMALL_STEP:g} and {_LARGE_STEP:g}, {sizes.n_seeds} flows",
                "spirals": f"{_N_SPIRALS} points, Gaussian of length scale {LENGTH_SCALE:g}, nugget 1, "
                f"rms step {_SPIRAL_STEP:g}, {sizes.n_seeds} flows",
                "seed": options.seed,
            }
        )
        _show_by_hand(report, by_hand)
        _show_learned(report, learned, sizes)
        _show_lines(report, lines, sizes)
        trees = add_layers_or_width(report, options, workers)
        done()
    report.numbers.update(by_hand=by_hand, learned_teeth=learned, spirals=lines)
    _conclude(report, by_hand, learned, lines, trees)
    return report


# ---- teeth ----------------------------------------------------------------------------------------


def _teeth(x: Doubles, doublings: int) -> Doubles:
    """Return the map 4x(1 - x) of [0, 1], so many times composed: it has 2^(doublings - 1) teeth."""
    return np.asarray(np.sin(2.0**doublings * np.arcsin(np.sqrt(x))) ** 2)


def _regions(values: FloatArray) -> int:
    """Return the number of stretches of a line on which a function has one sign."""
    return 1 + int(np.count_nonzero(np.diff(values > 0.0)))


def _error(values: FloatArray, truth: FloatArray) -> float:
    """Return the part of a line on which a function has the wrong sign."""
    return float(((values > 0.0) != (truth > 0.0)).mean())


def _teeth_by_hand(sizes: _Sizes) -> dict[str, Any]:
    """Count the regions of a stack of layers made by hand, and of a plain kernel with as many centres."""
    x = np.linspace(0.0, 1.0, _N_LINE)
    centres = np.linspace(0.0, 1.0, _CENTRES)[:, None]
    fold = Interpolant(
        centres,
        _teeth(centres, 1) - centres,
        kernel=Gaussian(_LENGTH),
        nugget=_TINY,
        n_threads=1,
    )
    moved: FloatArray = x.copy()
    rows = []
    for doublings in range(1, max(sizes.doublings) + 1):
        moved = moved + fold(moved[:, None])[:, 0]
        truth = _teeth(x, doublings) - 0.5
        plain = _plain_teeth(x, doublings, doublings * _CENTRES)
        rows.append(
            {
                "layers": doublings,
                "centres": doublings * _CENTRES,
                "regions": 2**doublings + 1,
                "deep_regions": _regions(moved - 0.5),
                "deep_error": _error(moved - 0.5, truth),
                "plain_regions": _regions(plain),
                "plain_error": _error(plain, truth),
            }
        )
    needed = [_centres_needed(x, doublings) for doublings in sizes.doublings[:6]]
    return {"rows": rows, "centres_needed": needed}


def _plain_teeth(x: Doubles, doublings: int, n_centres: int) -> Doubles:
    """Return the best of plain interpolants of the teeth in evenly spaced points, by its length scale."""
    Z = np.linspace(0.0, 1.0, n_centres)[:, None]
    truth = _teeth(x, doublings) - 0.5
    best: FloatArray = truth
    least = np.inf
    for scale in np.geomspace(0.3, 4.0, 12):
        interpolant = Interpolant(
            Z,
            _teeth(Z, doublings) - 0.5,
            kernel=Gaussian(scale / (n_centres - 1)),
            nugget=1e-8,
            n_threads=1,
        )
        values = interpolant(x[:, None])[:, 0]
        error = _error(values, truth)
        if error < least:
            best, least = values, error
    return np.asarray(best)


def _centres_needed(x: Doubles, doublings: int) -> int:
    """Return the fewest centres, on a grid of numbers, by which a plain kernel is right to 1 %."""
    truth = _teeth(x, doublings) - 0.5
    number = 4
    while _error(_plain_teeth(x, doublings, number), truth) > 0.01:
        number = int(np.ceil(1.25 * number))
    return number


def _learned_teeth(sizes: _Sizes, options: Options, workers: Workers) -> dict[str, Any]:
    """Let flows with small and with large steps learn which teeth points belong to."""
    x = np.linspace(0.0, 1.0, _N_LINE)[_LINE]
    truth = _teeth(x, _DOUBLINGS) - 0.5
    layers = [0, *(2**k for k in range(int(np.log2(sizes.n_layers)) + 1))]
    kernel = Gaussian(1.0 / 2**_DOUBLINGS)

    def flow(job: tuple[float, int]) -> list[tuple[int, float, float]]:
        step, seed = job
        rng = np.random.default_rng([options.seed, seed])
        X = np.sort(rng.uniform(size=_N_TEETH_POINTS))[:, None]
        y = np.where(_teeth(X[:, 0], _DOUBLINGS) > 0.5, 1.0, -1.0)
        fitted = KernelFlow(
            kernel,
            n_layers=sizes.n_layers,
            batch_size=len(X),
            nugget=_TEETH_NUGGET,
            step="rms",
            step_size=step,
            dtype="float64",
            random_state=[options.seed, seed, 1],
            n_threads=1,
        ).fit(X, y)
        found = []
        both = np.concatenate([X, x[:, None]])
        for moved in fitted.trajectory(both, layers):
            points, line = moved[: len(X)], moved[len(X) :]
            interpolant = Interpolant(points, y, kernel=kernel, nugget=_TEETH_NUGGET, n_threads=1)
            values = interpolant(line)[:, 0]
            folded = float((np.diff(line[:, 0]) <= 0.0).mean())
            found.append((_regions(values), _error(values, truth), folded))
        return found

    steps = {"small steps": _SMALL_STEP, "large steps": _LARGE_STEP}
    results: dict[str, Any] = {"layers": layers, "regions": 2**_DOUBLINGS + 1}
    for name, step in steps.items():
        found = np.array(list(workers.map(flow, [(step, seed) for seed in range(sizes.n_seeds)])))
        results[name] = {
            "regions": found[..., 0],
            "errors": found[..., 1],
            "folded": found[..., 2],
        }
    return results


# ---- lines through the spirals --------------------------------------------------------------------


def _lines_through_spirals(sizes: _Sizes, options: Options, workers: Workers) -> dict[str, Any]:
    """Count the regions that lines through the middle of the spirals cross, for few centres and all."""
    X, y = spirals(_N_SPIRALS)
    many, labels = spirals(8 * _N_SPIRALS)
    angles = np.random.default_rng(options.seed).uniform(0.0, np.pi, sizes.n_lines)
    ends = np.column_stack([np.cos(angles), np.sin(angles)])
    layers = np.unique(np.linspace(0, sizes.n_spiral_layers, 9).round().astype(int)).tolist()
    kernel = Gaussian(LENGTH_SCALE)

    nearest = cKDTree(many)
    truth = crossed_regions(
        lambda points: labels[nearest.query(points)[1]], -ends, ends, n_points=_PER_LINE
    )

    def flow(seed: int) -> list[list[float]]:
        fitted = KernelFlow(
            kernel,
            n_layers=sizes.n_spiral_layers,
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

    values = np.array(list(workers.map(flow, range(sizes.n_seeds))))
    return {
        "layers": layers,
        "truth": float(truth.mean()),
        "two_centres": values[..., 0],
        "two_centres_error": values[..., 1],
        "all_centres": values[..., 2],
        "all_centres_error": values[..., 3],
    }


# ---- words ----------------------------------------------------------------------------------------


def _mean(values: Any, digits: str = ".3g") -> str:
    array = np.asarray(values, np.float64)
    return f"{array.mean():{digits}} ± {array.std():{digits}}"


def _show_by_hand(report: Report, found: dict[str, Any]) -> None:
    rows = found["rows"]
    figure = Figure(figsize=(7.0, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    x = np.linspace(0.0, 1.0, 2001)
    for doublings, colour in ((1, PALETTE[0]), (2, PALETTE[2]), (4, PALETTE[1])):
        left.plot(x, _teeth(x, doublings), color=colour, linewidth=1.1, label=f"n = {doublings}")
    axes_of(left, "x", "$F_n(x)$")
    left.set_ylim(-0.25, 1.05)
    left.legend(frameon=False, fontsize=8, loc="lower center", ncols=3)
    axes_of(right, "centres in all", "regions")
    for number, (name, key) in enumerate(
        {
            "the teeth": "regions",
            "layers of 10 centres": "deep_regions",
            "plain kernel": "plain_regions",
        }.items()
    ):
        right.plot(
            [row["centres"] for row in rows],
            [row[key] for row in rows],
            color=("#999999", *PALETTE)[number],
            marker=MARKERS[number],
            linewidth=4.0 if number == 0 else 1.2,
            label=name,
        )
    log_scale(right, [row["regions"] for row in rows])
    right.yaxis.set_major_formatter(plain_number)
    right.legend(frameon=False, fontsize=8)
    report.section(
        "What layers can represent: teeth",
        "Telgarsky's teeth are a map of the line that folds it, composed with itself: each composition "
        "doubles their number. A layer of a flow, x + K(x, Z) C, can be that map: ten Gaussians give "
        "4x(1 - x) to five digits. Then n layers of ten centres cross 2ⁿ + 1 regions. A sum of m "
        "Gaussians of one length scale has at most m - 1 zeros (Karlin), and so at most m regions, "
        "whatever its coefficients: a plain kernel needs 2ⁿ + 1 centres at least.",
    ).figure(
        figure,
        "teeth",
        "Left: the map after 1, 2 and 4 layers. Right: regions on the line of layers made by hand, and "
        "of the best plain interpolant with as many centres.",
    ).table(
        ["layers", "centres", "regions", "of the layers", "error", "of a plain kernel", "error"],
        [
            [
                row["layers"],
                row["centres"],
                row["regions"],
                row["deep_regions"],
                percent(row["deep_error"]),
                row["plain_regions"],
                percent(row["plain_error"]),
            ]
            for row in rows
        ],
        "Regions of the line [0, 1], and the part of it with the wrong sign. The length scale of the "
        "plain kernel is the best of twelve, by this error.",
    ).text(
        "To be right on 99 % of the line, a plain kernel with points at equal distances needs "
        + ", ".join(str(number) for number in found["centres_needed"])
        + f" centres for n = 1 to {len(found['centres_needed'])}."
    )


def _show_learned(report: Report, found: dict[str, Any], sizes: _Sizes) -> None:
    figure = Figure(figsize=(7.0, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    axes_of(left, "layers", "regions")
    axes_of(right, "layers", "error")
    rows = []
    places = np.arange(len(found["layers"]))
    for number, name in enumerate(("small steps", "large steps")):
        values = found[name]
        for ax, key in ((left, "regions"), (right, "errors")):
            array = np.asarray(values[key])
            ax.errorbar(
                places,
                array.mean(axis=0),
                array.std(axis=0),
                color=PALETTE[number],
                marker=MARKERS[number],
                markersize=4.0,
                capsize=2.0,
                label=name,
            )
        for place in (0, len(places) // 2, len(places) - 1):
            rows.append(
                [
                    name,
                    found["layers"][place],
                    _mean(values["regions"][:, place]),
                    _mean(100 * values["errors"][:, place], ".1f") + " %",
                    _mean(100 * values["folded"][:, place], ".1f") + " %",
                ]
            )
    left.set_yscale("log")
    left.yaxis.set_major_formatter(plain_number)
    right.yaxis.set_major_formatter(percent_tick)
    left.axhline(found["regions"], color="#999999", linewidth=3.0, zorder=0)
    for ax in (left, right):
        ax.set_xticks(places, [str(n) for n in found["layers"]])
        ax.legend(frameon=False, fontsize=8)
    report.section(
        "What the descent finds: teeth",
        f"{_N_TEETH_POINTS} points drawn at random on the line say on which side of 1/2 they are, of "
        f"{2 ** (_DOUBLINGS - 1)} teeth. The flows' layers could fold the line. With small steps they "
        "do not: such a layer is one to one, and on the line that means monotone, so that points keep "
        "their order and the learned kernel has to have as many centres as regions, as a plain one. "
        "Large steps do fold it, and regions multiply with each layer, but not in the places of the "
        "teeth.",
    ).figure(
        figure,
        "learned-teeth",
        f"Regions of the line, and the part of it with the wrong sign, against the layer; grey: the "
        f"{found['regions']} regions of the teeth. Bars are standard deviations over {sizes.n_seeds} "
        "flows, each of its own points.",
    ).table(
        ["flow", "layers", "regions", "error", "part of the line that is folded"],
        rows,
        f"Mean ± standard deviation over {sizes.n_seeds} flows. Regions closer than "
        f"{4 / (_N_LINE - 1):g} are not seen.",
    )


def _show_lines(report: Report, found: dict[str, Any], sizes: _Sizes) -> None:
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
        f"{sizes.n_lines} lines through the middle of two interleaved spirals cross "
        f"{found['truth']:.1f} regions on average. A local representation needs a centre for each: "
        "on any line, in any number of dimensions, the sum of two Gaussians changes its sign at most "
        "once. After the flow, two centres suffice, one on each spiral, because all centres share its "
        "layers.",
    ).figure(
        figure,
        "lines",
        "Regions of constant class that a line through the middle crosses, against the layer, by "
        f"interpolation from one point of each spiral and from all. Bars are standard deviations over "
        f"{sizes.n_seeds} flows.",
    ).table(
        ["layers", "regions, 2 centres", "errors", f"regions, {_N_SPIRALS} centres", "errors"],
        [
            [
                n,
                _mean(found["two_centres"][:, i]),
                _mean(100 * found["two_centres_error"][:, i], ".1f") + " %",
                _mean(found["all_centres"][:, i]),
                _mean(100 * found["all_centres_error"][:, i], ".1f") + " %",
            ]
            for i, n in enumerate(found["layers"])
        ],
        f"Mean ± standard deviation over {sizes.n_seeds} flows; errors are those of the "
        f"{_N_SPIRALS} points.",
    )


def _conclude(
    report: Report,
    by_hand: dict[str, Any],
    learned: dict[str, Any],
    lines: dict[str, Any],
    trees: dict[str, Any],
) -> None:
    last = by_hand["rows"][-1]
    large, small = learned["large steps"], learned["small steps"]
    two = np.asarray(lines["two_centres"])
    report.summary = (
        "**Layers can fold space exponentially often, but the descent of ρ does not make use of it: "
        "what depth gives a flow is a space that all centres share.** "
        f"Made by hand, {last['layers']} layers of {_CENTRES} centres have {last['deep_regions']} "
        f"regions where a plain kernel with as many centres has {last['plain_regions']}; learned, small "
        f"steps do not fold, and large ones leave {_mean(large['regions'][:, -1])} regions, with "
        f"the wrong class on {_mean(100 * large['errors'][:, -1], '.0f')} % of the line. After the flow two "
        f"centres cross {two[:, -1].mean():.1f} regions of the spirals ({lines['truth']:.1f} are true, "
        f"2 the most before it). {trees['sentence']}"
    )
    add_claims(
        report,
        [
            Claim(
                "Teeth need exponentially many units or depth (Telgarsky)",
                f"2ⁿ + 1 regions by n layers; at most {last['centres']} by a plain kernel with "
                f"{last['centres']} centres",
                f"n = {last['layers']}: {last['deep_regions']} and {last['plain_regions']} regions",
                "yes, for layers made by hand",
            ),
            Claim(
                "Deep networks identify exponentially many regions (Montufar)",
                "at most one region a centre if no layer folds",
                f"large steps: {_mean(large['regions'][:, 0])} regions before and "
                f"{_mean(large['regions'][:, -1])} after, with an error of "
                f"{_mean(100 * large['errors'][:, -1], '.0f')} %; small steps: "
                f"{_mean(small['regions'][:, -1])}",
                "the number grows so, but the error with it",
            ),
            Claim(
                "Local representations have a region for each parameter, distributed ones more (Bengio)",
                "2 regions by 2 Gaussians",
                f"{_mean(two[:, 0])} before the flow, {_mean(two[:, -1])} after",
                "yes",
            ),
            *trees["claims"],
        ],
        "That a layer of Gaussians can double teeth, and that a plain Gaussian kernel cannot have more "
        "regions on a line than centres, follow from known theorems; that the descent of ρ with small "
        "steps can never use the first, because its layers are one to one, seems not to have been said "
        "of kernel flows. Nor that they cannot see a tree: they commute with rotations, which destroy "
        "it.",
    )
