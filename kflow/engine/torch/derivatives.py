"""Derivatives of a layer, applied to directions and covectors of points."""

from __future__ import annotations

from torch import Tensor

from kflow.engine.interface import Profile
from kflow.engine.torch.move import LayerOnDevice, squared_distances, tiles
from kflow.engine.torch.padding import padded
from kflow.engine.torch.profiles import slopes

__all__ = ["pull_back", "push_forward"]


def push_forward(layer: LayerOnDevice, q: int, points: Tensor, profile: Profile, T: Tensor) -> None:
    """Multiply directions (n, k) by the layer's derivative, in place; q coordinates move.

    The derivative of K(x, Z) C in the direction t is sum_j 2 k'(r_j^2) (x - z_j).t c_j.
    """
    for rows, n, tile in tiles(points):
        x = tile - layer.origin
        t = padded(T[rows], len(x))
        along = (x * t).sum(dim=1)[:, None] - t @ layer.transposed
        weights = 2.0 * slopes(profile, squared_distances(layer, x)) * along
        T[rows, :q] += (weights @ layer.coefficients)[:n, :q]


def pull_back(layer: LayerOnDevice, q: int, points: Tensor, profile: Profile, A: Tensor) -> None:
    """Multiply covectors (n, k) by the layer's transposed derivative, in place; q coordinates move.

    The gradient of a.(K(x, Z) C) is sum_j 2 k'(r_j^2) (a.c_j) (x - z_j).
    """
    for rows, n, tile in tiles(points):
        x = tile - layer.origin
        a = padded(A[rows, :q], len(x), layer.coefficients.shape[1])
        weights = 2.0 * slopes(profile, squared_distances(layer, x)) * (a @ layer.coefficients.T)
        gradient = weights.sum(dim=1)[:, None] * x - weights @ layer.transposed.T
        A[rows] += gradient[:n]
