"""Draw what was measured: `limit.py --json` as roofline.png, `scaling.py --json` as scaling.png.

    $ python bench/plot.py --limit limit.json --scaling scaling.json

The pictures go to docs/images.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

# M. Okabe and K. Ito, Color Universal Design (2008): told apart by the colour-blind.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
MARKERS = ["o", "s", "^", "D", "v", "P"]
LINES = {"float32": "-", "float64": "--"}


def caption(machine: dict[str, Any]) -> str:
    """Return the machine in a line."""
    threads = f"{machine['n_threads']} thread{'' if machine['n_threads'] == 1 else 's'}"
    return f"{machine['processor']}, {threads}, {machine['simd_level']}, {machine['date']}"


def thousands(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\N{THIN SPACE}")


def label_dimensions(ax: Any, values: list[int]) -> None:
    """Write the measured values below a logarithmic axis, without those that would overlap."""
    shown = [value for i, value in enumerate(values) if i == 0 or value >= 1.4 * values[i - 1]]
    ax.set_xticks(shown, [thousands(value) for value in shown])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.minorticks_off()


def roofline(report: dict[str, Any], n: int | None, kernel: str) -> Figure:
    rows = [row for row in report["rows"] if row["kernel"] == kernel]
    if not rows:
        raise SystemExit(f"no measurement with the kernel {kernel}")
    sizes = sorted({row["N"] for row in rows})
    n = n or sizes[len(sizes) // 2]
    rows = [row for row in rows if row["N"] == n]
    if not rows:
        raise SystemExit(f"no measurement with N = {n}")
    figure = Figure(figsize=(7.6, 4.2), dpi=150, layout="constrained")
    ax = figure.subplots()
    ax.axhline(1.0, color="0.35", linewidth=1)
    batches = sorted({row["N_f"] for row in rows})
    dtypes = [dtype for dtype in LINES if any(row["dtype"] == dtype for row in rows)]
    for dtype, (i, n_batch) in itertools.product(dtypes, enumerate(batches)):
        line = sorted(
            (row["d"], row["fraction"])
            for row in rows
            if row["N_f"] == n_batch and row["dtype"] == dtype
        )
        if line:
            ax.plot(
                *zip(*line, strict=True),
                LINES[dtype],
                color=COLOURS[i % len(COLOURS)],
                marker=MARKERS[i % len(MARKERS)],
                markerfacecolor=None if dtype == "float32" else "white",
                markersize=5,
                label=f"$N_f$ = {n_batch}, {dtype}",
            )
    ax.set_xscale("log")
    label_dimensions(ax, sorted({row["d"] for row in rows}))
    ax.set_ylim(0, max(1.1, 1.05 * max(row["fraction"] for row in rows)))
    ax.set_xlabel("dimension d of the points")
    ax.set_ylabel("limit / time of the move")
    ax.set_title(f"Move of {thousands(n)} points, {kernel.replace('_', ' ')}")
    ax.grid(alpha=0.3)
    figure.legend(loc="outside right center", frameon=False)
    figure.supxlabel(caption(report["machine"]), fontsize="small", color="0.35")
    return figure


def scaling(report: dict[str, Any]) -> Figure:
    names = {
        "N": "number of points $N$",
        "N_f": "batch size $N_f$",
        "d": "dimension $d$",
    }
    figure = Figure(figsize=(10.4, 3.8), dpi=150, layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    for i, (ax, axis) in enumerate(zip(axes, names, strict=True)):
        rows = [row for row in report["rows"] if row["axis"] == axis]
        if not rows:
            ax.set_axis_off()
            continue
        values = np.array([row[axis] for row in rows], float)
        seconds = np.array([row["layer_s"] for row in rows])
        ax.loglog(values, seconds, MARKERS[i], color=COLOURS[i], markersize=6)
        slope = report["exponents"][axis]
        if slope is not None:
            offset = np.mean(np.log(seconds) - slope * np.log(values))
            ax.loglog(values, np.exp(offset) * values**slope, "-", color=COLOURS[i], alpha=0.6)
            ax.text(0.05, 0.95, f"slope {slope:.2f}", transform=ax.transAxes, va="top")
        label_dimensions(ax, [int(value) for value in values])
        ax.tick_params(axis="x", labelrotation=30)
        fixed = [f"${name}$ = {thousands(rows[0][name])}" for name in names if name != axis]
        ax.set_title(", ".join(fixed), fontsize="medium")
        ax.set_xlabel(names[axis])
        ax.grid(alpha=0.3, which="both")
    axes[0].set_ylabel("seconds a layer")
    axes[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    figure.supxlabel(caption(report["machine"]), fontsize="small", color="0.35")
    return figure


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--limit", metavar="FILE", help="of limit.py --json")
    options.add_argument("--scaling", metavar="FILE", help="of scaling.py --json")
    options.add_argument(
        "--n", type=int, help="points of the roofline; if not given, the middle of those measured"
    )
    options.add_argument("--kernel", default="gaussian", help="of the roofline")
    images = Path(__file__).parents[1] / "docs" / "images"
    options.add_argument("--output", type=Path, default=images, help="folder")
    args = options.parse_args()
    if not (args.limit or args.scaling):
        options.error("nothing to draw: pass --limit or --scaling")
    args.output.mkdir(parents=True, exist_ok=True)
    figures = {}
    if args.limit:
        report = json.loads(Path(args.limit).read_text())
        figures["roofline.png"] = roofline(report, args.n, args.kernel)
    if args.scaling:
        figures["scaling.png"] = scaling(json.loads(Path(args.scaling).read_text()))
    for name, figure in figures.items():
        figure.savefig(args.output / name)
        print(args.output / name)


if __name__ == "__main__":
    main()
