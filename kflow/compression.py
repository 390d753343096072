"""A shorter flow with nearly the same map, fitted to where a stored flow takes points.

The stored flow is the teacher: F_n is known for any points and any n. A layer of the compressed flow
stands for many layers of the teacher. Its coefficients C are those of regularised least squares of
K(X', Z) C on F_m(X) - X', with X' the points as the layers before left them, so that every layer also
corrects the errors of those before, and the centres Z are some of X'.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count, as_generator, as_positive
from kflow._base.array_types import FloatArray
from kflow.engine.interface import Layer
from kflow.engine.threads import single_threaded_blas
from kflow.errors import SingularKernelError
from kflow.flow.estimator_flow import EstimatorFlow, estimator_flow
from kflow.flow.kernel_flow import KernelFlow
from kflow.flow.start import state_of_layers
from kflow.kernels import Radial
from kflow.layers.moments import mean_squared_distance
from kflow.layers.positions import coordinates
from kflow.layers.subspace import Subspace
from kflow.linear.interpolant import Interpolant

__all__ = ["Compression", "FlowSize", "compress"]

Doubles = npt.NDArray[np.float64]

# Rows of points and columns of a Gram matrix that one product takes: fixed, so that the result does
# not depend on the number of threads.
_ROWS, _COLUMNS = 2048, 512

# Centres of the first attempt, of how many points one of them stands for at least, and by how much
# they grow.
_FIRST, _POINTS_PER_CENTRE, _GROWTH = 64, 5, 2

# Ridge of the least squares, per point, and what rounding errors of the Gram matrix need: parts of
# its mean diagonal.
_RIDGE, _JITTER = 1e-3, 1e-10

# Points coincide if no coordinate differs by more than this part of the largest.
_SAME = 1e-3


@dataclass(frozen=True)
class FlowSize:
    """How large a flow is, and what moving a point by it costs.

    Attributes
    ----------
    n_layers : int
        Layers.
    n_centres : int
        Centres of all layers together.
    rank : int
        Coordinates that move in the first layer.
    n_bytes : int
        Centres and coefficients of all layers, in the flow's dtype.
    flops : int
        Of the two products for one point, all layers together: four for each centre and coordinate.
    """

    n_layers: int
    n_centres: int
    rank: int
    n_bytes: int
    flops: int

    @classmethod
    def of(cls, flow: KernelFlow) -> FlowSize:
        """Return the size of a flow that kept its layers."""
        n_centres = n_bytes = flops = rank = 0
        for number, (z, c, _) in enumerate(flow.replay().store):
            rank = c.shape[1] if number == 0 else rank
            n_centres += len(z)
            n_bytes += z.nbytes + c.nbytes
            flops += 2 * (z.size + c.size)
        return cls(flow.n_layers_, n_centres, rank or flow.rank_, n_bytes, flops)


@dataclass(frozen=True, eq=False)
class Compression:
    """A compressed estimator, and how far it is from the original.

    Attributes
    ----------
    estimator : KernelFlow, KernelFlowClassifier or KernelFlowRegressor
        Of the kind that was compressed. Its flow has layers but no training points: it transforms
        and predicts, is saved and loaded, but cannot `run`.
    reached : bool
        Whether `position_error` is within the tolerance.
    position_error : float
        Root mean square of |F'(x) - F(x)| over the points x held out, F' the compressed flow and F
        the original one, in units of the root mean squared distance between two points of F(X).
    largest_error : float
        The largest |F'(x) - F(x)| there, in the same unit.
    prediction_change : float
        Classifiers: share of the points held out whose predicted class changes. Regressors: root mean
        squared change of their predictions, in units of their standard deviation. NaN for a flow.
    before, after : FlowSize
        Sizes of the two flows.
    """

    estimator: Any
    reached: bool
    position_error: float
    largest_error: float
    prediction_change: float
    before: FlowSize
    after: FlowSize


def compress(
    estimator: Any,
    X: npt.ArrayLike,
    *,
    tolerance: float = 0.1,
    n_layers: int = 4,
    n_centres: int | None = None,
    rank: int | None = None,
    held_out: float = 0.1,
    random_state: Any = None,
) -> Compression:
    """Replace a stored flow by a shorter one with nearly the same map.

    Parameters
    ----------
    estimator : KernelFlow, KernelFlowClassifier or KernelFlowRegressor
        Fitted, with its layers. It stays as it is.
    X : array_like, shape (N, d)
        Points like those that will be transformed, best the training points, as the estimator takes
        them. No labels are needed. If they are the training points, the compressed interpolant has
        the same interpolation points, else as many of these.
    tolerance : float
        The `position_error` of `Compression` that is wanted.
    n_layers : int
        Layers of the compressed flow: never more than the original has.
    n_centres : int, optional
        Centres of each layer. If not given they are doubled until the tolerance is met, or there
        are as many as a fifth of the points allows, or the flow is no smaller than the original.
    rank : int, optional
        Move only so many coordinates, the leading singular vectors of X in the flow's. What lies
        outside stays where it is, and that counts in the errors. None: those of the flow.
    held_out : float
        Part of the points, in (0, 1), on which errors are measured; they are not fitted.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of the points held out and of the centres.

    Returns
    -------
    Compression
        The attempt with the smallest error, if none reaches the tolerance.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If an estimator was not fitted.
    TypeError, ValueError
        For arguments of the wrong kind, shape or values, naming them; for a flow without layers, or
        whose layers were not kept.

    Notes
    -----
    One replay of the original for all points, and for each attempt and layer N M^2 flops and one
    M^3 / 3 factorisation in float64, M centres. Memory: 16 M^2 bytes, and N r numbers for each
    layer. The result does not depend on the number of threads.

    Examples
    --------
    >>> import numpy as np, kflow
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> classifier = kflow.KernelFlowClassifier(n_layers=100, random_state=0).fit(X, y)
    >>> small = kflow.compress(classifier, X, tolerance=0.1, random_state=0)
    >>> small.reached, small.before.n_layers, small.after.n_layers
    (True, 100, 4)
    """
    fitted = estimator_flow(estimator)
    flow = fitted.flow
    if flow.n_layers_ == 0:
        raise ValueError("estimator: its flow has no layers, there is nothing to compress")
    tolerance = as_positive(tolerance, "tolerance")
    n_layers = min(as_count(n_layers, "n_layers", 1), flow.n_layers_)
    part = as_positive(held_out, "held_out")
    if part >= 1.0:
        raise ValueError(f"held_out must be below 1, got {held_out!r}")
    before = FlowSize.of(flow)
    if rank is not None and as_count(rank, "rank", 1) > before.rank:
        raise ValueError(f"rank must be at most {before.rank}, as the flow has, got {rank}")
    points = fitted.scaled(X)
    n_held = max(1, round(part * len(points)))
    n_fitted = len(points) - n_held
    if n_fitted < 1:
        raise ValueError(
            f"X: of {len(points)} rows {n_held} are held out: pass more, or a smaller held_out"
        )
    rng = as_generator(random_state)
    held, rows = np.split(rng.permutation(len(points)), [n_held])
    problem = _Problem(fitted, points, np.sort(rows), np.sort(held), n_layers, rank)
    if n_centres is not None:
        attempts = [min(as_count(n_centres, "n_centres", 1), n_fitted)]
    else:
        attempts = _attempts(n_fitted, n_layers, before, problem.rank)
    best = problem.attempt(attempts[0], rng)
    for count in attempts[1:]:
        if best.position_error <= tolerance:
            break
        attempt = problem.attempt(count, rng)
        if attempt.position_error < best.position_error:
            best = attempt
    compressed, prediction_change = problem.compressed(best.flow)
    return Compression(
        compressed,
        best.position_error <= tolerance,
        best.position_error,
        best.largest_error,
        prediction_change,
        before,
        FlowSize.of(best.flow),
    )


def _attempts(n_points: int, n_layers: int, before: FlowSize, rank: int) -> list[int]:
    """Return numbers of centres to try, at least one."""
    most = min(n_points // _POINTS_PER_CENTRE, before.flops // (4 * n_layers * rank))
    attempts = [min(_FIRST, n_points)]
    while attempts[-1] * _GROWTH <= most:
        attempts.append(attempts[-1] * _GROWTH)
    return attempts


@dataclass(frozen=True, eq=False)
class _Attempt:
    """A compressed flow and its errors at the points held out."""

    flow: KernelFlow
    position_error: float
    largest_error: float


class _Problem:
    """What all attempts have in common: where the original takes the points."""

    def __init__(
        self,
        fitted: EstimatorFlow,
        points: FloatArray,
        rows: npt.NDArray[np.intp],
        held: npt.NDArray[np.intp],
        n_layers: int,
        rank: int | None,
    ) -> None:
        flow = fitted.flow
        self._fitted, self._points, self._rows, self._held = fitted, points, rows, held
        self._replay = flow.replay()
        self._kernel = flow.kernel_
        ends = np.linspace(0, flow.n_layers_, n_layers + 1).round().astype(int)[1:]
        self._nuggets = flow.history_["nugget"][ends - 1]
        places = self._replay.first_coordinates(points, None, [0, *ends.tolist()])
        start, *targets = places
        last = targets[-1][held].astype(np.float64)
        # What the points have outside the flow's subspace stays, and counts in their distances.
        outside = mean_squared_distance(points) - mean_squared_distance(start)
        inside = mean_squared_distance(targets[-1])
        self._unit = math.sqrt(inside + max(outside, 0.0)) or 1.0
        self._subspace, turn = _narrower(flow.state_.subspace, start[rows], rank)
        # Coordinates of the compressed flow, and what of the original's way lies outside of them.
        self._outside = np.zeros(len(held))
        if turn is not None:
            with single_threaded_blas:
                way = last - start[held]
                way -= (way @ turn) @ turn.T
                last = last @ turn
                targets = [(target @ turn).astype(start.dtype) for target in targets]
            self._outside = np.einsum("ij,ij->i", way, way)
        self._last = last
        self._targets = [target[rows] for target in targets]

    @property
    def rank(self) -> int:
        """Return how many coordinates of the compressed flow move."""
        return int(self._targets[0].shape[1])

    def _first(self, rows: npt.NDArray[np.intp]) -> FloatArray:
        return coordinates(self._points[rows], self._subspace, None, self._replay.dtype)

    def attempt(self, n_centres: int, rng: np.random.Generator) -> _Attempt:
        """Fit layers of so many centres."""
        x, held = self._first(self._rows), self._first(self._held)
        layers: list[Layer] = []
        for target in self._targets:
            way = target - x[:, : self.rank]
            chosen = _centres(way, n_centres, rng)
            z = np.ascontiguousarray(x[chosen])
            c = _least_squares(self._kernel, x, z, way, self._replay.motion.n_threads)
            layers.append(Layer(z, c.astype(x.dtype), 1.0))
            with self._replay.motion.lease():
                for moved in (x, held):
                    self._replay.motion.through(moved, layers[-1:])
        original = self._fitted.flow
        flow = KernelFlow(
            self._kernel,
            n_layers=len(layers),
            batch_size=max([4, *(len(layer.centres) for layer in layers)]),
            rank=None if self._subspace is None else self._subspace.rank,
            dtype=x.dtype,
            n_threads=original.n_threads,
        )
        state = state_of_layers(
            flow,
            layers,
            kernel=self._kernel,
            subspace=self._subspace,
            n_features=self._points.shape[1],
            nuggets=self._nuggets.tolist(),
            n_targets=original.state_.targets.shape[1],
        )
        flow.adopt(state)
        differences = held[:, : self.rank] - self._last
        squares = np.einsum("ij,ij->i", differences, differences) + self._outside
        return _Attempt(
            flow,
            math.sqrt(float(squares.mean())) / self._unit,
            math.sqrt(float(squares.max())) / self._unit,
        )

    def compressed(self, flow: KernelFlow) -> tuple[Any, float]:
        """Return an estimator of the original's kind with that flow, and the change of predictions."""
        original = self._fitted.estimator
        if original is self._fitted.flow:
            return flow, math.nan
        rows, values, same = self._interpolation()
        estimator = copy(original)
        estimator.flow_ = flow
        estimator.interpolant_ = self._interpolant(flow, rows, values)
        estimator.__dict__.pop("interpolation_rows_", None)
        if same:
            estimator.interpolation_rows_ = rows
        # A point held out must not be predicted from its own label.
        others = ~np.isin(rows, self._held)
        before, after = (
            self._interpolant(either, rows[others], values[others])(self._moved(either, self._held))
            for either in (self._fitted.flow, flow)
        )
        if hasattr(original, "classes_"):
            return estimator, float((before.argmax(axis=1) != after.argmax(axis=1)).mean())
        spread = float(before.std(dtype=np.float64)) or 1.0
        change = float(np.square(after - before).mean(dtype=np.float64))
        return estimator, math.sqrt(change) / spread

    def _interpolation(self) -> tuple[npt.NDArray[np.intp], FloatArray, bool]:
        """Return rows of X to interpolate at, the values there, and whether they are the original's."""
        old: Interpolant = self._fitted.estimator.interpolant_
        rows = getattr(self._fitted.estimator, "interpolation_rows_", None)
        if rows is not None and rows.max() < len(self._points):
            apart = np.abs(self._moved(self._fitted.flow, rows) - old.centres).max()
            if apart <= _SAME * np.abs(old.centres).max():
                # K C + nugget C: what it interpolates.
                return rows, old(old.centres) + old.nugget * old.coefficients, True
        n = min(len(old.centres), len(self._rows))
        rows = self._rows[np.linspace(0, len(self._rows) - 1, n).astype(np.intp)]
        return rows, old(self._moved(self._fitted.flow, rows)), False

    def _interpolant(
        self, flow: KernelFlow, rows: npt.NDArray[np.intp], values: FloatArray
    ) -> Interpolant:
        old: Interpolant = self._fitted.estimator.interpolant_
        return Interpolant(
            self._moved(flow, rows),
            values,
            kernel=old.kernel,
            nugget=old.nugget,
            n_threads=old.n_threads,
        )

    def _moved(self, flow: KernelFlow, rows: npt.NDArray[np.intp]) -> FloatArray:
        return flow.replay().final(self._points[rows], None, reduced=True)


