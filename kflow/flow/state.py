"""What a flow has become: its points, layers and records, its generator, and where it keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow.data.training_data import TrainingData
from kflow.engine.interface import Layer
from kflow.kernels import Radial
from kflow.layers.block import HISTORY, Block, LayerRecord
from kflow.layers.motion import Motion
from kflow.layers.positions import Positions
from kflow.layers.rank_reduction import RankReduction
from kflow.layers.replay import Replay, blocks_between
from kflow.layers.stores import LayerStore
from kflow.layers.subspace import Subspace
from kflow.points.memory import MemoryPoints
from kflow.points.protocol import ShardedPoints
from kflow.storage.checkpoint import Checkpoint

__all__ = ["Elsewhere", "FlowState"]


@dataclass(frozen=True)
class Elsewhere:
    """Training points that are not in memory.

    Attributes
    ----------
    data : TrainingData
        Points before all layers, and targets.
    points : ShardedPoints
        The points.
    """

    data: TrainingData
    points: ShardedPoints


@dataclass
class FlowState:
    """What a flow has become.

    Attributes
    ----------
    kernel : Radial
        K_1.
    subspace : Subspace or None
        In which the flow runs.
    n_features : int
        d.
    points : MemoryPoints
        The points in memory: the followed ones, and the training points unless they are elsewhere.
    targets : ndarray, shape (N, m)
        Targets of the training points that are in memory.
    labels : ndarray of int, shape (N,), or None
        Their classes, if the targets are classes.
    store : LayerStore
        The layers.
    rng : numpy.random.Generator
        Source of the batches.
    dtype : numpy.dtype
        Precision of the points.
    records : list of LayerRecord
        One for each layer: appending it is the one act that makes a layer count.
    checkpoint : Checkpoint or None
        The folder that the flow can go on from.
    elsewhere : Elsewhere or None
        The training points, if they are not in memory.
    has_ended : bool
        Whether a callback has ended the flow.
    n_seen : int
        After how many layers all callbacks have been called.
    n_resumed : int
        How many layers the flow had when this process took it up.
    """

    kernel: Radial
    subspace: Subspace | None
    n_features: int
    points: MemoryPoints
    targets: FloatArray
    labels: npt.NDArray[np.intc] | None
    store: LayerStore
    rng: np.random.Generator
    dtype: np.dtype[Any]
    records: list[LayerRecord] = field(default_factory=list)
    checkpoint: Checkpoint | None = None
    elsewhere: Elsewhere | None = None
    has_ended: bool = False
    n_seen: int = 0
    n_resumed: int = 0

    @property
    def n_layers(self) -> int:
        """Layers run so far."""
        return len(self.records)

    @property
    def n_points(self) -> int:
        """N; 0 for a flow that has layers but no training points."""
        return len(self.targets) if self.elsewhere is None else len(self.elsewhere.data.X)

    def positions(self, n_threads: int) -> Positions:
        """Return where the points in memory are after all layers: not copies."""
        return self.points.after(self.n_layers, n_threads)

    def rest(self, n_threads: int) -> None:
        """Give back the memory that only another layer needs."""
        self.points.rest(self.n_layers, n_threads)

    def training_positions(self, n_threads: int) -> Iterator[Positions]:
        """Yield where the training points are, in order and not copies; in parts if elsewhere."""
        here = self.positions(n_threads)
        if self.elsewhere is None:
            yield here
            return
        for shard in self.elsewhere.points.shards(self.n_layers):
            yield replace(shard, reductions=here.reductions)

    def restored(self, positions: Positions, name: str) -> FloatArray:
        """Return a set as points (n, d), without what lies outside the subspace: a copy."""
        if self.subspace is None:
            return positions.sets[name].copy()
        return self.subspace.restore(positions.first_coordinates(name))

    @property
    def reductions(self) -> dict[int, RankReduction]:
        """The falls of the rank, by the layer before which they come."""
        return self.points.reductions

    def history(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return the records as one array for each of their entries."""
        columns = np.array(self.records, dtype=np.float64).reshape(-1, len(HISTORY)).T
        return {name: column.copy() for name, column in zip(HISTORY, columns, strict=True)}

    def blocks_between(self, first: int, end: int) -> Iterator[Block]:
        """Iterate over stored layers as blocks."""
        return blocks_between(self.store, self.reductions, first, end)

    def count(
        self, layers: Sequence[Layer], records: Sequence[LayerRecord], generator: Any
    ) -> None:
        """Make the next layers count, with the generator's state after them.

        None stands for the state that the generator has. If a layer cannot be stored, none of them
        counts.
        """
        for number, layer in enumerate(layers, self.n_layers):
            self.store.put(number, layer)
        if generator is not None:
            self.rng.bit_generator.state = generator
        self.records += records

    def replay(self, motion: Motion) -> Replay:
        """Return the map F_n with what was stored.

        Raises
        ------
        ValueError
            If the layers were not kept.
        """
        if len(self.store) < self.n_layers:
            raise ValueError(
                "the layers of this flow were not kept (layers='none'), so that it cannot "
                "transform other points: fit it with layers='memory' or a checkpoint, or pass the "
                "points to fit as follow"
            )
        return Replay(self.store, self.n_layers, self.reductions, self.subspace, motion, self.dtype)
