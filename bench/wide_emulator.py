"""What does an emulator of many inputs and very many outputs cost, in seconds and in memory?

    $ python bench/wide_emulator.py --json FILE           # 10^5 runs, 100 inputs, 10^4 outputs: 4 GB of data
    $ python bench/wide_emulator.py --n 2000 --outputs 500 --inducing 300

The model is a field on a line, twelve waves whose amplitudes and phases are smooth functions of five
directions of the inputs, in float32. Where few directions matter, `input_components` finds them: the fit
is made with and without. Errors are those of 1000 test runs over the deviation of each output, the median
output; "inside" is the part of test outputs within their interval of 95 %; "promised" is what the emulator itself
says of its error; "seconds" are those of the processor for a fit, "us" microseconds for a run of 1000
predicted at once. "memory" is the largest resident memory of the fit's process over the bytes of the data,
"above" what the fit adds to the data in bytes.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from typing import Any

import numpy as np
from measuring import Table, best_blas, parser, restart_with, run_process, write_json

import kflow

N_TEST, N_DIRECTIONS, N_WAVES = 1000, 5, 12
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "KFLOW")}


def field(X: np.ndarray, m: int) -> np.ndarray:
    """Return the outputs (n, m) at inputs (n, d), in float32."""
    rng = np.random.default_rng(5)
    directions = np.linalg.qr(rng.standard_normal((X.shape[1], N_DIRECTIONS)))[0]
    mixing = rng.standard_normal((N_DIRECTIONS, N_WAVES)) / np.sqrt(N_DIRECTIONS)
    along = (X @ directions) @ mixing
    amplitudes = np.exp(0.3 * along) / (1.0 + np.arange(N_WAVES))
    places = np.linspace(0.0, 1.0, m)
    Y = np.zeros((len(X), m), np.float32)
    for k in range(N_WAVES):
        even, odd = (f(2.0 * np.pi * (k + 1) * places) for f in (np.cos, np.sin))
        waves = np.stack([even, odd]).astype(np.float32)
        turned = np.stack([np.cos(along[:, k]), np.sin(along[:, k])], axis=1)
        Y += (amplitudes[:, k : k + 1] * turned).astype(np.float32) @ waves
    return Y


def peak() -> float:
    """Return the largest resident memory so far, in bytes."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(used * (1 if sys.platform == "darwin" else 1024))


def measured(n: int, d: int, m: int, inducing: int, directions: int | None) -> dict[str, Any]:
    """Fit one emulator and measure it, in a process of its own."""
    rng = np.random.default_rng(0)
    X, T = rng.standard_normal((n, d)), rng.standard_normal((N_TEST, d))
    Y = np.empty((n, m), np.float32)
    for start in range(0, n, 1000):
        Y[start : start + 1000] = field(X[start : start + 1000], m)
    truth = field(T, m)
    size, before = X.nbytes + Y.nbytes, peak()
    start_time = time.process_time()
    emulator = kflow.Emulator(n_inducing=inducing, input_components=directions, random_state=0).fit(
        X, Y
    )
    seconds, after = time.process_time() - start_time, peak()
    start_time = time.process_time()
    mean, std = emulator.predict(T, return_std=True)
    predicting = time.process_time() - start_time
    error, spread = np.abs(mean - truth), Y[:10000].std(axis=0)
    relative = np.sqrt(np.square(error).mean(axis=0)) / spread
    assert relative.max() < 1.0, "no better than the mean"
    return {
        "components": emulator.n_components_,
        "median": float(np.median(relative)),
        "promised": float(np.median(emulator.held_out_.relative)),
        "inside": float(np.mean(error <= 1.96 * std)),
        "seconds": seconds,
        "us": 1e6 * predicting / N_TEST,
        "data_bytes": size,
        "memory": after / size,
        "above": after - before,
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--n", type=int, default=100_000)
    options.add_argument("--inputs", type=int, default=100)
    options.add_argument("--outputs", type=int, default=10_000)
    options.add_argument("--inducing", type=int, default=1000)
    options.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = options.parse_args()
    restart_with(**ONE_THREAD, **best_blas())
    if args.one is not None:
        shape = (args.n, args.inputs, args.outputs, args.inducing)
        print(json.dumps(measured(*shape, args.one or None)))
        return
    columns = {"directions": "10s", "components": "10d", "median": "8.1e", "promised": "8.1e"}
    columns |= {
        "inside": "7.1%",
        "seconds": "8.1f",
        "us": "8.1f",
        "memory": "6.2f",
        "above": "8.2e",
    }
    table, rows = Table(columns), []
    shape = [f"--{name}={getattr(args, name)}" for name in ("n", "inputs", "outputs", "inducing")]
    for directions in (N_DIRECTIONS, 0):
        command = [sys.executable, __file__, *shape, f"--one={directions}"]
        printed, *_ = run_process(command, ".")
        row = {"directions": str(directions or "all"), **json.loads(printed)}
        rows.append(row)
        table.row(*(row[name] for name in columns))
        write_json(args, rows=rows)


if __name__ == "__main__":
    main()
