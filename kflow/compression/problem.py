"""What all attempts to compress a flow have in common: where the original takes the points."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles, FloatArray
from kflow.compression.least_squares import least_squares
from kflow.engine.interface import Layer
from kflow.engine.threads import single_threaded_blas
from kflow.flow.estimator_flow import EstimatorFlow
from kflow.flow.kernel_flow import KernelFlow
from kflow.flow.without_run import state_of_layers
from kflow.layers.moments import mean_squared_distance
from kflow.layers.positions import coordinates
from kflow.layers.subspace import Subspace
from kflow.linear.interpolant import Interpolant

__all__ = ["Attempt", "Problem"]


# Points coincide if no coordinate differs by more than this part of the largest.
_SAME = 1e-3


@dataclass(frozen=True, eq=False)
class Attempt:
    """A compressed flow and its errors at the points held out, as in `Compression`."""

    flow: KernelFlow
    position_error: float
    largest_error: float


class Problem:
    """What all attempts have in common: where the original takes the points.

    Parameters
    ----------
    fitted : EstimatorFlow
        The original.
    points : ndarray, shape (N, d)
        Scaled points.
    rows, held : ndarray of int
        The rows that layers are fitted to, and those at which errors are measured.
    n_layers : int
        Layers of the compressed flow.
    rank : int or None
        Coordinates of the compressed flow that move; None for all of the original's.
    """

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
        """Number of coordinates of the compressed flow that move."""
        return int(self._targets[0].shape[1])

    def _first(self, rows: npt.NDArray[np.intp]) -> FloatArray:
        return coordinates(self._points[rows], self._subspace, None, self._replay.dtype)

    def attempt(self, n_centres: int, rng: np.random.Generator) -> Attempt:
        """Fit layers of so many centres, and measure where they take the points held out."""
        layers, held = self._layers(n_centres, rng)
        differences = held[:, : self.rank] - self._last
        squares = np.einsum("ij,ij->i", differences, differences) + self._outside
        return Attempt(
            self._flow(layers),
            math.sqrt(float(squares.mean())) / self._unit,
            math.sqrt(float(squares.max())) / self._unit,
        )

    def _layers(self, n_centres: int, rng: np.random.Generator) -> tuple[list[Layer], FloatArray]:
        """Return fitted layers, and the points held out as they leave them."""
        x, held = self._first(self._rows), self._first(self._held)
        layers: list[Layer] = []
        for target in self._targets:
            way = target - x[:, : self.rank]
            chosen = _centres(way, n_centres, rng)
            z = np.ascontiguousarray(x[chosen])
            c = least_squares(self._kernel, x, z, way, self._replay.motion.n_threads)
            layers.append(Layer(z, c.astype(x.dtype), 1.0))
            with self._replay.motion.lease():
                for moved in (x, held):
                    self._replay.motion.through(moved, layers[-1:])
        return layers, held

    def _flow(self, layers: list[Layer]) -> KernelFlow:
        """Return a flow of layers, without training points."""
        original = self._fitted.flow
        flow = KernelFlow(
            self._kernel,
            n_layers=len(layers),
            batch_size=max([4, *(len(layer.centres) for layer in layers)]),
            rank=None if self._subspace is None else self._subspace.rank,
            dtype=self._replay.dtype,
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
        return flow.adopt(state)

    def compressed(self, flow: KernelFlow) -> tuple[Any, float]:
        """Return an estimator of the original's kind with a flow, and the change of its predictions."""
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
        """Return rows to interpolate at, values there, and whether the rows are the original's."""
        old: Interpolant = self._fitted.estimator.interpolant_
        rows = getattr(self._fitted.estimator, "interpolation_rows_", None)
        if rows is not None and rows.max() < len(self._points):
            apart = np.abs(self._moved(self._fitted.flow, rows) - old.centres).max()
            if apart <= _SAME * np.abs(old.centres).max():
                return rows, old.targets(), True
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
            sample_weight=old.sample_weight if len(rows) == len(old.centres) else None,
            n_threads=old.n_threads,
        )

    def _moved(self, flow: KernelFlow, rows: npt.NDArray[np.intp]) -> FloatArray:
        return flow.replay().final(self._points[rows], None, reduced=True)


def _narrower(
    subspace: Subspace | None, start: FloatArray, rank: int | None
) -> tuple[Subspace | None, Doubles | None]:
    """Return a subspace of that of a flow, and its basis in the flow's first coordinates.

    The basis is None where the two subspaces are the same.
    """
    if rank is None or rank >= start.shape[1]:
        return subspace, None
    inner = Subspace.fit(start, rank)
    if subspace is None:
        return inner, inner.basis
    kept = (1.0 - subspace.energy_dropped) * (1.0 - inner.energy_dropped)
    return Subspace(subspace.basis @ inner.basis, 1.0 - kept), inner.basis


def _centres(way: FloatArray, n_centres: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Draw rows: half of their weight is the same for all, half is the square of their way."""
    squares = np.einsum("ij,ij->i", way, way, dtype=np.float64)
    total = float(squares.sum())
    weights = np.full(len(way), 1.0 / len(way))
    if total > 0.0:
        weights = 0.5 * (weights + squares / total)
    return np.sort(rng.choice(len(way), n_centres, replace=False, p=weights))
