"""The points of a flow in the worker processes of a Dask cluster.

Each shard lives in the memory of one worker. The leader, who is the client, sends every block to the
cluster, where it spreads from worker to worker, and the workers take their shards through it. What a
worker loses is made again from the source and the blocks: a task says how many layers its shard has
seen, and the client sends what is missing. The same serves a start, a resumed flow, a worker that died,
and one that came later.

A shard lives as long as the future of the task that placed it: Dask forgets that future when the client
lets go of it, closes or dies, and the worker drops the shard.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray, Rows
from kflow.data.arrays import as_matrix
from kflow.data.chunks import Scaling
from kflow.data.shared_sources import SharedSource, shared_source
from kflow.data.sources import ArraySource, Source
from kflow.engine import HOST
from kflow.engine.info import build_config
from kflow.errors import StorageError
from kflow.layers.block import Block
from kflow.layers.motion import Motion
from kflow.layers.positions import Positions, coordinates
from kflow.layers.subspace import Subspace
from kflow.points.protocol import BlocksSince, PointsRequest, Shards, Ticket, arrays_of, points_of

try:
    from distributed import Client, Future
    from distributed.diagnostics.plugin import WorkerPlugin
except ImportError as error:
    raise ImportError(
        f"a flow on a cluster needs dask.distributed ({error}): pip install 'kflow[dask]'"
    ) from error

__all__ = ["DaskPoints", "shards_over"]

_log = logging.getLogger("kflow")

# Seconds between two looks at whether the workers still live, while their answers are awaited.
_LOOK_EVERY = 0.5

# Dask pauses a worker that uses 80 % of its memory: points may take so much of it.
_MEMORY_SHARE = 0.6

# Enough that the others share the load of one that is lost.
_SHARDS_PER_WORKER = 4

# So many workers in a row may die with the same shard before it is blamed.
_DEATHS = 3

Arrays = dict[str, npt.NDArray[Any]]


# ---- in the workers ---------------------------------------------------------------------------


@dataclass
class _Shard:
    """The points of a shard, and how many layers they have seen."""

    points: Positions
    n_layers: int
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Report(NamedTuple):
    """What a task says of its shard.

    Attributes
    ----------
    shard : int
        Its number.
    n_layers : int or None
        How many layers it has seen. None: it is not there.
    values : ndarray, dict or None
        What was asked for, if the shard has seen as many layers as were asked for.
    build : tuple of str
        Version and instructions of the engine.
    """

    shard: int
    n_layers: int | None
    values: FloatArray | Arrays | None = None
    build: tuple[str, str] | None = None


# The shards of this process, by the keys of the tasks that placed them.
_shards: dict[str, _Shard] = {}

# Shards move one after the other, each on all threads of the worker: a cluster needs no more shards
# than it takes to share them out evenly.
_moving = threading.Lock()


class _Keeper(WorkerPlugin):  # type: ignore[misc]
    """Drops a shard as soon as the worker forgets the task that placed it."""

    name = "kflow-shards"
    idempotent = True

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:  # noqa: ARG002
        """Hear of a task's change of state."""
        if finish in ("released", "forgotten"):
            _shards.pop(key, None)


@dataclass(frozen=True)
class _Origin:
    """How points get their coordinates before all layers."""

    source: SharedSource | None
    subspace: Subspace | None
    scaling: Scaling | None
    dtype: np.dtype[Any]


def _build() -> tuple[str, str]:
    return build_config()["version"], HOST.build


def _place(key: str, shard: int, rows: slice, origin: _Origin, values: Any) -> _Report:
    """Start a shard, from its rows of the source or from what was read of it already."""
    if values is None:
        source = None if origin.source is None else origin.source.open()
        if source is None:
            return _Report(shard, None)
        values = source[rows]
    X = as_matrix(values, "X", dtype=origin.dtype)
    first = coordinates(X, origin.subspace, origin.scaling, origin.dtype)
    first = np.require(first, requirements=["C", "W"])
    _shards[key] = _Shard(Positions.of(first), 0)
    return _Report(shard, 0, build=_build())


def _give(key: str) -> tuple[Arrays, int] | None:
    """Take a shard out of this process."""
    here = _shards.pop(key, None)
    if here is None:
        return None
    with here.lock:
        return arrays_of(here.points), here.n_layers


