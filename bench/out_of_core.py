"""What does a flow cost whose points are on the disk, next to one in memory?

    $ python bench/out_of_core.py --folder /large/disk

Streams N points, made chunk by chunk, into a flow with a memory budget; runs the same flow in memory
on the first of them, as many as fit well, before and after; and reports points times layers per
second of each and their ratio, with the largest resident memory of each process. A flow of some of
the points is run both ways first: the two must be the same to the last bit.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Table, parser, run_process, write_json

import kflow

CHUNK = 50_000


def chunks(n: int, d: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Points in ten overlapping clusters around the origin, and their one-hot labels."""
    centres = np.random.default_rng(0).standard_normal((10, d), np.float32)
    for number, start in enumerate(range(0, n, CHUNK)):
        rng = np.random.default_rng([1, number])
        labels = rng.integers(0, 10, CHUNK)
        X = rng.standard_normal((CHUNK, d), np.float32)
        X += centres[labels]
        X /= np.float32(np.sqrt(2 * d))
        yield X[: n - start], np.eye(10)[labels][: n - start]


def flow(args: argparse.Namespace, **options: Any) -> kflow.KernelFlow:
    return kflow.KernelFlow(
        kflow.kernels.Gaussian(0.6),
        n_layers=0,
        batch_size=args.batch,
        nugget=0.1,
        step="rms",
        step_size=0.01,
        step_over="batch",
        random_state=0,
        every=args.every,
        **options,
    )


def in_memory(args: argparse.Namespace) -> dict[str, float]:
    parts = list(chunks(args.part, args.d))
    X, Y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    fitted = flow(args, layers="none").fit(X, Y)
    start = time.perf_counter()
    fitted.run(args.part_layers)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "rate": args.part * args.part_layers / seconds}


def streamed(args: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        start = time.perf_counter()
        fitted = flow(args, checkpoint=folder, memory_budget=args.budget)
        fitted.fit(chunks(args.n, args.d))
        placed = time.perf_counter()
        fitted.run(args.n_layers)
        seconds = time.perf_counter() - placed
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    rho = fitted.history_["rho"]
    return {
        "placing_seconds": placed - start,
        "seconds": seconds,
        "rate": args.n * args.n_layers / seconds,
        "rho_first": float(rho[0]),
        "rho_last": float(rho[-1]),
        "bytes_on_disk": size,
    }


def the_same(args: argparse.Namespace) -> dict[str, float]:
    parts = list(chunks(args.part // 10, args.d))
    X, Y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    expected = flow(args).fit(X, Y).run(args.every + 1)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        got = flow(args, checkpoint=folder, memory_budget=args.budget).fit(iter(parts))
        got.run(args.every + 1)
        for rows, points in got.iterate_points():
            np.testing.assert_array_equal(points, expected.points_[rows])
    return {"n": len(X)}


ROLES = {"check": the_same, "memory": in_memory, "stream": streamed}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--n", type=int, default=2_000_000, help="points of the stream")
    options.add_argument("--d", type=int, default=64, help="dimension")
    options.add_argument("--n-layers", type=int, default=200, help="layers of the stream")
    options.add_argument("--batch", type=int, default=600, help="points of a batch")
    options.add_argument("--every", type=int, default=40, help="layers of a block")
    options.add_argument("--budget", type=float, default=6e8, help="memory budget in bytes")
    options.add_argument("--part", type=int, default=200_000, help="points of the flow in memory")
    options.add_argument("--part-layers", type=int, default=100, help="its layers")
    options.add_argument("--folder", type=Path, help="where the points are kept")
    options.add_argument("--role", choices=ROLES, help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.role is not None:
        print(json.dumps(ROLES[args.role](args)))
        return
    table = Table(
        {
            "run": "<8s",
            "points": "8d",
            "layers": "4d",
            "seconds": "7.1f",
            "1e6 point-layers/s": "7.2f",
            "peak MB": "6.0f",
        }
    )
    rows = []
    for role in ("check", "memory", "stream", "memory"):
        output, _, peak = run_process([sys.executable, *sys.orig_argv[1:], "--role", role], ".")
        result = json.loads(output)
        if role == "check":
            continue
        n = args.n if role == "stream" else args.part
        layers = args.n_layers if role == "stream" else args.part_layers
        rows.append({"run": role, "n": n, "layers": layers, "peak_bytes": peak, **result})
        table.row(role, n, layers, result["seconds"], result["rate"] / 1e6, peak / 1e6)
    rates = {role: [row["rate"] for row in rows if row["run"] == role] for role in ROLES}
    ratio = rates["stream"][0] / float(np.mean(rates["memory"]))
    print(f"streamed / in memory: {ratio:.3f}")
    del args.role
    args.folder = args.folder and str(args.folder)
    write_json(args, rows=rows, ratio=ratio)


if __name__ == "__main__":
    main()
