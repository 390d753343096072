"""The non-parametric kernel flow: points that move, layer after layer, to make a kernel good.

This file is long because it documents every parameter and result of the one class that users work
with. The work itself is done in the other files of this folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count
from kflow._base.array_types import FloatArray
from kflow._base.locks import OwnLock, Turn
from kflow._base.warn import warn_user
from kflow.data.arrays import as_matrix
from kflow.data.chunks import Scaling
from kflow.engine import HOST
from kflow.engine.device_array import given_back
from kflow.engine.interface import Engine
from kflow.engine.threads import resolve_n_threads
from kflow.errors import not_fitted
from kflow.flow.flow_file import export_flow, import_flow
from kflow.flow.run import run
from kflow.flow.settings import FlowSettings
from kflow.flow.start import start
from kflow.flow.state import FlowState
from kflow.kernels import Radial
from kflow.layers.positions import Positions
from kflow.layers.replay import Linearization, Replay, layer_count, layer_counts
from kflow.storage.model_file import ModelReader, write_model

__all__ = ["KernelFlow"]

_RUNNING = (
    "this flow is running, in another thread or in the callback that asks: wait until it has ended, "
    "or ask a copy that was made before"
)


def _whole(parts: list[FloatArray]) -> FloatArray:
    """Return new arrays as one."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


