"""The derivative of F_n at some points, in double precision, by differences of replayed points."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import numpy as np

from kflow._base.arguments import as_count
from kflow._base.array_types import Doubles, FloatArray
from kflow.engine.interface import Layer
from kflow.engine.threads import single_threaded_blas
from kflow.flow.kernel_flow import KernelFlow
from kflow.layers.replay import Replay
from kflow.layers.stores import LayerStore

__all__ = ["in_double", "singular_values_at"]


class _Doubles:
    """A store of layers that gives them in float64."""

    def __init__(self, store: LayerStore) -> None:
        self._store = store

    def __len__(self) -> int:
        return len(self._store)

    def __iter__(self) -> Iterator[Layer]:
        return map(self._in_double, self._store)

    def __getitem__(self, number: int) -> Layer:
        return self._in_double(self._store[number])

    @staticmethod
    def _in_double(layer: Layer) -> Layer:
        z, c, step = layer
        return Layer(z.astype(np.float64), c.astype(np.float64), step)


def in_double(flow: KernelFlow) -> Replay:
    """Return the replay of a flow in float64, whatever its dtype."""
    replay = flow.replay()
    store = cast("LayerStore", _Doubles(replay.store))  # a replay only reads
    return replace(replay, store=store, dtype=np.dtype(np.float64))


def _directions(
    replay: Replay, points: Doubles, n_directions: int | None, rng: np.random.Generator
) -> Doubles:
    """Return orthonormal directions (m, n, d) for points (n, d): those in which F_n moves points."""
    n, d = points.shape
    subspace = replay.subspace
    basis = np.eye(d) if subspace is None else subspace.basis.T
    directions = np.repeat(basis[:, None], n, axis=1)
    if subspace is not None:
        # A point in the subspace has no normal: its direction is zero, which stretches nothing.
        directions = np.concatenate([directions, subspace.normals(points)[None]])
    if n_directions is not None:
        number = as_count(n_directions, "n_directions", 1)
        if number < len(directions):
            mixtures = np.linalg.qr(rng.normal(size=(len(directions), number)))[0]
            directions = np.tensordot(mixtures.T, directions, axes=1)
    return directions


def singular_values_at(
    replay: Replay,
    flow: KernelFlow,
    X: FloatArray,
    counts: tuple[int, ...],
    n_directions: int | None,
    rng: np.random.Generator,
) -> Doubles:
    """Return the singular values of the derivative of F_n at points (n, d), (n_layers, n, k).

    They are in decreasing order, those of the derivative by k of its directions: all of them, or
    `n_directions` drawn at random. Where the flow has dropped coordinates, the last ones are 0.
    """
    points = X.astype(np.float64)
    directions = _directions(replay, points, n_directions, rng)
    m, (n, d) = len(directions), points.shape
    length = flow.kernel_.length_scale
    assert isinstance(length, float)
    size = max(float(np.linalg.norm(points, axis=1).max()), length)
    h = math.sqrt(float(np.finfo(np.float64).eps) * size * length)
    near = np.concatenate([points, (points + h * directions).reshape(m * n, d)])
    values = np.zeros((len(counts), n, m))
    for i, moved in enumerate(replay.trajectory(near, None, counts, reduced=True)):
        differences = (moved[n:].reshape(m, n, -1) - moved[:n]) / h
        with single_threaded_blas:
            found = np.linalg.svd(differences.transpose(1, 0, 2), compute_uv=False)
        values[i, :, : found.shape[-1]] = found
    return values
