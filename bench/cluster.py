"""What does a second worker bring to a flow on a cluster, and what would limit a thousand?

    $ python bench/cluster.py

Points x layers a second of a flow whose points lie in single-threaded worker processes, one and two of
them in turn, while the leader runs in this process, on one thread. All share this machine's cores: with
two of them a worker and the leader have a core each, and two workers and the leader have two, so that the
ratio cannot reach 2; at best it is 2 M / (M + L), with M the seconds of moving all points on one core and
L those of the leader. Placing the points is not in these times. Then

* the same with a worker that is killed in the middle: what the rest takes longer;
* seconds of the leader's parts, and bytes of a block, for some batch sizes and dimensions;
* seconds of moving a point through a layer, on one thread;
* seconds until all workers have a block, and of a task that does nothing;
* from these, by arithmetic, the parts of a layer on a cluster that nobody measured: `extrapolated` has
  the assumptions and the formulas.

All runs must give the positions of the flow in memory, bit for bit.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Table, clusters, median, parser, timed, write_json

import kflow
from kflow.data.labels import ClassLabels
from kflow.data.sources import as_source
from kflow.engine import HOST
from kflow.flow.leader import Leader, Plan
from kflow.flow.streaming import stream
from kflow.layers.block import Block
from kflow.layers.motion import Motion
from kflow.layers.positions import Positions
from kflow.points.protocol import PointsRequest, Shards


def flow_of(n_batch: int, n_layers: int, rank: int | None, every: int = 20) -> kflow.KernelFlow:
    return kflow.KernelFlow(
        None,
        n_layers=n_layers,
        batch_size=n_batch,
        rank=rank,
        every=every,
        step="rms",
        step_size=0.05,
        step_over="batch",
        random_state=0,
        n_threads=None if n_layers else 1,
    )


class Timed:
    """A leader and the seconds that it took."""

    def __init__(self, leader: Leader) -> None:
        self._leader = leader
        self.seconds = 0.0

    def plan(self, *arguments: Any) -> Plan:
        return self._leader.plan(*arguments)

    def run(self, *arguments: Any) -> tuple[Block, Exception | None]:
        return self._timed(self._leader.run, arguments)

    def move(self, *arguments: Any) -> np.ndarray:
        return self._timed(self._leader.move, arguments)

    def _timed(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        start = time.perf_counter()
        result = function(*arguments)
        self.seconds += time.perf_counter() - start
        return result


def motion_of(flow: kflow.KernelFlow) -> Motion:
    return Motion(HOST, flow.kernel_.profile, n_threads=1)


def leader_of(flow: kflow.KernelFlow, Y: np.ndarray) -> Leader:
    return Leader(
        settings=flow,
        n_points=len(Y),
        n_fixed=flow.state_.points.n_fixed,
        motion=motion_of(flow),
        targets=lambda rows: Y[rows],
        labels=ClassLabels([Y]),
    )


class Run:
    """A flow on a cluster."""

    def __init__(self, client: Any, X: np.ndarray, Y: np.ndarray, args: Any) -> None:
        from kflow.points.cluster import DaskPoints

        self.n_layers = args.n_layers
        self.flow = flow_of(args.batch, 0, args.rank, args.every).fit(X, Y)
        self.leader = Timed(leader_of(self.flow, Y))
        self.blocks: list[Block] = []
        request = PointsRequest(
            source=as_source(X, X.dtype, "X"),
            subspace=self.flow.state_.subspace,
            dtype=X.dtype,
            batch_size=args.batch,
            every=args.every,
            motion=motion_of(self.flow),
            flow_id="",
            blocks_since=lambda first, end: (
                block for block in self.blocks if first <= block.first and block.end <= end
            ),
        )
        shards = Shards(len(X), -(-len(X) // args.shards))
        self.points = DaskPoints(client, shards, request)
        self.place_s = timed(lambda: self.points.gather(np.arange(1), 0))

    def stream(self, then: Callable[[int], None] = lambda _: None) -> float:
        """Seconds of all layers; `then` is called with the number of each block."""

        def keep(block: Block, _: object) -> bool:
            self.blocks.append(block)
            then(len(self.blocks))
            return False

        rng = self.flow.state_.rng
        return timed(lambda: stream(self.leader, self.points, rng, 0, self.n_layers, keep))

    def check(self, expected: np.ndarray) -> None:
        got = np.concatenate([part.training for part in self.points.shards(self.n_layers)])
        assert np.array_equal(got, expected), "the positions are not those of the flow in memory"

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *error: object) -> None:
        self.points.close()


def throughput(clients: dict[int, Any], X: np.ndarray, Y: np.ndarray, args: Any) -> list[dict]:
    """Time one and two workers in turn; then one of two is killed."""
    start = time.perf_counter()
    expected = flow_of(args.batch, args.n_layers, args.rank).fit(X, Y).reduced_points_
    in_memory_s = time.perf_counter() - start
    print(f"in memory, on all threads: {in_memory_s:.2f} s, of which the flow's start is a part")
    noted: dict[int, list[dict]] = {n_workers: [] for n_workers in clients}
    for _ in range(args.repeats):
        for n_workers, client in clients.items():
            with Run(client, X, Y, args) as run:
                seconds = run.stream()
                run.check(expected)
                leader_s = run.leader.seconds
                noted[n_workers].append(
                    {"seconds": seconds, "place_s": run.place_s, "leader_s": leader_s}
                )
    table = Table(
        {
            "workers": "7d",
            "seconds": "9.3f",
            "Mpoints x layers/s": "12.2f",
            "ratio": "6.2f",
            "leader s": "9.3f",
            "place s": "9.3f",
        }
    )
    rows: list[dict] = []
    for n_workers, runs in noted.items():
        row = {"workers": n_workers, "killed": False}
        row |= {name: median([run[name] for run in runs]) for name in runs[0]}
        row["point_layers_per_s"] = len(X) * args.n_layers / row["seconds"]
        rows.append(row)
        row["ratio"] = row["point_layers_per_s"] / rows[0]["point_layers_per_s"]
        table.row(
            n_workers,
            row["seconds"],
            row["point_layers_per_s"] / 1e6,
            row["ratio"],
            row["leader_s"],
            row["place_s"],
        )
    most = max(clients)
    client = clients[most]
    middle = args.n_layers // args.every // 2 + 1

    def kill(number: int) -> None:
        if number == middle:
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

    with Run(client, X, Y, args) as run:
        seconds = run.stream(kill)
        run.check(expected)
    client.wait_for_workers(most)
    rows.append({"workers": most, "killed": True, "seconds": seconds, "at_block": middle})
    table.row(most, seconds, len(X) * args.n_layers / seconds / 1e6, note="one of them was killed")
    return rows


def costs(args: Any) -> list[dict]:
    """Time the leader's parts and a move, on one thread."""
    table = Table(
        {
            "N_f": "5d",
            "d": "5d",
            "batch s": "9.5f",
            "union s": "9.5f",
            "following s": "9.5f",
            "block MB": "9.3f",
            "move ns": "9.1f",
        }
    )
    rows = []
    for n_batch in args.cost_batch:
        for d in args.cost_d:
            n = max(20_000, 4 * n_batch)
            X, Y = clusters(n, d)
            flow = flow_of(n_batch, 0, None, args.every).fit(X, Y)
            leader = leader_of(flow, Y)
            plan = leader.plan(flow.state_.rng, 0, args.every)
            block, error = leader.run(plan, X[plan.rows])
            assert error is None
            run_s, union_s, move_s, following_s = [], [], [], []
            points = X[: min(n, 10_000)].copy()
            for _ in range(args.repeats):
                positions = X[plan.rows]
                run_s.append(timed(lambda: leader.run(plan, positions)))  # noqa: B023
                positions = X[plan.rows]
                union_s.append(timed(lambda: union(leader, plan, positions, block)))  # noqa: B023
                positions = X[plan.rows]
                following_s.append(timed(lambda: leader.move(positions, block)))  # noqa: B023
                move_s.append(timed(lambda: through(points, block, leader)))  # noqa: B023
            layers = len(block.layers)
            row = {
                "N_f": n_batch,
                "d": d,
                "every": layers,
                "batch_s": (median(run_s) - median(union_s)) / layers,
                "union_s": median(union_s) / layers,
                "following_s": median(following_s) / layers,
                "block_bytes": len(pickle.dumps(block, protocol=5)),
                "move_s": median(move_s) / layers / len(points),
            }
            rows.append(row)
            table.row(
                n_batch,
                d,
                row["batch_s"],
                row["union_s"],
                row["following_s"],
                row["block_bytes"] / 1e6,
                row["move_s"] * 1e9,
            )
    return rows


