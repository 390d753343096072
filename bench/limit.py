"""How close the engine comes to this machine's own limit: `python bench/limit.py`.

In one process, interleaved, medians, all threads: the machine's gemm rate (a product of two large
square matrices by NumPy's BLAS), its rate of vector exponentials (the engine's Gaussian profile in
the first-level cache), the two products of a move by NumPy's BLAS, and the engine's `move`.
"fraction" is the limit max(flops / gemm rate, pairs x exp time) over the time of the move;
"products" is the time of the two products over that of the move. Every case is first checked against
the slow reference.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np

import kflow
from kflow import testing

# Idle BLAS threads go on spinning for some milliseconds and would slow down whoever comes next.
REST = 0.1


def seconds(*functions: Callable[[], object], repeats: int) -> list[float]:
    """Median time of each function, run in turn so that noise falls on all alike."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats + 1):
        for mine, function in zip(times, functions, strict=True):
            time.sleep(REST)
            start = time.perf_counter()
            function()
            mine.append(time.perf_counter() - start)
    return [statistics.median(mine[1:]) for mine in times]


def check(X: np.ndarray, Z: np.ndarray, C: np.ndarray, kernel: kflow.kernels.Kernel) -> None:
    rows = slice(0, 50)
    expected = testing.move(X[rows].astype("d"), Z.astype("d"), C.astype("d"), kernel=kernel)
    got = kflow.move(X[rows], Z, C, kernel=kernel)
    tolerance = 2e-4 if X.dtype == np.float32 else 1e-9
    scale = np.abs(expected).max()
    np.testing.assert_allclose(got / scale, expected / scale, atol=tolerance)


def measure(n: int, n_batch: int, d: int, dtype: str, repeats: int) -> dict[str, float | int | str]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d)).astype(dtype) / np.sqrt(d).astype(dtype)
    Z, C = X[:n_batch].copy(), rng.normal(size=(n_batch, d)).astype(dtype)
    kernel = kflow.kernels.Gaussian(1.0)
    check(X, Z, C, kernel)
    out, K = np.empty_like(X), np.empty((n, n_batch), dtype)
    r2 = rng.uniform(0, 4, 4096).astype(dtype)  # stays in the first-level cache
    core, repeats_of_exp = kernel._to_core(), 2000
    side = 2048
    A = rng.normal(size=(side, side)).astype(dtype)
    B, AB = A.copy(), A.copy()
    t_square, t_products, t_move, t_exp = seconds(
        lambda: np.matmul(A, B, out=AB),
        lambda: (np.matmul(X, Z.T, out=K), np.matmul(K, C, out=out)),
        lambda: kflow.move(X, Z, C, kernel=kernel, out=out),
        lambda: kflow._core.profile(r2, core, repeats_of_exp),
        repeats=repeats,
    )
    flops = 4.0 * n * n_batch * d
    exp_ns = t_exp / (r2.size * repeats_of_exp) / kflow.get_num_threads() * 1e9
    t_profile = exp_ns * 1e-9 * n * n_batch
    gemm_rate = 2.0 * side**3 / t_square
    limit = max(flops / gemm_rate, t_profile)
    return {
        "N": n,
        "N_f": n_batch,
        "d": d,
        "dtype": dtype,
        "gemm_gflops": gemm_rate / 1e9,
        "exp_ns": exp_ns,
        "move_s": t_move,
        "move_gflops": flops / t_move / 1e9,
        "ns_per_pair": t_move / n / n_batch * 1e9,
        "fraction": limit / t_move,
        "products": t_products / t_move,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, nargs="+", default=[60000])
    parser.add_argument("--batch", type=int, nargs="+", default=[600])
    parser.add_argument("--d", type=int, nargs="+", default=[2, 8, 32, 100, 150, 300, 784])
    parser.add_argument("--dtype", nargs="+", default=["float32"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", help="also write the rows and the machine here")
    args = parser.parse_args()
    print(
        "     N   N_f    d   dtype  gemm GF/s  exp ns   move s  GFLOP/s  ns/pair fraction products"
    )
    rows = []
    for n in args.n:
        for n_batch in args.batch:
            for d in args.d:
                for dtype in args.dtype:
                    r = measure(n, n_batch, d, dtype, args.repeats)
                    rows.append(r)
                    print(
                        "{N:6d} {N_f:5d} {d:4d} {dtype} {gemm_gflops:10.1f} {exp_ns:7.3f} "
                        "{move_s:8.4f} {move_gflops:8.1f} {ns_per_pair:8.3f} {fraction:8.3f} "
                        "{products:8.3f}".format(**r)
                    )
    if args.json:
        machine = {"processor": processor(), **kflow.build_config()}
        with open(args.json, "w") as file:
            json.dump({"machine": machine, "rows": rows}, file, indent=1)


def processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    main()
