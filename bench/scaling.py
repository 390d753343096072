"""How does the cost of a layer grow with N, N_f and d?

    $ python bench/scaling.py

Median seconds of a layer of the flow while one of the three grows, and the exponent of each, fitted
by least squares to the logarithms. Theory: a layer costs 4 N N_f d flops and N N_f exponentials for
the move, N_f^3 / 3 flops for the factorisation and O(N_f^2 d) for the gradient. So N has exponent 1
where N is large beside N_f, N_f between 1 and 3, and d from 0 (exponentials) to 1 (products).

The flow is first checked against the slow reference. A case that would not fit in 60 % of the
available memory is left out, and the table says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from measuring import (
    Table,
    available_memory,
    check_flow,
    clusters,
    median,
    parser,
    timed,
    write_json,
)

import kflow

SHARE = 0.6
AXES = ("N", "N_f", "d")


def memory(n: int, n_batch: int, d: int) -> int:
    """Bytes: the data, the flow's points and displacements, targets of ten classes, the batch."""
    return 3 * n * d * 4 + 2 * n * 10 * 8 + 3 * n_batch * (n_batch + d) * 8


def layer_seconds(n: int, n_batch: int, d: int, budget: float) -> float:
    X, Y = clusters(n, d)
    flow = kflow.KernelFlow(None, n_layers=1, batch_size=n_batch, random_state=0, layers="none")
    flow.fit(X, Y)
    repeats = min(max(int(budget / timed(lambda: flow.run(1))), 3), 50)
    return median([timed(lambda: flow.run(1)) for _ in range(repeats)])


def exponent(values: Sequence[float], times: Sequence[float]) -> float | None:
    """Slope of log(time) over log(value) by least squares."""
    if len(values) < 2:
        return None
    return float(np.polyfit(np.log(values), np.log(times), 1)[0])


def main() -> None:
    options = parser(__doc__)
    options.add_argument(
        "--n", type=int, nargs="+", default=[10_000, 30_000, 100_000, 300_000, 1_000_000]
    )
    options.add_argument("--batch", type=int, nargs="+", default=[150, 300, 600, 1200, 2400])
    options.add_argument("--d", type=int, nargs="+", default=[8, 32, 100, 300, 784, 1536, 3072])
    options.add_argument(
        "--fixed",
        type=int,
        nargs=4,
        metavar=("N", "N_F", "D", "N_SMALL"),
        default=[60_000, 600, 100, 10_000],
        help="N, N_f and d while another one grows, and N while d grows",
    )
    options.add_argument("--seconds", type=float, default=3.0, help="for each case, about")
    args = options.parse_args()
    check_flow()
    n, n_batch, d, n_small = args.fixed
    cases = {
        "N": [(value, n_batch, d) for value in args.n],
        "N_f": [(n, value, d) for value in args.batch],
        "d": [(n_small, n_batch, value) for value in args.d],
    }
    rows, exponents = [], {}
    for position, axis in enumerate(AXES):
        table = Table({"N": "8d", "N_f": "5d", "d": "5d", "layer s": "10.5f"})
        values, times = [], []
        for case in cases[axis]:
            needed = memory(*case)
            if needed > SHARE * available_memory():
                table.row(*case, note=f"left out: needs {needed / 1e9:.1f} GB")
                continue
            values.append(case[position])
            times.append(layer_seconds(*case, args.seconds))
            rows.append({"axis": axis, **dict(zip(AXES, case, strict=True)), "layer_s": times[-1]})
            table.row(*case, times[-1])
        exponents[axis] = exponent(values, times)
        if exponents[axis] is not None:
            print(f"exponent of {axis}: {exponents[axis]:.2f}\n", flush=True)
    write_json(args, rows=rows, exponents=exponents)


if __name__ == "__main__":
    main()
