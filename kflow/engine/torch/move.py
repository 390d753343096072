"""What a layer does to points: displacements in tiles of rows, and derivatives."""

from __future__ import annotations

import torch
from torch import Tensor

from kflow.engine.interface import Profile
from kflow.engine.torch.profiles import slopes, values

__all__ = ["LayerOnDevice", "displace", "pull_back", "push_forward", "squared_distances"]

# Rows of a tile, always as many, since products of another shape may round otherwise: on processors, and
# on graphics processors, where a tile should keep the whole chip busy.
_ROWS_ON_CPU, _ROWS_ON_DEVICE = 256, 8192


class LayerOnDevice:
    """A layer on the device, ready for many tiles: its centres relative to their mean, and their norms.

    Parameters
    ----------
    centres : Tensor, shape (m, k)
        Z.
    coefficients : Tensor, shape (m, q)
        C.
    """

    def __init__(self, centres: Tensor, coefficients: Tensor) -> None:
        # Distances are differences of squares: near the origin they cancel least.
        self.origin = centres.mean(dim=0)
        self.centres = centres - self.origin
        self.norms = self.centres.square().sum(dim=1)
        self.coefficients = coefficients


def squared_distances(layer: LayerOnDevice, x: Tensor) -> Tensor:
    """Return the squared distances (n, m) of points (n, k), relative to the layer's origin, to the centres."""
    norms = x.square().sum(dim=1)
    r2 = torch.addmm(layer.norms + norms[:, None], x, layer.centres.T, alpha=-2.0)
    return r2.clamp_(min=0.0)


def _tiles(layer: LayerOnDevice, points: Tensor) -> list[tuple[slice, Tensor]]:
    """Return the rows of each tile and its points relative to the origin, filled up to a full tile.

    A product rounds a row in one way only if the other rows are as many: so what becomes of a point
    does not depend on how many there are.
    """
    rows = _ROWS_ON_CPU if points.device.type == "cpu" else _ROWS_ON_DEVICE
    tiles = []
    for first in range(0, len(points), rows):
        x = points[first : first + rows] - layer.origin
        n = len(x)
        if n < rows:
            x = torch.cat([x, x.new_zeros(rows - n, x.shape[1])])
        tiles.append((slice(first, first + n), x))
    return tiles


def displace(layer: LayerOnDevice, points: Tensor, profile: Profile, out: Tensor) -> None:
    """Write K(points, centres) coefficients to `out`, (n, q), tile by tile."""
    for rows, x in _tiles(layer, points):
        kernel = values(profile, squared_distances(layer, x))
        out[rows] = (kernel @ layer.coefficients)[: rows.stop - rows.start]


def push_forward(layer: LayerOnDevice, points: Tensor, profile: Profile, T: Tensor) -> None:
    """Multiply directions (n, k) by the layer's derivative, in place.

    The derivative of K(x, Z) C in the direction t is sum_j 2 k'(r_j^2) (x - z_j).t c_j.
    """
    q = layer.coefficients.shape[1]
    for rows, x in _tiles(layer, points):
        n = rows.stop - rows.start
        t = T[rows]
        if n < len(x):
            t = torch.cat([t, t.new_zeros(len(x) - n, t.shape[1])])
        along = (x * t).sum(dim=1)[:, None] - t @ layer.centres.T
        weights = 2.0 * slopes(profile, squared_distances(layer, x)) * along
        T[rows, :q] += (weights @ layer.coefficients)[:n]


def pull_back(layer: LayerOnDevice, points: Tensor, profile: Profile, A: Tensor) -> None:
    """Multiply covectors (n, k) by the layer's transposed derivative, in place.

    The gradient of a.(K(x, Z) C) is sum_j 2 k'(r_j^2) (a.c_j) (x - z_j).
    """
    q = layer.coefficients.shape[1]
    for rows, x in _tiles(layer, points):
        n = rows.stop - rows.start
        a = A[rows, :q]
        if n < len(x):
            a = torch.cat([a, a.new_zeros(len(x) - n, q)])
        weights = 2.0 * slopes(profile, squared_distances(layer, x)) * (a @ layer.coefficients.T)
        gradient = weights.sum(dim=1)[:, None] * x - weights @ layer.centres
        A[rows] += gradient[:n]
