"""The span of the training data: a flow never leaves it, and can run in coordinates of the span.

Every layer adds combinations of its centres to the points, and radial kernels see distances only.
In coordinates with respect to an orthonormal basis of the span of the training points, the flow is
the same flow in fewer dimensions. The part of a point outside the span never moves; it adds a
constant to the point's squared distances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count
from kflow._base.array_types import Doubles, FloatArray
from kflow.data.chunks import Data, Scaling, empty_rows, scaled_chunks
from kflow.data.products import product
from kflow.data.sources import Source
from kflow.engine.device_array import to_host
from kflow.engine.threads import single_threaded_blas
from kflow.layers.moments import EPS, eigen, fewest, moments

__all__ = ["Subspace", "check_orthonormal", "check_rank"]


# Size of the rounding errors of the data, in units of eps, that rank="auto" takes for zero. It
# allows for those of the numbers themselves and of a short computation that made them.
_ROUNDING = 10.0


def check_rank(rank: Any) -> None | str | int | float:
    """Return a valid `rank` of `kflow.KernelFlow`.

    Raises
    ------
    TypeError, ValueError
        If it is not a valid rank.
    """
    if rank is None or (isinstance(rank, str) and rank == "auto"):
        return None if rank is None else "auto"
    if isinstance(rank, Real) and not hasattr(rank, "__index__"):
        part = float(rank)
        if not 0.0 < part < 1.0:
            raise ValueError(
                f"rank as a part of the sum of squares must lie in (0, 1), got {rank!r}: for so many "
                "directions pass an int"
            )
        return part
    if isinstance(rank, bool) or not hasattr(rank, "__index__"):
        raise TypeError(
            f"rank must be None, 'auto', a whole number, or a number in (0, 1), got {rank!r}"
        )
    return as_count(rank, "rank", 1)


def check_orthonormal(matrix: Doubles) -> Doubles:
    """Return the matrix, after checking that its columns are orthonormal.

    Raises
    ------
    ValueError
        If they are not.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        products = matrix.T @ matrix
    if matrix.shape[1] < 1 or not np.abs(products - np.eye(len(products))).max() < 1e-6:
        raise ValueError(f"the columns of a matrix of shape {matrix.shape} are not orthonormal")
    return matrix


