"""Starting a flow of some data, or resuming a flow where it was."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_flag, as_generator
from kflow._base.array_types import FloatArray
from kflow._base.generators import generator_state, set_generator_state
from kflow._base.warn import warn_user
from kflow.data.arrays import as_matrix
from kflow.data.chunks import Data, Scaling
from kflow.data.sources import Source
from kflow.data.training_data import TrainingData
from kflow.engine.device_array import DeviceArray
from kflow.errors import EngineWarning
from kflow.flow.callbacks import set_callback_states
from kflow.flow.schedules import SCHEDULES
from kflow.flow.settings import FlowSettings
from kflow.flow.state import Elsewhere, FlowState
from kflow.flow.warn import warn_of_labels
from kflow.kernels import Gaussian, Radial, check_isotropic, from_dict
from kflow.layers.moments import mean_squared_distance
from kflow.layers.positions import TRAINING, Positions, coordinates
from kflow.layers.stores import open_layers
from kflow.layers.subspace import Subspace
from kflow.points.disk import DiskPlace
from kflow.points.protocol import BlocksSince, Place, PointsRequest
from kflow.storage.checkpoint import (
    Checkpoint,
    FlowHeader,
    FlowIdentity,
    fingerprint,
    has_flow,
    known_flow,
    locked,
    refuse_flow,
)
from kflow.storage.tensor_file import intact

__all__ = ["default_kernel", "start"]

_log = logging.getLogger("kflow")

# gamma = _WIDTH / (mean squared distance) in exp(-gamma r^2). Measurements on image data show that
# this value works.
_WIDTH = 1.5

# Name of the folder, within a checkpoint, of points that do not fit in memory.
_POINTS = "points"


def default_kernel(
    X: Data, scaling: Scaling | None = None, dtype: npt.DTypeLike | None = None
) -> Gaussian:
    """Return the Gaussian exp(-1.5 r^2 / msd) with the mean squared distance msd of rows of X."""
    msd = mean_squared_distance(X, scaling, dtype)
    if not msd > 0.0:
        raise ValueError("X: all rows coincide, so that no length scale fits: pass a kernel")
    return Gaussian(length_scale=math.sqrt(msd / (2.0 * _WIDTH)))


@dataclass(frozen=True)
class _Given:
    """The checked arguments with which a flow is started.

    Attributes
    ----------
    data : TrainingData
        Points and targets.
    followed : dict of str to ndarray
        The arrays to follow.
    scaling : callable or None
        Scaling that is applied to points first.
    rng : numpy.random.Generator
        Source of the batches.
    place : Place or None
        The place of the training points, if they are not in memory.
    """

    data: TrainingData
    followed: dict[str, FloatArray]
    scaling: Scaling | None
    rng: np.random.Generator
    place: Place | None

    @property
    def in_memory(self) -> dict[str, FloatArray]:
        """The points that are in memory, by the names of their sets."""
        X = self.data.X
        training = np.empty((0, X.shape[1])) if isinstance(X, Source) else X
        return {TRAINING: training, **self.followed}

    @property
    def targets(self) -> FloatArray:
        """The targets that are in memory."""
        Y = self.data.Y
        return Y if isinstance(Y, np.ndarray) else np.empty((0, Y.shape[1]))


def start(
    settings: FlowSettings,
    X: Any,
    Y: Any,
    follow: Mapping[str, npt.ArrayLike] | None,
    *,
    scaling: Scaling | None = None,
    resume: bool = False,
    client: Any = None,
) -> FlowState:
    """Return a flow of some data, without layers or with the layers of its checkpoint.

    The parameters are those of `kflow.KernelFlow.fit`. If a scaling is given, X and the followed
    points must be finite float arrays; if there is a rank as well, no scaled copy of X is made.
    """
    if as_flag(resume, "resume") and settings.checkpoint is None:
        raise ValueError("resume=True needs the checkpoint of a flow to go on with: pass one")
    rng = as_generator(settings.random_state)
    place = _place(settings, client)
    data = followed = None
    if place is None:
        engine = settings.computing_engine()
        data = TrainingData.in_memory(X, Y, settings.point_dtype, scaling, engine)
        followed = _followed(settings, data, follow, scaling)
    with ExitStack() as stack:
        if settings.checkpoint is not None:
            stack.enter_context(locked(settings.checkpoint))
            refuse_flow(settings.checkpoint, resume=resume)
        if data is None or followed is None:
            data = _data_elsewhere(settings, X, Y)
            followed = _followed(settings, data, follow, scaling)
        if Y is not None:
            adopted = settings.computing_engine().adopt(Y, "Y")
            warn_of_labels(Y if adopted is None else adopted, data.labels)
        return _placed(settings, _Given(data, followed, scaling, rng, place), resume=resume)


def _place(settings: FlowSettings, client: Any) -> Place | None:
    """Return the place for the training points; None if they are to be in memory."""
    if settings.memory_budget is None and client is None:
        return None
    argument = "client" if settings.memory_budget is None else "memory_budget"
    if settings.step_over != "batch":
        raise ValueError(
            f"{argument} needs step_over='batch': the step of a layer must be known before all "
            "points have moved"
        )
    if client is None:
        if settings.checkpoint is None or settings.memory_budget is None:
            raise ValueError(
                "memory_budget needs a place for the points that are not in memory: pass "
                "checkpoint=<folder>"
            )
        return DiskPlace(Path(settings.checkpoint) / _POINTS, settings.memory_budget)
    if hasattr(client, "open_points"):
        place: Place = client
        return place
    from kflow.points.cluster import DaskPlace

    return DaskPlace(client)


def _data_elsewhere(settings: FlowSettings, X: Any, Y: Any) -> TrainingData:
    """Open points that are not in memory."""
    if settings.checkpoint is None:
        return TrainingData.open(X, Y, None, settings.point_dtype)
    folder = Path(settings.checkpoint)
    if Y is None and not hasattr(X, "shape") and has_flow(folder):
        X = None  # X was copied when the flow began
    return TrainingData.open(X, Y, folder / _POINTS, settings.point_dtype)


def _followed(
    settings: FlowSettings,
    data: TrainingData,
    follow: Mapping[str, npt.ArrayLike] | None,
    scaling: Scaling | None,
) -> dict[str, FloatArray]:
    """Check and return the arrays to follow. With a scaling, they have been checked before."""
    n, d = data.X.shape
    if settings.batch_size > n:
        raise ValueError(
            f"batch_size={settings.batch_size} exceeds the {n} rows of X: pass batch_size={n} or "
            "less"
        )
    if follow is not None and not isinstance(follow, Mapping):
        raise TypeError(f"follow must map names to arrays, got {type(follow).__name__}")
    followed: dict[str, Any] = {
        str(name): as_matrix(
            value,
            f"follow[{str(name)!r}]",
            dtype=settings.dtype,
            n_columns=d,
            are_points=True,
            engine=settings.computing_engine(),
        )
        if scaling is None
        else value
        for name, value in (follow or {}).items()
    }
    if len(followed) < len(follow or {}):
        raise ValueError(
            f"follow has two names that are the same as text, got {list(follow or {})}: pass others"
        )
    if TRAINING in followed:
        raise ValueError(f"follow: {TRAINING!r} is the name of the training points, pass another")
    for name, points in followed.items():
        if isinstance(points, DeviceArray) != isinstance(data.X, DeviceArray):
            raise TypeError(
                f"follow[{name!r}] and X must both be NumPy arrays or both arrays on the device"
            )
    return followed


def _placed(settings: FlowSettings, given: _Given, *, resume: bool) -> FlowState:
    """Start a flow, or resume it where it was."""
    header: FlowHeader | None = None
    is_new = True
    if settings.checkpoint is not None:
        folder = Path(settings.checkpoint)
        identity = _identity(settings, given)
        seeded = settings.random_state is not None
        header = known_flow(folder, identity, resume=resume, seeded=seeded)
        is_new = header is None
    if header is None:
        kernel, subspace = _coordinates(settings, given)
    else:
        kernel, subspace = check_isotropic(from_dict(header.kernel)), header.subspace
        _tell_of_functions(header, folder)
    _check_dimension(kernel, given, subspace)
    if settings.checkpoint is not None and header is None:
        engine = settings.computing_engine().identity
        header = FlowHeader(identity, kernel.to_dict(), subspace, engine)
    flow_id = "" if header is None else header.flow_id
    # The place is opened before the checkpoint begins, since it may refuse. Its points are made
    # later.
    elsewhere = _elsewhere(
        settings, given, kernel, subspace, flow_id, lambda *layers: state.blocks_between(*layers)
    )
    if header is None:
        state = _new_state(settings, given, kernel, subspace)
    else:
        state = _resumed(settings, given, header, kernel, is_new=is_new)
    state.elsewhere = elsewhere
    return state


def _tell_of_functions(header: FlowHeader, folder: Path) -> None:
    functions = [name for name in SCHEDULES if header.identity.settings.get(name) is None]
    if functions:
        _log.warning(
            "%s: functions cannot be compared with those of the flow in %s",
            ", ".join(functions),
            folder,
        )


def _coordinates(settings: FlowSettings, given: _Given) -> tuple[Radial, Subspace | None]:
    """Return the kernel and the subspace of a new flow."""
    data, scaling, dtype = given.data, given.scaling, settings.point_dtype
    subspace = None
    if settings.rank is not None:
        subspace = Subspace.fit(data.X, settings.rank, scaling=scaling, dtype=dtype)
    return settings.kernel or default_kernel(data.X, scaling, dtype), subspace


def _check_dimension(kernel: Radial, given: _Given, subspace: Subspace | None) -> None:
    d = given.data.X.shape[1]
    kernel.check_dimension(d if subspace is None else max(d, subspace.rank + 1))


def _first_positions(settings: FlowSettings, given: _Given, subspace: Subspace | None) -> Positions:
    return Positions.before_layers(
        {
            name: coordinates(points, subspace, given.scaling, settings.point_dtype)
            for name, points in given.in_memory.items()
        }
    )


def _first_rank(subspace: Subspace | None, n_features: int) -> int:
    return n_features if subspace is None else subspace.rank


def _new_state(
    settings: FlowSettings, given: _Given, kernel: Radial, subspace: Subspace | None
) -> FlowState:
    """Return a flow without layers and without a checkpoint."""
    d = given.data.X.shape[1]
    shape = settings.layer_shape(subspace)
    store = open_layers(settings.layers, shape, _first_rank(subspace, d), settings.n_layers)
    targets = given.targets.copy()
    return FlowState.of(
        settings,
        kernel=kernel,
        subspace=subspace,
        n_features=d,
        positions=_first_positions(settings, given, subspace),
        targets=targets,
        labels=given.data.labels(targets),
        store=store,
        rng=given.rng,
    )


def _resumed(
    settings: FlowSettings, given: _Given, header: FlowHeader, kernel: Radial, *, is_new: bool
) -> FlowState:
    """Return the flow of a checkpoint after its last layer."""
    assert settings.checkpoint is not None
    folder = Path(settings.checkpoint)
    d, subspace = given.data.X.shape[1], header.subspace
    shape = settings.layer_shape(subspace)
    checkpoint = Checkpoint(folder, header.flow_id, shape, _first_rank(subspace, d))
    if is_new:
        checkpoint.layers.reserve(settings.n_layers)
        header.write(folder)
    progress = checkpoint.progress(
        {name: len(points) for name, points in given.in_memory.items()},
        lambda: _first_positions(settings, given, subspace),
        settings.motion(kernel),
    )
    n_layers = len(progress.records)
    if n_layers > settings.n_layers:
        raise ValueError(
            f"n_layers={settings.n_layers}, but the flow in {folder} has {n_layers} layers already: "
            "pass so many or more"
        )
    has_ended = False
    with intact(str(folder), "restore its files, or remove it and start again"):
        set_generator_state(given.rng, header.identity.generator)
        if progress.state is not None:
            states = [dict(state) for state in progress.state["callbacks"]]
            set_generator_state(given.rng, progress.state["generator"])
            has_ended = as_flag(progress.state["ended"], "ended")
            _name, _build = progress.state.get("engine") or (None, None)
    if progress.state is not None:
        set_callback_states(settings.callbacks, states)
    _compare_engines(settings, progress.state, header, folder)
    targets = given.targets.copy()
    return FlowState.of(
        settings,
        kernel=kernel,
        subspace=subspace,
        n_features=d,
        positions=progress.positions.beside(given.in_memory[TRAINING]),
        targets=targets,
        labels=given.data.labels(targets),
        store=checkpoint.layers,
        rng=given.rng,
        records=progress.records,
        checkpoint=checkpoint,
        has_ended=has_ended,
    )


def _compare_engines(
    settings: FlowSettings, block_state: Any, header: FlowHeader, folder: Path
) -> None:
    """Warn if another engine has run the flow so far, as its results differ in the last digits."""
    here = settings.computing_engine().identity
    there = header.engine if block_state is None else block_state.get("engine", header.engine)
    if there is not None and tuple(there) != here:
        warn_user(
            f"checkpoint: the flow in {folder} was run by engine {there[0]} ({there[1]}), here is "
            f"{here[0]} ({here[1]}): the flow goes on, but its last digits will not be those of a "
            "flow that one engine runs from the beginning",
            EngineWarning,
        )


def _identity(settings: FlowSettings, given: _Given) -> FlowIdentity:
    """Return the identity of a flow with these settings and data."""
    sets = {"X": given.data.X} | {
        f"follow[{name!r}]": points for name, points in given.followed.items()
    }
    data = {
        name: fingerprint(points, given.scaling, settings.point_dtype)
        for name, points in sets.items()
    }
    kernel = None if settings.kernel is None else settings.kernel.to_dict()
    return FlowIdentity(
        {**settings.to_dict(), "kernel": kernel},
        {**data, "Y": fingerprint(given.data.Y)},
        generator_state(given.rng),
    )


def _elsewhere(
    settings: FlowSettings,
    given: _Given,
    kernel: Radial,
    subspace: Subspace | None,
    flow_id: str,
    blocks_since: BlocksSince,
) -> Elsewhere | None:
    """Open the training points, if they are not in memory."""
    if given.place is None:
        return None
    assert isinstance(given.data.X, Source)
    request = PointsRequest(
        source=given.data.X,
        subspace=subspace,
        dtype=settings.point_dtype,
        batch_size=settings.batch_size,
        every=settings.every,
        motion=settings.motion(kernel),
        flow_id=flow_id,
        blocks_since=blocks_since,
    )
    return Elsewhere(given.data, given.place.open_points(request))
