"""What does a whole layer cost?

    $ python bench/layer.py

Four answers, each in one process and interleaved, as medians:

* a layer over its move. A layer draws the batch, factors it, takes loss and gradient, solves, moves
  all N points under the relative step rule and keeps the layer; the move is `kflow.move` alone, with
  as many centres. Several of each in a row, as in a flow: waking threads after a rest is not theirs;
* layers a second of a small flow (two spirals, N = N_f = 250, d = 2) on one thread;
* the speed-up of both from one thread to all;
* what a layer and a move leave behind: a product of two matrices by NumPy right after them, over the
  same product on a rested machine. Threads that go on spinning would slow it down. A copy of the
  points, on one thread, shows what cold caches alone do.

The flow is first checked against the slow reference.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from measuring import (
    REST,
    Table,
    check_flow,
    check_move,
    clusters,
    median,
    parser,
    seconds,
    spirals,
    timed,
    write_json,
)

import kflow

# Layers, or moves, that are timed together.
IN_A_ROW = 5


def layer_and_move(
    n: int, n_batch: int, d: int
) -> tuple[kflow.KernelFlow, Callable[[], object], Callable[[int | None], object]]:
    """Return a flow, a function that runs a layer of it, and one of threads that moves its points."""
    X, Y = clusters(n, d)
    flow = kflow.KernelFlow(None, n_layers=1, batch_size=n_batch, random_state=0, layers="none")
    flow.fit(X, Y)
    kernel, out, Z, C = flow.kernel_, np.empty_like(X), X[:n_batch].copy(), X[-n_batch:].copy()

    def move(n_threads: int | None = None) -> object:
        for _ in range(IN_A_ROW):
            kflow.move(X, Z, C, kernel=kernel, out=out, n_threads=n_threads)
        return out

    move()
    check_move(out, X, Z, C, kernel)
    return flow, lambda: flow.run(IN_A_ROW), move


def layer_over_move(n: int, n_batch: int, dims: list[int], repeats: int) -> list[dict]:
    table = Table(
        {
            "N": "6d",
            "N_f": "5d",
            "d": "5d",
            "layer s": "9.4f",
            "move s": "9.4f",
            "layer/move": "10.3f",
        }
    )
    rows = []
    for d in dims:
        _, run, move = layer_and_move(n, n_batch, d)
        layer_s, move_s = (s / IN_A_ROW for s in seconds(run, move, repeats=repeats))
        row = {"N": n, "N_f": n_batch, "d": d, "layer_s": layer_s, "move_s": move_s}
        rows.append({**row, "layer_over_move": layer_s / move_s})
        table.row(*rows[-1].values())
    return rows


def small_flow(n_layers: int, repeats: int) -> float:
    """Layers a second."""
    X, Y = spirals(250)
    flow = kflow.KernelFlow(None, n_layers=0, batch_size=250, random_state=0, n_threads=1)
    flow.fit(X, Y)
    return n_layers / seconds(lambda: flow.run(n_layers), repeats=repeats)[0]


def thread_counts() -> list[int]:
    """1, 2, 4, ... and all threads."""
    most = kflow.get_num_threads()
    return sorted({*(2**k for k in range(most.bit_length())), most})


def thread_scaling(n: int, n_batch: int, d: int, repeats: int) -> list[dict]:
    flow, run, move = layer_and_move(n, n_batch, d)

    def run_on(n_threads: int) -> Callable[[], object]:
        def run_layer() -> None:
            flow.n_threads = n_threads
            run()

        return run_layer

    counts = thread_counts()
    layers = seconds(*(run_on(count) for count in counts), repeats=repeats)
    moves = seconds(*(lambda count=count: move(count) for count in counts), repeats=repeats)
    table = Table(
        {
            "d": "5d",
            "threads": "7d",
            "layer s": "9.4f",
            "move s": "9.4f",
            "layer speed-up": "14.2f",
            "move speed-up": "13.2f",
        }
    )
    rows = []
    for count, layer_s, move_s in zip(counts, layers, moves, strict=True):
        row = {
            "d": d,
            "threads": count,
            "layer_s": layer_s / IN_A_ROW,
            "move_s": move_s / IN_A_ROW,
        }
        speed_up = {"layer_speed_up": layers[0] / layer_s, "move_speed_up": moves[0] / move_s}
        rows.append({**row, **speed_up})
        table.row(*rows[-1].values())
    return rows


def left_behind(n: int, n_batch: int, d: int, side: int, repeats: int) -> list[dict]:
    """Time a product after a rest, and right after what may leave spinning threads behind."""
    flow, run, move = layer_and_move(n, n_batch, d)
    X = flow.points_
    copy = X.copy()
    A = np.random.default_rng(0).standard_normal((side, side), np.float32)
    B, AB = A.copy(), A.copy()
    before: dict[str, Callable[[], object]] = {
        "a rest": lambda: None,
        "a copy of the points": lambda: np.copyto(copy, X),
        "moves": move,
        "layers of a flow": run,
    }
    times: dict[str, list[float]] = {name: [] for name in before}
    for _ in range(repeats + 1):
        for name, function in before.items():
            time.sleep(REST)
            function()
            times[name].append(timed(lambda: np.matmul(A, B, out=AB)))
    rested = median(times["a rest"][1:])
    table = Table({"product after": "<20s", "ms": "8.3f", "ratio": "6.3f"})
    rows = []
    for name, mine in times.items():
        product_s = median(mine[1:])
        rows.append({"after": name, "product_s": product_s, "ratio": product_s / rested})
        table.row(name, 1e3 * product_s, product_s / rested)
    return rows


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--n", type=int, default=60_000)
    options.add_argument("--batch", type=int, default=600)
    options.add_argument("--d", type=int, nargs="+", default=[32, 100, 150, 784])
    options.add_argument("--repeats", type=int, default=9)
    options.add_argument("--small-layers", type=int, default=1000)
    options.add_argument("--side", type=int, default=1024, help="of the product's matrices")
    args = options.parse_args()
    check_flow()
    shape = (args.n, args.batch)
    rows = layer_over_move(*shape, args.d, args.repeats)
    rate = small_flow(args.small_layers, args.repeats)
    print(f"\nN = N_f = 250, d = 2, one thread: {rate:.0f} layers/s\n", flush=True)
    threads = thread_scaling(*shape, max(args.d), args.repeats)
    print()
    after = left_behind(*shape, max(args.d), args.side, 2 * args.repeats)
    small = {"N": 250, "N_f": 250, "d": 2, "threads": 1, "layers_per_second": rate}
    write_json(args, rows=rows, small=small, threads=threads, left_behind=after)


if __name__ == "__main__":
    main()
