"""The map of a flow, from its stored layers: the name under which `kflow.layers.replay` is documented."""

from __future__ import annotations

from kflow.layers.replay import Linearization, Replay, blocks_between, layer_count, layer_counts

__all__ = ["Linearization", "Replay", "blocks_between", "layer_count", "layer_counts"]
