"""How close is `move` to this machine's own limit?

    $ python bench/limit.py                 # one number of points and centres, all dimensions
    $ python bench/limit.py --preset full   # the whole grid, every kernel, both precisions

A move costs 4 N N_f d flops and N N_f values of the kernel, so that no implementation by matrix
products is faster than

    limit = max(flops / gemm rate, pairs x exp time),

and "fraction" is this limit over the median time of the move. Both rates are the machine's best, in
this process, on all threads: gemm is NumPy's product of two square matrices (2048 x 2048), exp the
engine's Gaussian profile in the first-level cache, for each precision. They are measured again
before each case, because machines are noisy; the best of the last few counts. "profile" is the time
of the kernel's own profile, "own" the fraction with it in place of exp.

Where AVX-512 runs, OpenBLAS is told to use it (OPENBLAS_CORETYPE=SkylakeX): left alone it takes AVX2
kernels of half the rate on some processors, and a limit should be hard. --default-blas leaves it
alone. "products", with --products, is the time that NumPy needs for the two products of a move,
without the kernel between them, over that of the move.

Every case is checked against the slow reference before it is measured. A case that would not fit in
60 % of the available memory, or would take too long, is left out, and the table says so. To measure
one thread, set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from measuring import (
    REST,
    Table,
    available_memory,
    best_blas,
    check_move,
    median,
    parser,
    restart_with,
    timed,
    write_json,
)

import kflow
from kflow.engine.cpu import _core
from kflow.engine.cpu.convert import core_profile

KERNELS: dict[str, kflow.kernels.Kernel] = {
    "gaussian": kflow.kernels.Gaussian(),
    "laplacian": kflow.kernels.Laplacian(),
    "matern32": kflow.kernels.Matern32(),
    "matern52": kflow.kernels.Matern52(),
    "rational_quadratic": kflow.kernels.RationalQuadratic(alpha=0.7),  # 1 would be a special case
    "inverse_multiquadric": kflow.kernels.InverseMultiquadric(),
}
DIMENSIONS = [1, 2, 3, 8, 16, 32, 100, 300, 784, 3072]
PRESETS: dict[str, dict[str, list[Any]]] = {
    "quick": {
        "n": [60_000],
        "batch": [600],
        "d": DIMENSIONS,
        "dtype": ["float32"],
        "kernel": ["gaussian"],
    },
    "full": {
        "n": [10_000, 60_000, 300_000],
        "batch": [150, 600, 2400],
        "d": DIMENSIONS,
        "dtype": ["float32", "float64"],
        "kernel": list(KERNELS),
    },
}
# In the full preset the kernels other than the first stop at this many points.
OTHER_KERNELS_N = 60_000

# How many of the last measurements of a rate count; two or three are new in each case.
WINDOW = 16
# Of the memory that is available.
SHARE = 0.6


def aligned(n: int, dtype: str) -> np.ndarray:
    """An array that starts with a cache line, so that no register's load straddles two."""
    raw = np.empty(n * np.dtype(dtype).itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + n * np.dtype(dtype).itemsize].view(dtype)


class Rates:
    """The machine's own rates."""

    def __init__(self, side: int) -> None:
        self._side = side
        self._gemm: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self._profile: dict[tuple[str, str], deque[float]] = defaultdict(
            lambda: deque(maxlen=WINDOW)
        )
        self._matrices: dict[str, list[np.ndarray]] = {}

    def gemm(self, dtype: str) -> float:
        """Flops a second, all threads."""
        if dtype not in self._matrices:
            A = np.random.default_rng(0).standard_normal((self._side, self._side)).astype(dtype)
            self._matrices[dtype] = [A, A.copy(), A.copy()]
        A, B, out = self._matrices[dtype]
        times = self._gemm[dtype]
        for _ in range(2 if times else WINDOW):
            times.append(timed(lambda: np.matmul(A, B, out=out)))
        time.sleep(REST)
        return 2.0 * self._side**3 / min(times)

    def profile(self, name: str, dtype: str, repeats: int = 500) -> float:
        """Seconds of one value of the kernel, if all threads compute them."""
        n = 16384 // np.dtype(dtype).itemsize  # half of a first-level cache
        r2 = aligned(n, dtype)
        r2[:] = np.random.default_rng(0).uniform(0, 4, n)
        profile = core_profile(KERNELS[name].profile, r2.dtype)
        times = self._profile[name, dtype]
        for _ in range(3):
            times.append(timed(lambda: _core.evaluate_profile(r2, profile, repeats)))
        return min(times) / (n * repeats) / kflow.get_num_threads()


def memory(n: int, n_batch: int, d: int, dtype: str, products: bool) -> int:
    """Bytes of X, out, Z and C, the two packed, tiles, and the kernel matrix of the products."""
    tiles = kflow.get_num_threads() * 512 * (n_batch + d)
    numbers = 2 * n * d + 4 * n_batch * d + tiles + n * n_batch * products
    return numbers * np.dtype(dtype).itemsize


