"""The tasks by which the workers of a Dask cluster hold and move the shards of a flow."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray, Rows
from kflow.data.arrays import as_matrix
from kflow.data.shared_sources import SharedSource
from kflow.engine.info import build_config
from kflow.engine.interface import Engine
from kflow.layers.block import Block
from kflow.layers.motion import RemoteMotion
from kflow.layers.positions import Positions, coordinates
from kflow.layers.subspace import Subspace
from kflow.points.dask import WorkerPlugin
from kflow.points.protocol import arrays_of, points_of

__all__ = [
    "Arrays",
    "Origin",
    "Shard",
    "ShardKeeper",
    "ShardReport",
    "ask_shard",
    "build_of",
    "give_shard",
    "place_shard",
    "take_shard",
    "writable",
]

Arrays = dict[str, npt.NDArray[Any]]


@dataclass
class Shard:
    """The points of a shard, and how many layers they have seen."""

    points: Positions
    n_layers: int
    lock: threading.Lock = field(default_factory=threading.Lock)


class ShardReport(NamedTuple):
    """The report of a task on its shard.

    Attributes
    ----------
    shard : int
        Number of the shard.
    n_layers : int or None
        Number of layers that the shard has seen; None if the worker does not hold the shard.
    values : ndarray, dict or None
        The requested values, if the shard has seen exactly the requested number of layers.
    build : tuple of str
        Version and instructions of the engine, if the shard is new on this worker.
    missing : str or None
        Why the engine cannot run on this worker, if it cannot; the shard is not here then.
    """

    shard: int
    n_layers: int | None
    values: FloatArray | Arrays | None = None
    build: tuple[str, str] | None = None
    missing: str | None = None


# The shards of this process, by the keys of the tasks that placed them.
shards_here: dict[str, Shard] = {}

# The shards of a worker move one after the other, each on all threads of the worker. So a cluster
# needs only as many shards as it takes to share them out evenly.
_moving = threading.Lock()


class ShardKeeper(WorkerPlugin):  # type: ignore[misc]
    """Drops a shard as soon as the worker forgets the task that placed it."""

    name = "kflow-shards"
    idempotent = True

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:  # noqa: ARG002
        """Drop the shard of a task that is released or forgotten."""
        if finish in ("released", "forgotten"):
            shards_here.pop(key, None)


@dataclass(frozen=True)
class Origin:
    """What a worker needs to compute the coordinates of points before all layers."""

    source: SharedSource | None
    subspace: Subspace | None
    dtype: np.dtype[Any]
    motion: RemoteMotion


def build_of(engine: Engine) -> tuple[str, str]:
    """Return kflow's version and the engine's build here: the last digits depend on them."""
    return build_config()["version"], engine.build


def _new_shard(key: str, number: int, shard: Shard, motion: RemoteMotion) -> ShardReport:
    """Keep a shard that is new here, unless the engine that has to move it cannot run here."""
    try:
        engine = motion.here(1).engine
    except ImportError as error:
        return ShardReport(number, None, missing=str(error))
    shards_here[key] = shard
    return ShardReport(number, shard.n_layers, build=build_of(engine))


def place_shard(key: str, shard: int, rows: slice, origin: Origin, values: Any) -> ShardReport:
    """Start a shard from its points in `values`; if there are none, from its rows of the source."""
    if values is None:
        source = None if origin.source is None else origin.source.open()
        if source is None:
            return ShardReport(shard, None)
        values = source[rows]
    X = as_matrix(values, "X", dtype=origin.dtype)
    first = coordinates(X, origin.subspace, None, origin.dtype)
    first = np.require(first, requirements=["C", "W"])
    return _new_shard(key, shard, Shard(Positions.of(first), 0), origin.motion)


def give_shard(key: str) -> tuple[Arrays, int] | None:
    """Remove a shard from here; return its arrays and number of layers, None if it is missing."""
    here = shards_here.pop(key, None)
    if here is None:
        return None
    with here.lock:
        return arrays_of(here.points), here.n_layers


def take_shard(
    key: str, shard: int, given: tuple[Arrays, int] | None, motion: RemoteMotion
) -> ShardReport:
    """Take over a shard that another worker gave."""
    if given is None:
        return ShardReport(shard, None)
    arrays, n_layers = given
    return _new_shard(key, shard, Shard(points_of(writable(arrays)), n_layers), motion)


def writable(arrays: Arrays) -> Arrays:
    """Return arrays that may be written to."""
    return {name: np.require(array, requirements=["C", "W"]) for name, array in arrays.items()}


def ask_shard(
    key: str,
    shard: int,
    n_layers: int,
    motion: RemoteMotion,
    block: Block | None,
    rows: Rows | None,
    n_threads: int,
) -> ShardReport:
    """Move a shard through a block, unless that was done before; return some or all of its rows.

    The number of layers that the shard has seen decides whether it moves: a task that comes twice
    or too late changes nothing.
    """
    here = shards_here.get(key)
    if here is None:
        return ShardReport(shard, None)
    with here.lock:
        if block is not None and here.n_layers == block.first:
            try:
                moving = motion.here(n_threads)
                with _moving, moving.lease():
                    here.points = here.points.through(block, moving)
                here.n_layers = block.end
            except BaseException:
                shards_here.pop(key, None)  # some of its points may have moved
                raise
        if here.n_layers != n_layers:
            return ShardReport(shard, here.n_layers)
        values = arrays_of(here.points) if rows is None else here.points.training[rows]
        return ShardReport(shard, n_layers, values)
