"""What a layer does to points: displacements in tiles of rows, and steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from kflow.engine.interface import Layer, Profile
from kflow.engine.torch.extent import lengths
from kflow.engine.torch.padding import filled_up, padded
from kflow.engine.torch.precision import float32_products
from kflow.engine.torch.profiles import overwritten_by_values
from kflow.engine.torch.repeated import Repeated
from kflow.engine.torch.transfers import send

__all__ = [
    "LayerOnDevice",
    "Mover",
    "displacement",
    "rows_of_a_tile",
    "squared_distances",
    "step_to",
    "tiles",
]

# Rows of a tile, always as many, since products of another shape may round otherwise: on processors, and
# on graphics processors, where a tile should keep the whole chip busy.
_ROWS_ON_CPU, _ROWS_ON_DEVICE = 256, 8192


class LayerOnDevice(NamedTuple):
    """A layer on the device, ready for many tiles. Numbers M and Q are m and q rounded up.

    Attributes
    ----------
    origin : Tensor, shape (k,)
        The mean of the centres. Distances are differences of squares: near the origin they cancel least.
    transposed : Tensor, shape (k, M)
        The centres relative to it; zeros in columns that are none.
    norms : Tensor, shape (M,)
        Their squared lengths.
    coefficients : Tensor, shape (M, Q)
        C; zeros in rows and columns that are none.
    """

    origin: Tensor
    transposed: Tensor
    norms: Tensor
    coefficients: Tensor

    @classmethod
    def of(cls, centres: Tensor, coefficients: Tensor) -> LayerOnDevice:
        """Return a layer of centres (m, k) and coefficients (m, q)."""
        origin = centres.mean(dim=0)
        transposed = filled_up((centres - origin).T, columns=True)
        norms = transposed.square().sum(dim=0)
        return cls(origin, transposed, norms, filled_up(coefficients, rows=True, columns=True))


def squared_distances(layer: LayerOnDevice, x: Tensor) -> Tensor:
    """Return the squared distances (n, M) of points (n, k), relative to the layer's origin, to the centres."""
    # Those of the centres are added as the product is taken, without another pass.
    r2 = torch.addmm(layer.norms, x, layer.transposed, alpha=-2.0)
    return r2.add_(lengths(x).square_()[:, None]).clamp_(min=0.0)


def rows_of_a_tile(device: str) -> int:
    """Return how many rows a tile has on a device."""
    return _ROWS_ON_CPU if torch.device(device).type == "cpu" else _ROWS_ON_DEVICE


def tiles(points: Tensor) -> Iterator[tuple[slice, int, Tensor]]:
    """Yield the rows of each tile, how many they are, and its points, filled up with zeros to a full tile.

    A product rounds a row in one way only if the other rows are as many: so what becomes of a point
    does not depend on how many there are.
    """
    rows = rows_of_a_tile(str(points.device))
    for first in range(0, len(points), rows):
        x = points[first : first + rows]
        n = len(x)
        yield slice(first, first + n), n, x if n == rows else padded(x, rows)


def displacement(
    profile: Profile, layer: LayerOnDevice, x: Tensor, out: Tensor | None = None
) -> Tensor:
    """Return K(x, centres) coefficients, (n, Q), of the points (n, k) of a full tile, in `out` if it is given."""
    kernel = overwritten_by_values(profile, squared_distances(layer, x - layer.origin))
    product: Tensor = torch.mm(kernel, layer.coefficients, out=out)
    return product


def step_to(points: Tensor, displacements: Tensor, step: Tensor | float, out: Tensor) -> Tensor:
    """Write points (n, k) whose first coordinates move by step times displacements (n, q) to `out`."""
    q = displacements.shape[1]
    # Two operations, each of which rounds once: a fused one may round otherwise at the end of a row.
    torch.mul(displacements, step, out=out[:, :q])
    out[:, :q].add_(points[:, :q])
    out[:, q:] = points[:, q:]
    return out


def _displacement(profile: Profile, x: Tensor, *parts: Tensor) -> tuple[Tensor]:
    return (displacement(profile, LayerOnDevice(*parts), x),)


class Mover:
    """Moves points by layers, in tiles.

    Parameters
    ----------
    profile : Profile
        The kernel.
    tf32 : bool
        Whether products of float32 are taken by TF32.
    repeated : Repeated
        Runs what is done to each tile.
    """

    def __init__(self, profile: Profile, tf32: bool, repeated: Repeated) -> None:
        self._profile, self._tf32, self._repeated = profile, tf32, repeated

    def displacement(self, layer: LayerOnDevice, x: Tensor) -> Tensor:
        """Return the displacements, (n, Q), of the n points of a full tile, until the next call."""
        key = ("displacement", self._profile, self._tf32)
        function = partial(_displacement, self._profile)
        with float32_products(self._tf32):
            (g,) = self._repeated(key, function, (x, *layer))
        return g

    def moved_tile(self, layer: LayerOnDevice, x: Tensor, step: float, n_moving: int) -> Tensor:
        """Return the points of a full tile, (n, k), after a layer."""
        return step_to(x, self.displacement(layer, x)[:, :n_moving], step, torch.empty_like(x))

    def moved(self, layer: LayerOnDevice, points: Tensor, step: float, n_moving: int) -> Tensor:
        """Return points (n, k) after a layer."""
        after = torch.empty_like(points)
        for rows, n, x in tiles(points):
            after[rows] = self.moved_tile(layer, x, step, n_moving)[:n]
        return after

    def through(self, points: Tensor, layers: Sequence[Layer]) -> Tensor:
        """Return points (n, k) after layers."""
        for z, c, step in layers:
            layer = LayerOnDevice.of(*(send(a, str(points.device)) for a in (z, c)))
            points = self.moved(layer, points, step, c.shape[1])
        return points
