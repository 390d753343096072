"""Reductions of the rank: a flow drops the directions that it no longer needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kflow._base.array_types import Doubles, FloatArray
from kflow.data.chunks import empty_rows, row_chunks, scaled_chunks
from kflow.data.products import product
from kflow.engine.threads import single_threaded_blas
from kflow.layers.moments import EPS, eigen, fewest, mean_squared_distance, moments

__all__ = ["RankReduction"]


@dataclass(frozen=True)
class RankReduction:
    """A change of coordinates before a layer, after which fewer of them move.

    Attributes
    ----------
    layer : int
        Number of the layer before which the change comes.
    matrix : ndarray, shape (r, r), float64
        An orthogonal matrix. The new coordinates are the old ones times this matrix.
    kept : int
        How many of the new coordinates go on moving. The others stay where they are; from then on
        they count in the distance from the subspace.
    """

    layer: int
    matrix: Doubles
    kept: int

    @classmethod
    def shrinking(cls, points: FloatArray, layer: int, tolerance: float) -> RankReduction | None:
        """Return the reduction that keeps the fewest directions, or None if all are needed.

        Twice the energy dropped for each point is at most `tolerance` times the mean squared
        distance, so that squared distances change by less than that on average. Energies that are
        rounding errors count as zero.

        Parameters
        ----------
        points : ndarray, shape (N, r + 1)
            Coordinates of the training points.
        layer : int
            Number of the layer to come.
        tolerance : float
            A positive number; see above.
        """
        r = points.shape[1] - 1
        with single_threaded_blas:
            second = moments(scaled_chunks(points[:, :r], None), r)
            energies, vectors = eigen(second)
        allowed = 0.5 * tolerance * mean_squared_distance(points) * len(points)
        noise = EPS * r * float(energies[0])
        kept = max(1, fewest(energies, max(allowed, noise)))
        return None if kept >= r else cls(layer, np.ascontiguousarray(vectors), kept)

    def __call__(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the new coordinates (n, kept + 1), and the coordinates that stay (n, r - kept)."""
        moving = empty_rows(points, self.kept + 1, points.dtype)
        frozen = empty_rows(points, len(self.matrix) - self.kept, points.dtype)
        for rows, chunk in scaled_chunks(points, None):
            turned = product(chunk[:, :-1], self.matrix)
            moving[rows, :-1] = turned[:, : self.kept]
            frozen[rows] = turned[:, self.kept :]
            moving[rows, -1] = np.hypot(
                chunk[:, -1], np.linalg.norm(turned[:, self.kept :], axis=1)
            )
        return moving, frozen

    def undone(self, moving: FloatArray, frozen: FloatArray) -> FloatArray:
        """Return the old coordinates (n, r) from the new ones (n, kept) and those that stayed."""
        out = empty_rows(moving, len(self.matrix), moving.dtype)
        for rows in row_chunks(len(moving)):
            both = np.hstack([moving[rows], frozen[rows]]).astype(np.float64, copy=False)
            out[rows] = product(both, self.matrix.T)
        return out

    def push_forward(self, points: FloatArray, T: FloatArray) -> FloatArray:
        """Return how the new coordinates (n, kept + 1) change as the old ones move in directions T.

        `points` and `T` have the shape (n, r + 1) and are given before the reduction.
        """
        out = np.empty((len(points), self.kept + 1), T.dtype)
        with single_threaded_blas:
            for rows, t in scaled_chunks(T, None):
                turned = t[:, :-1] @ self.matrix
                out[rows, :-1] = turned[:, : self.kept]
                across = np.hstack([turned[:, self.kept :], t[:, -1:]])
                out[rows, -1] = np.einsum("ij,ij->i", self._normals(points[rows]), across)
        return out

    def pull_back(self, points: FloatArray, A: FloatArray) -> FloatArray:
        """Return the gradient (n, r + 1) with respect to the old coordinates, `points`.

        `A` (n, kept + 1) is the gradient with respect to the new coordinates. This is the transpose
        of `push_forward`.
        """
        out = np.empty((len(points), len(self.matrix) + 1), A.dtype)
        with single_threaded_blas:
            for rows, a in scaled_chunks(A, None):
                across = a[:, -1:] * self._normals(points[rows])
                out[rows, :-1] = np.hstack([a[:, :-1], across[:, :-1]]) @ self.matrix.T
                out[rows, -1] = across[:, -1]
        return out

    def _normals(self, points: FloatArray) -> Doubles:
        """Return the directions (n, r - kept + 1) in which the new last coordinate grows."""
        old = points.astype(np.float64, copy=False)
        across = np.hstack([old[:, :-1] @ self.matrix[:, self.kept :], old[:, -1:]])
        length = np.linalg.norm(across, axis=1, keepdims=True)
        across /= np.where(length > 0.0, length, np.inf)
        return across
