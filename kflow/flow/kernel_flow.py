"""The non-parametric kernel flow: points that move, layer after layer, to make a kernel good."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import (
    as_cap,
    as_count,
    as_flag,
    as_generator,
    as_nugget,
    as_positive,
    float_dtype,
)
from kflow._base.array_types import FloatArray
from kflow._base.generators import generator_state, set_generator_state
from kflow._base.interrupt import DeferredInterrupt
from kflow.data.arrays import as_matrix
from kflow.data.chunks import Data, Scaling
from kflow.data.labels import ClassLabels
from kflow.data.sources import Source
from kflow.data.training_data import TrainingData
from kflow.engine import HOST
from kflow.engine.cpu import _core
from kflow.engine.interface import Diverged, Layer, NotPositiveDefinite
from kflow.engine.threads import resolve_n_threads
from kflow.errors import DivergenceError, StorageError
from kflow.flow.callbacks import Callback, callback_states, ends_flow, set_callback_states
from kflow.flow.leader import Leader, draw_flow_batch, shrink_rows
from kflow.flow.schedules import SCHEDULES, Schedule
from kflow.flow.streaming import stream
from kflow.kernels import Gaussian, Radial, check_isotropic, from_dict
from kflow.layers.block import HISTORY, Block, Record
from kflow.layers.moments import mean_squared_distance
from kflow.layers.motion import Motion
from kflow.layers.positions import CarriedPoints, coordinates
from kflow.layers.rank_reduction import Rotation
from kflow.layers.replay import Linearization, Replay, blocks_between, layer_count, layer_counts
from kflow.layers.stores import LayerShape, LayerStore, MemoryLayers, check_place, open_layers
from kflow.layers.subspace import Subspace, check_rank
from kflow.operations import singular_kernel_error
from kflow.points.disk import DiskPoints
from kflow.points.memory_plan import MemoryPlan, as_budget
from kflow.points.protocol import ShardedPoints
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

__all__ = ["KernelFlow"]

STEP_RULES = ("relative", "rms", "absolute", "fixed")
STEP_OVER = ("all", "batch")

# gamma = _WIDTH / (mean squared distance) in exp(-gamma r^2): measured to work on image data.
_WIDTH = 1.5

# Where in the folder of a checkpoint points are that do not fit in memory.
_POINTS = "points"

_log = logging.getLogger("kflow")


def _check_step(value: Any) -> str:
    if value not in STEP_RULES:
        raise ValueError(f"step must be one of {STEP_RULES}, got {value!r}")
    return str(value)


def _followed(
    follow: Mapping[str, npt.ArrayLike] | None, dtype: np.dtype[Any] | None, d: int
) -> dict[str, FloatArray]:
    """Return the arrays to follow; checked, unless they are already, for which dtype is None."""
    if follow is not None and not isinstance(follow, Mapping):
        raise TypeError(f"follow must map names to arrays, got {type(follow).__name__}")
    followed = {
        str(name): np.asarray(value)
        if dtype is None
        else as_matrix(value, f"follow[{name!r}]", dtype=dtype, n_columns=d)
        for name, value in (follow or {}).items()
    }
    if "" in followed:
        raise ValueError("follow: '' is the name of the training points, pass another")
    return followed


@dataclass(frozen=True)
class _Streamed:
    """Training points that are not in memory."""

    data: TrainingData
    points: ShardedPoints


def default_kernel(
    X: Data, scaling: Scaling | None = None, dtype: npt.DTypeLike | None = None
) -> Gaussian:
    """Gaussian with exp(-1.5 r^2 / msd), msd the mean squared distance between two rows of X."""
    msd = mean_squared_distance(X, scaling, dtype)
    if not msd > 0.0:
        raise ValueError("X: all rows coincide, so that no length scale fits: pass a kernel")
    return Gaussian(length_scale=math.sqrt(msd / (2.0 * _WIDTH)))


class KernelFlow:
    """A kernel learned from data by a flow of the data points.

    The learned kernel is K_n(x, x') = K_1(F_n(x), F_n(x')). Each layer draws `batch_size` of the N
    points and a coarse part of those, descends the loss rho with respect to the batch, and moves
    every point by kernel interpolation of the batch's descent direction:
    F_{n+1}(x) = F_n(x) + step K_1(F_n(x), Z) C, C = (K_1(Z, Z) + nugget I)^-1 (-d rho / d Z).

    Parameters
    ----------
    kernel : kflow.kernels.Radial or None
        K_1. None: a Gaussian exp(-1.5 r^2 / msd), msd the mean squared distance of the data.
    n_layers : int
        Layers that `fit` runs; `run` adds more.
    batch_size : int
        Points drawn in each layer, 4 <= batch_size <= N.
    coarse_fraction : float
        Part of the batch that must predict the rest, in (0, 1).
    nugget : float, mapping or callable
        Added to the diagonal of the batch's kernel matrix. Small values learn detail, large ones
        collapse classes. A mapping {first layer: value} or a function of the layer is a schedule.
    step : str, mapping or callable
        Step rule, with i over all N training points (see `step_over`), G the displacement before
        scaling, and p = `step_size`. ``"relative"``: p min |x_i| / |G(x_i)|, so that no point moves more than a
        fraction p of its norm. ``"rms"``: p rms |x_i| / rms |G(x_i)|. ``"absolute"``:
        p / max |G(x_i)|. ``"fixed"``: p. May be a schedule.
    step_size : float, mapping or callable
        p, positive. May be a schedule.
    step_over : {"all", "batch"}
        Over which points the step rule is measured: all N training points, or the layer's batch, a
        random sample of them. By the batch the step is known before anything else moves.
    gradient_cap : float, mapping or callable
        Rows of d rho / d Z longer than so many times the median length are shortened to that: a few
        points between the classes otherwise lead the whole layer. Infinity: no limit. May be a
        schedule.
    n_halves : int
        Coarse subsets of one batch over which rho and its gradient are averaged. They come in pairs
        from the two ends of one order of the batch: complementary for ``coarse_fraction=0.5`` and an
        even `batch_size`, else they overlap or leave points out. Each further one costs a
        factorisation of a coarse matrix.
    dtype : {"float32", "float64"}
        Precision of the points. The algebra on the batch is always in float64.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of the batches. A given int gives the same flow on every run and thread count.
    n_threads : int, optional
        Threads; see `kflow.get_num_threads`. The result does not depend on it.
    rank : None, "auto", int or float
        Run the flow in the span of its leading `rank` right singular vectors of X (uncentred). No
        point ever leaves the span of X, so that ``"auto"``, the numerical rank, is the same flow to
        rounding errors, in rank(X) coordinates. An int, at most d, or the fewest directions so that
        at most that part of the sum of squares is dropped, a number in (0, 1), is an approximation:
        what lies outside does not move, but its norm still counts in distances. None: the
        coordinates of X.
    shrink_every : int
        Before every so many layers, drop the directions that the flow no longer needs; 0: never.
        Needs a `rank`.
    shrink_tolerance : float
        Squared distances may change by this part of their mean, on average, each time.
    layers : "memory" or "none"
        Whether layers are kept for `transform`: 2 batch_size rank numbers for each, see
        `kflow.layers.layer_bytes`. With "none" only `points_` and `follow_` are of use. With a
        `checkpoint` they are in its folder, not in memory.
    checkpoint : path, optional
        A folder that keeps the flow, layer after layer, in files of `every` layers
        (``docs/block-format.md``), so that ``fit(..., resume=True)`` goes on after whatever ended
        the process. It belongs to one flow and is part of it: its layers are read from there.
    every : int
        Layers between two files of a `checkpoint`: what a killed process loses at most.
    memory_budget : float, optional
        Keep the training points in the folder of the `checkpoint` and move them a part at a time,
        so that the fit takes no more than about so many bytes besides X and Y. Needs
        ``step_over="batch"``, and gives the same flow.
    callbacks : iterable of callable
        Each is called with the flow after every layer, or after every block of `every` layers with
        a `memory_budget` or on a cluster; a true result ends the flow. See `kflow.callbacks` for those that have a state.
    progress : bool
        Show a progress bar.

    Attributes
    ----------
    points_ : ndarray, shape (N, d)
        F_n of the training points (a copy). Where a `rank` dropped something, that is not in it.
        Of points that do not fit in memory: `iterate_points`.
    follow_ : dict of ndarray
        F_n of the arrays given as `follow` (copies), without what lies outside the subspace of a
        `rank`.
    reduced_points_ : ndarray, shape (N, rank_ + 1)
        F_n of the training points in coordinates in which kernels of distances are right: in the
        subspace, and last the distance from it (a copy). Without a `rank` the same as `points_`.
    reduced_follow_ : dict of ndarray
        F_n of the followed arrays in these coordinates (copies).
    rank_ : int
        Coordinates that move; d without a `rank`.
    energy_dropped_ : float
        Part of the sum of squares of X outside the subspace.
    targets_ : ndarray, shape (N, m)
        Targets of the training points, in float64 (a copy).
    is_fitted : bool
        Whether `fit` got as far as placing the points.
    history_ : dict of ndarray, each of shape (n_layers_,)
        ``rho``, ``step``, ``seconds``, ``nugget`` and ``rank`` (how many coordinates moved) of each
        layer, and ``class_distance_ratio``: mean squared distance between batch points of one class
        over that between classes, before the layer; NaN where the targets are not classes.
    n_layers_ : int
        Layers run so far.
    kernel_ : kflow.kernels.Radial
        K_1.
    n_features_in_ : int
        d.

    Notes
    -----
    A layer costs 4 N N_f r flops, r = `rank_`, N N_f profiles and one N_f^3 / 3 Cholesky
    factorisation. All of it runs in one call of the compiled core, without the GIL. Ctrl-C takes
    effect at the layer's end.

    References
    ----------
    H. Owhadi and G. R. Yoo, Kernel Flows: from learning kernels from data into the abyss,
    J. Comp. Phys. 389 (2019), 22-47.

    Examples
    --------
    >>> import numpy as np, kflow
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> Y = np.sign(X[:, 0] * X[:, 1])
    >>> flow = kflow.KernelFlow(None, n_layers=100, batch_size=100, nugget=0.1, random_state=0)
    >>> rho = flow.fit(X, Y).history_["rho"]
    >>> bool(rho[-10:].mean() < rho[:10].mean())
    True
    """

    def __init__(
        self,
        kernel: Radial | None = None,
        *,
        n_layers: int,
        batch_size: int = 600,
        coarse_fraction: float = 0.5,
        nugget: Any = 0.01,
        step: Any = "relative",
        step_size: Any = 0.1,
        step_over: str = "all",
        gradient_cap: Any = math.inf,
        n_halves: int = 1,
        rank: str | int | float | None = None,
        shrink_every: int = 0,
        shrink_tolerance: float = 1e-4,
        dtype: npt.DTypeLike = "float32",
        random_state: Any = None,
        n_threads: int | None = None,
        layers: str = "memory",
        checkpoint: str | os.PathLike[str] | None = None,
        every: int = 20,
        memory_budget: float | None = None,
        callbacks: Iterable[Callback] = (),
        progress: bool = False,
    ) -> None:
        self.kernel = None if kernel is None else check_isotropic(kernel)
        self.n_layers = as_count(n_layers, "n_layers", 0)
        self.batch_size = as_count(batch_size, "batch_size", 4)
        self.coarse_fraction = as_positive(coarse_fraction, "coarse_fraction")
        if self.coarse_fraction >= 1:
            raise ValueError(f"coarse_fraction must be below 1, got {coarse_fraction!r}")
        self.nugget = nugget
        self.step = step
        self.step_size = step_size
        if step_over not in STEP_OVER:
            raise ValueError(f"step_over must be one of {STEP_OVER}, got {step_over!r}")
        self.step_over = step_over
        self.gradient_cap = gradient_cap
        self._schedules()
        self.n_halves = as_count(n_halves, "n_halves", 1)
        self.rank = check_rank(rank)
        self.shrink_every = as_count(shrink_every, "shrink_every", 0)
        if self.shrink_every and self.rank is None:
            raise ValueError(
                f"shrink_every={self.shrink_every} needs a rank to start from: pass rank='auto'"
            )
        self.shrink_tolerance = as_positive(shrink_tolerance, "shrink_tolerance")
        self.dtype = float_dtype(dtype).name
        self.random_state = random_state
        self.n_threads = n_threads
        resolve_n_threads(n_threads)
        self.layers = check_place(layers)
        if checkpoint is not None and not isinstance(checkpoint, (str, os.PathLike)):
            raise TypeError(f"checkpoint must be a folder or None, got {checkpoint!r}")
        if checkpoint == "":
            raise ValueError("checkpoint is empty: pass the name of a folder, or None")
        self.checkpoint = checkpoint
        self.every = as_count(every, "every", 1)
        self.memory_budget = as_budget(memory_budget)
        self.callbacks = () if callable(callbacks) else tuple(callbacks)
        if callable(callbacks) or not all(callable(callback) for callback in self.callbacks):
            raise TypeError("callbacks must be a list of functions of the flow")
        self.progress = bool(progress)
        self._streamed: _Streamed | None = None
        self._fitted = False

    def _schedules(self) -> dict[str, Schedule[Any]]:
        checks: dict[str, Callable[[Any], Any]] = {
            "nugget": as_nugget,
            "step": _check_step,
            "step_size": lambda value: as_positive(value, "step_size"),
            "gradient_cap": lambda value: as_cap(value, "gradient_cap"),
        }
        return {name: Schedule(getattr(self, name), name, check) for name, check in checks.items()}

    # ---- running ------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        Y: Any = None,
        follow: Mapping[str, npt.ArrayLike] | None = None,
        *,
        resume: bool = False,
        client: Any = None,
    ) -> KernelFlow:
        """Start a new flow, or go on with the one of the `checkpoint`, until it has `n_layers` layers.

        Parameters
        ----------
        X : array_like, shape (N, d), or iterable
            Training points. The relative and rms steps measure norms from the origin. With a
            `memory_budget` or a `client` they are read a few rows at a time: memory-mapped arrays,
            those of zarr, h5py and Dask, or, without Y, an iterable of pairs of points (n_i, d) and
            their targets, which is copied to the checkpoint's folder first and not looked at when
            the flow is resumed.
        Y : array_like, shape (N,) or (N, m)
            Targets; one-hot rows for classes (`kflow.one_hot`).
        follow : mapping of str to array_like (n_i, d), optional
            Further points that are carried along, such as a test set. They have no influence.
        resume : bool
            Go on with the flow that the `checkpoint` holds: bit for bit the flow that nothing
            interrupted, but for ``history_["seconds"]``. Only `n_layers` may have grown; a flow that
            a callback has ended stays as it is. Where there is no flow yet, one starts, so that the
            same call can be repeated until it is done.
        client : dask.distributed.Client, optional
            A cluster, over whose workers the training points are spread. Needs
            ``step_over="batch"``, and gives the same flow.

        Returns
        -------
        KernelFlow
            The flow itself.

        Raises
        ------
        BlockingIOError
            If another process runs the flow of the `checkpoint`.
        DivergenceError
            If a layer diverges; the flow stays at the last good layer.
        FileExistsError
            If the `checkpoint` holds a flow and `resume` is not asked for.
        ModelFileError
            If files of the `checkpoint` are damaged or missing, naming them.
        SingularKernelError
            If a batch's kernel matrix is numerically singular (duplicates without a nugget); the
            flow stays at the last good layer.
        StorageError
            If the layers will not fit where they are to be kept: found before the first layer; or a
            disk is full after all: the flow stays at its last layer, in memory, and `run` goes on.
        TypeError, ValueError
            For arguments of the wrong kind, shape or dtype, naming them; for settings and data that
            are not those of the flow to be resumed. Functions as schedules cannot be compared.
        """
        self._start(X, Y, follow, resume=resume, client=client)
        self._run_rest()
        self._workspace = _core.Batch()  # what comes after a fit may need the room
        return self

    def _start(
        self,
        X: Any,
        Y: Any,
        follow: Mapping[str, npt.ArrayLike] | None,
        scaling: Scaling | None = None,
        *,
        resume: bool = False,
        client: Any = None,
    ) -> None:
        """Place the points, scaled; where there is a `rank`, no scaled copy of X is made.

        With a scaling, X and the followed points are finite float arrays.
        """
        if as_flag(resume, "resume") and self.checkpoint is None:
            raise ValueError("resume=True needs the checkpoint of a flow to go on with: pass one")
        rng = as_generator(self.random_state)
        data: TrainingData | None = None
        if self.memory_budget is None and client is None:
            data = TrainingData.in_memory(X, Y, float_dtype(self.dtype), scaling)
            followed = self._followed(data, follow, scaling)
        else:
            self._check_streamed(client)
        with ExitStack() as stack:
            if self.checkpoint is not None:
                stack.enter_context(locked(self.checkpoint))
                refuse_flow(self.checkpoint, resume=resume)
            if data is None:
                data = self._streamed_data(X, Y)
                followed = self._followed(data, follow, scaling)
            self._place(data, followed, scaling, rng, resume, client)

    def _check_streamed(self, client: Any) -> None:
        """Refuse settings with which points cannot be anywhere but in memory."""
        argument = "client" if self.memory_budget is None else "memory_budget"
        if self.step_over != "batch":
            raise ValueError(
                f"{argument} needs step_over='batch': the step of a layer must be known before all "
                "points have moved"
            )
        if client is None and self.checkpoint is None:
            raise ValueError(
                "memory_budget needs a place for the points that are not in memory: pass "
                "checkpoint=<folder>"
            )

    def _streamed_data(self, X: Any, Y: Any) -> TrainingData:
        """Open points that are not in memory."""
        if self.checkpoint is None:
            return TrainingData.open(X, Y, None, float_dtype(self.dtype))
        folder = Path(self.checkpoint)
        if Y is None and not hasattr(X, "shape") and has_flow(folder):
            X = None  # it was copied when the flow began
        return TrainingData.open(X, Y, folder / _POINTS, float_dtype(self.dtype))

    def _followed(
        self,
        data: TrainingData,
        follow: Mapping[str, npt.ArrayLike] | None,
        scaling: Scaling | None,
    ) -> dict[str, FloatArray]:
        """Return the arrays to follow, checked like the number of points."""
        n, d = data.X.shape
        if self.batch_size > n:
            raise ValueError(
                f"batch_size={self.batch_size} exceeds the {n} rows of X: pass batch_size={n} or "
                "less"
            )
        return _followed(follow, float_dtype(self.dtype) if scaling is None else None, d)

    def _place(
        self,
        data: TrainingData,
        followed: Mapping[str, FloatArray],
        scaling: Scaling | None,
        rng: np.random.Generator,
        resume: bool,
        client: Any,
    ) -> None:
        """Start a flow of points and targets, or come back to where it was."""
        dtype = float_dtype(self.dtype)
        d = data.X.shape[1]
        targets = data.Y if isinstance(data.Y, np.ndarray) else np.empty((0, data.Y.shape[1]))
        header: FlowHeader | None = None
        identity: FlowIdentity | None = None
        if self.checkpoint is not None:
            identity = self._identity({"": data.X, **followed}, data.Y, scaling, rng)
            seeded = self.random_state is not None
            header = known_flow(self.checkpoint, identity, resume=resume, seeded=seeded)
        if header is None:
            subspace = None
            if self.rank is not None:
                subspace = Subspace.fit(data.X, self.rank, scaling=scaling, dtype=dtype)
            kernel = self.kernel or default_kernel(data.X, scaling, dtype)
        else:
            kernel, subspace = check_isotropic(from_dict(header.kernel)), header.subspace
        shape = LayerShape(self.batch_size, 0 if subspace is None else 1, dtype)
        rank = d if subspace is None else subspace.rank
        kernel.check_dimension(max(d, rank + shape.n_fixed))
        training = data.X if isinstance(data.X, np.ndarray) else np.empty((0, d), dtype)
        carried = {"": training, **followed}

        def first_points() -> CarriedPoints:
            sets = {
                name: coordinates(points, subspace, scaling, dtype)
                for name, points in carried.items()
            }
            return CarriedPoints.before_layers(sets)

        known = header is not None
        if identity is not None and header is None:
            header = FlowHeader(identity, kernel.to_dict(), subspace)
        streamed = None
        if isinstance(data.X, Source):
            flow_id = "" if header is None else header.flow_id
            streamed = _Streamed(
                data, self._sharded_points(data.X, kernel, subspace, flow_id, client)
            )
        if header is None or self.checkpoint is None:
            store = open_layers(self.layers, shape, rank, self.n_layers)
            points = first_points()
            self._begin(kernel, subspace, d, points, targets, data.labels, store, rng, [])
        else:
            checkpoint = Checkpoint(self.checkpoint, header.flow_id, shape, rank)
            if not known:
                checkpoint.layers.reserve(self.n_layers)
                header.write(Path(self.checkpoint))
            progress = checkpoint.progress(
                {name: len(points) for name, points in carried.items()},
                first_points,
                self._motion(kernel),
            )
            if len(progress.records) > self.n_layers:
                raise ValueError(
                    f"n_layers={self.n_layers}, but the flow in {self.checkpoint} has "
                    f"{len(progress.records)} layers already: pass so many or more"
                )
            set_generator_state(rng, header.identity.generator)
            ended = False
            if progress.state is not None:
                set_callback_states(self.callbacks, progress.state["callbacks"])
                set_generator_state(rng, progress.state["generator"])
                ended = progress.state["ended"]
            self._begin(
                kernel,
                subspace,
                d,
                progress.points,
                targets,
                data.labels,
                checkpoint.layers,
                rng,
                progress.records,
                checkpoint,
            )
            self._ended = ended
        self._streamed = streamed

    def _sharded_points(
        self, X: Source, kernel: Radial, subspace: Subspace | None, flow_id: str, client: Any
    ) -> ShardedPoints:
        """Return points that are not in memory: on a cluster, or on the disk."""
        dtype = float_dtype(self.dtype)
        n_columns = X.shape[1] if subspace is None else subspace.rank + 1
        plan = MemoryPlan(n_columns, dtype.itemsize, self.batch_size, self.every)
        if client is not None:
            from kflow.points.cluster import DaskPoints, shards_over

            return DaskPoints(
                client,
                shards_over(client, len(X)),
                X,
                subspace,
                None,
                dtype,
                self._blocks_between,
                self._motion(kernel),
            )

        def first(rows: slice) -> FloatArray:
            return coordinates(X[rows], subspace, None, dtype)

        assert self.checkpoint is not None
        assert self.memory_budget is not None
        points = DiskPoints(
            Path(self.checkpoint) / _POINTS,
            plan.shards(len(X), self.memory_budget),
            flow_id,
            first,
            self._blocks_between,
            self._motion(kernel),
        )
        points.reserve(len(X) * plan.n_columns * dtype.itemsize)
        return points

    def _motion(self, kernel: Radial) -> Motion:
        return Motion(HOST, kernel.profile, resolve_n_threads(self.n_threads))

    def _blocks_between(self, first: int, end: int) -> Iterator[Block]:
        return blocks_between(self._store, self._rotations, first, end)

    @property
    def _rotations(self) -> dict[int, Rotation]:
        return {rotation.layer: rotation for rotation in self._carried.rotations}

    def _settings(self) -> dict[str, Any]:
        """Return the settings that the layers depend on, but for kernel and seed, as JSON data."""
        return {
            "batch_size": self.batch_size,
            "coarse_fraction": self.coarse_fraction,
            **{name: Schedule.to_json(getattr(self, name)) for name in SCHEDULES},
            "step_over": self.step_over,
            "n_halves": self.n_halves,
            "rank": self.rank,
            "shrink_every": self.shrink_every,
            "shrink_tolerance": self.shrink_tolerance,
            "dtype": self.dtype,
        }

    def _identity(
        self,
        arrays: Mapping[str, Data],
        targets: Data,
        scaling: Scaling | None,
        rng: np.random.Generator,
    ) -> FlowIdentity:
        """Return what a flow from these points would be."""
        data = {
            f"follow[{name!r}]" if name else "X": fingerprint(points, scaling, np.dtype(self.dtype))
            for name, points in arrays.items()
        }
        kernel = None if self.kernel is None else self.kernel.to_dict()
        settings = {**self._settings(), "kernel": kernel}
        return FlowIdentity(settings, {**data, "Y": fingerprint(targets)}, generator_state(rng))

    def _begin(
        self,
        kernel: Radial,
        subspace: Subspace | None,
        n_features: int,
        points: CarriedPoints,
        targets: FloatArray,
        labels: ClassLabels,
        store: LayerStore,
        rng: np.random.Generator,
        records: list[Record],
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.kernel_ = kernel
        self._subspace = subspace
        self._n_fixed = 0 if subspace is None else 1
        # One record for each layer: appending it is the one act that makes a layer count.
        self._records = records
        # These are the points after _settled layers, all of them or all but the last one; that one
        # adds its step times the displacement. The core changes _settled together with the points.
        # Coordinates change with this one attribute.
        self._carried = points.at_rest(self._n_fixed)
        self._settled = np.array([len(records)], dtype=np.intp)
        self._targets = targets.copy()
        self._labels = labels(self._targets)
        self._streamed = None
        self._store = store
        self._checkpoint = checkpoint
        self._n_resumed = len(records)
        # Whether a callback has ended the flow, and after how many layers all of them were called.
        self._ended = False
        self._n_called = len(records)
        self._rng = rng
        self._workspace = _core.Batch()
        self.n_features_in_ = n_features
        self._fitted = True

    @classmethod
    def _from_layers(
        cls,
        layers: Sequence[Layer],
        *,
        kernel: Radial,
        subspace: Subspace | None,
        n_features: int,
        dtype: npt.DTypeLike,
        rotations: Sequence[Rotation] = (),
        nuggets: Sequence[float] | None = None,
        n_targets: int = 1,
    ) -> KernelFlow:
        """Return a flow that has layers but no points: all that maps points works, `run` does not.

        Parameters
        ----------
        layers : sequence of Layer
            Its layers, each in the coordinates that the rotations up to it leave.
        kernel, subspace, n_features, dtype
            K_1, the first coordinates, d, and the precision.
        rotations : sequence of Rotation
            Changes of coordinates, in order of their layers.
        nuggets : sequence of float, optional
            For the history, where nothing else is known of the layers but their steps and ranks.
        n_targets : int
            Columns of the targets.
        """
        batch_size = max([4, *(len(layer.centres) for layer in layers)])
        flow = cls(
            kernel,
            n_layers=len(layers),
            batch_size=batch_size,
            rank=None if subspace is None else subspace.rank,
            dtype=dtype,
        )
        k = n_features if subspace is None else subspace.rank + 1
        points = np.zeros((0, k), flow.dtype)
        carried = CarriedPoints.before_layers({"": points})
        for rotation in rotations:
            carried = carried.rotated(rotation)
        n_fixed = 0 if subspace is None else 1
        store = MemoryLayers(LayerShape(batch_size, n_fixed, np.dtype(flow.dtype)), k - n_fixed)
        records: list[Record] = []
        for number, layer in enumerate(layers):
            store.put(number, layer)
            nugget = math.nan if nuggets is None else nuggets[number]
            rank = layer.coefficients.shape[1]
            records.append((math.nan, layer.step, math.nan, math.nan, nugget, rank))
        targets = np.zeros((0, n_targets))
        labels = ClassLabels([targets])
        rng = np.random.default_rng(0)
        flow._begin(kernel, subspace, n_features, carried, targets, labels, store, rng, records)
        return flow

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` got as far as placing the points."""
        return self._fitted

    def _require_fit(self) -> None:
        if not self._fitted:
            raise ValueError("this flow has no points yet: call fit first")

    def run(self, n: int) -> KernelFlow:
        """Run `n` more layers.

        Raises
        ------
        BlockingIOError, DivergenceError, SingularKernelError, StorageError
            As for `fit`.
        ValueError
            For a flow that has layers but no training points, such as a compressed one.
        """
        self._require_fit()
        n = as_count(n, "n", 0)
        if self._streamed is None and not len(self._targets):
            raise ValueError(
                "this flow has layers but no training points, from which batches are drawn, so that "
                "it cannot run: call fit with points to start a new flow"
            )
        return self._run(n, 0)

    def _run_rest(self) -> None:
        """Run what `n_layers` has more than were resumed, unless a callback has ended the flow."""
        n = 0 if self._ended else self.n_layers - self.n_layers_
        if n > 0:
            self._run(n, self.n_layers_)

    def _run(self, n: int, n_before: int) -> KernelFlow:
        """Run `n` more layers; the progress bar starts at `n_before`."""
        schedules = self._schedules()
        n_threads = resolve_n_threads(self.n_threads)
        with ExitStack() as stack:
            stack.enter_context(self._checkpointing())
            self._store.reserve(n)
            report: Callable[[KernelFlow], None] | None = None
            if self.progress and n > 0:
                from kflow._base.progress import flow_progress

                show = stack.enter_context(flow_progress(n, n_before))

                def report(flow: KernelFlow) -> None:
                    show(flow.n_layers_, flow._records[-1][0])

            interrupt = stack.enter_context(DeferredInterrupt())
            stack.enter_context(_core.TeamLease())
            if self._streamed is not None:
                self._run_streamed(n, self._streamed, report, interrupt)
                return self
            for left in reversed(range(n)):
                self._run_layer(schedules, n_threads)
                if report is not None:
                    report(self)
                # A list: every callback sees every layer, whatever the others say.
                stops = [callback for callback in self.callbacks if callback(self)]
                self._ended = any(map(ends_flow, stops))
                self._n_called = self.n_layers_
                if self._write_block(self.every):
                    self._log_time_left(left)
                if stops or interrupt.requested:
                    break
        return self

    def _run_streamed(
        self,
        n: int,
        streamed: _Streamed,
        report: Callable[[KernelFlow], None] | None,
        interrupt: DeferredInterrupt,
    ) -> None:
        """Run layers ahead of points that are not in memory."""
        motion = self._motion(self.kernel_)
        seconds_at = HISTORY.index("seconds")
        leader = Leader(
            n_points=len(streamed.data.X),
            batch_size=self.batch_size,
            coarse_fraction=self.coarse_fraction,
            n_halves=self.n_halves,
            shrink_every=self.shrink_every,
            shrink_tolerance=self.shrink_tolerance,
            every=self.every,
            schedules=self._schedules(),
            motion=motion,
            targets=lambda rows: streamed.data.Y[rows],
            labels=streamed.data.labels,
            n_fixed=self._n_fixed,
        )
        end = self.n_layers_ + n
        start = time.perf_counter()

        def keep(block: Block, generator: Mapping[str, Any]) -> bool:
            nonlocal start
            now = time.perf_counter()
            seconds = (now - start) / len(block)  # with the points' move through the last block
            start = now
            carried = self._carried.through(block, motion)
            for number, layer in enumerate(block.layers):
                self._store.put(block.first + number, layer)
            self._carried = carried
            self._rng.bit_generator.state = generator
            self._records += [
                (*record[:seconds_at], seconds, *record[seconds_at + 1 :])
                for record in block.records
            ]
            self._settled[0] = len(self._records)
            if report is not None:
                report(self)
            stops = [callback for callback in self.callbacks if callback(self)]
            self._ended = any(map(ends_flow, stops))
            self._n_called = self.n_layers_
            self._write_block()
            self._log_time_left(end - self.n_layers_)
            return bool(stops) or interrupt.requested

        failed = stream(leader, streamed.points, self._rng, self.n_layers_, n, keep)
        if failed is not None:
            plan, number, error = failed
            layer = plan.first + number
            nugget = leader.schedules["nugget"](layer)
            raise self._failure(error, layer, nugget, plan.batches[number].rows) from None

    def _log_time_left(self, n_layers: int) -> None:
        if n_layers:
            seconds = np.mean([record[HISTORY.index("seconds")] for record in self._records[-20:]])
            _log.info("%d layers to go, about %.0f s", n_layers, n_layers * seconds)

    def _failure(
        self, error: BaseException, layer: int, nugget: float, batch: npt.NDArray[np.intp]
    ) -> BaseException:
        """Return what to raise for an error in a layer."""
        if isinstance(error, (NotPositiveDefinite, _core.NotPositiveDefinite)):
            return singular_kernel_error(error, nugget, batch)
        if isinstance(error, (Diverged, _core.Diverged)):
            return DivergenceError(
                f"the flow diverged in layer {layer}: {error}. It stays at the last good layer "
                f"({layer} layers); pass a smaller step_size or a larger nugget"
            )
        return error

    @contextmanager
    def _checkpointing(self) -> Iterator[None]:
        """Hold the checkpoint while layers run, and write the last of them whatever ends the run."""
        if self._checkpoint is None:
            yield
            return
        with self._checkpoint.running(self._records):
            self._n_called = self.n_layers_
            self._write_block()  # what a full disk did not take before
            try:
                yield
            except BaseException:
                with suppress(StorageError):  # that error is the reason of all
                    self._write_block()
                raise
            self._write_block()

    def _write_block(self, at_least: int = 1) -> bool:
        """Write the layers that are in memory only, if they are so many, and return whether they were.

        A layer that a callback has failed after does not count yet: resumed, it is run and seen again.
        """
        if self._checkpoint is None or self._n_called < self.n_layers_:
            return False
        layers = self._checkpoint.layers
        first = layers.n_written
        if self.n_layers_ - first < at_least:
            return False
        rotations = self._carried.rotations
        layers.write(
            self._records[first:],
            next((rotation for rotation in rotations if rotation.layer == first), None),
            {
                "generator": generator_state(self._rng),
                "callbacks": callback_states(self.callbacks),
                "ended": self._ended,
            },
        )
        if self._checkpoint.is_time_for_points(self._carried):
            self._positions("")
            self._checkpoint.keep_points(self._carried, self.n_layers_)
        return True

    def _run_layer(self, schedules: Mapping[str, Schedule[Any]], n_threads: int) -> None:
        start = time.perf_counter()
        layer = self.n_layers_
        nugget, rule, size, cap = (schedules[name](layer) for name in SCHEDULES)
        self._shrink(layer)
        random_state = self._rng.bit_generator.state
        try:
            batch, halves, n_coarse = draw_flow_batch(
                self._rng,
                len(self._targets),
                self.batch_size,
                self.coarse_fraction,
                self.n_halves,
            )
            rank = self.rank_
            z = np.empty((self.batch_size, rank + self._n_fixed), self.dtype)
            c = np.empty((self.batch_size, rank), self.dtype)
            rho, step, ratio = _core.flow_layer(
                self._moving_sets(),
                self._pending,
                self._settled,
                layer,
                self._targets,
                self._labels,
                batch,
                halves,
                _core.LayerOptions(
                    _core.Profile(*self.kernel_.profile),
                    nugget,
                    rule,
                    size,
                    cap,
                    n_coarse,
                    self.n_halves,
                    self.step_over == "batch",
                ),
                z,
                c,
                self._workspace,
                n_threads,
            )
            self._store.put(layer, Layer(z, c, step))
        except BaseException as error:
            # The layer did not happen: its batch is drawn again.
            self._rng.bit_generator.state = random_state
            if isinstance(
                error, (_core.NotPositiveDefinite, _core.Diverged, NotPositiveDefinite, Diverged)
            ):
                raise self._failure(error, layer, nugget, batch) from None
            raise
        self._records.append((rho, step, time.perf_counter() - start, ratio, nugget, rank))

    def _shrink(self, layer: int) -> None:
        """Drop directions before a layer, if it is time to."""
        if not self.shrink_every or layer == 0 or layer % self.shrink_every:
            return
        rotations = self._carried.rotations
        if rotations and rotations[-1].layer == layer:  # the layer is tried again
            return
        self._rest()  # the new points take the room of the displacements
        training = self._positions("")
        if self.step_over == "batch":
            training = training[shrink_rows(len(training), layer)]
        rotation = Rotation.shrinking(training, layer, self.shrink_tolerance)
        if rotation is not None:
            self._write_block()
            self._carried = self._carried.rotated(rotation).at_rest(self._n_fixed)

    # ---- results ------------------------------------------------------------------------------

    def _moving_sets(self) -> list[tuple[FloatArray, FloatArray]]:
        points = self._carried
        return [(values, points.displacements[name]) for name, values in points.sets.items()]

    @property
    def _pending(self) -> float:
        """Step of the last layer if its displacement is not yet in the points, else 0."""
        layers = len(self._records)
        return self._records[-1][HISTORY.index("step")] if self._settled[0] < layers else 0.0

    def _positions(self, name: str) -> FloatArray:
        """Return the coordinates of a set after all layers: not a copy."""
        if self._settled[0] < len(self._records):
            _core.settle(
                self._moving_sets(),
                self._pending,
                self._settled,
                len(self._records),
                resolve_n_threads(self.n_threads),
            )
        return self._carried.sets[name]

    def _rest(self) -> None:
        """Give back the memory of the displacements until there is another layer."""
        self._positions("")
        self._carried = self._carried.at_rest(self._n_fixed)  # zeros take no room until written

    def _restored(self, points: CarriedPoints, name: str) -> FloatArray:
        if self._subspace is None:
            return points.sets[name].copy()
        return self._subspace.restore(points.first_coordinates(name))

    def _training_points(self) -> Iterator[CarriedPoints]:
        """Yield the training points, under "", after all layers: in order, not copies."""
        if self._streamed is None:
            self._positions("")
            yield self._carried
            return
        for shard in self._streamed.points.shards(len(self._records)):
            yield replace(shard, rotations=self._carried.rotations)

    def iterate_points(self, *, reduced: bool = False) -> Iterator[tuple[slice, FloatArray]]:
        """Iterate over F_n of the training points, a part at a time where they are not in memory.

        Parameters
        ----------
        reduced : bool
            Yield the coordinates of `reduced_points_` instead of points.

        Yields
        ------
        rows : slice
            Which training points.
        points : ndarray, shape (n, d) or (n, rank_ + 1)
            Where they are: a copy.
        """
        self._require_fit()
        start = 0
        for part in self._training_points():
            points = part.sets[""].copy() if reduced else self._restored(part, "")
            yield slice(start, start + len(points)), points
            start += len(points)

    @property
    def n_layers_(self) -> int:
        """Layers run so far."""
        self._require_fit()
        return len(self._records)

    @property
    def points_(self) -> FloatArray:
        """F_n of the training points, (N, d): a copy."""
        self._require_fit()
        return np.concatenate([points for _, points in self.iterate_points()])

    @property
    def follow_(self) -> dict[str, FloatArray]:
        """F_n of the followed arrays: copies."""
        self._require_fit()
        self._positions("")
        return {name: self._restored(self._carried, name) for name in self._carried.sets if name}

    @property
    def reduced_points_(self) -> FloatArray:
        """F_n of the training points in the flow's own coordinates, (N, rank_ + 1): a copy."""
        self._require_fit()
        return np.concatenate([points for _, points in self.iterate_points(reduced=True)])

    @property
    def reduced_follow_(self) -> dict[str, FloatArray]:
        """F_n of the followed arrays in the flow's own coordinates: copies."""
        self._require_fit()
        return {name: self._positions(name).copy() for name in self._carried.sets if name}

    @property
    def rank_(self) -> int:
        """Coordinates that move."""
        self._require_fit()
        return int(self._carried.sets[""].shape[1]) - self._n_fixed

    @property
    def energy_dropped_(self) -> float:
        """Part of the sum of squares of the training points outside the subspace."""
        self._require_fit()
        return 0.0 if self._subspace is None else self._subspace.energy_dropped

    @property
    def targets_(self) -> FloatArray:
        """Targets of the training points, (N, m), float64: a copy."""
        self._require_fit()
        return self._targets.copy() if self._streamed is None else self._streamed.data.Y[:].copy()

    @property
    def history_(self) -> dict[str, npt.NDArray[np.float64]]:
        """Arrays of one entry for each layer: see the attributes of the class."""
        self._require_fit()
        columns = np.array(self._records, dtype=np.float64).reshape(-1, len(HISTORY)).T
        return {name: column.copy() for name, column in zip(HISTORY, columns, strict=True)}

    def transform(
        self, X: npt.ArrayLike, *, n_layers: int | None = None, reduced: bool = False
    ) -> FloatArray:
        """Return F_n of any points by replay of the stored layers.

        Parameters
        ----------
        X : array_like, shape (n, d)
            Points.
        n_layers : int, optional
            How many layers; all if not given.
        reduced : bool
            Return the coordinates of `reduced_points_`, in which kernels of distances are right,
            instead of points.

        Returns
        -------
        ndarray, shape (n, d) or (n, rank_ + 1)
            In the flow's dtype. With a `rank`, what a point has outside the subspace is in the
            result as it is in X. After fewer layers than all the reduced coordinates may be more.

        Raises
        ------
        ValueError
            If the layers were not kept (``layers="none"``), or for a wrong shape or values.

        Notes
        -----
        4 n batch_size r flops for each layer of rank r.
        """
        self._require_fit()
        points = as_matrix(X, "X", dtype=self.dtype, n_columns=self.n_features_in_)
        count = layer_count(n_layers, self.n_layers_)
        return next(self._replay().trajectory(points, None, [count], reduced))

    def trajectory(
        self, X: npt.ArrayLike, layers: Iterable[int], *, reduced: bool = False
    ) -> Iterator[FloatArray]:
        """Iterate over F_n of any points for several n, in one replay of the stored layers.

        Parameters
        ----------
        X : array_like, shape (n, d)
            Points.
        layers : iterable of int
            After how many layers, in non-decreasing order: 0 gives X itself, `n_layers_` the same
            as `transform`.
        reduced : bool
            As in `transform`.

        Returns
        -------
        iterator of ndarray, shape (n, d) or (n, r + 1)
            A new array for each entry of `layers`, made when it is asked for.

        Raises
        ------
        TypeError, ValueError
            As in `transform`, and for layers that decrease or that the flow does not have.

        Examples
        --------
        >>> import numpy as np, kflow
        >>> X = np.random.default_rng(0).normal(size=(200, 2))
        >>> flow = kflow.KernelFlow(n_layers=10, batch_size=50, random_state=0).fit(X, X[:, 0] > 0)
        >>> [float(np.abs(points - X).max().round(1)) for points in flow.trajectory(X, [0, 10])]
        [0.0, 0.4]
        """
        self._require_fit()
        points = as_matrix(X, "X", dtype=self.dtype, n_columns=self.n_features_in_)
        counts = layer_counts(layers, self.n_layers_)
        if np.may_share_memory(points, X):  # it is looked at again with each array
            points = points.copy()
        return self._replay().trajectory(points, None, counts, reduced)

    def linearize(self, X: npt.ArrayLike, *, n_layers: int | None = None) -> Linearization:
        """Return F_n near some points: its values and its derivative, both ways.

        Parameters
        ----------
        X : array_like, shape (n, d)
            Points.
        n_layers : int, optional
            How many layers; all if not given.

        Returns
        -------
        kflow.replay.Linearization
            With ``points``, F_n(X) in reduced coordinates, ``push_forward(T)``, the derivative in a
            direction for each point, and ``pull_back(A)``, the gradient of functions of F_n(x).

        Raises
        ------
        TypeError, ValueError
            As in `trajectory`.
        """
        self._require_fit()
        points = as_matrix(X, "X", dtype=self.dtype, n_columns=self.n_features_in_)
        count = layer_count(n_layers, self.n_layers_)
        return self._replay().linearize(points.copy(), count)

    def _transform(self, X: FloatArray, scaling: Scaling | None, reduced: bool) -> FloatArray:
        """Transform a scaled array of floats."""
        return next(self._replay().trajectory(X, scaling, [self.n_layers_], reduced))

    def _replay(self) -> Replay:
        if len(self._store) < self.n_layers_:
            raise ValueError(
                "the layers of this flow were not kept (layers='none'), so that it cannot "
                "transform other points: fit it with layers='memory' or a checkpoint, or pass the "
                "points to fit as follow"
            )
        return Replay(
            self._store,
            self.n_layers_,
            self._rotations,
            self._subspace,
            self._motion(self.kernel_),
            np.dtype(self.dtype),
        )

    # ---- files --------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, layers_dtype: str | None = None) -> None:
        """Write the flow to one file, layers included; `kflow.load` reads it.

        A function given as a schedule cannot be stored: a loaded flow needs it set again before
        `run`. Callbacks are not stored.

        Parameters
        ----------
        path : path
            The file.
        layers_dtype : {"float16", "float32", "float64"}, optional
            Precision of the layers in the file; None: all digits. They take most of its room, of which
            ``"float16"`` needs half of what float32 does. `transform` by a loaded flow then errs, by a
            percent of the points' spread for hundreds of layers of digits. The points lose nothing.

        Raises
        ------
        OSError
            If the file cannot be written; an earlier file of that name is then untouched.
        ValueError
            For another dtype.
        """
        from kflow.flow.flow_file import export_flow
        from kflow.storage.model_file import write_model

        self._require_fit()
        settings, parts = export_flow(self, layers_dtype)
        write_model(path, "KernelFlow", settings, parts)

    def __copy__(self) -> KernelFlow:
        """Return a deep copy: two flows that shared points would ruin each other."""
        return deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and copy keep: everything but scratch memory."""
        state = self.__dict__.copy()
        if self._fitted:
            self._positions("")
            state["_carried"] = replace(self._carried, displacements={})
            # Of points that are not in memory there is no second copy: that of the flow has none.
            state["_streamed"] = None
            del state["_workspace"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what `__getstate__` kept."""
        self.__dict__.update(state)
        if self._fitted:
            self._workspace = _core.Batch()
            self._carried = self._carried.at_rest(self._n_fixed)
