"""Checkpoints: folders from which a flow goes on after whatever ended its process.

``flow.json`` says which flow it is, with which settings and for which data. ``basis.safetensors``
holds the subspace that the flow runs in, if any. The files ``block-*.safetensors`` hold its layers;
each file also has the state of the flow after the last layer in that file. From these files alone
the flow goes on, bit for bit. ``points.safetensors`` is a snapshot of the points after some of the
layers; it saves moving the points through all layers again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import math
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kflow._base.file_lock import lock_file
from kflow._base.files import replacing
from kflow.data.chunks import Data, Scaling, scaled_chunks
from kflow.engine.device_array import to_host
from kflow.errors import ModelFileError, StorageError
from kflow.kernels import check_isotropic, from_dict
from kflow.layers.block import LayerRecord
from kflow.layers.motion import Motion
from kflow.layers.positions import Positions
from kflow.layers.rank_reduction import RankReduction
from kflow.layers.stores import LayerShape
from kflow.layers.subspace import Subspace, check_orthonormal
from kflow.storage.folder_layers import FolderLayers
from kflow.storage.points_file import read_points, write_points
from kflow.storage.tensor_file import intact

__all__ = [
    "Checkpoint",
    "FlowHeader",
    "FlowIdentity",
    "Progress",
    "fingerprint",
    "has_flow",
    "known_flow",
    "locked",
    "refuse_flow",
]

_log = logging.getLogger("kflow")

_FORMAT = "kflow-checkpoint"
_VERSION = 1

_HEADER, _BASIS, _POINTS, _LOCK = "flow.json", "basis.safetensors", "points.safetensors", "lock"

# The part of a run's time that snapshots of the points may take.
_PART = 0.05

# Assumed speed of writing, in bytes per second, until the first snapshot has been timed.
_SPEED = 1e8


def fingerprint(
    X: Data, scaling: Scaling | None = None, dtype: np.dtype[Any] | None = None
) -> dict[str, Any]:
    """Return the shape and the SHA-256 of the scaled rows of X in a dtype, as JSON data."""
    digest = hashlib.sha256()
    for _, rows in scaled_chunks(X, scaling, dtype):
        digest.update(np.ascontiguousarray(to_host(rows), dtype).data)
    return {"shape": list(X.shape), "sha256": digest.hexdigest()}


@dataclass(frozen=True)
class FlowIdentity:
    """What two flows must have in common to be the same flow, as JSON data.

    Attributes
    ----------
    settings : dict
        The settings that the layers depend on.
    data : dict
        Fingerprints of points and targets, by their names.
    generator : dict
        State of the random generator before the first layer.
    """

    settings: dict[str, Any]
    data: dict[str, Any]
    generator: dict[str, Any]

    def compare(self, other: FlowIdentity, folder: Path, *, seeded: bool) -> None:
        """Raise ValueError, saying what differs, if `other` is not the same flow as this one.

        This flow is the one in `folder`. The generators must agree only if `seeded` is true, which
        means that the other flow has a seed.
        """
        mine, others = (_as_in_file(one.settings | one.data) for one in (self, other))
        differing = [
            f"{name} ({mine.get(name)!r} there, {others.get(name)!r} here)"
            if name in self.settings
            else name
            for name in {**mine, **others}
            if mine.get(name) != others.get(name)
        ]
        if seeded and _as_in_file(self.generator) != _as_in_file(other.generator):
            differing.append("random_state")
        if differing:
            raise ValueError(
                f"checkpoint: {folder} holds a flow with other {', '.join(differing)}: pass what it "
                "was fitted with, or another folder"
            )


def _as_in_file(data: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(data)))


@dataclass(frozen=True)
class FlowHeader:
    """Which flow a checkpoint holds, and those results that might differ if computed again.

    Attributes
    ----------
    identity : FlowIdentity
        What the flow is.
    kernel : dict
        The kernel K_1.
    subspace : Subspace or None
        The subspace in which the flow runs, if any.
    engine : tuple of str, or None
        Name and build of the engine that began the flow; None in files of early versions.
    flow_id : str
        Identifier of the flow, which is written to each of its files.
    """

    identity: FlowIdentity
    kernel: dict[str, Any]
    subspace: Subspace | None
    engine: tuple[str, str] | None = None
    flow_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def write(self, folder: Path) -> None:
        """Write the header to a folder, which is a checkpoint from then on."""
        energy = None
        if self.subspace is not None:
            write_points(folder / _BASIS, {"basis": self.subspace.basis}, 0, self.flow_id)
            energy = self.subspace.energy_dropped
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "flow": self.flow_id,
            "kernel": self.kernel,
            "energy_dropped": energy,
            "engine": self.engine,
            **asdict(self.identity),
        }
        with replacing(folder / _HEADER) as file:
            file.write(json.dumps({**content, "sha256": _digest(content)}, indent=1).encode())

    @classmethod
    def read(cls, folder: Path) -> FlowHeader:
        """Read a header from a folder.

        Raises
        ------
        ModelFileError
            If the header is damaged, or of another version of the format.
        OSError
            If the header cannot be read.
        """
        path = folder / _HEADER
        raw = path.read_bytes()
        with intact(str(path), "restore it, or remove the folder and start again"):
            content = json.loads(raw)
            digest = content.pop("sha256")
            if content["format"] != _FORMAT:
                raise ValueError(f"its format is {content['format']!r}")
            if content["version"] > _VERSION:
                raise ModelFileError("it was written by a newer kflow: upgrade to read it")
            if digest != _digest(content):
                raise ValueError("its checksum is wrong")
            mappings = [content[item.name] for item in fields(FlowIdentity)]
            identity, kernel, flow_id = FlowIdentity(*mappings), content["kernel"], content["flow"]
            if not all(isinstance(part, dict) for part in (*mappings, kernel)):
                raise ValueError("a part of it is no mapping")
            check_isotropic(from_dict(kernel))
            if not isinstance(flow_id, str):
                raise ValueError(f"its flow is {flow_id!r}")
            energy = content["energy_dropped"]
            energy = None if energy is None else float(energy)
            engine = content.get("engine")
            if engine is not None:
                name, build = engine
                engine = (str(name), str(build))
        if energy is None:
            return cls(identity, kernel, None, engine, flow_id)
        arrays, _ = read_points(folder / _BASIS, flow_id)
        with intact(str(folder / _BASIS), "restore it, or remove the folder and start again"):
            subspace = Subspace(check_orthonormal(arrays["basis"].astype(np.float64)), energy)
        return cls(identity, kernel, subspace, engine, flow_id)


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def has_flow(folder: str | os.PathLike[str]) -> bool:
    """Return whether a folder is a checkpoint, or holds blocks of a checkpoint."""
    path = Path(folder)
    return (path / _HEADER).exists() or (path.is_dir() and bool(FolderLayers.found(path)))


def refuse_flow(folder: str | os.PathLike[str], *, resume: bool) -> None:
    """Raise FileExistsError if a folder holds a flow that is not to be resumed."""
    if not resume and has_flow(folder):
        raise FileExistsError(
            f"checkpoint: {Path(folder)} holds a flow already: pass resume=True to go on with it, "
            "another folder, or remove it"
        )


def known_flow(
    folder: str | os.PathLike[str], identity: FlowIdentity, *, resume: bool, seeded: bool
) -> FlowHeader | None:
    """Return the header of the flow in a folder, or None if the folder holds no flow.

    The flow is checked to be the one that is wanted.

    Raises
    ------
    FileExistsError
        If the folder holds a flow and `resume` is false.
    ModelFileError
        If the flow is damaged.
    ValueError
        If the flow is not the one that is wanted.
    """
    path = Path(folder)
    refuse_flow(path, resume=resume)
    if not has_flow(path):
        return None
    try:
        header = FlowHeader.read(path)
    except FileNotFoundError as error:
        raise ModelFileError(
            f"{error.filename} is missing: restore it, or remove the folder and start again"
        ) from None
    header.identity.compare(identity, path, seeded=seeded)
    return header


@contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Lock a folder against other processes and other flows of this process.

    The folder is made if it is missing. The lock ends with the process, however the process ends.

    Raises
    ------
    BlockingIOError
        If another process or another flow has the lock.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    handle = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            lock_file(handle)
        except BlockingIOError:
            raise BlockingIOError(
                errno.EAGAIN,
                f"another process runs the flow in checkpoint {path}: wait for its end, or pass "
                "another folder",
            ) from None
        except OSError as error:  # a file system without locks
            _log.warning("%s cannot be locked (%s): let one process at a time use it", path, error)
        yield
    finally:
        os.close(handle)


class Progress(NamedTuple):
    """How far the flow of a checkpoint has come.

    Attributes
    ----------
    positions : Positions
        Where the points are after all layers.
    records : list of LayerRecord
        Records of all layers.
    state : object
        State of the flow, as the last block holds it; None if there is no block yet.
    """

    positions: Positions
    records: list[LayerRecord]
    state: Any


class Checkpoint:
    """The folder of a flow that can go on.

    Parameters
    ----------
    folder : path
        The folder, which holds the flow's header.
    flow_id : str
        Identifier of the flow.
    shape : LayerShape
        What the layers of the flow have in common.
    rank : int
        Rank of the first layer.

    Attributes
    ----------
    layers : FolderLayers
        The layers of the flow.
    """

    def __init__(
        self, folder: str | os.PathLike[str], flow_id: str, shape: LayerShape, rank: int
    ) -> None:
        self._folder = Path(folder)
        self._flow_id = flow_id
        self._rank = rank
        self._n_fixed = shape.n_fixed
        self.layers = FolderLayers(folder, shape, rank, flow_id)
        self._snapshot_at = time.perf_counter()
        self._snapshot_seconds = math.nan

    @contextmanager
    def running(self, records: Sequence[LayerRecord]) -> Iterator[None]:
        """Lock the folder while the flow runs, after checking that the flow can go on there.

        Parameters
        ----------
        records : sequence of LayerRecord
            Records of all layers that the flow has so far.

        Raises
        ------
        BlockingIOError
            If another process runs the flow.
        StorageError
            If a copy of the flow has gone on in the folder, or the folder holds another flow.
        """
        with locked(self._folder):
            if not (self._is_mine() and self.layers.settle(records[self.layers.n_written :])):
                raise StorageError(
                    f"{self._folder} does not hold this flow's {self.layers.n_written} layers: a "
                    "copy of the flow has gone on there, or the folder was changed, so that this "
                    "one cannot go on"
                )
            yield

    def _is_mine(self) -> bool:
        try:
            return FlowHeader.read(self._folder).flow_id == self._flow_id
        except (ModelFileError, OSError):
            return False

    # ---- points -------------------------------------------------------------------------------

    def is_time_for_points(self, n_bytes: int) -> bool:
        """Return whether a snapshot of points that take `n_bytes` bytes is worth its time."""
        seconds = self._snapshot_seconds
        if math.isnan(seconds):
            seconds = n_bytes / _SPEED
        return seconds <= _PART * (time.perf_counter() - self._snapshot_at)

    def keep_points(self, points: Positions, n_layers: int) -> None:
        """Write a snapshot of the points after `n_layers` layers, if there is room for it."""
        start = time.perf_counter()
        arrays = {}
        for number, name in enumerate(points.sets):
            arrays[f"points{number}"] = points.sets[name]
            arrays[f"frozen{number}"] = points.frozen[name]
        try:
            n_bytes = write_points(self._folder / _POINTS, arrays, n_layers, self._flow_id)
        except OSError as error:  # the flow can go on without a snapshot
            _log.warning("no snapshot of the points after layer %d: %s", n_layers, error)
            n_bytes = 0
        self._snapshot_at = time.perf_counter()
        self._snapshot_seconds = self._snapshot_at - start
        if n_bytes:
            _log.info(
                "wrote the points after %d layers: %.3g MB in %.2f s",
                n_layers,
                n_bytes / 1e6,
                self._snapshot_seconds,
            )

    def _snapshot(
        self, sizes: Mapping[str, int], reductions: Sequence[RankReduction], ends: Sequence[int]
    ) -> tuple[Positions, int] | None:
        """Return the snapshot's points and its number of layers, or None if it is of no use."""
        path = self._folder / _POINTS
        try:
            arrays, n_layers = read_points(path, self._flow_id)
            if n_layers not in ends:
                raise ModelFileError(f"{path} holds points after {n_layers} layers, within a block")
            before = tuple(reduction for reduction in reductions if reduction.layer < n_layers)
            rank = before[-1].kept if before else self._rank
            sets = {name: arrays[f"points{number}"] for number, name in enumerate(sizes)}
            frozen = {name: arrays[f"frozen{number}"] for number, name in enumerate(sizes)}
            for name, points in sets.items():
                shapes = points.shape, frozen[name].shape
                n = sizes[name]
                if shapes != ((n, rank + self._n_fixed), (n, self._rank - rank)):
                    raise ModelFileError(f"{path} holds other points, or some of them only")
        except FileNotFoundError:
            return None
        except (ModelFileError, OSError, LookupError) as error:
            _log.warning("the points are made again: %s", error)
            return None
        return Positions(sets, frozen, before), n_layers

    def progress(
        self,
        sizes: Mapping[str, int],
        first_points: Callable[[], Positions],
        motion: Motion,
    ) -> Progress:
        """Check every file, and return how far the flow has come.

        Parameters
        ----------
        sizes : mapping of str to int
            Number of points in each set, with the training points first.
        first_points : callable
            A function that returns the points before the first layer.
        motion : Motion
            How points move.

        Raises
        ------
        ModelFileError
            If a block is missing, damaged or foreign.
        """
        for path in self._folder.glob("*.partial"):  # a process was killed while writing
            path.unlink(missing_ok=True)
        records: list[LayerRecord] = []
        reductions: list[RankReduction] = []
        state, ends = None, [0]
        for block, _, state in self.layers.adopt():  # noqa: B007 (the last state counts)
            records += block.records
            ends.append(block.end)
            if block.reduction is not None:
                reductions.append(block.reduction)
        snapshot = self._snapshot(sizes, reductions, ends)
        points, n_layers = (first_points(), 0) if snapshot is None else snapshot
        start = time.perf_counter()
        with motion.lease():
            for first in self.layers.firsts:
                if first >= n_layers:
                    points = points.through(self.layers.block(first), motion)
        if records:
            _log.info(
                "resumed after layer %d: the points went through %d layers again in %.2f s",
                len(records),
                len(records) - n_layers,
                time.perf_counter() - start,
            )
        return Progress(points, records, state)
