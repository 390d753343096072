"""The public name of `kflow.layers.block`."""

from __future__ import annotations

from kflow.layers.block import HISTORY, Block, Layer, Record, cut

__all__ = ["HISTORY", "Block", "Layer", "Record", "cut"]