@dataclass(frozen=True)
class Subspace:
    """A subspace through the origin, and coordinates of points with respect to it.

    A point x has the coordinates x V and, last, h = |x - V V'x|, its distance from the subspace.
    The distance between the coordinates of two points is that between the points, if one of the
    two lies in the subspace. Otherwise it is smaller, but larger than it would be without h.

    Attributes
    ----------
    basis : ndarray, shape (d, r), float64
        V, whose columns are orthonormal. Those with the most energy come first.
    energy_dropped : float
        Part of the training data's sum of squares outside the subspace.
    """

    basis: Doubles
    energy_dropped: float = 0.0

    @property
    def rank(self) -> int:
        """Return r."""
        return int(self.basis.shape[1])

    @classmethod
    def fit(
        cls,
        X: Data,
        rank: Any,
        *,
        scaling: Scaling | None = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> Subspace:
        """Return the leading right singular vectors of the (uncentred) data.

        Parameters
        ----------
        X : ndarray, shape (N, d)
            Points.
        rank : "auto", int or float
            ``"auto"`` stands for the numerical rank: all directions except those that consist of
            rounding errors. An int is the number of directions; it must be at most d, and no more
            than N are kept. A float in (0, 1) stands for the fewest directions with which at most
            that part of the sum of squares is dropped.
        scaling : callable, optional
            A function that is applied to some rows of X at a time.
        dtype : float32 or float64
            Dtype to which the scaled points are rounded first; "auto" is relative to its precision.

        Returns
        -------
        Subspace

        Raises
        ------
        TypeError, ValueError
            If the rank is not valid or exceeds d, or if values are too large.

        Notes
        -----
        If N >= d, second moments are summed in float64 by chunks of rows, and their eigenvectors
        are computed; this takes N d^2 and 10 d^3 flops. The error of an eigenvalue is eps times the
        largest eigenvalue. Where "auto" must resolve smaller ones, the moments of what lies outside
        the directions found so far give the remaining directions. If N < d, the singular value
        decomposition of the data is computed in float64; this takes about 10 N^2 d flops and two
        copies of the data. BLAS is kept to one thread, so that the result does not depend on how
        many threads it has.
        """
        rank = check_rank(rank)
        d = X.shape[1]
        if rank is None:
            raise TypeError("rank must not be None where a subspace is wanted")
        if isinstance(rank, int) and rank > d:
            raise ValueError(f"rank must lie between 1 and the {d} features of X, got {rank}")
        with single_threaded_blas:
            basis, dropped = _directions(X, rank, scaling, dtype)
        return cls(np.ascontiguousarray(basis), dropped)

    def reduce(
        self,
        X: FloatArray,
        *,
        scaling: Scaling | None = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> FloatArray:
        """Return the coordinates (n, r + 1) of points (n, d), in `dtype`.

        They are computed in float64, a few rows at a time, which takes 4 n d r flops.
        """
        out = empty_rows(X, self.rank + 1, dtype)
        for rows, points in scaled_chunks(X, scaling, dtype):
            inside = product(points, self.basis)
            out[rows, :-1] = inside
            # The difference |x|^2 - |V'x|^2 would lose digits by cancellation.
            out[rows, -1] = np.linalg.norm(points - product(inside, self.basis.T), axis=1)
        return out

    def restore(
        self,
        coordinates: FloatArray,
        X: FloatArray | None = None,
        *,
        scaling: Scaling | None = None,
    ) -> FloatArray:
        """Return the points V p with the coordinates p (n, r), in the dtype of these.

        If X is given, it holds the points from which the coordinates came before they moved. The
        result then includes the part of X outside the subspace: it is x + V (p - V'x).
        """
        dtype = coordinates.dtype
        out = empty_rows(coordinates, len(self.basis), dtype)
        if X is None:
            for rows, inside in scaled_chunks(coordinates, None):
                out[rows] = product(inside, self.basis.T)
        else:
            for rows, points in scaled_chunks(X, scaling, dtype):
                moved = coordinates[rows] - product(points, self.basis)
                out[rows] = points + product(moved, self.basis.T)
        return out

    def push_forward(self, X: FloatArray, T: FloatArray) -> FloatArray:
        """Return the change (n, r + 1) of the coordinates of X as X moves in directions T (n, d).

        The distance from the subspace has no derivative at points within; zero is taken there.
        """
        out = np.empty((len(X), self.rank + 1), T.dtype)
        with single_threaded_blas:
            for rows, t in scaled_chunks(T, None):
                normals = self.normals(X[rows])
                out[rows, :-1] = t @ self.basis
                out[rows, -1] = np.einsum("ij,ij->i", normals, t)
        return out

    def pull_back(self, X: FloatArray, A: FloatArray) -> FloatArray:
        """Return the gradient (n, d) with respect to X of functions of its coordinates.

        `A` (n, r + 1) holds the gradients of these functions with respect to the coordinates. This
        is the transpose of `push_forward`.
        """
        out = np.empty((len(X), len(self.basis)), A.dtype)
        with single_threaded_blas:
            for rows, a in scaled_chunks(A, None):
                out[rows] = a[:, :-1] @ self.basis.T + a[:, -1:] * self.normals(X[rows])
        return out

    def normals(self, X: FloatArray) -> Doubles:
        """Return the unit vectors from the subspace to points; zeros for points within.

        A point within differs from its projection only by rounding errors, which are a few eps
        times the norm of the point. Such a difference counts as zero.
        """
        points = X.astype(np.float64, copy=False)
        outside = points - (points @ self.basis) @ self.basis.T
        length = np.linalg.norm(outside, axis=1, keepdims=True)
        noise = _ROUNDING * math.sqrt(X.shape[1]) * float(np.finfo(X.dtype).eps)
        noise = noise * np.linalg.norm(points, axis=1, keepdims=True)
        outside /= np.where(length > noise, length, np.inf)
        return outside


def _directions(
    X: Data, rank: str | int | float, scaling: Scaling | None, dtype: npt.DTypeLike
) -> tuple[Doubles, float]:
    """Return the directions to keep, and the part of the sum of squares outside them."""
    n, d = X.shape
    rounding = EPS**2 * d + (_ROUNDING * float(np.finfo(np.dtype(dtype)).eps)) ** 2
    part = rounding if isinstance(rank, str) else rank
    if n < d:
        points = np.empty((n, d)) if isinstance(X, Source) else empty_rows(X, d, np.float64)
        for rows, chunk in scaled_chunks(X, scaling, dtype):
            points[rows] = chunk
        with np.errstate(over="ignore"):
            _check_squares(float(np.vdot(points, points)))
        values, transposed = map(to_host, np.linalg.svd(points, full_matrices=False)[1:])
        energies, vectors = values**2, transposed.T
    else:
        second = moments(scaled_chunks(X, scaling, dtype), d)
        _check_squares(float(np.trace(second)))
        energies, vectors = eigen(second)
        if isinstance(part, float) and part < EPS * d and energies[0] > 0.0:
            energies, vectors = _resolved(X, scaling, dtype, energies, vectors, part)
    total = float(energies.sum())
    kept = part if isinstance(part, int) else max(1, fewest(energies, part * total))
    kept = min(kept, vectors.shape[1])
    return vectors[:, :kept], float(energies[kept:].sum()) / total if total > 0.0 else 0.0


def _resolved(
    X: Data,
    scaling: Scaling | None,
    dtype: npt.DTypeLike,
    energies: Doubles,
    vectors: Doubles,
    part: float,
) -> tuple[Doubles, Doubles]:
    """Return eigenvalues and eigenvectors that are precise enough to drop so small a `part`.

    Eigenvalues of second moments have errors of a few eps times the largest one. Those above that
    are kept. The others are taken from the moments of what lies outside the directions kept.
    """
    d = X.shape[1]
    total = float(energies.sum())
    known = np.zeros(0)
    basis = np.zeros((d, 0))
    while basis.shape[1] < d and float(energies.sum()) > part * total:
        sure = min(int((energies > EPS * d * energies[0]).sum()), d - basis.shape[1])
        known = np.append(known, energies[:sure])
        basis = np.linalg.qr(np.hstack([basis, vectors[:, :sure]]))[0]
        outside = (
            (rows, points - (points @ basis) @ basis.T)
            for rows, points in scaled_chunks(X, scaling, dtype)
        )
        energies, vectors = eigen(moments(outside, d))
    return np.append(known, float(energies.sum())), basis


def _check_squares(total: float) -> None:
    if not np.isfinite(total):
        raise ValueError("X has values too large for a subspace: their squares overflow")
