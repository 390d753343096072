"""The points of a flow in the worker processes of a Dask cluster.

Each shard lives in the memory of one worker. The leader, which is the client, sends every block to
the cluster. The block spreads from worker to worker there, and the workers move their shards
through it. A shard that is missing is made from the source and the blocks: a task reports how many
layers its shard has seen, and the client sends the blocks that the shard still needs. This serves
at the start of a flow, when a flow is resumed, when a worker has died, and when a worker joins
later.

A shard lives as long as the future of the task that placed it. Dask forgets that future when the
client releases it, closes or dies, and then the worker drops the shard.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from kflow._base.array_types import FloatArray, Rows
from kflow.data.shared_sources import shared_source
from kflow.data.sources import ArraySource
from kflow.errors import StorageError
from kflow.layers.block import Block
from kflow.layers.motion import RemoteMotion
from kflow.layers.positions import Positions
from kflow.points.cluster_load import Home, Sent, Workers, check_client, shards_over
from kflow.points.cluster_worker import (
    Origin,
    ShardKeeper,
    ShardReport,
    ask_shard,
    build_of,
    give_shard,
    place_shard,
    take_shard,
    writable,
)
from kflow.points.dask import Client, Future
from kflow.points.protocol import PointsRequest, Shards, Ticket, points_of

__all__ = ["DaskPlace", "DaskPoints"]

_log = logging.getLogger("kflow")

# Seconds between two checks that the workers still live, while the client waits for their answers.
_LOOK_EVERY = 0.5


# Number of workers in a row that may die with the same shard before that shard is blamed.
_DEATHS = 3


@dataclass(frozen=True)
class DaskPlace:
    """A cluster of Dask workers.

    Attributes
    ----------
    client : distributed.Client
        A synchronous client of the cluster.
    """

    client: Client

    def open_points(self, request: PointsRequest) -> DaskPoints:
        """Return the points on the cluster.

        Raises
        ------
        TypeError
            If the client is no Dask client, or is an asynchronous one.
        """
        return DaskPoints(self.client, shards_over(self.client, request.n_points), request)


class DaskPoints:
    """Points on a cluster: an implementation of `kflow.points.protocol.ShardedPoints`.

    Parameters
    ----------
    client : distributed.Client
        A synchronous client of the cluster.
    shards : Shards
        How the points are divided. With several shards for each worker, the load can be shared out
        evenly when workers come and go.
    request : PointsRequest
        What the flow says of the points. Workers that see the same file as its source read their
        rows themselves. The cluster computes the rows of a Dask array. The client reads and sends
        all other rows.
    patience : float
        Seconds to wait for a worker while there is none, or while one is paused.

    Raises
    ------
    TypeError
        If `client` is no Dask client, or is an asynchronous one.

    Notes
    -----
    Each shard costs one task per block. The memory of a worker holds its shards, two blocks, and a
    second copy of one shard while that shard is placed or its coordinates change.
    """

    def __init__(
        self,
        client: Client,
        shards: Shards,
        request: PointsRequest,
        patience: float = 60.0,
    ) -> None:
        check_client(client)
        self._client = client
        self._shards = shards
        self._request = request
        self._motion = RemoteMotion.of(request.motion)
        shared = shared_source(request.source)
        self._origin = Origin(shared, request.subspace, request.dtype, self._motion)
        self._origin_sent: Future | None = None
        self._patience = patience
        row_bytes = request.n_columns * request.dtype.itemsize
        self._shard_bytes = min(shards.size, shards.n_points) * row_bytes
        self._homes: dict[int, Home] = {}
        # Workers that do not see the file of the source.
        self._blind: set[str] = set()
        self._lost_at: dict[int, float] = {}
        self._deaths: Counter[int] = Counter()
        self._other_builds: set[tuple[str, str]] = set()
        client.register_plugin(ShardKeeper())

    # ---- the protocol -------------------------------------------------------------------------

    def gather(self, rows: Rows, n_layers: int) -> FloatArray:
        """Return the coordinates of some points after `n_layers` layers, (n, k)."""
        return self._ticket(rows, n_layers, None)()

    def advance(self, block: Block, rows: Rows) -> Ticket:
        """Start to move all points through a block, and to gather some of them after it."""
        return self._ticket(rows, block.end, block)

    def shards(self, n_layers: int) -> Iterator[Positions]:
        """Iterate over all points after `n_layers` layers, in order."""
        following = self._collection({0: None}, n_layers, None)
        for shard in range(len(self._shards)):
            collect = following
            if shard + 1 < len(self._shards):
                following = self._collection({shard + 1: None}, n_layers, None)
            yield points_of(writable(collect()[shard]))

    def close(self) -> None:
        """Drop the points from the cluster."""
        self._homes.clear()
        self._origin_sent = None

    def __enter__(self) -> DaskPoints:
        """Return the points."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Drop the points from the cluster."""
        self.close()

    # ---- rounds -------------------------------------------------------------------------------

    def _ticket(self, rows: Rows, n_layers: int, block: Block | None) -> Ticket:
        where = self._shards.within(rows)
        wanted: dict[int, Rows | None] = {shard: there for shard, (_, there) in enumerate(where)}
        collect = self._collection(wanted, n_layers, block, balanced=True)

        def ticket() -> FloatArray:
            parts = collect()
            return self._shards.joined(where, [parts[shard] for shard in range(len(where))])

        return ticket

    def _collection(
        self,
        wanted: Mapping[int, Rows | None],
        n_layers: int,
        block: Block | None,
        balanced: bool = False,
    ) -> Callable[[], dict[int, Any]]:
        """Start to bring shards to a layer; return a function that waits and returns their rows.

        This takes as many rounds as the shard that lags behind most needs, or one if none lags
        behind.
        """
        sent = self._start(wanted, n_layers, block, balanced)

        def collect() -> dict[int, Any]:
            nonlocal sent
            parts: dict[int, Any] = {}
            while True:
                try:
                    parts.update(self._finish(sent, n_layers))
                except BaseException:
                    # Tasks under way may end in any way: a shard knows how many layers it has seen.
                    with contextlib.suppress(Exception):
                        leases = {home.lease for home in self._homes.values()}
                        futures = {task.future for task in sent.values()}
                        self._client.cancel(list(futures - leases))
                    raise
                left = {shard: rows for shard, rows in wanted.items() if shard not in parts}
                sent = {}  # the workers need not keep the answers of this round
                if not left:
                    return parts
                sent = self._start(left, n_layers, block)

        return collect

    def _start(
        self,
        wanted: Mapping[int, Rows | None],
        n_layers: int,
        block: Block | None,
        balanced: bool = False,
    ) -> dict[int, Sent]:
        """Send the next task of each shard."""
        info = self._workers()
        workers = Workers(info, self._shard_bytes, len(self._shards))
        self._forget_lost(info)
        for shard in wanted:
            if shard in self._homes and self._homes[shard].n_layers > n_layers:
                del self._homes[shard]  # the shard has seen layers that were taken back
        sent = self._balance(workers) if balanced else {}
        behind = {
            self._homes[shard].n_layers
            for shard in wanted
            if shard in self._homes and self._homes[shard].n_layers < n_layers
        }
        lowest = min(behind, default=n_layers)
        blocks: dict[int, Future] = {}
        if block is not None and block.first in behind:
            blocks[block.first] = self._send(block)
        if lowest < n_layers and lowest not in blocks:
            known = n_layers if block is None or lowest > block.first else block.first
            blocks[lowest] = self._send(next(iter(self._request.blocks_since(lowest, known))))
        free = 2 * len(info)  # number of shards that may pass through the client at a time
        for shard, rows in wanted.items():
            if shard in sent:
                continue
            home_or_none = self._homes.get(shard)
            if home_or_none is None:
                worker = workers.least_loaded(self._homes, sent)
                reads = self._origin.source is not None and worker not in self._blind
                if reads or free > 0:
                    free -= not reads
                    sent[shard] = self._placed(shard, worker, reads)
                continue
            home = home_or_none
            if home.n_layers == n_layers or home.n_layers in blocks:
                future = self._submit(
                    ask_shard,
                    home.worker,
                    home.lease.key,
                    shard,
                    n_layers,
                    self._motion,
                    blocks.get(home.n_layers),
                    rows,
                    info[home.worker]["nthreads"],
                )
                sent[shard] = Sent(future, home)
        return sent

    def _finish(self, sent: Mapping[int, Sent], n_layers: int) -> dict[int, Any]:
        """Wait for the tasks of a round; return the requested values of shards that are ready."""
        found: dict[int, Any] = {}
        failed: Future | None = None
        unable: tuple[str, str] | None = None
        reports = {report.shard: report for report in self._reports(sent)}
        for shard, (future, home, _, reads) in sent.items():
            if shard not in reports:
                if future.status == "error":
                    self._homes.pop(shard, None)
                    failed = future
                continue  # the worker died, or an input of the task is gone: send it again
            report = reports[shard]
            if report.missing is not None:
                self._homes.pop(shard, None)
                unable = home.worker, report.missing
                continue
            if report.n_layers is None:
                if reads:
                    self._blind.add(home.worker)
                self._homes.pop(shard, None)
                continue
            self._homes[shard] = Home(home.worker, home.lease, report.n_layers)
            if report.build is not None:  # the shard is new on this worker
                self._check_build(report.build, home.worker)
                _log.info("shard %d of %d is on %s", shard, len(self._shards), home.worker)
            if report.n_layers == n_layers:
                self._deaths.pop(shard, None)
                if shard in self._lost_at:
                    seconds = time.monotonic() - self._lost_at.pop(shard)
                    _log.info("shard %d was rebuilt in %.3g s", shard, seconds)
            if report.values is not None:
                found[shard] = report.values
        if failed is not None:
            failed.result()  # raises what the task raised
        if unable is not None:
            raise self._unable_error(*unable)
        return found

    def _reports(self, sent: Mapping[int, Sent]) -> list[ShardReport]:
        """Wait for tasks, and return the reports of those that did not fail.

        The task of a dead worker is cancelled: it would wait for a new worker of the same address.
        """
        waiting = dict(sent)
        if not waiting:
            return []
        gathering = asyncio.run_coroutine_threadsafe(
            self._client.gather(
                [task.future for task in sent.values()], errors="skip", asynchronous=True
            ),
            self._client.loop.asyncio_loop,
        )
        paused_since: dict[str, float] = {}
        while not concurrent.futures.wait([gathering], _LOOK_EVERY).done:
            workers = self._workers()
            gone = [shard for shard, task in waiting.items() if task.home.worker not in workers]
            if gone:
                self._client.cancel([waiting.pop(shard).future for shard in gone])
            now = time.monotonic()
            paused = {
                task.home.worker
                for task in waiting.values()
                if task.future.status == "pending"
                and workers[task.home.worker]["status"] == "paused"
            }
            paused_since = {worker: paused_since.get(worker, now) for worker in paused}
            for worker, since in paused_since.items():
                if now - since > self._patience:
                    raise StorageError(
                        f"worker {worker} has been paused for {self._patience:g} s, since its "
                        "memory is nearly full: give the workers more memory, or start more of them"
                    )
        reports: list[ShardReport] = gathering.result()
        return reports

    # ---- workers ------------------------------------------------------------------------------

    def _workers(self) -> dict[str, dict[str, Any]]:
        """Return what the scheduler knows of each living worker; wait until there is one."""
        deadline = time.monotonic() + self._patience
        while True:
            status = self._client.status
            if status in ("closing", "closed"):
                raise RuntimeError("the client is closed: pass a new one to go on")
            info = self._client.scheduler_info(n_workers=-1).get("workers", {})
            workers = {
                address: worker
                for address, worker in info.items()
                if worker["status"] in ("running", "paused")
            }
            if workers and self._client.status == "running":
                return workers
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"the cluster has had no workers for {self._patience:g} s: start some, then "
                    "run on"
                )
            time.sleep(0.1)

    def _forget_lost(self, workers: Mapping[str, Any]) -> None:
        """Take note of the shards that were lost because their worker died."""
        lost: dict[str, list[int]] = {}
        for shard, home in self._homes.items():
            if home.worker not in workers:
                lost.setdefault(home.worker, []).append(shard)
        for worker, shards in lost.items():
            numbers = ", ".join(map(str, shards))
            _log.info("worker %s is lost, and its shards with it: %s", worker, numbers)
            for shard in shards:
                del self._homes[shard]
                self._lost_at.setdefault(shard, time.monotonic())
                self._deaths[shard] += 1
                if self._deaths[shard] > _DEATHS:
                    raise RuntimeError(
                        f"shard {shard} was lost with {self._deaths[shard]} workers, one after the "
                        "other: see their logs; if they lack memory, pass smaller shards or start "
                        "more workers"
                    )

    def _balance(self, workers: Workers) -> dict[int, Sent]:
        """Let workers with many shards give some of them to workers with few."""
        sent: dict[int, Sent] = {}
        while (move := workers.next_move(self._homes, sent)) is not None:
            shard, to = move
            old = self._homes[shard]
            given = self._submit(give_shard, old.worker, old.lease.key)
            lease = self._submit(take_shard, to, shard, given, self._motion, named=True)
            sent[shard] = Sent(lease, Home(to, lease), (given, old.lease))
        return sent

    def _unable_error(self, worker: str, reason: str) -> ImportError:
        name, *where = (repr(part) for part in self._motion.engine if part is not None)
        return ImportError(
            f"worker {worker} cannot run engine={' on '.join([name, *where])}, as every worker has to "
            f"({reason}): install there what is missing, or shut that worker down, then run on"
        )

    def _check_build(self, build: tuple[str, str], worker: str) -> None:
        mine = build_of(self._request.motion.engine)
        if build != mine and build not in self._other_builds:
            self._other_builds.add(build)
            _log.warning(
                "worker %s has kflow %s with %s, this process %s with %s: results may differ in the "
                "last digits; install the same versions, and set KFLOW_SIMD_LEVEL to what all have, "
                "or take devices of one kind",
                worker,
                *build,
                *mine,
            )

    # ---- what is sent -------------------------------------------------------------------------

    def _submit(
        self, function: Callable[..., Any], worker: str, *arguments: Any, named: bool = False
    ) -> Future:
        """Send a task to one worker only; if `named`, its key becomes its first argument."""
        key = f"kflow-{function.__name__}-{uuid.uuid4().hex}"
        if named:
            arguments = (key, *arguments)
        return self._client.submit(
            function, *arguments, key=key, workers=[worker], allow_other_workers=False
        )

    def _send(self, value: Any, worker: str | None = None) -> Future:
        """Send a value to a worker; the others fetch it from this worker or from each other."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self._client.scatter(
                    value, workers=None if worker is None else [worker], hash=False
                )
            except (KeyError, OSError, TimeoutError, asyncio.TimeoutError):
                # The worker may just have died: the scheduler raises KeyError if it knows already.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
                if worker is not None and worker not in self._workers():
                    worker = None

    def _placed(self, shard: int, worker: str, reads: bool) -> Sent:
        """Start a shard on a worker, which reads its rows itself or receives them."""
        if self._origin_sent is None or self._origin_sent.status != "finished":
            self._origin_sent = self._send(self._origin)
        rows = self._shards.rows(shard)
        values: Future | None = None
        if not reads:
            array: Any = (
                self._request.source.array
                if isinstance(self._request.source, ArraySource)
                else None
            )
            if type(array).__module__.startswith("dask."):
                values = self._client.compute(array[rows])
            else:
                values = self._send(self._request.source[rows], worker)
        lease = self._submit(
            place_shard, worker, shard, rows, self._origin_sent, values, named=True
        )
        needs = () if values is None else (values,)
        return Sent(lease, Home(worker, lease), needs, reads)
