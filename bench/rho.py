"""What do settings of a flow do to rho, and what does rho tell of the errors?

    $ python bench/rho.py

Each row changes one setting of a flow of 1347 handwritten digits (100 layers of 200 points, nugget 1, rms steps
of 0.02). rho: mean of the first and of the last ten layers, and the standard deviation of the last ten. Errors
on 450 other digits: from ten training points, one of each class (mean of 20 draws), and from all. The table is
Markdown.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from measuring import parser, write_json
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kflow
from kflow.kernels import Gaussian

BASE = {"n_layers": 100, "batch_size": 200, "nugget": 1.0, "step": "rms", "step_size": 0.02}
CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("no flow", {"n_layers": 1, "step_size": 1e-9}),
    ("as above", {}),
    *((f"nugget {value:g}", {"nugget": value}) for value in (0.001, 0.1, 10.0, 100.0)),
    ("nugget 0.01, from layer 50 on 1", {"nugget": {0: 0.01, 50: 1.0}}),
    *((f"step size {value:g}", {"step_size": value}) for value in (0.001, 0.005, 0.05, 0.2, 1.0)),
    *((f"batches of {value}", {"batch_size": value}) for value in (20, 50, 800, 1347)),
    *((f"{value} layers", {"n_layers": value}) for value in (20, 400)),
    ("gradient cap 1", {"gradient_cap": 1.0}),
    ("two halves", {"n_halves": 2}),
    *((f"length scale {value:g}", {"kernel": Gaussian(value)}) for value in (0.01, 0.1, 1.0, 10.0)),
]
HEADER = "| changed | rho, first layers | rho, last layers | its deviation | error, ten points | error, all |"


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return digits of norm 1: training points, test points, and their labels."""
    X, y = load_digits(return_X_y=True)
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
    return X, X_test, y, y_test


def measured(settings: dict[str, Any], n_draws: int) -> dict[str, float]:
    """Return rho and the errors of one flow."""
    X, X_test, y, y_test = data()
    targets = kflow.one_hot(y)
    flow = kflow.KernelFlow(**settings, random_state=0).fit(X, targets, follow={"test": X_test})

    def error(rows: np.ndarray) -> float:
        interpolant = kflow.Interpolant(
            flow.points_[rows], targets[rows], kernel=flow.kernel_, nugget=0.01
        )
        return float(np.mean(interpolant(flow.follow_["test"]).argmax(axis=1) != y_test))

    rng = np.random.default_rng(0)
    draws = [
        np.array([rng.choice(np.flatnonzero(y == label)) for label in range(10)])
        for _ in range(n_draws)
    ]
    rho = flow.history_["rho"]
    return {
        "first": float(rho[:10].mean()),
        "last": float(rho[-10:].mean()),
        "deviation": float(rho[-10:].std()),
        "ten": float(np.mean([error(rows) for rows in draws])),
        "all": error(np.arange(len(y))),
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--quick", action="store_true", help="two short flows, for tests")
    args = options.parse_args()
    changes = CHANGES[:2] if args.quick else CHANGES
    base = {**BASE, "n_layers": 3, "batch_size": 30} if args.quick else BASE
    print(HEADER)
    print("|---" * 6 + "|")
    rows = []
    for name, change in changes:
        row = measured({**base, **change}, 2 if args.quick else 20)
        rows.append({"changed": name, **row})
        print(
            f"| {name} | {row['first']:.2f} | {row['last']:.3f} | {row['deviation']:.3f} "
            f"| {row['ten']:.1%} | {row['all']:.1%} |",
            flush=True,
        )
    write_json(args, rows=rows)


if __name__ == "__main__":
    main()
