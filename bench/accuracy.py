"""How long does it take to what accuracy, and in how much memory?

    $ python bench/accuracy.py --data-dir ../shared/data   # with the folders mnist and fashion-mnist

Runs `kflow fit --dataset ... --json` with its defaults, in a process of its own, and reports the
seconds of the whole command (reading, flow, evaluation, model and pictures), its test errors from
6000, 600, 60 and 10 interpolation points, and its largest resident memory beside a budget of
1.5 times the data in float32 + 300 MB.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from measuring import Table, parser, run_process, write_json


def fit(dataset: str, data_dir: Path | None, layers: int | None) -> dict[str, Any]:
    command = [sys.executable, "-m", "kflow", "fit", "--dataset", dataset, "--json", "--quiet"]
    if data_dir is not None and dataset != "digits":
        command += ["--data-dir", str(data_dir.resolve() / dataset)]
    if layers is not None:
        command += ["--n-layers", str(layers)]
    with tempfile.TemporaryDirectory() as folder:
        output, elapsed, peak = run_process(command, folder)
    results = json.loads(output)
    assert results["status"] == "complete", results["status"]
    n, d = results["n_train"] + results["n_test"], results["model"]["n_features"]
    budget = 1.5 * n * d * 4 + 300e6
    return {
        "dataset": dataset,
        "seconds": elapsed,
        "peak_bytes": peak,
        "budget_bytes": budget,
        "peak_over_budget": peak / budget,
        **{name: results[name] for name in ("errors", "model_error", "model")},
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument(
        "--dataset",
        nargs="+",
        choices=["digits", "mnist", "fashion-mnist"],
        default=["mnist", "fashion-mnist"],
    )
    options.add_argument("--data-dir", type=Path, help="holds a folder for each data set")
    options.add_argument("--n-layers", type=int, help="instead of the preset's")
    args = options.parse_args()
    if args.data_dir is None and set(args.dataset) != {"digits"}:
        options.error("--data-dir is needed for mnist and fashion-mnist")
    rows = []
    for dataset in args.dataset:
        row = fit(dataset, args.data_dir, args.n_layers)
        rows.append(row)
        layers = row["model"]["n_layers"]
        memory = f"{row['peak_bytes'] / 1e6:.0f} MB at most"
        print(f"{dataset}: {layers} layers, {row['seconds']:.1f} s in all, {memory}", end=", ")
        print(f"{row['peak_over_budget']:.2f} of the budget")
        table = Table({"points": "6d", "average": "8.2%", "min": "8.2%", "max": "8.2%"})
        for error in row["errors"]:
            shares = [error[name] for name in ("average", "min", "max")]
            table.row(error["n_interpolation"], *shares)
        print(flush=True)
    args.data_dir = None  # a path of this machine
    write_json(args, rows=rows)


if __name__ == "__main__":
    main()