def union(leader: Leader, plan: Plan, positions: np.ndarray, block: Block) -> None:
    """Move the points of a block's batches as long as they are needed."""
    for number, layer in enumerate(block.layers):
        needed = positions[: plan.n_needed[number]]
        leader.motion.through(needed, [layer])


def through(points: np.ndarray, block: Block, leader: Leader) -> None:
    Positions.of(points).through(block, leader.motion)


def overheads(client: Any, args: Any) -> dict[str, float]:
    """Time the cluster itself: a block to all workers, and tasks that do nothing."""
    workers = list(client.scheduler_info(n_workers=-1)["workers"])
    numbers = np.ones((args.every, args.batch, 2 * args.d), np.float32)

    def broadcast() -> None:
        block = client.scatter(numbers, hash=False)
        client.gather(
            [client.submit(len, block, workers=[worker], pure=False) for worker in workers]
        )

    def tasks() -> None:
        client.gather(
            [
                client.submit(abs, -1, workers=[workers[i % len(workers)]], pure=False)
                for i in range(args.tasks)
            ]
        )

    tasks()
    found = {
        "broadcast_bytes": float(numbers.nbytes),
        "broadcast_s": median([timed(broadcast) for _ in range(args.repeats + 2)]),
        "task_s": median([timed(tasks) for _ in range(args.repeats)]) / args.tasks,
    }
    print(f"a block to {len(workers)} workers: {found['broadcast_s'] * 1e3:.1f} ms")
    print(f"a task that does nothing: {found['task_s'] * 1e3:.3f} ms")
    return found


