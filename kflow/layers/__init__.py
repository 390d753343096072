"""Layers: blocks of layers, the stores that keep layers, and how layers move points."""

from __future__ import annotations

from kflow.engine.interface import Layer
from kflow.layers.stores import (
    LayerShape,
    LayerStore,
    MemoryLayers,
    NoLayers,
    check_place,
    layer_bytes,
    open_layers,
)

__all__ = [
    "Layer",
    "LayerShape",
    "LayerStore",
    "MemoryLayers",
    "NoLayers",
    "check_place",
    "layer_bytes",
    "open_layers",
]
