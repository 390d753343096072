"""Where a flow keeps its layers: in memory, in a folder of blocks, or nowhere.

C has one column for each coordinate that moves; their number is the rank of the layer. Z has as
many columns as C and, in a flow that runs in a subspace, one more. The rank may fall from layer to
layer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count, float_dtype
from kflow._base.memory import available_memory, gigabytes
from kflow.engine.interface import Layer
from kflow.errors import StorageError

__all__ = [
    "STORES",
    "Layer",
    "LayerShape",
    "LayerStore",
    "MemoryLayers",
    "NoLayers",
    "StoreMaker",
    "check_place",
    "layer_bytes",
    "open_layers",
]

_log = logging.getLogger("kflow")


@dataclass(frozen=True)
class LayerShape:
    """What the layers of one flow have in common.

    Attributes
    ----------
    batch_size : int
        Number of rows of Z and C.
    n_fixed : int
        Number of coordinates that do not move: Z has that many columns more than C.
    dtype : numpy.dtype
        float32 or float64.
    """

    batch_size: int
    n_fixed: int
    dtype: np.dtype[Any]

    def n_bytes(self, rank: int) -> int:
        """Return the size in bytes of a layer of rank `rank`."""
        numbers = self.batch_size * (2 * rank + self.n_fixed)
        return numbers * self.dtype.itemsize + _SMALL


# Bytes that a layer takes besides its arrays: step, history, and its part of a file's header.
_SMALL = 128


def layer_bytes(
    n_layers: int,
    batch_size: int,
    rank: int,
    dtype: npt.DTypeLike = "float32",
    *,
    in_subspace: bool = True,
) -> int:
    """Return the number of bytes that layers take, which is the same in memory and on the disk.

    Parameters
    ----------
    n_layers : int
        Number of layers.
    batch_size : int
        Number of points in a batch.
    rank : int
        Number of coordinates that move: the flow's ``rank_``, or d if the flow has no `rank`. If
        the rank falls during the run, layers take less.
    dtype : {"float16", "float32", "float64"}
        Precision in which the layers are kept.
    in_subspace : bool
        Whether the flow has a `rank`; the centres then have one more coordinate.

    Raises
    ------
    TypeError, ValueError
        If a number is not a valid count, or the dtype is another one.

    Examples
    --------
    >>> from kflow.layers import layer_bytes
    >>> layer_bytes(1000, batch_size=600, rank=150) // 10**6
    722
    """
    kind = np.dtype(np.float16) if dtype == "float16" else float_dtype(dtype)
    shape = LayerShape(as_count(batch_size, "batch_size", 1), int(in_subspace), kind)
    return as_count(n_layers, "n_layers", 0) * shape.n_bytes(as_count(rank, "rank", 1))


class LayerStore(Protocol):
    """The layers of a flow, in order."""

    def reserve(self, n_layers: int) -> None:
        """Raise StorageError if `n_layers` more layers, of the last one's rank, will not fit."""

    def put(self, number: int, layer: Layer) -> None:
        """Keep layer `number`, whose arrays the store then owns, and drop all layers after it."""

    def __len__(self) -> int:
        """Return the number of layers kept."""

    def __iter__(self) -> Iterator[Layer]:
        """Iterate over the layers, first layer first."""

    def __getitem__(self, number: int) -> Layer:
        """Return one layer."""


class NoLayers:
    """A store that keeps nothing: the flow can move only its own points."""

    def __init__(self, shape: LayerShape | None = None, rank: int = 0) -> None:
        del shape, rank  # a store that keeps nothing needs neither

    def reserve(self, n_layers: int) -> None:
        """Accept any number of layers."""

    def put(self, number: int, layer: Layer) -> None:
        """Forget the layer."""

    def __len__(self) -> int:
        """Return 0."""
        return 0

    def __iter__(self) -> Iterator[Layer]:
        """Iterate over nothing."""
        return iter(())

    def __getitem__(self, number: int) -> Layer:
        """Raise IndexError."""
        raise IndexError(number)


class MemoryLayers:
    """A store that keeps the layers in memory."""

    def __init__(self, shape: LayerShape, rank: int) -> None:
        self._shape = shape
        self._rank = rank
        self._layers: list[Layer] = []

    def reserve(self, n_layers: int) -> None:
        """Raise StorageError if `n_layers` more layers exceed four fifths of the free memory."""
        rank = self._layers[-1].coefficients.shape[1] if self._layers else self._rank
        need = n_layers * self._shape.n_bytes(rank)
        budget = int(0.8 * available_memory())
        if need > budget:
            raise StorageError(
                f"{n_layers} layers of {self._shape.batch_size} points in {rank} dimensions need "
                f"{gigabytes(need)} to be kept in memory, where {gigabytes(budget)} can be used: "
                "pass checkpoint=<folder> to keep them on disk, layers='none' to keep none (no "
                "transform of new points later), or reduce n_layers, batch_size or the rank"
            )

    def put(self, number: int, layer: Layer) -> None:
        """Keep layer `number`, and drop all layers after it."""
        self._layers[number:] = [layer]

    def __len__(self) -> int:
        """Return the number of layers kept."""
        return len(self._layers)

    def __iter__(self) -> Iterator[Layer]:
        """Iterate over the layers."""
        return iter(self._layers)

    def __getitem__(self, number: int) -> Layer:
        """Return one layer."""
        return self._layers[number]


# A function that makes an empty store from the shape of the layers and the rank of the first one.
StoreMaker: TypeAlias = Callable[[LayerShape, int], LayerStore]

# The stores that have a name. A store in a folder comes with a checkpoint.
STORES: dict[str, StoreMaker] = {"memory": MemoryLayers, "none": NoLayers}


def check_place(where: Any) -> str | StoreMaker:
    """Return where layers are kept: the name of a store, or a function that makes one.

    Raises
    ------
    ValueError
        If `where` is something else.
    """
    if callable(where) or (isinstance(where, str) and where in STORES):
        return cast("str | StoreMaker", where)
    raise ValueError(
        f"layers must be 'memory' or 'none', or what makes a store, got {where!r}: for layers in a "
        "folder pass checkpoint=<folder>"
    )


def open_layers(
    where: str | StoreMaker, shape: LayerShape, rank: int, n_layers: int = 0
) -> LayerStore:
    """Return an empty store with room for `n_layers`.

    Parameters
    ----------
    where : str or callable
        The name of a store, or a function that makes one from a shape and a rank.
    shape : LayerShape
        What the layers have in common.
    rank : int
        Rank of the first layer; no layer has a larger one.
    n_layers : int
        Number of layers to come.

    Raises
    ------
    StorageError
        If these layers will not fit.
    """
    place = check_place(where)
    store = (STORES[place] if isinstance(place, str) else place)(shape, rank)
    store.reserve(n_layers)
    return store
