"""What a whole layer costs next to its move, and small flows: `python bench/layer.py`.

A layer draws the batch, factors it, takes loss and gradient, solves, moves all N points under the
relative step rule and keeps the layer. The ratio is its median time over that of `kflow.move` with
the same centres, interleaved in one process. The flow is first checked against the slow reference.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from limit import seconds

import kflow
from kflow import testing


def data(n: int, d: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, n)
    centres = rng.normal(size=(10, d))
    X = (centres[labels] + rng.normal(size=(n, d))) / np.sqrt(2 * d)
    return X.astype(dtype), kflow.one_hot(labels)


def check() -> None:
    X, Y = data(200, 12, "float64")
    options = {"batch_size": 60, "nugget": 0.01, "step": "relative", "step_size": 0.1}
    kernel = kflow.kernels.Gaussian(0.6)
    flow = kflow.KernelFlow(kernel, n_layers=3, dtype="float64", random_state=0, **options)
    rng = np.random.default_rng(0)
    expected = testing.flow(X, Y, kernel=kernel, n_layers=3, rng=rng, **options)
    np.testing.assert_allclose(flow.fit(X, Y).points_, expected.points, atol=1e-9)


def layer_over_move(n: int, n_batch: int, d: int, repeats: int) -> tuple[float, float]:
    X, Y = data(n, d, "float32")
    flow = kflow.KernelFlow(None, n_layers=1, batch_size=n_batch, random_state=0, layers="none")
    flow.fit(X, Y)
    out, Z, C = np.empty_like(X), X[:n_batch].copy(), X[-n_batch:].copy()
    layer, move = seconds(
        lambda: flow.run(1),
        lambda: kflow.move(X, Z, C, kernel=flow.kernel_, out=out),
        repeats=repeats,
    )
    return layer, move


def small_flow(n_layers: int) -> float:
    X, Y = data(250, 2, "float32")
    flow = kflow.KernelFlow(None, n_layers=50, batch_size=250, random_state=0, n_threads=1)
    flow.fit(X, Y)
    start = time.perf_counter()
    flow.run(n_layers)
    return n_layers / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=60000)
    parser.add_argument("--batch", type=int, default=600)
    parser.add_argument("--d", type=int, nargs="+", default=[100, 150, 784])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--small-layers", type=int, default=2000)
    args = parser.parse_args()
    check()
    print("     N   N_f    d   layer s    move s  layer/move")
    for d in args.d:
        layer, move = layer_over_move(args.n, args.batch, d, args.repeats)
        print(f"{args.n:6d} {args.batch:5d} {d:4d} {layer:9.4f} {move:9.4f} {layer / move:11.3f}")
    rate = small_flow(args.small_layers)
    print(f"N = N_f = 250, d = 2, one thread: {rate:.0f} layers/s")


if __name__ == "__main__":
    main()
