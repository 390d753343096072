"""Which worker of a cluster gets which shard of a flow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from kflow._base.memory import gigabytes
from kflow.errors import StorageError
from kflow.points.dask import Client, Future
from kflow.points.protocol import Shards

__all__ = ["Home", "Sent", "Workers", "check_client", "shards_over"]

# Share of the memory of a worker that points may take. Dask pauses a worker that uses 80 % of it.
_MEMORY_SHARE = 0.6


@dataclass(frozen=True)
class Home:
    """Where a shard lives. It lives as long as `lease`, the future of the task that placed it."""

    worker: str
    lease: Future
    n_layers: int = 0


class Sent(NamedTuple):
    """A task of one round.

    Attributes
    ----------
    future : Future
        Future of the report of the task.
    home : Home
        Where the shard is if the task succeeds.
    needs : tuple of Future
        Futures that must not be forgotten until the task is done.
    reads : bool
        Whether the task reads rows of the source itself.
    """

    future: Future
    home: Home
    needs: tuple[Future, ...] = ()
    reads: bool = False


@dataclass(frozen=True)
class Workers:
    """The living workers of a cluster, and the memory that a shard takes there.

    Attributes
    ----------
    info : dict of str to dict
        What the scheduler knows of each worker, by its address.
    shard_bytes : int
        Bytes that a shard takes.
    n_shards : int
        Number of shards.
    """

    info: Mapping[str, Mapping[str, Any]]
    shard_bytes: int
    n_shards: int

    def loads(self, homes: Mapping[int, Home], sent: Mapping[int, Sent]) -> Counter[str]:
        """Return the number of shards that each worker has or will have."""
        all_homes = {**homes, **{shard: task.home for shard, task in sent.items()}}
        loads = Counter(home.worker for home in all_homes.values())
        return Counter({worker: loads[worker] for worker in self.info})

    def least_loaded(self, homes: Mapping[int, Home], sent: Mapping[int, Sent]) -> str:
        """Return the worker that should get the next shard.

        Raises
        ------
        StorageError
            If no worker has room for a shard.
        """
        loads = self.loads(homes, sent)
        able = [worker for worker in self.info if self._has_room(worker, loads[worker] + 1)]
        if not able:
            raise StorageError(
                f"the points need {gigabytes(self.n_shards * self.shard_bytes)}, more than "
                f"{_MEMORY_SHARE:.0%} of the memory of the {len(self.info)} workers: start more of "
                "them, or with more memory"
            )
        return min(able, key=lambda worker: (loads[worker] + 1) / self._n_threads(worker))

    def next_move(
        self, homes: Mapping[int, Home], sent: Mapping[int, Sent]
    ) -> tuple[int, str] | None:
        """Return a shard to move and the worker that should get it; None if none should move.

        The worker with the most shards per thread gives one to the worker with the fewest, such as
        a new worker. None moves if the load is even or if the receiver has no room.
        """
        loads = self.loads(homes, sent)
        most, least = (
            choose(self.info, key=lambda worker: loads[worker] / self._n_threads(worker))
            for choose in (max, min)
        )
        after = (loads[least] + 1) / self._n_threads(least)
        if (loads[most] - 1) / self._n_threads(most) < after:
            return None
        if not self._has_room(least, loads[least] + 1):
            return None
        shard = next(
            shard for shard, home in homes.items() if home.worker == most and shard not in sent
        )
        return shard, least

    def _n_threads(self, worker: str) -> int:
        return int(self.info[worker]["nthreads"])

    def _has_room(self, worker: str, n_shards: int) -> bool:
        limit = self.info[worker]["memory_limit"]
        fits = not limit or n_shards * self.shard_bytes <= _MEMORY_SHARE * limit
        return bool(fits) and self.info[worker]["status"] == "running"


# Enough shards that the other workers can share the load of a worker that is lost.
_SHARDS_PER_WORKER = 4


def check_client(client: Any) -> None:
    """Raise TypeError unless `client` is a synchronous client of a Dask cluster."""
    if not isinstance(client, Client):
        raise TypeError(f"client must be a dask.distributed.Client, got {type(client).__name__}")
    if client.asynchronous:
        raise TypeError("client must not be asynchronous: pass one made without asynchronous=True")


def shards_over(client: Client, n_points: int) -> Shards:
    """Return a division of the points: several shards for each worker that the cluster has now.

    Raises
    ------
    TypeError
        If `client` is no Dask client, or is an asynchronous one.
    """
    check_client(client)
    n_workers = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
    return Shards(n_points, -(-n_points // (_SHARDS_PER_WORKER * n_workers)))
