"""Can the conductivity of -(a u')' = f be learned from one solution u, by descent of rho?

    $ python bench/pde.py --losses --json pde.json --picture docs/images/pde.png

The problems are those of `kflow.pde.example_problem`, the settings `learn_conductivity`'s defaults.
For each number of points, of solutions, and each noise, the table has, before (_0) and after learning,
as means over the problems: rho; u, the relative L2 error at the points left out when random halves of
the points interpolate u; and the errors of b against a of `kflow.pde.conductivity_errors`. With
`--losses` also the latter after descent of other losses than rho. The picture is that of one problem.
"""

from __future__ import annotations

import itertools
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Table, parser, write_json

import kflow
from kflow import pde
from kflow.errors import JitterWarning

ERRORS = ("log_error", "weighted_log_error", "l2_error")
SHORT = {
    "rho": "rho",
    "u_error": "u",
    "log_error": "log",
    "weighted_log_error": "weighted",
    "l2_error": "l2",
}
LOSSES = ("rho", "kfold", "e2", "loo", "nlml")

# M. Okabe and K. Ito, Color Universal Design (2008): told apart by the colour-blind.
BLACK, BLUE, ORANGE, GREEN = "#000000", "#0072B2", "#D55E00", "#009E73"


def run(problem: int, options: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    x, u, a = pde.example_problem(**options, random_state=problem)
    start = time.perf_counter()
    learned = pde.learn_conductivity(x, u, truth=a, random_state=0, **settings)
    seconds = time.perf_counter() - start
    nugget = learned.nugget
    before = pde.half_errors(pde.greens_kernel(1), x, u, nugget=nugget)
    before |= {name: float(learned.history[name][0]) for name in ERRORS}
    after = pde.half_errors(learned.kernel, x, u, nugget=nugget) | learned.errors
    return {
        "problem": problem,
        "before": before,
        "after": after,
        "true_a": pde.half_errors(pde.true_greens_kernel(a), x, u, nugget=nugget),
        "nugget": nugget,
        "seconds": seconds,
    }


def mean(rows: list[dict[str, Any]], *path: str) -> float:
    values: list[Any] = list(rows)
    for key in path:
        values = [value[key] for value in values]
    return float(np.mean(values))


def compare_losses(n_points: int, n_problems: int, n_steps: int) -> list[dict[str, Any]]:
    """Return the errors of b after descent of each loss, all settings being those for rho."""
    table = Table({"loss": "<6", "nugget": "<7", **{SHORT[name]: "8.3f" for name in ERRORS}})
    rows = []
    for nugget, loss in itertools.product((0.0, 0.01), LOSSES):
        runs = []
        for problem in range(n_problems):
            x, u, a = pde.example_problem(n_points, random_state=problem)
            with warnings.catch_warnings():
                # Some losses lead to where kernel matrices are singular without a nugget.
                warnings.simplefilter("ignore", JitterWarning)
                learned = kflow.learn_kernel(
                    pde.greens_kernel(min(64, n_points // 4)),
                    x[:, None],
                    u,
                    loss=loss,
                    nugget=nugget,
                    learn_nugget=nugget > 0.0,
                    batch_size=n_points,
                    learning_rate=0.01,
                    n_steps=n_steps,
                    random_state=0,
                )
            runs.append(pde.conductivity_errors(learned.kernel.theta.reshape(2, -1), a, x, u))
        row = {
            "loss": loss,
            "nugget": "learned" if nugget else "0",
            **{name: mean(runs, name) for name in ERRORS},
        }
        table.row(*row.values())
        rows.append(row)
    return rows


def draw(path: Path, problem: int, n_points: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Draw a and b, rho, and the errors of one problem; return what was drawn."""
    from matplotlib.figure import Figure

    x, u, a = pde.example_problem(n_points, random_state=problem)
    learned = pde.learn_conductivity(x, u, truth=a, random_state=0, **settings)
    history = learned.history
    n_steps = len(history["rho"])
    every = max(1, n_steps // 70)
    steps = np.arange(0, n_steps, every)
    kernel = pde.greens_kernel(history["weights"].shape[2])
    at_steps = [
        pde.half_errors(
            kernel.clone_with_theta(history["weights"][n].ravel()),
            x,
            u,
            nugget=history["nugget"][n],
        )
        for n in steps
    ]
    u_errors = [measured["u_error"] for measured in at_steps]
    at_truth = pde.half_errors(pde.true_greens_kernel(a), x, u, nugget=learned.nugget)
    four = pde.learn_conductivity(
        *pde.example_problem(n_points, n_solutions=4, random_state=problem)[:2],
        truth=a,
        random_state=0,
        **settings,
    )

    t = np.linspace(0.0, 1.0, 1001)
    log_a = np.log(a(t))
    true_a = np.exp(log_a - log_a[:-1].mean())
    b = learned.conductivity(t)
    b_of_four = four.conductivity(t)

    figure = Figure(figsize=(13.2, 4.0), dpi=150, layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=[1.5, 1, 1])
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(True, axis="y", linewidth=0.5, alpha=0.4)
        ax.set_yscale("log")

    ax = axes[0]
    peak = x[u.argmax()]
    ax.axvspan(peak - 0.04, peak + 0.04, color="0.9", linewidth=0)
    ax.text(peak, 0.98, "u' = 0", ha="center", va="top", transform=ax.get_xaxis_transform())
    ax.plot(t, true_a, color="0.65", linewidth=5, label="true a")
    ax.plot(t, b_of_four, color=BLUE, linewidth=1.4, label="b from four solutions")
    ax.plot(t, b, color=ORANGE, linewidth=1.8, linestyle=(0, (4, 1)), label="b from one solution")
    ax.axhline(1.0, color=BLACK, linewidth=1, linestyle=":", label="start")
    ax.set_ylim(0.6 * min(true_a.min(), b.min()), 1.6 * max(true_a.max(), b.max()))
    ax.set_xlim(0.0, 1.0)
    ax.set_yticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
    ax.minorticks_off()
    ax.set_xlabel("x")
    ax.set_ylabel("a, b (geometric mean 1)")
    ax.set_title(f"conductivity from {n_points} points", fontsize="medium")
    ax.legend(frameon=False, ncols=4, loc="lower left", fontsize="small", columnspacing=1.2)

    ax = axes[1]
    n = np.arange(n_steps)
    width = max(1, n_steps // 20)
    smooth = np.convolve(history["rho"], np.ones(width) / width, "valid")
    ax.plot(n, history["rho"], color=ORANGE, alpha=0.35, linewidth=0.8, label="each step")
    ax.plot(
        n[width // 2 :][: len(smooth)], smooth, color=ORANGE, linewidth=1.8, label="running mean"
    )
    ax.axhline(at_truth["rho"], color=BLACK, linewidth=1, linestyle="--", label="with the true a")
    ax.set_xlabel("step n")
    ax.set_title(r"$\rho(b_n)$, one solution", fontsize="medium")
    ax.legend(frameon=False, fontsize="small")

    ax = axes[2]
    ax.plot(
        n,
        history["l2_error"],
        color=ORANGE,
        linewidth=1.8,
        linestyle=(0, (4, 1)),
        label="b from one solution",
    )
    ax.plot(
        np.arange(len(four.history["rho"])),
        four.history["l2_error"],
        color=BLUE,
        linewidth=1.4,
        label="b from four solutions",
    )
    ax.plot(
        steps, u_errors, color=GREEN, linewidth=1.8, linestyle="-.", label="u from half its points"
    )
    ax.axhline(
        at_truth["u_error"], color=BLACK, linewidth=1, linestyle="--", label="u with the true a"
    )
    ax.set_xlabel("step n")
    ax.set_title("relative $L^2$ errors", fontsize="medium")
    ax.legend(frameon=False, fontsize="small", loc="upper right", bbox_to_anchor=(1.0, 0.72))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return {
        "problem": problem,
        "x": t[::10].tolist(),
        "a": true_a[::10].tolist(),
        "b": b[::10].tolist(),
        "b_of_four": b_of_four[::10].tolist(),
        "rho": history["rho"].tolist(),
        **{name: history[name].tolist() for name in ERRORS},
        "u_error": dict(zip(steps.tolist(), u_errors, strict=True)),
        "true_a": at_truth,
        "errors": learned.errors,
        "errors_of_four": four.errors,
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--points", type=int, nargs="+", default=[64, 128, 256])
    options.add_argument("--solutions", type=int, nargs="+", default=[1, 2, 4])
    options.add_argument("--noise", type=float, nargs="+", default=[1e-4, 1e-3, 3e-3])
    options.add_argument("--nugget", type=float, help="keep this one instead of learning it")
    options.add_argument("--problems", type=int, default=8, help="how many; means are over them")
    options.add_argument("--steps", type=int, default=350)
    options.add_argument("--losses", action="store_true", help="compare losses, too")
    options.add_argument("--picture", metavar="FILE", help="draw one problem")
    options.add_argument("--picture-problem", type=int, default=0)
    options.add_argument("--picture-points", type=int, default=128)
    args = options.parse_args()

    columns = {"points": "6d", "solutions": "6d", "noise": "7.0e"}
    for name in SHORT:
        form = "8.3f" if name in ERRORS else "8.1e"
        columns |= {f"{SHORT[name]}_0": form, SHORT[name]: form}
    table = Table({**columns, "nugget": "8.1e", "seconds": "7.1f"})
    cases = [(n, m, 0.0) for n in args.points for m in args.solutions]
    cases += [(n, 1, noise) for n in args.points for noise in args.noise]
    settings: dict[str, Any] = {"n_steps": args.steps}
    if args.nugget is not None:
        settings |= {"nugget": args.nugget, "learn_nugget": False}
    rows = []
    for n_points, n_solutions, noise in cases:
        problem = {"n_points": n_points, "n_solutions": n_solutions, "noise": noise}
        runs = [run(number, problem, settings) for number in range(args.problems)]
        cells = [mean(runs, when, name) for name in SHORT for when in ("before", "after")]
        nugget = float(np.median([run["nugget"] for run in runs]))
        table.row(n_points, n_solutions, noise, *cells, nugget, mean(runs, "seconds"))
        rows.append({**problem, "runs": runs})
    results: dict[str, Any] = {"rows": rows}
    if args.losses:
        middle = args.points[len(args.points) // 2]
        results["losses"] = compare_losses(middle, args.problems, args.steps)
    if args.picture:
        results["picture"] = draw(
            Path(args.picture), args.picture_problem, args.picture_points, settings
        )
        print(args.picture)
    write_json(args, **results)


if __name__ == "__main__":
    main()
