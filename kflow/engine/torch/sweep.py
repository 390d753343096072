"""Passes over all points that stay on a device: each is recorded as a whole, and reads and writes in place."""

from __future__ import annotations

from collections.abc import Sequence
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
    for rows, n, x in tiles(points):
        g = displacement(profile, layer, x, out[rows] if n == len(x) else None)
        if n < len(x):
            out[rows] = g[:n]
        lengths(x[:n], x_lengths[rows])
        lengths(g[:n], g_lengths[rows])
    return (extent(x_lengths, g_lengths),)


def _moved(profile: Profile, q: int, n_sets: int, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Write the points (n_i, k) of sets after a layer; the first q of their coordinates move."""
    sets, out = tensors[:n_sets], tensors[n_sets : 2 * n_sets]
    step, *parts = tensors[2 * n_sets :]
    layer = LayerOnDevice(*parts)
    for points, after in zip(sets, out, strict=True):
        for rows, n, x in tiles(points):
            step_to(points[rows], displacement(profile, layer, x)[:n, :q], step, after[rows])
    return ()


class Sweeper:
    """Moves all points at once.

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
            key = ("displaced", self._profile, self._tf32)
            (extents,) = self._repeated(key, function, layer, (points, out))
        return extents

    def move(
        self,
        layer: LayerOnDevice,
        sets: Sequence[Tensor],
        step: Tensor,
        q: int,
        out: Sequence[Tensor],
    ) -> None:
        """Write the points (n_i, k) of sets after a layer to `out`; the first q of their coordinates move."""
        if not any(map(len, sets)):  # nothing can be recorded
            return
        key = ("moved", self._profile, self._tf32, q, len(sets))
        function = partial(_moved, self._profile, q, len(sets))
        with float32_products(self._tf32):
            self._repeated(key, function, (step, *layer), (*sets, *out))
