"""How long does one layer of the flow take, by kflow and by others?

    $ python bench/side_by_side.py                # N = 60000, d = 100 and 784, and a small flow
    $ python bench/side_by_side.py --n-halves 2   # rho averaged over two halves

The same data, batches, halves, Gaussian, nugget and relative step for all (`peers.py`): kflow,
vectorised NumPy and SciPy, PyTorch, JAX, and for the small flow (two spirals, N = N_f = 250, d = 2)
Python loops. The points are in float32 and the batch is computed in float64 by all but the loops,
which are in float64. Each gets the same number of threads, and the tile size, threading or
compilation that is fastest for it, found beforehand. PyTorch and JAX are left out, with a line that
says so, where they are not installed (pip install torch jax; the CPU builds).

Seconds are medians, interleaved; "difference" is the largest difference of a displacement from
kflow's after the first layer, over the largest displacement. Before, all are checked against the
slow reference on a small problem. Where AVX-512 runs, OpenBLAS is told to use it.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import numpy as np
from measuring import (
    Table,
    best_blas,
    check_close,
    clusters,
    parser,
    restart_with,
    seconds,
    spirals,
    timed,
    write_json,
)
from peers import Peer, Settings, Torch, peers

import kflow
from kflow.testing import slow as testing

# Layers that are faster are measured several at a time.
SHORTEST = 0.05

# In few dimensions the coefficients are large and of both signs: digits of the float32 sums cancel.
TOLERANCE = 2e-3


def environment(n_threads: int) -> dict[str, str]:
    """The number of threads, for all, and what JAX reads when it is imported."""
    names = ("KFLOW", "OMP", "OPENBLAS", "MKL")
    threads = {f"{name}_NUM_THREADS": str(n_threads) for name in names}
    jax = {"NPROC": str(n_threads), "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    return {**threads, **jax, **best_blas()}


def available(small: bool) -> list[type[Peer]]:
    return [kind for kind in peers(small) if find_spec(getattr(kind, "package", "numpy"))]


def settings_for(X: np.ndarray, batch_size: int, n_halves: int) -> Settings:
    """The flow's default kernel."""
    flow = kflow.KernelFlow(None, n_layers=0, batch_size=4, layers="none")
    length = flow.fit(X, np.arange(len(X))).kernel_.length_scale
    return Settings(length, batch_size, n_halves, kflow.get_num_threads())


def check(kind: type[Peer], n_halves: int) -> None:
    """Compare two layers with the slow reference, for each choice."""
    X, Y = clusters(90, 5)
    settings = settings_for(X, 40, n_halves)
    expected = testing.flow(
        X,
        Y,
        kernel=kflow.kernels.Gaussian(settings.length_scale),
        n_layers=2,
        batch_size=settings.batch_size,
        rng=np.random.default_rng(settings.seed),
        nugget=settings.nugget,
        step_size=settings.step_size,
        n_halves=n_halves,
    )
    for choice in kind.choices(len(X)):
        peer = kind(X, Y, settings, **choice)
        peer.layer()
        peer.layer()
        check_close(peer.points() - X, expected.points - X, TOLERANCE)
        assert abs(peer.rho - expected.rho[-1]) < 1e-5, f"{kind.name}: wrong rho"


def fastest(kind: type[Peer], X: np.ndarray, Y: np.ndarray, settings: Settings) -> dict[str, Any]:
    choices = kind.choices(len(X))
    if len(choices) == 1:
        return choices[0]

    def best_time(choice: dict[str, Any]) -> float:
        peer = kind(X, Y, settings, **choice)
        peer.layer()  # compiles
        return min(timed(peer.layer) for _ in range(3))

    return min(choices, key=best_time)


def compare(
    X: np.ndarray, Y: np.ndarray, settings: Settings, repeats: int, small: bool
) -> list[dict[str, Any]]:
    kinds = available(small)
    choices = [fastest(kind, X, Y, settings) for kind in kinds]
    runners = [kind(X, Y, settings, **c) for kind, c in zip(kinds, choices, strict=True)]
    differences, losses = [], []
    for peer in runners:
        peer.layer()
        moved = peer.points() - X
        if peer is runners[0]:
            expected = moved
        differences.append(check_close(moved, expected, TOLERANCE))
        losses.append(peer.rho)
        assert abs(peer.rho - losses[0]) < 1e-5, f"{peer.name} differs in rho: {losses}"
    counts = [math.ceil(SHORTEST / timed(peer.layer)) for peer in runners]

    def layers(peer: Peer, count: int) -> None:
        for _ in range(count):
            peer.layer()

    runs = [
        lambda peer=peer, count=count: layers(peer, count)
        for peer, count in zip(runners, counts, strict=True)
    ]
    times = [t / n for t, n in zip(seconds(*runs, repeats=repeats), counts, strict=True)]
    n, d = X.shape
    halves = f"{settings.n_halves} {'half' if settings.n_halves == 1 else 'halves'}"
    print(
        f"\nN = {n}, N_f = {settings.batch_size}, d = {d}, {halves}, {settings.n_threads} threads"
    )
    table = Table(
        {
            "one layer by": "<12s",
            "seconds": "9.5f",
            "ratio": "8.2f",
            "difference": "10.1e",
            "rho": "7.5f",
            "choice": "<30s",
        }
    )
    rows = []
    results = zip(runners, choices, times, differences, losses, strict=True)
    for peer, choice, t, difference, rho in results:
        chosen = ", ".join(f"{name} {value}" for name, value in choice.items())
        table.row(peer.name, t, t / times[0], difference, rho, chosen)
        case = {"N": n, "N_f": settings.batch_size, "d": d, "n_halves": settings.n_halves}
        rows.append(
            {
                "by": peer.name,
                **case,
                "threads": settings.n_threads,
                "layer_s": t,
                "ratio": t / times[0],
                "difference": difference,
                "rho": rho,
                "choice": choice,
            }
        )
    return rows


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--n", type=int, default=60_000)
    options.add_argument("--batch", type=int, default=600)
    options.add_argument("--d", type=int, nargs="*", default=[100, 784])
    options.add_argument("--small", type=int, default=250, help="points of the small flow; 0: none")
    options.add_argument("--n-halves", type=int, nargs="+", default=[1])
    options.add_argument("--n-threads", type=int, default=kflow.get_num_threads())
    options.add_argument("--repeats", type=int, default=7)
    options.add_argument("--no-compile", action="store_true", help="PyTorch eager only")
    args = options.parse_args()
    restart_with(**environment(args.n_threads))
    Torch.compiles = not args.no_compile
    for kind in set(peers(False)) - set(available(False)):
        print(f"{kind.name} is left out: it is not installed here", flush=True)
    packages = [kind.package for kind in available(False) if hasattr(kind, "package")]

    rows = []
    for n_halves in args.n_halves:
        for kind in available(small=True):
            check(kind, n_halves)
        for d in args.d:
            X, Y = clusters(args.n, d)
            rows += compare(X, Y, settings_for(X, args.batch, n_halves), args.repeats, False)
            write_json(args, packages, rows=rows)
        if args.small:
            X, Y = spirals(args.small)
            rows += compare(X, Y, settings_for(X, args.small, n_halves), args.repeats, True)
            write_json(args, packages, rows=rows)


if __name__ == "__main__":
    main()