def _narrower(
    subspace: Subspace | None, start: FloatArray, rank: int | None
) -> tuple[Subspace | None, Doubles | None]:
    """Return a subspace of a flow's, and its basis in the flow's first coordinates.

    The basis is None where they are the same.
    """
    if rank is None or rank >= start.shape[1]:
        return subspace, None
    inner = Subspace.fit(start, rank)
    if subspace is None:
        return inner, inner.basis
    kept = (1.0 - subspace.energy_dropped) * (1.0 - inner.energy_dropped)
    return Subspace(subspace.basis @ inner.basis, 1.0 - kept), inner.basis


def _centres(way: FloatArray, n_centres: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Draw rows: half by chance, half by the squared way that a point has to go."""
    squares = np.einsum("ij,ij->i", way, way, dtype=np.float64)
    total = float(squares.sum())
    weights = np.full(len(way), 1.0 / len(way))
    if total > 0.0:
        weights = 0.5 * (weights + squares / total)
    return np.sort(rng.choice(len(way), n_centres, replace=False, p=weights))


def _least_squares(
    kernel: Radial, x: FloatArray, z: FloatArray, way: FloatArray, n_threads: int
) -> Doubles:
    """Return C (M, q) that minimises |K(x, z) C - way|^2 + ridge tr(C' K(z, z) C), in float64.

    The normal equations are nearly singular where centres lie close together: a little is added to
    their diagonal, more if that does not suffice.
    """
    from scipy.linalg import cho_factor, cho_solve

    m = len(z)
    centres = z.astype(np.float64)
    matrix, right = _normal_equations(kernel, x, centres, way, n_threads)
    matrix += (_RIDGE * len(x) / m) * kernel(centres, n_threads=n_threads)
    scale = float(np.trace(matrix)) / m
    with single_threaded_blas:
        for jitter in (_JITTER, 1e2 * _JITTER, 1e4 * _JITTER):
            damped = matrix.copy()
            damped.flat[:: m + 1] += jitter * scale
            try:
                # In LAPACK's order the lower triangle is the upper one, factored in place.
                factor = cho_factor(damped.T, lower=False, overwrite_a=True, check_finite=False)
            except np.linalg.LinAlgError:
                continue
            return np.ascontiguousarray(cho_solve(factor, right, check_finite=False))
    raise SingularKernelError(f"the kernel matrix of {m} centres is numerically singular")


def _normal_equations(
    kernel: Radial, x: FloatArray, centres: Doubles, way: FloatArray, n_threads: int
) -> tuple[Doubles, Doubles]:
    """Return K'K, of which the lower triangle counts, and K' way, K = kernel(x, centres)."""
    m = len(centres)
    matrix, right = np.zeros((m, m)), np.zeros((m, way.shape[1]))

    def add(k: FloatArray, start: int) -> None:
        stop = start + _COLUMNS
        matrix[start:, start:stop] += k[:, start:].T @ k[:, start:stop]

    with single_threaded_blas, ThreadPoolExecutor(n_threads) as pool:
        for first in range(0, len(x), _ROWS):
            rows = slice(first, first + _ROWS)
            k = kernel(x[rows].astype(np.float64), centres, n_threads=n_threads)
            for done in [pool.submit(add, k, start) for start in range(0, m, _COLUMNS)]:
                done.result()
            right += k.T @ way[rows].astype(np.float64)
    return matrix, right