def groups(args: argparse.Namespace) -> Iterator[tuple[tuple[int, int, str], list[Any]]]:
    """Yield (N, d, dtype) and the (N_f, kernel) to be measured on the same points."""
    preset = PRESETS[args.preset]
    axes = {name: getattr(args, name) or values for name, values in preset.items()}
    for dtype, n, d in itertools.product(axes["dtype"], axes["n"], axes["d"]):
        every = args.kernel or args.n or n <= OTHER_KERNELS_N
        kernels = axes["kernel"] if every else axes["kernel"][:1]
        yield (n, d, dtype), list(itertools.product(axes["batch"], kernels))


def measure_products(X: np.ndarray, Z: np.ndarray, C: np.ndarray, out: np.ndarray) -> float:
    K = np.empty((len(X), len(Z)), X.dtype)
    times = [timed(lambda: (np.matmul(X, Z.T, out=K), np.matmul(K, C, out=out))) for _ in range(3)]
    time.sleep(REST)
    return median(times)


def measure(
    X: np.ndarray, out: np.ndarray, n_batch: int, name: str, args: argparse.Namespace
) -> dict[str, float]:
    """Times of one case."""
    rng = np.random.default_rng(1)
    kernel = KERNELS[name]
    Z = X[rng.integers(0, len(X), n_batch)]
    C = rng.standard_normal(Z.shape).astype(X.dtype)

    def move() -> None:
        kflow.move(X, Z, C, kernel=kernel, out=out)

    move()  # not counted
    check_move(out, X, Z, C, kernel)
    time.sleep(REST)
    times = [timed(move)]
    fits = int(args.seconds / times[0])
    times += [timed(move) for _ in range(min(max(fits, 2 if times[0] < 3.0 else 1), 50))]
    result = {"move_s": median(times), "repeats": len(times)}
    if args.products:
        time.sleep(REST)
        result["products"] = measure_products(X, Z, C, out) / result["move_s"]
    return result


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--preset", choices=PRESETS, default="quick")
    options.add_argument("--n", type=int, nargs="+", help="instead of the preset's")
    options.add_argument("--batch", type=int, nargs="+", help="N_f, instead of the preset's")
    options.add_argument("--d", type=int, nargs="+", help="instead of the preset's")
    options.add_argument("--dtype", nargs="+", choices=["float32", "float64"])
    options.add_argument("--kernel", nargs="+", choices=KERNELS)
    options.add_argument("--products", action="store_true", help="also time NumPy's two products")
    options.add_argument("--seconds", type=float, default=1.0, help="for each case, about")
    options.add_argument(
        "--longest", type=float, default=30.0, help="seconds of a move that is still measured"
    )
    options.add_argument("--side", type=int, default=2048, help="of the square matrices of gemm")
    options.add_argument("--default-blas", action="store_true", help="leave OpenBLAS alone")
    args = options.parse_args()
    if not args.default_blas:
        restart_with(**best_blas())

    rates = Rates(args.side)
    table = Table(
        {
            "N": "6d",
            "N_f": "4d",
            "d": "4d",
            "dtype": "<7s",
            "kernel": "<20s",
            "gemm GF/s": "9.1f",
            "exp ns": "6.3f",
            "profile ns": "10.3f",
            "move s": "9.5f",
            "GFLOP/s": "7.1f",
            "ns/pair": "7.3f",
            "fraction": "8.3f",
            "own": "5.3f",
            **({"products": "8.3f"} if args.products else {}),
        }
    )
    rows: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    for (n, d, dtype), cases in groups(args):
        X = out = None  # the group before
        available = available_memory()
        for n_batch, name in cases:
            case = {"N": n, "N_f": n_batch, "d": d, "dtype": dtype, "kernel": name}
            gemm = rates.gemm(dtype)
            exp, profile = rates.profile("gaussian", dtype), rates.profile(name, dtype)
            flops, pairs = 4.0 * n * n_batch * d, float(n * n_batch)
            limit, own = max(flops / gemm, pairs * exp), max(flops / gemm, pairs * profile)
            bytes_needed = memory(n, n_batch, d, dtype, args.products)
            reason = ""
            if bytes_needed > SHARE * available:
                reason = f"left out: needs {bytes_needed / 1e9:.1f} GB"
            elif 2 * own > args.longest:
                reason = f"left out: would take about {2 * own:.0f} s"
            if reason:
                table.row(*case.values(), note=reason)
                skipped.append({**case, "reason": reason})
                continue
            if X is None or out is None:
                X = np.random.default_rng(0).standard_normal((n, d), dtype)
                X /= np.sqrt(d)
                out = X.copy()
            times = measure(X, out, n_batch, name, args)
            seconds = times["move_s"]
            row = {
                **case,
                "gemm_gflops": gemm / 1e9,
                "exp_ns": exp * 1e9,
                "profile_ns": profile * 1e9,
                "move_s": seconds,
                "move_gflops": flops / seconds / 1e9,
                "ns_per_pair": seconds / pairs * 1e9,
                "fraction": limit / seconds,
                "fraction_own": own / seconds,
            }
            products = [times["products"]] if args.products else []
            table.row(*row.values(), *products)
            rows.append({**row, **times})
        # The full grid takes long: what has been measured is kept, whatever comes next.
        write_json(args, rows=rows, skipped=skipped)


if __name__ == "__main__":
    main()
