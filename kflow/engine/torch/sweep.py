"""Passes over all points that stay on a device: each is recorded as a whole, and reads and writes in place."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from kflow.engine.interface import Profile
from kflow.engine.torch.extent import extent, lengths
from kflow.engine.torch.move import LayerOnDevice, displacement, step_to, tiles
from kflow.engine.torch.precision import float32_products
from kflow.engine.torch.repeated import Repeated

__all__ = ["Sweeper"]


def _displaced(profile: Profile, points: Tensor, out: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
    """Write the displacements of points (n, k) to `out`, (n, Q), and return the extent of all."""
    layer, (x_lengths, g_lengths) = LayerOnDevice(*parts), points.new_empty(2, len(points))
    for rows, x in tiles(points):
        n = rows.stop - rows.start
        g = displacement(profile, layer, x, out[rows] if n == len(x) else None)
        if n < len(x):
            out[rows] = g[:n]
        lengths(x[:n], x_lengths[rows])
        lengths(g[:n], g_lengths[rows])
    return (extent(x_lengths, g_lengths),)


def _moved(
    profile: Profile, q: int, points: Tensor, out: Tensor, step: Tensor, *parts: Tensor
) -> tuple[Tensor, ...]:
    """Write points (n, k) after a layer to `out`; the first q of their coordinates move."""
    layer = LayerOnDevice(*parts)
    for rows, x in tiles(points):
        n = rows.stop - rows.start
        step_to(points[rows], displacement(profile, layer, x)[:n, :q], step, out[rows])
    return ()


class Sweeper:
    """Moves all points of a set at once.

    Parameters
    ----------
    profile : Profile
        The kernel.
    tf32 : bool
        Whether products of float32 are taken by TF32.
    repeated : Repeated
        Runs the passes.
    """

    def __init__(self, profile: Profile, tf32: bool, repeated: Repeated) -> None:
        self._profile, self._tf32, self._repeated = profile, tf32, repeated

    def displace(self, layer: LayerOnDevice, points: Tensor, out: Tensor) -> Tensor:
        """Write K(points, centres) coefficients to `out`, (n, Q), and return the extent of all.

        The extent lasts until the next call.
        """
        function = partial(_displaced, self._profile)
        with float32_products(self._tf32):
            (extents,) = self._repeated("displaced", function, layer, (points, out))
        return extents

    def move(self, layer: LayerOnDevice, points: Tensor, step: Tensor, q: int, out: Tensor) -> None:
        """Write points (n, k) after a layer to `out`; the first q of their coordinates move."""
        if not len(points):  # nothing can be recorded
            return
        function = partial(_moved, self._profile, q)
        with float32_products(self._tf32):
            self._repeated(("moved", q), function, (step, *layer), (points, out))
