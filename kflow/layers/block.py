"""Blocks of layers: flows store layers, read them and move points through them block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kflow.engine.interface import Layer, LayerReport
from kflow.layers.rank_reduction import RankReduction

__all__ = ["HISTORY", "Block", "Layer", "LayerRecord", "into_blocks"]


class LayerRecord(NamedTuple):
    """What a flow records of one layer besides the layer's arrays.

    Attributes
    ----------
    rho : float
        The loss before the layer.
    step : float
        How far the layer moves.
    seconds : float
        How long the layer took.
    class_distance_ratio : float
        Mean squared distance between batch points of one class over that between classes, before
        the layer; NaN where the targets are not classes.
    nugget : float
        Number added to the diagonal of the batch's kernel matrix.
    rank : float
        How many coordinates moved.
    """

    rho: float
    step: float
    seconds: float
    class_distance_ratio: float
    nugget: float
    rank: float

    @classmethod
    def of(cls, report: LayerReport, *, seconds: float, nugget: float, rank: float) -> LayerRecord:
        """Return the record of a layer of which an engine has given this report."""
        return cls(
            rho=report.rho,
            step=report.step,
            seconds=seconds,
            class_distance_ratio=report.class_distance_ratio,
            nugget=nugget,
            rank=rank,
        )


# The names of a record's entries, in order.
HISTORY = LayerRecord._fields


@dataclass(frozen=True, eq=False)
class Block:
    """Successive layers of one shape, and the reduction before the first of them.

    Attributes
    ----------
    first : int
        Number of the first layer.
    layers : tuple of Layer
        The layers, at least one.
    reduction : RankReduction or None
        Change of coordinates before the first layer, if any. There is no other one within a block.
    records : tuple of LayerRecord
        The history of each layer, in the order of ``HISTORY``; empty where it is not needed.

    Raises
    ------
    ValueError
        If the attributes do not fit each other.
    """

    first: int
    layers: tuple[Layer, ...]
    reduction: RankReduction | None
    records: tuple[LayerRecord, ...] = ()

    def __post_init__(self) -> None:
        """Check that the attributes fit each other."""
        if self.first < 0 or not self.layers:
            raise ValueError(f"first={self.first} with {len(self.layers)} layers is no block")
        z, c, _ = self.layers[0]
        if c.dtype != z.dtype or not all(alike(layer, self.layers[0]) for layer in self.layers):
            raise ValueError("the layers of a block must have one shape and dtype")
        fitting = z.ndim == c.ndim == 2 and len(z) == len(c) >= 1
        if not fitting or not 1 <= c.shape[1] <= z.shape[1]:
            raise ValueError(f"centres {z.shape} and coefficients {c.shape} make no layer")
        turn = self.reduction
        if turn is not None and (turn.layer != self.first or turn.kept != c.shape[1]):
            raise ValueError(f"the reduction before layer {turn.layer} does not fit the block")
        if self.records and len(self.records) != len(self.layers):
            raise ValueError(f"{len(self.records)} records for {len(self.layers)} layers")
        if any(len(record) != len(HISTORY) for record in self.records):
            raise ValueError(f"each record must have {len(HISTORY)} numbers")

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self.layers)

    @property
    def end(self) -> int:
        """Number of the layer after the last one."""
        return self.first + len(self.layers)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the centres and coefficients."""
        return self.layers[0].centres.dtype

    @property
    def rank(self) -> int:
        """Number of coordinates that move."""
        return int(self.layers[0].coefficients.shape[1])

    @property
    def rotation(self) -> RankReduction | None:
        """An earlier name of `reduction`."""
        return self.reduction


def alike(one: Layer, other: Layer) -> bool:
    """Return whether the arrays of two layers have the same shapes and dtypes."""
    return all(
        mine.shape == others.shape and mine.dtype == others.dtype
        for mine, others in zip(one[:2], other[:2], strict=True)
    )


def into_blocks(
    layers: Iterable[Layer],
    records: Sequence[LayerRecord] | None,
    reductions: Mapping[int, RankReduction],
    size: int,
    *,
    first: int = 0,
) -> Iterator[Block]:
    """Cut successive layers of a flow into blocks of at most `size` layers of one shape.

    Parameters
    ----------
    layers : iterable of Layer
        The layers. They are taken from the iterable one block at a time.
    records : sequence of LayerRecord or None
        One record for each layer; layers after the last record are left out. With None, the blocks
        have no records.
    reductions : mapping of int to RankReduction
        The reductions, by the number of the layer before which they come. A block ends before each
        of these layers.
    size : int
        Largest number of layers in a block.
    first : int
        Number of the first of these layers.
    """
    start, several = first, list[Layer]()
    if records is not None:
        layers = (layer for layer, _ in zip(layers, records, strict=False))

    def block() -> Block:
        end = start + len(several)
        mine = () if records is None else tuple(records[start - first : end - first])
        return Block(start, tuple(several), reductions.get(start), mine)

    for number, layer in enumerate(layers, first):
        full = len(several) == size
        if several and (full or number in reductions or not alike(layer, several[0])):
            yield block()
            start, several = number, []
        several.append(layer)
    if several:
        yield block()
