"""Blocks of layers, by the name under which they are documented."""

from __future__ import annotations

from kflow.layers.block import HISTORY, Block, Layer, LayerRecord
from kflow.layers.block import LayerRecord as Record
from kflow.layers.block import into_blocks as cut

__all__ = ["HISTORY", "Block", "Layer", "LayerRecord", "Record", "cut"]