class KernelFlow(FlowSettings):
    r"""A kernel learned from data by a flow of the data points.

    The learned kernel is :math:`K_n(x, x') = K_1(F_n(x), F_n(x'))`. Each layer draws `batch_size` of
    the N points and a coarse part of those, descends the loss :math:`\rho` with respect to the batch Z,
    and moves every point by kernel interpolation of the batch's descent direction:

    .. math::

        F_{n+1}(x) = F_n(x) + \varepsilon_n\, K_1(F_n(x), Z)\, C_n, \qquad
        C_n = (K_1(Z, Z) + \lambda I)^{-1} \left( -\frac{\partial \rho}{\partial Z} \right),

    with the `nugget` :math:`\lambda` and a length :math:`\varepsilon_n` by the rule `step`.

    Parameters
    ----------
    kernel : kflow.kernels.Radial or None
        :math:`K_1`. None: a Gaussian :math:`\exp(-1.5\, r^2 / \mathrm{msd})` with the mean squared
        distance msd of the data.
    n_layers : int
        Number of layers that `fit` runs; `run` adds more.
    batch_size : int
        Number of points drawn in each layer, 4 <= batch_size <= N.
    coarse_fraction : float
        Part of the batch that must predict the rest, in (0, 1).
    nugget : float, mapping or callable
        Added to the diagonal of the batch's kernel matrix. Small values learn detail, large ones
        collapse classes. A mapping {first layer: value} or a function of the layer is a schedule.
    step : str, mapping or callable
        Step rule, which gives :math:`\varepsilon_n`. Here i runs over all N training points (see
        `step_over`), G is the displacement before scaling, and p is `step_size`.
        ``"relative"``: :math:`p \min_i \lvert x_i \rvert / \lvert G(x_i) \rvert`, so that no point moves
        by more than the part p of its norm.
        ``"rms"``: :math:`p \sqrt{\sum_i \lvert x_i \rvert^2 / \sum_i \lvert G(x_i) \rvert^2}`.
        ``"absolute"``: :math:`p / \max_i \lvert G(x_i) \rvert`. ``"fixed"``: p. May be a schedule.
    step_size : float, mapping or callable
        The positive number p of the step rule. May be a schedule.
    step_over : {"all", "batch"}
        The points on which the step rule is measured: all N training points, or the layer's batch,
        which is a random sample of them. With ``"batch"``, the step is known before any other point
        moves.
    gradient_cap : float, mapping or callable
        Rows of :math:`\partial \rho / \partial Z` that are longer than `gradient_cap` times the median
        length are shortened to that length. Otherwise a few points between the classes dominate the whole
        layer. Infinity: no limit. May be a schedule.
    n_halves : int
        Number of coarse subsets of one batch over which rho and its gradient are averaged. They
        come in pairs from the two ends of one random order of the batch. The two are complementary
        for ``coarse_fraction=0.5`` and an even `batch_size`; otherwise they overlap or leave points
        out. Each further subset costs a factorisation of a coarse matrix.
    dtype : {"float32", "float64"}
        Precision of the points. The algebra on the batch is always in float64.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of the batches. A given int gives the same flow on every run and thread count.
    n_threads : int, optional
        Number of threads; see `kflow.get_num_threads`. The result does not depend on it.
    rank : None, "auto", int or float
        Run the flow in the span of the leading `rank` right singular vectors of X (uncentred).
        ``"auto"`` takes the numerical rank of X: no point ever leaves the span of X, so that this
        is the same flow up to rounding errors, in rank(X) coordinates. An int, at most d, is a
        number of directions. A number in (0, 1) takes the fewest directions such that at most this
        part of the sum of squares is dropped. Both are approximations: what lies outside the span
        does not move, but its norm still counts in distances. None: the flow runs in the
        coordinates of X.
    shrink_every : int
        After every `shrink_every` layers, the directions are dropped that the flow no longer needs;
        0: never. Needs a `rank`.
    shrink_tolerance : float
        How much squared distances may change, on average, each time directions are dropped, as a
        part of their mean.
    layers : "memory", "none" or callable
        Whether layers are kept for `transform`. Each takes 2 batch_size rank numbers, see
        `kflow.layers.layer_bytes`. With "none" only `points_` and `follow_` are of use. A function
        of a `kflow.layers.LayerShape` and a rank, such as a class, makes a store of your own. With
        a `checkpoint` the layers are in its folder, not in memory.
    checkpoint : path, optional
        A folder that keeps the flow, layer after layer, in files of `every` layers
        (``docs/block-format.md``), so that ``fit(..., resume=True)`` can continue the flow,
        whatever ended the process. The folder belongs to one flow and is part of it: the flow reads
        its layers from there.
    every : int
        Number of layers from one file of a `checkpoint` to the next. A killed process loses at most
        this many.
    memory_budget : float, optional
        Number of bytes. The training points are kept in the folder of the `checkpoint` and moved a
        part at a time, so that the fit takes no more than about this much memory besides X and Y.
        Needs ``step_over="batch"``, and gives the same flow.
    callbacks : iterable of callable
        Each is called with the flow after every layer; with a `memory_budget` or on a cluster,
        after every block of `every` layers. A true result ends the flow. See `kflow.callbacks` for
        callbacks that have a state.
    progress : bool
        Show a progress bar.
    engine : str
        Name of the engine that computes: "cpu" for the compiled core, or another folder of
        ``kflow.engine``.
    device : str or None
        None: the compiled core. A device as PyTorch names it, such as "cuda", "cuda:1" or "cpu": the
        layers run there, which needs ``kflow[torch]``. Files are the same: a flow of one engine goes
        on, and is replayed, by another. Points may be given as tensors on that device, or as anything
        there that has ``__dlpack__``: they stay there, and results are tensors. NumPy arrays give NumPy
        arrays.
    precision : {"float64", "mixed", "tf32", "mixed+tf32"}
        How exactly a `device` computes. "float64": the algebra of a batch in float64, and points move in
        their own precision. "mixed": the batch's matrices are factorised in float32, and solutions are
        refined until their residuals are those of float64; where that fails, the layer is computed in
        float64, and a `PrecisionWarning` says so once. "tf32": points of float32 move by products
        whose factors have 10 bits after the point, on the tensor cores of graphics processors; a
        `PrecisionWarning` says so once if that changes displacements by more than 10 %.

    Attributes
    ----------
    points_ : ndarray or tensor, shape (N, d)
        F_n of the training points (a copy), of the kind that `fit` was given. It does not contain what a `rank` dropped. Use
        `iterate_points` if the points do not fit in memory.
    follow_ : dict of ndarray or tensor
        F_n of the arrays given as `follow` (copies). It does not contain what lies outside the
        subspace of a `rank`.
    reduced_points_ : ndarray or tensor, shape (N, rank_ + 1)
        F_n of the training points in reduced coordinates (a copy): the coordinates in the subspace,
        and last the distance from it, so that kernels of distances are right. Without a `rank` the
        same as `points_`.
    reduced_follow_ : dict of ndarray or tensor
        F_n of the followed arrays in the reduced coordinates (copies).
    rank_ : int
        Number of coordinates that move; d without a `rank`.
    energy_dropped_ : float
        Part of the sum of squares of X that lies outside the subspace.
    targets_ : ndarray, shape (N, m)
        Targets of the training points, in float64 (a copy).
    is_fitted : bool
        Whether there is a flow with points: `fit` has at least placed them.
    state_ : kflow.flow.state.FlowState
        The state of the flow, for code that builds on it.
    history_ : dict of ndarray, each of shape (n_layers_,)
        ``rho``, ``step``, ``seconds``, ``nugget`` and ``rank`` (how many coordinates moved) of each
        layer, and ``class_distance_ratio``: the mean squared distance between batch points of one
        class, divided by that between points of different classes, before the layer; NaN if the
        targets are not classes.
    n_layers_ : int
        Number of layers run so far.
    kernel_ : kflow.kernels.Radial
        The kernel K_1, the given one or the one that was fitted to the data.
    n_features_in_ : int
        Number of features, d.

    Notes
    -----
    Parameters are also attributes, and are checked whenever they are set. Some of them cannot be
    set once the flow has begun: those that decide on the shape of the layers, the coordinates of
    the points, or the place of either.

    With N_f = `batch_size` and r = `rank_`, a layer costs 4 N N_f r flops, N N_f evaluations of the
    profile, and one Cholesky factorisation of N_f^3 / 3 flops. All of it runs in one call of the
    compiled core, without the GIL. Ctrl-C takes effect at the end of the layer.

    Any number of threads may read a flow, also while one runs it: each sees the flow as it is
    between two layers. A second thread that runs, starts, pickles or copies it gets a RuntimeError.

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

    _state: FlowState | None = None

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
        """Start a new flow, or resume that of the `checkpoint`, and run it up to `n_layers` layers.

        Parameters
        ----------
        X : array_like, shape (N, d), or iterable
            Training points. The relative and rms steps measure norms from the origin. With a
            `memory_budget` or a `client` the points are read a few rows at a time. X can then be a
            memory-mapped array, or an array of zarr, h5py or Dask. Without Y, it can also be an
            iterable of pairs of points (n_i, d) and their targets. The iterable is copied to the
            checkpoint's folder first, and is not used when the flow is resumed.
        Y : array_like, shape (N,) or (N, m)
            Targets; one-hot rows for classes (`kflow.one_hot`).
        follow : mapping of str to array_like (n_i, d), optional
            Further points that the flow moves too, such as a test set. They have no influence on
            it. They are tensors on the flow's device if X is one.
        resume : bool
            Resume the flow that the `checkpoint` holds. Except for ``history_["seconds"]``, the
            result is bit for bit the same as without the interruption. Only `n_layers` may have
            grown. A flow that a callback has ended stays as it is. If there is no flow yet, a new
            one starts, so that the same call can be repeated until the flow is done.
        client : dask.distributed.Client or kflow.points.protocol.Place, optional
            A cluster, over whose workers the training points are spread, or a place of your own for
            the points. Needs ``step_over="batch"``, and gives the same flow.

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
            If the `checkpoint` holds a flow and `resume` is false.
        ModelFileError
            If files of the `checkpoint` are damaged or missing; the message names them.
        RuntimeError
            If the flow is running already, in another thread or in the callback that calls this.
        SingularKernelError
            If a batch's kernel matrix is numerically singular (duplicates without a nugget); the
            flow stays at the last good layer.
        StorageError
            If the layers will not fit where they are to be kept, which is checked before the first
            layer; or if a disk becomes full later. The flow then stays at its last layer, in
            memory, and `run` continues it.
        TypeError, ValueError
            For arguments of the wrong kind, shape or dtype, or on another device, which the message
            names; for tensors that require a gradient; and for settings or data that differ from those of the flow to be resumed. (Schedules that are
            functions cannot be compared.)
        """
        with self._turn:
            self._state = start(self, X, Y, follow, resume=resume, client=client)
            self._finish()
            self._state.points.release_scratch()  # what follows a fit may need the space
        return self

    def start(
        self,
        X: Any,
        Y: Any = None,
        follow: Mapping[str, npt.ArrayLike] | None = None,
        *,
        scaling: Scaling | None = None,
        resume: bool = False,
        client: Any = None,
    ) -> KernelFlow:
        """Do what `fit` does before the first layer: place the points, or resume the flow.

        Parameters
        ----------
        X, Y, follow, resume, client
            As in `fit`.
        scaling : callable, optional
            Maps rows of X to the points of the flow. X and the followed points must then be finite
            float arrays, and with a `rank` no scaled copy of X is made.

        Returns
        -------
        KernelFlow
            The flow itself.
        """
        with self._turn:
            self._state = start(self, X, Y, follow, scaling=scaling, resume=resume, client=client)
        return self

    def finish(self) -> KernelFlow:
        """Run layers until there are `n_layers` of them, unless a callback has ended the flow."""
        with self._turn:
            self._finish()
        return self

    def _finish(self) -> None:
        state = self.state_
        n = 0 if state.has_ended else self.n_layers - state.n_layers
        if n > 0:
            run(self, state, n, state.n_layers)

    def run(self, n: int) -> KernelFlow:
        """Run `n` more layers.

        Raises
        ------
        BlockingIOError, DivergenceError, RuntimeError, SingularKernelError, StorageError
            As for `fit`.
        ValueError
            For a flow that has layers but no training points, such as a compressed one.
        """
        state, n = self.state_, as_count(n, "n", 0)
        if not state.n_points:
            raise ValueError(
                "this flow has layers but no training points, from which batches are drawn, so that "
                "it cannot run: call fit with points to start a new flow"
            )
        with self._turn:
            run(self, state, n)
        return self

    def rest(self) -> None:
        """Release the memory that is only needed to run further layers."""
        with self._turn:
            self.state_.rest(resolve_n_threads(self.n_threads))

    @property
    def _turn(self) -> Turn:
        # Made when it is first needed, in one step: of several threads, all get the same one.
        return self.__dict__.setdefault("_own_turn", Turn(_RUNNING))  # type: ignore[no-any-return]

    def still(self) -> OwnLock:
        """Return a context in which no layer of another thread changes the points."""
        return self.state_.points.lock

    # ---- state --------------------------------------------------------------------------------

    @property
    def is_fitted(self) -> bool:
        """Whether there is a flow with points: `fit` has at least placed them."""
        return self._state is not None

    @property
    def has_begun(self) -> bool:
        """Whether the flow has begun, so that some settings can no longer change."""
        return self.is_fitted

    @property
    def state_(self) -> FlowState:
        """The state of the flow."""
        if self._state is None:
            raise not_fitted("this flow has no points yet: call fit first")
        return self._state

    def adopt(self, state: FlowState) -> KernelFlow:
        """Take over the state of another flow, such as a flow in a file, and return this flow."""
        self._state = state
        return self

    @property
    def kernel_(self) -> Radial:
        """The kernel K_1."""
        return self.state_.kernel

    @property
    def n_features_in_(self) -> int:
        """Number of features, d."""
        return self.state_.n_features

    def facts(self) -> dict[str, Any]:
        """Return what `repr` shows: settings that are not the defaults, and what `fit` led to.

        ``rho`` is the mean of the first ten layers, and that of the last ten.
        """
        facts = super().facts()
        if self._state is not None:
            facts |= {"n_layers_": self.n_layers_, "n_points": self._state.n_points}
            facts |= {"n_features_in_": self.n_features_in_, "kernel_": self.kernel_}
            if self.n_layers_:
                rho = [record.rho for record in self._state.records]
                facts["rho"] = float(np.mean(rho[:10])), float(np.mean(rho[-10:]))
        return facts

    @property
    def n_layers_(self) -> int:
        """Number of layers run so far."""
        return self.state_.n_layers

    @property
    def rank_(self) -> int:
        """Number of coordinates that move."""
        return self.state_.points.rank

    @property
    def energy_dropped_(self) -> float:
        """Part of the sum of squares of the training points that lies outside the subspace."""
        subspace = self.state_.subspace
        return 0.0 if subspace is None else subspace.energy_dropped

    @property
    def targets_(self) -> FloatArray:
        """Targets of the training points, (N, m), float64: a copy."""
        state = self.state_
        Y = state.targets if state.elsewhere is None else state.elsewhere.data.Y[:]
        return Y.copy()

    @property
    def history_(self) -> dict[str, npt.NDArray[np.float64]]:
        """A dictionary of arrays with one entry for each layer, in float64.

        ``"rho"``
            The loss of the layer's batch, before its points move.
        ``"step"``
            The length of the step.
        ``"seconds"``
            The time that the layer took.
        ``"nugget"``
            The nugget of the layer.
        ``"rank"``
            The number of coordinates that moved.
        ``"class_distance_ratio"``
            The mean squared distance between points of one class in the batch, divided by that between
            points of different classes, before the layer; NaN if the targets are not classes.
        """
        return self.state_.history()

    # ---- points -------------------------------------------------------------------------------

    def positions(self) -> Positions:
        """Return the positions of the points in memory after all layers, in reduced coordinates.

        The arrays belong to the flow and are not copies: they must not be changed, and the next
        layer changes them.
        """
        return self.state_.positions(resolve_n_threads(self.n_threads))

    def _where_given(self) -> Positions:
        """Return the positions as `positions` does, but on the device if they were given there."""
        state = self.state_
        on_device = state.points.on_device
        return state.positions(resolve_n_threads(self.n_threads), on_device=on_device)

    def iterate_points(self, *, reduced: bool = False) -> Iterator[tuple[slice, FloatArray]]:
        """Iterate over F_n of the training points, a part at a time if they are not in memory.

        Parameters
        ----------
        reduced : bool
            Yield the coordinates of `reduced_points_` instead of points.

        Yields
        ------
        rows : slice
            Which training points these are.
        points : ndarray or tensor, shape (n, d) or (n, rank_ + 1)
            F_n of these points: a copy, of the kind that `fit` was given.
        """
        first, threads = 0, resolve_n_threads(self.n_threads)
        for points in self.state_.training_points(threads, reduced=reduced):
            yield slice(first, first + len(points)), given_back(points)
            first += len(points)

    @property
    def points_(self) -> FloatArray:
        """F_n of the training points, (N, d): a copy."""
        return _whole([points for _, points in self.iterate_points()])

    @property
    def follow_(self) -> dict[str, FloatArray]:
        """F_n of the followed arrays: copies."""
        state = self.state_
        with state.points.lock:
            positions = self._where_given()
            return {
                name: given_back(state.restored(positions, name)) for name in positions.followed
            }

    @property
    def reduced_points_(self) -> FloatArray:
        """F_n of the training points in reduced coordinates, (N, rank_ + 1): a copy."""
        return _whole([points for _, points in self.iterate_points(reduced=True)])

    @property
    def reduced_follow_(self) -> dict[str, FloatArray]:
        """F_n of the followed arrays in reduced coordinates: copies."""
        with self.state_.points.lock:
            followed = self._where_given().followed
            return {name: given_back(points.copy()) for name, points in followed.items()}

    # ---- the map ------------------------------------------------------------------------------

    def replay(self) -> Replay:
        """Return the map F_n, made of the stored layers, for code that builds on it.

        Raises
        ------
        ValueError
            If the layers were not kept (``layers="none"``).
        """
        return self.state_.replay(self.motion(self.state_.kernel))

    def transform(
        self, X: npt.ArrayLike, *, n_layers: int | None = None, reduced: bool = False
    ) -> FloatArray:
        """Return F_n of any points by a replay of the stored layers.

        Parameters
        ----------
        X : array_like, shape (n, d)
            The points to move, one in each row.
        n_layers : int, optional
            How many layers; all if not given.
        reduced : bool
            Return the coordinates of `reduced_points_`, in which kernels of distances are right,
            instead of points.

        Returns
        -------
        ndarray or tensor, shape (n, d) or (n, rank_ + 1)
            F_n of the points, in the flow's dtype: a tensor if X is one on the flow's device, or
            anything else there that has ``__dlpack__``. With a `rank`, the part of a point outside the
            subspace is in the result as it is in X. After fewer layers than all there may be more
            than rank_ + 1 reduced coordinates.

        Raises
        ------
        ValueError
            If the layers were not kept (``layers="none"``), for a wrong shape or values, or for a
            tensor that requires a gradient.
        TypeError
            For points that are no numbers, or on another device.

        Notes
        -----
        The cost is 4 n batch_size r flops for each layer of rank r.
        """
        points = self._points(X)
        count = layer_count(n_layers, self.n_layers_)
        return cast(
            FloatArray, given_back(next(self.replay().trajectory(points, None, [count], reduced)))
        )

    def trajectory(
        self, X: npt.ArrayLike, layers: Iterable[int], *, reduced: bool = False
    ) -> Iterator[FloatArray]:
        """Iterate over F_n of any points for several n, in one replay of the stored layers.

        Parameters
        ----------
        X : array_like, shape (n, d)
            The points to move, one in each row.
        layers : iterable of int
            Numbers of layers n, in non-decreasing order: 0 gives X itself, `n_layers_` the same as
            `transform`.
        reduced : bool
            As in `transform`.

        Returns
        -------
        iterator of ndarray or tensor, shape (n, d) or (n, r + 1)
            A new array, as of `transform`, for each entry of `layers`. Each is computed when the iterator reaches it.

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
        points = self._points(X)
        counts = layer_counts(layers, self.n_layers_)
        if np.may_share_memory(points, X):  # the points are used again for each array
            points = points.copy()
        return map(given_back, self.replay().trajectory(points, None, counts, reduced))

    def linearize(self, X: npt.ArrayLike, *, n_layers: int | None = None) -> Linearization:
        """Return the linearisation of F_n at some points: values, derivative and its adjoint.

        Parameters
        ----------
        X : array_like, shape (n, d)
            The points to move, one in each row, in this process's memory.
        n_layers : int, optional
            How many layers; all if not given.

        Returns
        -------
        kflow.replay.Linearization
            It has ``points``, which is F_n(X) in reduced coordinates; ``push_forward(T)``, the
            derivative in a direction for each point; and ``pull_back(A)``, the gradient of
            functions of F_n(x).

        Raises
        ------
        TypeError, ValueError
            As in `trajectory`.
        """
        points = self._points(X, HOST)
        count = layer_count(n_layers, self.n_layers_)
        return self.replay().linearize(points.copy(), count)

    def _points(self, X: Any, engine: Engine | None = None) -> FloatArray:
        return as_matrix(
            X,
            "X",
            dtype=self.dtype,
            n_columns=self.state_.n_features,
            are_points=True,
            engine=engine or self.computing_engine(),
        )

    # ---- files --------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, layers_dtype: str | None = None) -> None:
        """Write the flow to one file, layers included; `kflow.load` reads it.

        A function given as a schedule cannot be stored: a loaded flow needs it set again before
        `run`. Callbacks are not stored. Nor are training points and targets that are not in memory
        (`memory_budget`, `client`), of which a warning tells: such a flow transforms, and cannot run.

        Parameters
        ----------
        path : path
            The file to write; an earlier one of this name is replaced.
        layers_dtype : {"float16", "float32", "float64"}, optional
            Precision of the layers in the file; None: all digits. Layers take most of the space in
            the file, and with ``"float16"`` half as much as with ``"float32"``. `transform` by the
            loaded flow then has an error: a percent of the points' spread for hundreds of layers of
            the data set "digits". The stored points lose no precision.

        Raises
        ------
        OSError
            If the file cannot be written. An earlier file of that name is then left unchanged.
        ValueError
            If `layers_dtype` is none of these.
        """
        self._tell_of_points_elsewhere("the file")
        with self.still():
            settings, parts = self.to_parts(layers_dtype)
            write_model(path, "KernelFlow", settings, parts)

    def to_parts(
        self, layers_dtype: str | None = None
    ) -> tuple[dict[str, Any], Iterator[tuple[str, npt.NDArray[Any] | bytes]]]:
        """Return the settings and the parts that ``kflow.storage.model_file.write_model`` takes.

        Estimators use them for their own files, too.
        """
        return export_flow(self, self.state_, layers_dtype)

    @classmethod
    def from_parts(cls, reader: ModelReader, settings: dict[str, Any]) -> KernelFlow:
        """Return the flow of a model file with the settings that `to_parts` returned.

        Raises
        ------
        ModelFileError
            If the file does not hold a valid flow.
        """
        flow, state = import_flow(reader, settings, cls)
        return flow.adopt(state)

    def __copy__(self) -> KernelFlow:
        """Return a deep copy, since two flows must not move the same points."""
        return deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and copy keep: everything except scratch memory."""
        self._turn.check()
        values = self.__dict__.copy()
        del values["_own_turn"]
        if self._state is not None:
            self._tell_of_points_elsewhere("the copy")
            self.positions()  # from here on the points contain all layers
            # Points that are not in memory cannot be copied: the copy of the flow is without them.
            values["_state"] = replace(self._state, elsewhere=None)
        return values

    def _tell_of_points_elsewhere(self, what: str) -> None:
        if self.state_.elsewhere is not None:
            warn_user(
                f"the {self.state_.n_points} training points of this flow are not in memory: {what} "
                "has its layers, which transform other points, but neither training points nor "
                "targets, and cannot run; to go on, resume the checkpoint",
                UserWarning,
            )

    def __setstate__(self, values: dict[str, Any]) -> None:
        """Restore what `__getstate__` kept."""
        self.__dict__.update(values)
