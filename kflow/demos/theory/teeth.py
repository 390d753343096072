"""Teeth on a line: layers made by hand fold it, and what flows that learn do to it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kflow import KernelFlow
from kflow._base.array_types import Doubles, FloatArray
from kflow._base.workers import Workers
from kflow.demos import Options
from kflow.demos.report import Report, percent
from kflow.demos.theory.spread import percents, spread
from kflow.kernels import Gaussian
from kflow.linear.interpolant import Interpolant
from kflow.plotting.axes import axes_of, log_scale
from kflow.plotting.axes import percent as percent_tick
from kflow.plotting.colours import MARKERS, PALETTE

__all__ = [
    "CENTRES",
    "learned_teeth",
    "show_by_hand",
    "show_learned",
    "teeth_by_hand",
    "teeth_settings",
]

# Layers made by hand: centres of each, length scale, and a nugget that is rounding.
CENTRES = 10
_LENGTH, _TINY = 0.5, 1e-13

# Points of the line on which regions are counted, and on which maps are compared.
_N_LINE = 16001


# The learned teeth: 2^4, by so many points.
_DOUBLINGS, _N_TEETH_POINTS, _TEETH_NUGGET = 4, 64, 0.01


_SMALL_STEP, _LARGE_STEP = 0.001, 0.05


_LINE = slice(None, None, 4)


def _teeth(x: Doubles, doublings: int) -> Doubles:
    """Return the map 4x(1 - x) of [0, 1], so many times composed: it has 2^(doublings - 1) teeth."""
    return np.asarray(np.sin(2.0**doublings * np.arcsin(np.sqrt(x))) ** 2)


def _regions(values: FloatArray) -> int:
    """Return the number of stretches of a line on which a function has one sign."""
    return 1 + int(np.count_nonzero(np.diff(values > 0.0)))


def _error(values: FloatArray, truth: FloatArray) -> float:
    """Return the part of a line on which a function has the wrong sign."""
    return float(((values > 0.0) != (truth > 0.0)).mean())


def teeth_by_hand(most_layers: int, n_needed: int) -> dict[str, Any]:
    """Count the regions of a stack of layers made by hand, and of a plain kernel with as many centres."""
    x = np.linspace(0.0, 1.0, _N_LINE)
    centres = np.linspace(0.0, 1.0, CENTRES)[:, None]
    fold = Interpolant(
        centres,
        _teeth(centres, 1) - centres,
        kernel=Gaussian(_LENGTH),
        nugget=_TINY,
        n_threads=1,
    )
    moved: FloatArray = x.copy()
    rows = []
    for doublings in range(1, most_layers + 1):
        moved = moved + fold(moved[:, None])[:, 0]
        truth = _teeth(x, doublings) - 0.5
        plain = _plain_teeth(x, doublings, doublings * CENTRES)
        rows.append(
            {
                "layers": doublings,
                "centres": doublings * CENTRES,
                "regions": 2**doublings + 1,
                "deep_regions": _regions(moved - 0.5),
                "deep_error": _error(moved - 0.5, truth),
                "plain_regions": _regions(plain),
                "plain_error": _error(plain, truth),
            }
        )
    needed = [_centres_needed(x, doublings) for doublings in range(1, n_needed + 1)]
    largest = float(np.abs(fold.coefficients).max())
    return {"rows": rows, "centres_needed": needed, "largest_coefficient": largest}


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


def learned_teeth(
    n_layers: int, n_seeds: int, options: Options, workers: Workers
) -> dict[str, Any]:
    """Let flows with small and with large steps learn which teeth points belong to."""
    x = np.linspace(0.0, 1.0, _N_LINE)[_LINE]
    truth = _teeth(x, _DOUBLINGS) - 0.5
    layers = [0, *(2**k for k in range(int(np.log2(n_layers)) + 1))]
    kernel = Gaussian(1.0 / 2**_DOUBLINGS)

    def flow(job: tuple[float, int]) -> list[tuple[int, float, float]]:
        step, seed = job
        rng = np.random.default_rng([options.seed, seed])
        X = np.sort(rng.uniform(size=_N_TEETH_POINTS))[:, None]
        y = np.where(_teeth(X[:, 0], _DOUBLINGS) > 0.5, 1.0, -1.0)
        fitted = KernelFlow(
            kernel,
            n_layers=n_layers,
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
        found = np.array(list(workers.map(flow, [(step, seed) for seed in range(n_seeds)])))
        results[name] = {
            "regions": found[..., 0],
            "errors": found[..., 1],
            "folded": found[..., 2],
        }
    return results


def show_by_hand(report: Report, found: dict[str, Any]) -> None:
    """Add the section on layers made by hand to a report."""
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
    right.yaxis.set_major_formatter("{x:g}")
    right.legend(frameon=False, fontsize=8)
    report.section(
        "What layers can represent: teeth",
        "Telgarsky's teeth are a map of the line that folds it, composed with itself: each composition "
        "doubles their number. A layer of a flow, x + K(x, Z) C, can be that map: ten Gaussians give "
        "4x(1 - x) to five digits, with coefficients of up to "
        f"{found['largest_coefficient']:.0g}. Then n layers of ten centres cross 2ⁿ + 1 regions. A sum "
        "of m Gaussians of one length scale has at most m - 1 zeros (Karlin), and so at most "
        "m regions, "
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


def show_learned(report: Report, found: dict[str, Any], n_seeds: int) -> None:
    """Add the section on flows that learn the teeth to a report."""
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
                    spread(values["regions"][:, place], ".1f"),
                    percents(values["errors"][:, place], ".1f"),
                    percents(values["folded"][:, place], ".1f"),
                ]
            )
    left.set_yscale("log")
    left.yaxis.set_major_formatter("{x:g}")
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
        f"{found['regions']} regions of the teeth. Bars are standard deviations over {n_seeds} "
        "flows, each of its own points.",
    ).table(
        ["flow", "layers", "regions", "error", "part of the line that is folded"],
        rows,
        f"Mean ± standard deviation over {n_seeds} flows. Regions closer than "
        f"{4 / (_N_LINE - 1):g} are not seen.",
    )


def teeth_settings() -> dict[str, str]:
    """Return the settings as a report tells them."""
    return {
        "teeth by hand": f"{CENTRES} Gaussians of length scale {_LENGTH:g} in each layer",
        "learned teeth": f"{_N_TEETH_POINTS} points, nugget {_TEETH_NUGGET:g}, rms steps of "
        f"{_SMALL_STEP:g} and {_LARGE_STEP:g}",
    }
