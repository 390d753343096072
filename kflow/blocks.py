"""Blocks: successive layers of a flow, the unit in which it is stored, streamed and replayed."""

from __future__ import annotations

from dataclasses import dataclass

from kflow.layers import Layer
from kflow.subspace import Rotation

__all__ = ["Block"]


@dataclass(frozen=True, eq=False)
class Block:
    """Successive layers of one shape, and what comes before them.

    Attributes
    ----------
    first : int
        Number of the first layer, from 0 on.
    layers : tuple of Layer
        The layers.
    rotation : Rotation or None
        Change of coordinates before the first layer.
    records : tuple of tuple of float
        What `kflow.KernelFlow.history_` knows of each layer.
    """

    first: int
    layers: tuple[Layer, ...]
    rotation: Rotation | None = None
    records: tuple[tuple[float, ...], ...] = ()

    @property
    def end(self) -> int:
        """Return the number of the layer after the last."""
        return self.first + len(self.layers)