def _take(key: str, shard: int, given: tuple[Arrays, int] | None) -> _Report:
    """Go on with a shard that another worker gave."""
    if given is None:
        return _Report(shard, None)
    arrays, n_layers = given
    _shards[key] = _Shard(points_of(_own(arrays)), n_layers)
    return _Report(shard, n_layers, build=_build())


def _own(arrays: Arrays) -> Arrays:
    """Return arrays that may be written to."""
    return {name: np.require(array, requirements=["C", "W"]) for name, array in arrays.items()}


def _ask(
    key: str,
    shard: int,
    n_layers: int,
    motion: Motion,
    block: Block | None,
    rows: Rows | None,
    n_threads: int,
) -> _Report:
    """Take a shard through a block, unless it was already, and return some of its rows or all.

    The layers that it has seen decide: a task that comes twice or too late changes nothing.
    """
    here = _shards.get(key)
    if here is None:
        return _Report(shard, None)
    with here.lock:
        if block is not None and here.n_layers == block.first:
            try:
                with _moving, motion.lease():
                    here.points = here.points.through(block, motion.with_threads(n_threads))
                here.n_layers = block.end
            except BaseException:
                _shards.pop(key, None)  # it may have moved in part
                raise
        if here.n_layers != n_layers:
            return _Report(shard, here.n_layers)
        values = arrays_of(here.points) if rows is None else here.points.training[rows]
        return _Report(shard, n_layers, values)


# ---- in the client ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Home:
    """Where a shard lives: as long as there is the future of the task that placed it."""

    worker: str
    lease: Future
    n_layers: int = 0


class _Sent(NamedTuple):
    """A task of one round.

    Attributes
    ----------
    future : Future
        Of its report.
    home : _Home
        Where the shard is if it succeeds.
    needs : tuple of Future
        What must not be forgotten until it is done.
    reads : bool
        Whether it reads rows of the source itself.
    """

    future: Future
    home: _Home
    needs: tuple[Future, ...] = ()
    reads: bool = False


def _check(client: Any) -> None:
    if not isinstance(client, Client):
        raise TypeError(f"client must be a dask.distributed.Client, got {type(client).__name__}")
    if client.asynchronous:
        raise TypeError("client must not be asynchronous: pass one made without asynchronous=True")