# A cluster of which nothing is measured here.
ASSUMED = {
    "points": 1e9,
    "workers": 1000,
    "cores": 16,  # of a worker; moves are taken to gain from all of them alike
    "layers": 1000,
    "bytes_per_s": 1.25e9,  # 10 Gbit/s, of any one machine
    "days_between_failures": 30,  # of one worker
}


def extrapolated(
    cost: dict[str, Any], overhead: dict[str, float]
) -> tuple[list[dict], dict[str, float]]:
    """The parts of a layer by formulas; one shard for each worker, blocks of the best length."""
    n, workers, cores, layers, rate, days = ASSUMED.values()
    n_batch, d, move_s = cost["N_f"], cost["d"], cost["move_s"]
    all_tasks_s = workers * overhead["task_s"]
    # A longer block means fewer tasks for a layer, but more points that the leader takes along: of
    # its own block half on average, of the next one all.
    every = max(1, round(math.sqrt(all_tasks_s / (1.5 * n_batch * move_s))))
    block_bytes = cost["block_bytes"] / cost["every"] * every
    hops = math.ceil(math.log2(workers + 1))
    gathered_bytes = every * n_batch * d * 4
    parts = {
        "leader: loss, gradient, coefficients": cost["batch_s"],
        "leader: points of the batches": 1.5 * every * n_batch * move_s,
        "leader: gathering points": 2 * gathered_bytes / rate / every,
        "scheduler: tasks": all_tasks_s / every,
        "network: a block, from worker to worker": hops * block_bytes / rate / every,
        "workers: moving their points": n / workers * move_s / cores,
    }
    rows = [{"part": part, "ms": 1e3 * seconds} for part, seconds in parts.items()]
    leader_s = sum(seconds for part, seconds in parts.items() if part.startswith("leader"))
    # The leader, the scheduler and the workers work side by side; a block spreads before it is used.
    others = [seconds for part, seconds in parts.items() if part.startswith(("sched", "work"))]
    layer_s = max(leader_s, *others) + parts["network: a block, from worker to worker"]
    rows.append({"part": "a layer", "ms": 1e3 * layer_s})
    run_s = layers * layer_s
    rebuild_s = n / workers * layers * move_s / cores
    derived = {
        "every": every,
        "block_mb": block_bytes / 1e6,
        "worker_mb": n / workers * d * 4 / 1e6,
        "run_s": run_s,
        "failures": workers * run_s / (days * 86_400),
        "rebuild_s": rebuild_s,
        "drawn": layers * n_batch,
        "replay_core_s": layers**2 * n_batch / 2 * move_s,
        "carry_core_s": layers * n * move_s,
        "break_even_points": layers * n_batch / 2,
    }
    return rows, derived


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--n", type=int, default=500_000)
    options.add_argument("--batch", type=int, default=600)
    options.add_argument("--d", type=int, default=64)
    options.add_argument("--rank", type=int, help="coordinates in which the flow runs; default: d")
    options.add_argument("--n-layers", type=int, default=20)
    options.add_argument("--every", type=int, default=10, help="layers in a block")
    options.add_argument("--shards", type=int, default=8)
    options.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--cost-batch", type=int, nargs="+", default=[300, 600, 1200])
    options.add_argument("--cost-d", type=int, nargs="+", default=[8, 64, 256])
    options.add_argument("--tasks", type=int, default=2000)
    args = options.parse_args()
    from distributed import Client, LocalCluster

    X, Y = clusters(args.n, args.d)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "X.npy")
        np.save(path, X)
        X = np.load(path, mmap_mode="r")
        with ExitStack() as stack:
            clients = {
                n_workers: stack.enter_context(
                    Client(
                        stack.enter_context(
                            LocalCluster(
                                n_workers=n_workers,
                                threads_per_worker=1,
                                dashboard_address=":0",
                                silence_logs=logging.ERROR,
                                local_directory=folder,
                            )
                        ),
                        set_as_default=False,
                    )
                )
                for n_workers in args.workers
            }
            rows = throughput(clients, X, Y, args)
            cluster_costs = overheads(clients[max(clients)], args)
    cost_rows = costs(args)
    of_run = [row for row in cost_rows if (row["N_f"], row["d"]) == (args.batch, args.d)]
    parts, derived = extrapolated((of_run or cost_rows)[0], cluster_costs)
    table = Table({"part of a layer": "<40s", "ms": "9.3f"})
    for row in parts:
        table.row(*row.values())
    write_json(
        args,
        packages=("dask", "distributed"),
        rows=rows,
        costs=cost_rows,
        overheads=cluster_costs,
        assumed=ASSUMED,
        parts=parts,
        derived=derived,
    )


if __name__ == "__main__":
    main()
