"""F_n of any points, and the derivative of F_n, from the layers that a flow stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count
from kflow._base.array_types import FloatArray
from kflow._base.short_repr import ShortRepr
from kflow.data.arrays import as_matrix
from kflow.data.chunks import Scaling
from kflow.engine.interface import Layer
from kflow.layers.block import Block, into_blocks
from kflow.layers.motion import Motion
from kflow.layers.positions import TRAINING, Positions, coordinates
from kflow.layers.rank_reduction import RankReduction
from kflow.layers.stores import LayerStore
from kflow.layers.subspace import Subspace

__all__ = ["Linearization", "Replay", "blocks_between", "layer_count", "layer_counts"]


def layer_counts(layers: Iterable[int], n_layers: int) -> list[int]:
    """Return the numbers of layers after which F_n is wanted, after checking them.

    They must not decrease, and none may be larger than `n_layers`, which the flow has.
    """
    try:
        counts = [layer_count(count, n_layers, "layers") for count in layers]
    except TypeError as error:
        raise TypeError(f"layers must be a sequence of whole numbers: {error}") from None
    if sorted(counts) != counts:
        raise ValueError(f"layers must not decrease, got {counts}: sort them")
    return counts


def layer_count(count: Any, n_layers: int, name: str = "n_layers") -> int:
    """Return a number of layers after checking that the flow has that many; None means all."""
    if count is None:
        return n_layers
    number = as_count(count, name, 0)
    if number > n_layers:
        raise ValueError(f"{name} must be at most {n_layers}, as the flow has, got {number}")
    return number


# Number of layers that are read before points move through them. It is small, since a store may lie
# on the disk.
_STRETCH = 16


def blocks_between(
    store: LayerStore, reductions: Mapping[int, RankReduction], first: int, end: int
) -> Iterator[Block]:
    """Iterate over the layers of a store from `first` to `end`, in blocks of a few layers."""
    layers = (store[number] for number in range(first, end))
    return into_blocks(layers, None, reductions, _STRETCH, first=first)


@dataclass(frozen=True, repr=False)
class Replay(ShortRepr):
    """The map F_n of a flow, from what the flow stored.

    Attributes
    ----------
    store : LayerStore
        The layers of the flow.
    n_layers : int
        Number of layers of the flow.
    reductions : dict of int to RankReduction
        Changes of coordinates, by the number of the layer before which they come.
    subspace : Subspace or None
        The subspace in which the flow runs, if any.
    motion : Motion
        How points move.
    dtype : numpy.dtype
        Precision of the points.
    """

    store: LayerStore
    n_layers: int
    reductions: Mapping[int, RankReduction]
    subspace: Subspace | None
    motion: Motion
    dtype: np.dtype[Any]

    def scaled_layer(self, number: int) -> Layer:
        """Return one layer whose step is multiplied into C."""
        z, c, step = self.store[number]
        return Layer(z, c * c.dtype.type(step), 1.0)

    def _first(self, X: FloatArray, scaling: Scaling | None) -> Positions:
        first = coordinates(X, self.subspace, scaling, self.dtype)
        return Positions.of(first)

    def _turned(self, points: Positions, layer: int) -> Positions:
        reduction = self.reductions.get(layer)
        return points if reduction is None else points.reduced_by(reduction)

    def trajectory(
        self, X: FloatArray, scaling: Scaling | None, counts: Sequence[int], reduced: bool
    ) -> Iterator[FloatArray]:
        """Yield F_n(X), as a new array, for each n of `counts`, which must not decrease."""
        for index, points in enumerate(self._carried(X, scaling, counts)):
            if reduced or self.subspace is None:
                goes_on = index + 1 < len(counts)
                yield points.training.copy() if goes_on else points.training
            else:
                yield self.subspace.restore(points.first_coordinates(TRAINING), X, scaling=scaling)

    def final(self, X: FloatArray, scaling: Scaling | None, reduced: bool) -> FloatArray:
        """Return F_n(X) after all layers, as a new array."""
        return next(self.trajectory(X, scaling, [self.n_layers], reduced))

    def first_coordinates(
        self, X: FloatArray, scaling: Scaling | None, counts: Sequence[int]
    ) -> Iterator[FloatArray]:
        """Yield F_n(X), as new arrays, in the coordinates (n, r) that move in the first layer."""
        for points in self._carried(X, scaling, counts):
            if self.subspace is None:
                yield points.training.copy()
            else:
                yield points.first_coordinates(TRAINING).copy()

    def _carried(
        self, X: FloatArray, scaling: Scaling | None, counts: Sequence[int]
    ) -> Iterator[Positions]:
        """Yield the positions of the points after each number of layers in `counts`.

        The arrays are not copied: they move on when the next positions are asked for.
        """
        points = self._first(X, scaling)
        done = 0
        for count in counts:
            with self.motion.lease():
                for block in blocks_between(self.store, self.reductions, done, count):
                    points = points.through(block, self.motion)
            done = count
            # If the flow tried the next layer without success, it is in that layer's coordinates.
            yield self._turned(points, count) if count == self.n_layers else points

    def linearize(self, X: FloatArray, n_layers: int) -> Linearization:
        """Return F_n and its derivative at the points X."""
        points = self._first(X, None)
        before: list[FloatArray] = []
        turned: dict[int, FloatArray] = {}
        with self.motion.lease():
            for number, layer in enumerate(islice(self.store, n_layers)):
                if number in self.reductions:
                    turned[number] = points.training
                    points = self._turned(points, number)
                before.append(points.training.copy())
                self.motion.through(points.training, [layer])
        if n_layers == self.n_layers and n_layers in self.reductions:
            turned[n_layers] = points.training
            points = self._turned(points, n_layers)
        return Linearization(points.training, self, X, before, turned)


@dataclass(frozen=True, eq=False, repr=False)
class Linearization(ShortRepr):
    """F_n near some points x: F_n(x) and its Jacobian J(x), which is never formed as a matrix.

    `kflow.KernelFlow.linearize` makes such objects.

    Attributes
    ----------
    points : ndarray, shape (n, k)
        F_n(x) in reduced coordinates: k is d, or rank + 1 in a subspace.

    Notes
    -----
    A layer maps x to x + K(x, Z) C, with the derivative t -> t + sum_j 2 k'(|x - z_j|^2)
    ((x - z_j).t) c_j. By the chain rule, `push_forward` applies these derivatives from the first
    layer to the last, and `pull_back` applies their transposes from the last layer to the first. A
    derivative costs 6 n batch_size k flops for each layer. The positions of the points before every
    layer are kept, which takes n k numbers for each layer.

    If the flow runs in a subspace, the last coordinate is the distance from it, |x - V V'x|. This
    distance has no derivative at points within the subspace; there it is taken as zero.
    """

    points: FloatArray
    _replay: Replay = field(repr=False)
    _X: FloatArray = field(repr=False)
    _before: list[FloatArray] = field(repr=False)
    _turned: dict[int, FloatArray] = field(repr=False)

    def push_forward(self, T: npt.ArrayLike) -> FloatArray:
        """Return J t for each point, (n, k), in the flow's dtype.

        Parameters
        ----------
        T : array_like, shape (n, d)
            A direction for each point.

        Raises
        ------
        TypeError, ValueError
            If the shape or the values are wrong.
        """
        flow = self._replay
        t = as_matrix(T, "T", dtype=flow.dtype, n_rows=len(self._X), n_columns=self._X.shape[1])
        t = t.copy() if flow.subspace is None else flow.subspace.push_forward(self._X, t)
        with flow.motion.lease():
            for number, x in enumerate(self._before):
                if number in self._turned:
                    t = flow.reductions[number].push_forward(self._turned[number], t)
                flow.motion.push_forward(x, flow.scaled_layer(number), t)
        last = len(self._before)
        if last in self._turned:
            t = flow.reductions[last].push_forward(self._turned[last], t)
        return t

    def pull_back(self, A: npt.ArrayLike) -> FloatArray:
        """Return J' a for each point, (n, d), in the flow's dtype.

        If a is the gradient of a function with respect to F_n(x), the result is the gradient of
        that function with respect to x.

        Parameters
        ----------
        A : array_like, shape (n, k)
            A vector for each point.

        Raises
        ------
        TypeError, ValueError
            If the shape or the values are wrong.
        """
        flow = self._replay
        n, k = self.points.shape
        a = as_matrix(A, "A", dtype=flow.dtype, n_rows=n, n_columns=k).copy()
        last = len(self._before)
        if last in self._turned:
            a = flow.reductions[last].pull_back(self._turned[last], a)
        with flow.motion.lease():
            for number in reversed(range(last)):
                flow.motion.pull_back(self._before[number], flow.scaled_layer(number), a)
                if number in self._turned:
                    a = flow.reductions[number].pull_back(self._turned[number], a)
        return a if flow.subspace is None else flow.subspace.pull_back(self._X, a)
