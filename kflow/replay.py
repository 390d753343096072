"""The public name of `kflow.layers.replay`."""

from __future__ import annotations

from kflow.layers.replay import Linearization, Replay, blocks_between, layer_count, layer_counts

__all__ = ["Linearization", "Replay", "blocks_between", "layer_count", "layer_counts"]