def shards_over(client: Client, n_points: int) -> Shards:
    """Return a division of the points into some shards for each worker that a cluster has now.

    Raises
    ------
    TypeError
        If `client` is none, or an asynchronous one.
    """
    _check(client)
    n_workers = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
    return Shards(n_points, -(-n_points // (_SHARDS_PER_WORKER * n_workers)))


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
            If the client is none, or an asynchronous one.
        """
        return DaskPoints(
            self.client,
            shards_over(self.client, request.n_points),
            request.source,
            request.subspace,
            None,
            request.dtype,
            request.blocks_since,
            request.motion,
        )


class DaskPoints:
    """Points on a cluster: an implementation of `kflow.points.protocol.ShardedPoints`.

    Parameters
    ----------
    client : distributed.Client
        A synchronous client of the cluster.
    shards : Shards
        How the points are divided. Some shards for each worker let the load be evened out when
        workers come and go.
    source : Source
        The points before all layers. Workers read their rows themselves where they see the same
        file; rows of a Dask array are computed by the cluster; else the client reads and sends them.
    subspace : Subspace or None
        In which the flow runs.
    scaling : callable or None
        Applied to rows of the source first.
    dtype : numpy.dtype
        Precision of the points.
    blocks_since : callable
        Returns the blocks between two layers.
    motion : Motion
        How points move.
    patience : float
        Seconds to wait for a worker where there is none.

    Raises
    ------
    TypeError
        If `client` is none, or an asynchronous one.

    Notes
    -----
    In each block a shard costs one task. Memory of a worker: its shards, one of them twice while it
    is placed or its coordinates change, and two blocks.
    """

    def __init__(
        self,
        client: Client,
        shards: Shards,
        source: Source,
        subspace: Subspace | None,
        scaling: Scaling | None,
        dtype: np.dtype[Any],
        blocks_since: BlocksSince,
        motion: Motion,
        patience: float = 60.0,
    ) -> None:
        _check(client)
        self._client = client
        self._shards = shards
        self._source = source
        self._origin = _Origin(shared_source(source), subspace, scaling, dtype)
        self._origin_sent: Future | None = None
        self._blocks_since = blocks_since
        self._motion = motion
        self._patience = patience
        n_columns = source.shape[1] if subspace is None else subspace.rank + 1
        self._shard_bytes = min(shards.size, shards.n_points) * n_columns * dtype.itemsize
        self._homes: dict[int, _Home] = {}
        # Workers that do not see the source's file.
        self._blind: set[str] = set()
        self._lost_at: dict[int, float] = {}
        self._deaths: Counter[int] = Counter()
        self._other_builds: set[tuple[str, str]] = set()
        client.register_plugin(_Keeper())

    # ---- the protocol -------------------------------------------------------------------------

    def gather(self, rows: Rows, n_layers: int) -> FloatArray:
        """Return the coordinates of some points after so many layers, (n, k)."""
        return self._ticket(rows, n_layers, None)()

    def advance(self, block: Block, rows: Rows) -> Ticket:
        """Start to move all points through a block, and to gather those of some after it."""
        return self._ticket(rows, block.end, block)

    def shards(self, n_layers: int) -> Iterator[Positions]:
        """Iterate over all points after so many layers, in order."""
        following = self._collection({0: None}, n_layers, None)
        for shard in range(len(self._shards)):
            collect = following
            if shard + 1 < len(self._shards):
                following = self._collection({shard + 1: None}, n_layers, None)
            yield points_of(_own(collect()[shard]))

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
        """Start to bring shards to a layer; return what waits for it and returns some rows of each.

        It takes as many rounds as the shard that lags most needs, one where none does.
        """
        sent = self._start(wanted, n_layers, block, balanced)

        def collect() -> dict[int, Any]:
            nonlocal sent
            parts: dict[int, Any] = {}
            while True:
                try:
                    parts.update(self._finish(sent, n_layers))
                except BaseException:
                    # What is under way may end as it likes: shards know their layers.
                    with contextlib.suppress(Exception):
                        leases = {home.lease for home in self._homes.values()}
                        futures = {task.future for task in sent.values()}
                        self._client.cancel(list(futures - leases))
                    raise
                left = {shard: rows for shard, rows in wanted.items() if shard not in parts}
                sent = {}  # its answers need not stay in the workers
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
    ) -> dict[int, _Sent]:
        """Send each shard's next task."""
        workers = self._workers()
        self._forget_lost(workers)
        for shard in wanted:
            if shard in self._homes and self._homes[shard].n_layers > n_layers:
                del self._homes[shard]  # it has seen layers that were taken back
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
            blocks[lowest] = self._send(next(iter(self._blocks_since(lowest, known))))
        free = 2 * len(workers)  # so many shards pass through the client at a time
        for shard, rows in wanted.items():
            if shard in sent:
                continue
            home_or_none = self._homes.get(shard)
            if home_or_none is None:
                worker = self._least_loaded(workers, sent)
                reads = self._origin.source is not None and worker not in self._blind
                if reads or free > 0:
                    free -= not reads
                    sent[shard] = self._placed(shard, worker, reads)
                continue
            home = home_or_none
            if home.n_layers == n_layers or home.n_layers in blocks:
                future = self._submit(
                    _ask,
                    home.worker,
                    home.lease.key,
                    shard,
                    n_layers,
                    self._motion,
                    blocks.get(home.n_layers),
                    rows,
                    workers[home.worker]["nthreads"],
                )
                sent[shard] = _Sent(future, home)
        return sent

    def _finish(self, sent: Mapping[int, _Sent], n_layers: int) -> dict[int, Any]:
        """Wait for a round's tasks; return what was asked for, of those shards that are there."""
        found: dict[int, Any] = {}
        failed: Future | None = None
        reports = {report.shard: report for report in self._reports(sent)}
        for shard, (future, home, _, reads) in sent.items():
            if shard not in reports:
                if future.status == "error":
                    self._homes.pop(shard, None)
                    failed = future
                continue  # its worker died, or what the task needed is gone: it is sent again
            report = reports[shard]
            if report.n_layers is None:
                if reads:
                    self._blind.add(home.worker)
                self._homes.pop(shard, None)
                continue
            self._homes[shard] = _Home(home.worker, home.lease, report.n_layers)
            if report.build is not None:  # it is new there
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
        return found

    def _reports(self, sent: Mapping[int, _Sent]) -> list[_Report]:
        """Wait for tasks, and return what those say that did not fail.

        A task of a worker that died would wait for another of the same address: it is cancelled.
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
        reports: list[_Report] = gathering.result()
        return reports

    # ---- workers ------------------------------------------------------------------------------

    def _workers(self) -> dict[str, dict[str, Any]]:
        """Return what is known of each living worker, as soon as there is one."""
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
        """Take note of the shards whose worker died."""
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

    def _loads(self, workers: Mapping[str, Any], sent: Mapping[int, _Sent]) -> Counter[str]:
        """Return how many shards each worker has, or will have."""
        homes = {**self._homes, **{shard: task.home for shard, task in sent.items()}}
        loads = Counter(home.worker for home in homes.values())
        return Counter({worker: loads[worker] for worker in workers})

    def _has_room(self, worker: Mapping[str, Any], n_shards: int) -> bool:
        limit = worker["memory_limit"]
        fits = not limit or n_shards * self._shard_bytes <= _MEMORY_SHARE * limit
        return bool(fits) and worker["status"] == "running"

    def _least_loaded(
        self, workers: Mapping[str, Mapping[str, Any]], sent: Mapping[int, _Sent]
    ) -> str:
        loads = self._loads(workers, sent)
        able = [worker for worker in workers if self._has_room(workers[worker], loads[worker] + 1)]
        if not able:
            raise StorageError(
                f"the points need {len(self._shards) * self._shard_bytes / 1e9:.3g} GB, more than "
                f"{_MEMORY_SHARE:.0%} of the memory of the {len(workers)} workers: start more of "
                "them, or with more memory"
            )
        return min(able, key=lambda worker: (loads[worker] + 1) / workers[worker]["nthreads"])

    def _balance(self, workers: Mapping[str, Mapping[str, Any]]) -> dict[int, _Sent]:
        """Let workers with many shards give some to those with few, such as new ones."""
        sent: dict[int, _Sent] = {}
        while True:
            loads = self._loads(workers, sent)
            most, least = (
                choose(workers, key=lambda worker: loads[worker] / workers[worker]["nthreads"])
                for choose in (max, min)
            )
            after = (loads[least] + 1) / workers[least]["nthreads"]
            if (loads[most] - 1) / workers[most]["nthreads"] < after:
                return sent
            if not self._has_room(workers[least], loads[least] + 1):
                return sent
            shard = next(
                shard
                for shard, home in self._homes.items()
                if home.worker == most and shard not in sent
            )
            old = self._homes[shard]
            given = self._submit(_give, most, old.lease.key)
            lease = self._submit(_take, least, shard, given, named=True)
            sent[shard] = _Sent(lease, _Home(least, lease), (given, old.lease))

    def _check_build(self, build: tuple[str, str], worker: str) -> None:
        mine = _build()
        if build != mine and build not in self._other_builds:
            self._other_builds.add(build)
            _log.warning(
                "worker %s has kflow %s with %s, this process %s with %s: results may differ in the "
                "last digits; install the same version, and set KFLOW_SIMD_LEVEL to what all have",
                worker,
                *build,
                *mine,
            )

    # ---- what is sent -------------------------------------------------------------------------

    def _submit(
        self, function: Callable[..., Any], worker: str, *arguments: Any, named: bool = False
    ) -> Future:
        """Send a task to a worker and no other; where it is named, its key is its first argument."""
        key = f"kflow{function.__name__}-{uuid.uuid4().hex}"
        if named:
            arguments = (key, *arguments)
        return self._client.submit(
            function, *arguments, key=key, workers=[worker], allow_other_workers=False
        )

    def _send(self, value: Any, worker: str | None = None) -> Future:
        """Send something to a worker, from where the others fetch it, and from each other."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self._client.scatter(
                    value, workers=None if worker is None else [worker], hash=False
                )
            except (KeyError, OSError, TimeoutError, asyncio.TimeoutError):
                # It may just have died; the scheduler raises KeyError where it knows so already.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
                if worker is not None and worker not in self._workers():
                    worker = None

    def _placed(self, shard: int, worker: str, reads: bool) -> _Sent:
        """Start a shard on a worker, which reads its rows itself or gets them."""
        if self._origin_sent is None or self._origin_sent.status != "finished":
            self._origin_sent = self._send(self._origin)
        rows = self._shards.rows(shard)
        values: Future | None = None
        if not reads:
            array: Any = self._source.array if isinstance(self._source, ArraySource) else None
            if type(array).__module__.startswith("dask."):
                values = self._client.compute(array[rows])
            else:
                values = self._send(self._source[rows], worker)
        lease = self._submit(_place, worker, shard, rows, self._origin_sent, values, named=True)
        needs = () if values is None else (values,)
        return _Sent(lease, _Home(worker, lease), needs, reads)
