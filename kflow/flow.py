"""The non-parametric kernel flow: points that move, layer after layer, to make a kernel good."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow import _core
from kflow._interrupt import DeferredInterrupt
from kflow._threads import resolve_n_threads
from kflow._validation import (
    FloatArray,
    as_cap,
    as_count,
    as_generator,
    as_matrix,
    as_nugget,
    as_positive,
    float_dtype,
)
from kflow.carried import CarriedPoints, coordinates
from kflow.errors import DivergenceError, ModelFileError
from kflow.kernels import Gaussian, Radial, check_isotropic, from_dict
from kflow.layers import Layer, LayerShape, LayerStore, MemoryLayers, open_layers
from kflow.model_file import ModelReader, damaged, write_model
from kflow.operations import singular_kernel_error
from kflow.replay import Linearization, Replay, layer_count, layer_counts
from kflow.schedules import Schedule
from kflow.subspace import (
    Rotation,
    Scaling,
    Subspace,
    check_orthonormal,
    check_rank,
    mean_squared_distance,
)

__all__ = ["KernelFlow"]

SCHEDULES = ("nugget", "step", "step_size", "gradient_cap")
STEP_RULES = ("relative", "rms", "absolute", "fixed")
HISTORY = ("rho", "step", "seconds", "class_distance_ratio", "nugget", "rank")

# gamma = _WIDTH / (mean squared distance) in exp(-gamma r^2): measured to work on image data.
_WIDTH = 1.5

# What is known of one layer, in the order of HISTORY.
Record = tuple[float, ...]

Callback = Callable[["KernelFlow"], "bool | None"]


def _check_step(value: Any) -> str:
    if value not in STEP_RULES:
        raise ValueError(f"step must be one of {STEP_RULES}, got {value!r}")
    return str(value)


def _labels_of(targets: FloatArray) -> npt.NDArray[np.intc] | None:
    """Return class labels if the targets look like classes: one-hot rows or few distinct numbers."""
    if targets.shape[1] == 1:
        values, codes = np.unique(targets[:, 0], return_inverse=True)
        few = len(values) <= max(2, min(100, len(targets) // 10))
        return codes.astype(np.intc) if few else None
    zero_one = ((targets == 0) | (targets == 1)).all() and (targets.sum(axis=1) == 1).all()
    return targets.argmax(axis=1).astype(np.intc) if zero_one else None


def default_kernel(
    X: FloatArray, scaling: Scaling | None = None, dtype: npt.DTypeLike | None = None
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
        Step rule, with i over all N training points, G the displacement before scaling, and p =
        `step_size`. ``"relative"``: p min |x_i| / |G(x_i)|, so that no point moves more than a
        fraction p of its norm. ``"rms"``: p rms |x_i| / rms |G(x_i)|. ``"absolute"``:
        p / max |G(x_i)|. ``"fixed"``: p. May be a schedule.
    step_size : float, mapping or callable
        p, positive. May be a schedule.
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
    layers : "memory", "none" or path
        Where layers are kept for `transform`: 2 batch_size rank numbers for each. With "none" only
        `points_` and `follow_` are of use. A path is a folder for `kflow.layers.DiskLayers`, which
        must not hold layers yet: every `fit` needs a fresh one.
    callbacks : iterable of callable
        Each is called with the flow after every layer; a true result ends the run.
    progress : bool
        Show a progress bar.

    Attributes
    ----------
    points_ : ndarray, shape (N, d)
        F_n of the training points (a copy). Where a `rank` dropped something, that is not in it.
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
        gradient_cap: Any = math.inf,
        n_halves: int = 1,
        rank: str | int | float | None = None,
        shrink_every: int = 0,
        shrink_tolerance: float = 1e-4,
        dtype: npt.DTypeLike = "float32",
        random_state: Any = None,
        n_threads: int | None = None,
        layers: str | os.PathLike[str] = "memory",
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
        self.layers = layers
        self.callbacks = () if callable(callbacks) else tuple(callbacks)
        if callable(callbacks) or not all(callable(callback) for callback in self.callbacks):
            raise TypeError("callbacks must be a list of functions of the flow")
        self.progress = bool(progress)
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
        self, X: npt.ArrayLike, Y: npt.ArrayLike, follow: Mapping[str, npt.ArrayLike] | None = None
    ) -> KernelFlow:
        """Start a new flow and run `n_layers` layers.

        Parameters
        ----------
        X : array_like, shape (N, d)
            Training points. The relative and rms steps measure norms from the origin.
        Y : array_like, shape (N,) or (N, m)
            Targets; one-hot rows for classes (`kflow.one_hot`).
        follow : mapping of str to array_like (n_i, d), optional
            Further points that are carried along, such as a test set. They have no influence.

        Returns
        -------
        KernelFlow
            The flow itself.

        Raises
        ------
        DivergenceError
            If a layer diverges; the flow stays at the last good layer.
        FileExistsError
            If `layers` is a folder that holds layers already.
        SingularKernelError
            If a batch's kernel matrix is numerically singular (duplicates without a nugget); the
            flow stays at the last good layer.
        StorageError
            If the layers will not fit where they are to be kept: found before the first layer.
        TypeError, ValueError
            For arguments of the wrong kind, shape or dtype, naming them.
        """
        self._start(X, Y, follow)
        self.run(self.n_layers)
        self._workspace = _core.Batch()  # what comes after a fit may need the room
        return self

    def _start(
        self,
        X: npt.ArrayLike,
        Y: npt.ArrayLike,
        follow: Mapping[str, npt.ArrayLike] | None,
        scaling: Scaling | None = None,
    ) -> None:
        """Place the points, scaled; where there is a `rank`, no scaled copy of X is made.

        With a scaling, X and the followed points are finite float arrays.
        """
        dtype = float_dtype(self.dtype)
        if scaling is None:
            X = as_matrix(X, "X", dtype=dtype, allow_no_rows=False)
        source = np.asarray(X)
        n, d = source.shape
        targets = as_matrix(Y, "Y", dtype=np.float64, n_rows=n, column_if_1d=True)
        if self.batch_size > n:
            raise ValueError(
                f"batch_size={self.batch_size} exceeds the {n} rows of X: pass batch_size={n} or "
                "less"
            )
        if (targets == targets[0]).all():
            raise ValueError(
                "Y has one class or value only, from which nothing can be learned: pass rows of at "
                "least two classes"
            )
        if follow is not None and not isinstance(follow, Mapping):
            raise TypeError(f"follow must map names to arrays, got {type(follow).__name__}")
        followed = {
            str(name): value
            if scaling is not None
            else as_matrix(value, f"follow[{name!r}]", dtype=dtype, n_columns=d)
            for name, value in (follow or {}).items()
        }
        if "" in followed:
            raise ValueError("follow: '' is the name of the training points, pass another")
        rng = as_generator(self.random_state)
        subspace = None
        if self.rank is not None:
            subspace = Subspace.fit(source, self.rank, scaling=scaling, dtype=dtype)
        kernel = self.kernel or default_kernel(source, scaling, dtype)
        sets = {
            name: coordinates(np.asarray(points), subspace, scaling, dtype)
            for name, points in {"": source, **followed}.items()
        }
        shape = LayerShape(self.batch_size, 0 if subspace is None else 1, dtype)
        kernel._check_dimension(max(d, sets[""].shape[1]))
        rank = sets[""].shape[1] - shape.n_fixed
        store = open_layers(self.layers, shape, rank, self.n_layers)
        frozen = {name: points[:, :0].copy() for name, points in sets.items()}
        self._begin(kernel, subspace, d, CarriedPoints(sets, frozen), targets, store, rng, [])

    def _begin(
        self,
        kernel: Radial,
        subspace: Subspace | None,
        n_features: int,
        points: CarriedPoints,
        targets: FloatArray,
        store: LayerStore,
        rng: np.random.Generator,
        records: list[Record],
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
        self._labels = _labels_of(self._targets)
        self._store = store
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
        layers : sequence of (Z, step * C)
            Its layers, each in the coordinates that the rotations up to it leave.
        kernel, subspace, n_features, dtype
            K_1, the first coordinates, d, and the precision.
        rotations : sequence of Rotation
            Changes of coordinates, in order of their layers.
        nuggets : sequence of float, optional
            For the history, where nothing else is known of the layers but their ranks.
        n_targets : int
            Columns of the targets.
        """
        batch_size = max([4, *(len(z) for z, _ in layers)])
        flow = cls(
            kernel,
            n_layers=len(layers),
            batch_size=batch_size,
            rank=None if subspace is None else subspace.rank,
            dtype=dtype,
        )
        k = n_features if subspace is None else subspace.rank + 1
        points = np.zeros((0, k), flow.dtype)
        carried = CarriedPoints({"": points}, {"": points[:, :0]})
        for rotation in rotations:
            carried = carried.rotated(rotation)
        n_fixed = 0 if subspace is None else 1
        store = MemoryLayers(LayerShape(batch_size, n_fixed, np.dtype(flow.dtype)), k - n_fixed)
        records: list[Record] = []
        for number, (z, c) in enumerate(layers):
            store.put(number, z, c)
            nugget = math.nan if nuggets is None else nuggets[number]
            records.append((math.nan, 1.0, math.nan, math.nan, nugget, c.shape[1]))
        targets = np.zeros((0, n_targets))
        rng = np.random.default_rng(0)
        flow._begin(kernel, subspace, n_features, carried, targets, store, rng, records)
        return flow

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` got as far as placing the points."""
        return self._fitted

    def _require_fit(self) -> None:
        if not self._fitted:
            raise ValueError("this flow has no points yet: call fit first")

    def _draw(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], int]:
        """Draw the batch, coarse rows first, and the further coarse subsets of it."""
        size = self.batch_size
        n_coarse = min(max(round(self.coarse_fraction * size), 1), size - 1)
        batch = self._rng.choice(len(self._targets), size, replace=False).astype(np.intp)
        order = np.arange(size, dtype=np.intp)
        further = []
        for half in range(1, self.n_halves):
            if half % 2:  # the last ones of the same order: antithetic to the half before
                further.append(order[size - n_coarse :])
            else:
                order = self._rng.permutation(size).astype(np.intp)
                further.append(order[:n_coarse])
        halves = np.array(further, dtype=np.intp).reshape(len(further), n_coarse)
        return batch, halves, n_coarse

    def run(self, n: int) -> KernelFlow:
        """Run `n` more layers.

        Raises
        ------
        DivergenceError, SingularKernelError, StorageError
            As for `fit`.
        ValueError
            For a flow that has layers but no training points, such as a compressed one.
        """
        self._require_fit()
        n = as_count(n, "n", 0)
        if not len(self._targets):
            raise ValueError(
                "this flow has layers but no training points, from which batches are drawn, so that "
                "it cannot run: call fit with points to start a new flow"
            )
        self._store.reserve(n)
        schedules = self._schedules()
        n_threads = resolve_n_threads(self.n_threads)
        with ExitStack() as stack:
            report: Callable[[KernelFlow], None] | None = None
            if self.progress and n > 0:
                from kflow._progress import flow_progress

                report = stack.enter_context(flow_progress(n))
            interrupt = stack.enter_context(DeferredInterrupt())
            stack.enter_context(_core.TeamLease())
            for _ in range(n):
                self._run_layer(schedules, n_threads)
                if report is not None:
                    report(self)
                # A list: every callback sees every layer, whatever the others say.
                stops = [callback(self) for callback in self.callbacks]
                if any(stops) or interrupt.requested:
                    break
        return self

    def _run_layer(self, schedules: Mapping[str, Schedule[Any]], n_threads: int) -> None:
        start = time.perf_counter()
        layer = self.n_layers_
        nugget, rule, size, cap = (schedules[name](layer) for name in SCHEDULES)
        self._shrink(layer)
        random_state = self._rng.bit_generator.state
        try:
            batch, halves, n_coarse = self._draw()
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
                n_coarse,
                self.kernel_._to_core(),
                nugget,
                rule,
                size,
                cap,
                z,
                c,
                self._workspace,
                n_threads,
            )
            self._store.put(layer, z, c * c.dtype.type(step))
        except BaseException as error:
            # The layer did not happen: its batch is drawn again.
            self._rng.bit_generator.state = random_state
            if isinstance(error, _core.NotPositiveDefinite):
                raise singular_kernel_error(error, nugget, batch) from None
            if isinstance(error, _core.Diverged):
                raise DivergenceError(
                    f"the flow diverged in layer {layer}: {error}. It stays at the last good layer "
                    f"({layer} layers); pass a smaller step_size or a larger nugget"
                ) from None
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
        rotation = Rotation.shrinking(training, layer, self.shrink_tolerance)
        if rotation is not None:
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

    def _restored(self, name: str) -> FloatArray:
        coordinates = self._positions(name)
        if self._subspace is None:
            return coordinates.copy()
        return self._subspace.restore(self._carried.first_coordinates(name))

    @property
    def n_layers_(self) -> int:
        """Layers run so far."""
        self._require_fit()
        return len(self._records)

    @property
    def points_(self) -> FloatArray:
        """F_n of the training points, (N, d): a copy."""
        self._require_fit()
        return self._restored("")

    @property
    def follow_(self) -> dict[str, FloatArray]:
        """F_n of the followed arrays: copies."""
        self._require_fit()
        return {name: self._restored(name) for name in self._carried.sets if name}

    @property
    def reduced_points_(self) -> FloatArray:
        """F_n of the training points in the flow's own coordinates, (N, rank_ + 1): a copy."""
        self._require_fit()
        return self._positions("").copy()

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
        return self._targets.copy()

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
                "transform other points: fit it with layers='memory' or a folder, or pass the "
                "points to fit as follow"
            )
        return Replay(
            self._store,
            self.n_layers_,
            {rotation.layer: rotation for rotation in self._carried.rotations},
            self._subspace,
            self.kernel_._to_core(),
            np.dtype(self.dtype),
            resolve_n_threads(self.n_threads),
        )

    # ---- files --------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the flow to one file, layers included; `kflow.load` reads it.

        A function given as a schedule cannot be stored: a loaded flow needs it set again before
        `run`. Callbacks are not stored.

        Raises
        ------
        OSError
            If the file cannot be written; an earlier file of that name is then untouched.
        """
        self._require_fit()
        settings, arrays = self._export()
        write_model(path, "KernelFlow", settings, arrays)

    @property
    def _n_stored(self) -> int:
        return min(len(self._store), self.n_layers_)

    def _export(self) -> tuple[dict[str, Any], Iterator[tuple[str, npt.NDArray[Any]]]]:
        self._positions("")  # from here on the points hold all layers
        points, subspace = self._carried, self._subspace
        names = [name for name in points.sets if name]
        settings = {
            "n_layers": self.n_layers,
            "batch_size": self.batch_size,
            "coarse_fraction": self.coarse_fraction,
            **{name: Schedule.to_json(getattr(self, name)) for name in SCHEDULES},
            "n_halves": self.n_halves,
            "rank": self.rank,
            "shrink_every": self.shrink_every,
            "shrink_tolerance": self.shrink_tolerance,
            "energy_dropped": self.energy_dropped_,
            "rotations": [[rotation.layer, rotation.kept] for rotation in points.rotations],
            "dtype": self.dtype,
            "kernel": self.kernel_.to_dict(),
            "follow": names,
            "n_stored": self._n_stored,
            "random_state": _plain(self._rng.bit_generator.state),
        }

        def arrays() -> Iterator[tuple[str, npt.NDArray[Any]]]:
            yield "targets", self._targets
            for name, member in _members(names).items():
                yield member, points.sets[name]
                if points.rotations:
                    yield f"{member}_frozen", points.frozen[name]
            if subspace is not None:
                yield "basis", subspace.basis
            for number, rotation in enumerate(points.rotations):
                yield f"rotation{number:06d}", rotation.matrix
            for name, values in self.history_.items():
                yield f"history_{name}", values
            for number, layer in enumerate(islice(self._store, self._n_stored)):
                yield f"layer{number:06d}", np.hstack(layer)

        return settings, arrays()

    @classmethod
    def _import(cls, reader: ModelReader, settings: dict[str, Any]) -> KernelFlow:
        with damaged("settings"):
            # A schedule that was a function is missing: using it is an error that says so.
            schedules: dict[str, Any] = {
                name: _MissingSchedule(name) if settings[name] is None else settings[name]
                for name in SCHEDULES
            }
            kernel = check_isotropic(from_dict(settings["kernel"]))
            flow = cls(
                kernel,
                n_layers=settings["n_layers"],
                batch_size=settings["batch_size"],
                coarse_fraction=settings["coarse_fraction"],
                **schedules,
                n_halves=settings["n_halves"],
                rank=settings["rank"],
                shrink_every=settings["shrink_every"],
                shrink_tolerance=settings["shrink_tolerance"],
                dtype=str(settings["dtype"]),
            )
            generator = _generator(settings["random_state"])
            names = [str(name) for name in settings["follow"]]
            if "" in names or len(set(names)) < len(names):
                raise ValueError(f"follow: {names}")
            n_stored = int(settings["n_stored"])
            turns = [(int(layer), int(kept)) for layer, kept in settings["rotations"]]
            energy_dropped = float(settings["energy_dropped"])

        def numbers(name: str, dtype: str, ndim: int = 2) -> npt.NDArray[Any]:
            array = reader.array(name, ndim=ndim)
            if array.dtype.kind != "f":
                raise ModelFileError(f"the model's {name} are damaged: dtype {array.dtype}")
            return np.ascontiguousarray(array, dtype)

        with damaged("points and targets"):
            training = as_matrix(numbers("points", flow.dtype), "points", dtype=flow.dtype)
            n, k = training.shape
            if 0 < n < flow.batch_size:  # without points it has its layers only
                raise ValueError(f"{n} points are fewer than batch_size={flow.batch_size}")
            targets = as_matrix(numbers("targets", "float64"), "targets", dtype="float64", n_rows=n)
        history = [numbers(f"history_{name}", "float64", 1) for name in HISTORY]
        n_layers = len(history[0])
        uneven = any(len(values) != n_layers for values in history)
        if n_stored not in (0, n_layers) or uneven:
            raise ModelFileError("the model's arrays do not fit together")

        with damaged("coordinates"):
            subspace, ranks, rotations = None, [k], []
            if flow.rank is not None:
                basis = check_orthonormal(numbers("basis", "float64"))
                subspace = Subspace(basis, energy_dropped)
                ranks = [subspace.rank, *(kept for _, kept in turns)]
                for number, (layer, kept) in enumerate(turns):
                    matrix = check_orthonormal(numbers(f"rotation{number:06d}", "float64"))
                    if matrix.shape != (ranks[number],) * 2 or not 1 <= kept < ranks[number]:
                        raise ValueError(f"rotation {number}: shape {matrix.shape}, kept {kept}")
                    rotations.append(Rotation(layer, matrix, kept))
            firsts = [0, *(layer for layer, _ in turns)]
            if (subspace is None and turns) or not all(a < b for a, b in pairwise(firsts)):
                raise ValueError("rotations")
            n_fixed = 0 if subspace is None else 1
            if k != ranks[-1] + n_fixed or firsts[-1] > n_layers:
                raise ValueError(f"{k} coordinates")
            lengths = np.diff([*firsts, n_layers])
            rank_of = np.repeat(ranks, lengths)
            if (history[HISTORY.index("rank")] != rank_of).any():
                raise ValueError("rank")

        shape = LayerShape(flow.batch_size, n_fixed, np.dtype(flow.dtype))
        if n_stored:
            store: LayerStore = MemoryLayers(shape, ranks[0])
            for number, both in enumerate(reader.layers("layer", n_stored)):
                rank = int(rank_of[number])
                # Without points there were no batches: layers may have any number of centres.
                wanted = (shape.batch_size if n else len(both), 2 * rank + n_fixed)
                if both.shape != wanted or both.dtype != shape.dtype:
                    raise ModelFileError("the model's layers do not fit its points")
                with damaged("layers"):
                    both = as_matrix(both, "layers", dtype=flow.dtype)
                z, c = np.hsplit(both, [rank + n_fixed])
                store.put(number, z.copy(), c.copy())
        else:
            flow.layers = "none" if n_layers else "memory"
            store = open_layers(flow.layers, shape, ranks[0])
        sets, frozen = {}, {}
        for name, member in _members(names).items():
            sets[name] = training if name == "" else numbers(member, flow.dtype)
            frozen[name] = sets[name][:, :0].copy()
            if rotations:
                frozen[name] = numbers(f"{member}_frozen", flow.dtype)
            wanted = (len(sets[name]), ranks[0] - ranks[-1])
            if sets[name].shape[1] != k or frozen[name].shape != wanted:
                raise ModelFileError("the model's arrays do not fit together")
        records: list[Record] = [tuple(row) for row in np.column_stack(history).tolist()]
        flow._begin(
            kernel,
            subspace,
            k if subspace is None else len(subspace.basis),
            CarriedPoints(sets, frozen, tuple(rotations)),
            targets,
            store,
            generator,
            records,
        )
        return flow

    def __copy__(self) -> KernelFlow:
        """Return a deep copy: two flows that shared points would ruin each other."""
        return deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and copy keep: everything but scratch memory."""
        state = self.__dict__.copy()
        if self._fitted:
            self._positions("")
            state["_carried"] = replace(self._carried, displacements={})
            del state["_workspace"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what `__getstate__` kept."""
        self.__dict__.update(state)
        if self._fitted:
            self._workspace = _core.Batch()
            self._carried = self._carried.at_rest(self._n_fixed)


def _members(follow: Iterable[str]) -> dict[str, str]:
    """Return under which names a model file holds the training and the followed points."""
    return {"": "points", **{name: f"follow{number}" for number, name in enumerate(follow)}}


class _MissingSchedule:
    """Stands for a schedule that was a function when its flow was saved."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, _layer: int) -> Any:
        raise ValueError(f"it was a function, which the file does not hold: set flow.{self._name}")


def _plain(state: Any) -> Any:
    """Return a bit generator's state as JSON data."""
    if isinstance(state, Mapping):
        return {key: _plain(value) for key, value in state.items()}
    if isinstance(state, np.ndarray):
        return {"array": state.tolist(), "dtype": state.dtype.str}
    return state.item() if isinstance(state, np.generic) else state


def _unplain(state: Any) -> Any:
    if isinstance(state, Mapping):
        if set(state) == {"array", "dtype"}:
            return np.array(state["array"], dtype=state["dtype"])
        return {key: _unplain(value) for key, value in state.items()}
    return state


def _generator(state: dict[str, Any]) -> np.random.Generator:
    known = {"PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"}
    if state.get("bit_generator") not in known:
        raise ValueError(f"unknown bit generator {state.get('bit_generator')!r}")
    bits = getattr(np.random, state["bit_generator"])()
    bits.state = _unplain(state)
    # NumPy does not check where in its buffer a generator is, and would read beyond it.
    inner = bits.state["state"]
    if not (0 <= inner.get("pos", 0) <= 624 and 0 <= bits.state.get("buffer_pos", 0) <= 4):
        raise ValueError("the bit generator's position is outside its buffer")
    return np.random.Generator(bits)
