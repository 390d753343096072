"""What do kflow and other packages with threads cost each other in one process?

python bench/other_runtimes.py [--packages numpy sklearn torch] [--json FILE]

For each package, and in both directions: a new process imports the one, times it, imports the other, and times
the first again, with some work of the other before each time. The figure is the ratio of the medians, after
over before, and of several processes the median. Each process compares its results before and after, bit for bit.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import numpy as np
from measuring import REST, Table, median, parser, seconds, write_json

ROWS = 6000


def of_kflow() -> Callable[[], np.ndarray]:
    import kflow

    X = np.random.default_rng(0).normal(size=(ROWS, 20))
    settings = {"batch_size": 600, "nugget": 0.1, "dtype": "float32", "random_state": 0}
    return lambda: kflow.KernelFlow(n_layers=3, **settings).fit(X, X[:, 0]).points_


def of_numpy() -> Callable[[], np.ndarray]:
    a = np.random.default_rng(0).normal(size=(1000, 1000))
    return lambda: a @ a @ a


def of_sklearn() -> Callable[[], np.ndarray]:
    from sklearn.ensemble import HistGradientBoostingRegressor

    X = np.random.default_rng(0).normal(size=(ROWS, 20))
    model = HistGradientBoostingRegressor(max_iter=10, random_state=0)
    return lambda: model.fit(X, X[:, 0]).predict(X)


def of_torch() -> Callable[[], np.ndarray]:
    import torch

    a = torch.from_numpy(np.random.default_rng(0).normal(size=(1000, 1000)))
    return lambda: (a @ a).exp().sum(dim=0).numpy()


PARTS = {"kflow": of_kflow, "numpy": of_numpy, "sklearn": of_sklearn, "torch": of_torch}


def in_one_process(first: str, second: str, repeats: int) -> dict[str, float]:
    """Seconds of the first package before the second is imported, and after."""
    action = PARTS[first]()
    result = action()
    (before,) = seconds(action, repeats=repeats)
    other = PARTS[second]()
    after, _ = seconds(action, other, repeats=repeats)
    assert np.array_equal(action(), result), f"{first} computes something else beside {second}"
    return {"before": before, "after": after}


def of_processes(first: str, second: str, repeats: int, processes: int) -> dict[str, float]:
    """Median ratio of several processes, and the median seconds before."""
    call = f"import json, other_runtimes as o; print(json.dumps(o.in_one_process({first!r}, {second!r}, {repeats})))"
    found = []
    for _ in range(processes):
        done = subprocess.run(
            [sys.executable, "-c", call], cwd=sys.path[0], check=True, stdout=subprocess.PIPE
        )
        found.append(json.loads(done.stdout))
    return {
        "before": median([times["before"] for times in found]),
        "ratio": median([times["after"] / times["before"] for times in found]),
    }


def main() -> None:
    args = parser(__doc__)
    args.add_argument(
        "--packages", nargs="+", default=["numpy", "sklearn"], choices=list(PARTS)[1:]
    )
    args.add_argument("--repeats", type=int, default=10, help="times in a process")
    args.add_argument("--processes", type=int, default=5, help="processes for each pair")
    args = args.parse_args()
    print(f"Each time follows a rest of {REST} s and work of the other package.")
    table = Table({"timed": "<8", "beside": "<8", "alone, ms": "9.1f", "beside / alone": "6.3f"})
    rows = []
    for package in args.packages:
        for first, second in (("kflow", package), (package, "kflow")):
            found = of_processes(first, second, args.repeats, args.processes)
            table.row(first, second, 1e3 * found["before"], found["ratio"])
            rows.append({"timed": first, "beside": second, **found})
    write_json(args, rows=rows)


if __name__ == "__main__":
    main()
