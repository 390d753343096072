"""The state of a flow: its points, layers, records and generator, and where they are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray, Rows
from kflow._base.short_repr import ShortRepr
from kflow.data.training_data import TrainingData
from kflow.engine.interface import Layer
from kflow.flow.settings import FlowSettings
from kflow.kernels import Radial
from kflow.layers.block import HISTORY, Block, LayerRecord
from kflow.layers.motion import Motion
from kflow.layers.positions import TRAINING, Positions
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
        The points before the first layer, and the targets.
    points : ShardedPoints
        The points after the layers.
    """

    data: TrainingData
    points: ShardedPoints


@dataclass(repr=False)
class FlowState(ShortRepr):
    """The state of a flow.

    Attributes
    ----------
    kernel : Radial
        K_1.
    subspace : Subspace or None
        The subspace in which the flow runs.
    n_features : int
        Number of features, d.
    points : MemoryPoints
        The points in memory: the followed ones, and the training points unless they are elsewhere.
    targets : ndarray, shape (N, m)
        Targets of the training points that are in memory.
    labels : ndarray of int, shape (N,), or None
        Classes of these points, if the targets are classes.
    store : LayerStore
        The layers.
    rng : numpy.random.Generator
        Source of the batches.
    dtype : numpy.dtype
        Precision of the points.
    records : list of LayerRecord
        One record for each layer. A layer counts from the moment at which its record is appended.
    checkpoint : Checkpoint or None
        The folder from which the flow can be resumed.
    elsewhere : Elsewhere or None
        The training points, if they are not in memory.
    has_ended : bool
        Whether a callback has ended the flow.
    n_seen : int
        Number of layers after which all callbacks have been called.
    n_resumed : int
        Number of layers that the flow had when this process took it over.
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

    @classmethod
    def of(
        cls,
        settings: FlowSettings,
        *,
        kernel: Radial,
        subspace: Subspace | None,
        n_features: int,
        positions: Positions,
        targets: FloatArray,
        labels: npt.NDArray[np.intc] | None,
        store: LayerStore,
        rng: np.random.Generator,
        records: Sequence[LayerRecord] = (),
        checkpoint: Checkpoint | None = None,
        has_ended: bool = False,
    ) -> FlowState:
        """Return the state of a flow that this process takes up where its records end.

        Parameters
        ----------
        settings : FlowSettings
            The flow's settings.
        positions : Positions
            Positions of the points in memory after the layers that have a record. The arrays belong
            to the state from then on.
        kernel, subspace, n_features, targets, labels, store, rng, records, checkpoint, has_ended
            As the attributes.
        """
        n_layers, n_fixed = len(records), settings.layer_shape(subspace).n_fixed
        return cls(
            kernel=kernel,
            subspace=subspace,
            n_features=n_features,
            points=MemoryPoints(positions, n_fixed, n_layers, settings.motion(kernel)),
            targets=targets,
            labels=labels,
            store=store,
            rng=rng,
            dtype=settings.point_dtype,
            records=list(records),
            checkpoint=checkpoint,
            has_ended=has_ended,
            n_seen=n_layers,
            n_resumed=n_layers,
        )

    @property
    def n_layers(self) -> int:
        """Layers run so far."""
        return len(self.records)

    @property
    def n_points(self) -> int:
        """Number of training points, N; 0 for a flow that has layers but no training points."""
        return len(self.targets) if self.elsewhere is None else len(self.elsewhere.data.X)

    def positions(self, n_threads: int, *, on_device: bool = False) -> Positions:
        """Return the positions of the points in memory after all layers; they are not copies.

        They are NumPy arrays, or arrays of the device on which the points were given.

        Where another thread may run the flow, they are right as long as ``points.lock`` is held.
        """
        with self.points.lock:
            return self.points.after(self.n_layers, n_threads, on_device=on_device)

    def training_rows(self, rows: Rows, n_threads: int) -> FloatArray:
        """Return the coordinates of some training points in memory, as a NumPy array."""
        with self.points.lock:
            return self.points.training_rows(rows, self.n_layers, n_threads)

    def rest(self, n_threads: int) -> None:
        """Release the memory that is only needed to run further layers."""
        with self.points.lock:
            self.points.rest(self.n_layers, n_threads)

    def training_points(self, n_threads: int, *, reduced: bool) -> Iterator[FloatArray]:
        """Iterate over copies of the training points, in order.

        Points in memory come as one part, points elsewhere in several. Points that were given on a device
        come as arrays of it.

        Parameters
        ----------
        n_threads : int
            The largest number of threads.
        reduced : bool
            Whether to return coordinates (n, k), or else points (n, d), without what lies outside
            the subspace.
        """
        with self.points.lock:
            n_layers = self.n_layers
            here = self.positions(n_threads, on_device=self.points.on_device)
            if self.elsewhere is None:
                points = here.training.copy() if reduced else self.restored(here, TRAINING)
        if self.elsewhere is None:
            yield points
            return
        for shard in self.elsewhere.points.shards(n_layers):
            part = replace(shard, reductions=here.reductions)
            yield part.training.copy() if reduced else self.restored(part, TRAINING)

    def restored(self, positions: Positions, name: str) -> FloatArray:
        """Return a copy of a set as points (n, d), without what lies outside the subspace."""
        if self.subspace is None:
            return positions.sets[name].copy()
        return self.subspace.restore(positions.first_coordinates(name))

    @property
    def reductions(self) -> dict[int, RankReduction]:
        """The reductions of the rank, each by the number of the layer before which it comes."""
        return self.points.reductions

    def history(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return the records as one array for each of their fields."""
        columns = np.array(list(self.records), dtype=np.float64).reshape(-1, len(HISTORY)).T
        return {name: column.copy() for name, column in zip(HISTORY, columns, strict=True)}

    def blocks_between(self, first: int, end: int) -> Iterator[Block]:
        """Iterate over stored layers as blocks."""
        return blocks_between(self.store, self.reductions, first, end)

    def count(
        self, layers: Sequence[Layer], records: Sequence[LayerRecord], generator: Any
    ) -> None:
        """Make the next layers count, with the generator's state after them.

        If `generator` is None, the generator is in that state already. If a layer cannot be stored,
        none of the layers counts.
        """
        for number, layer in enumerate(layers, self.n_layers):
            self.store.put(number, layer)
        if generator is not None:
            self.rng.bit_generator.state = generator
        self.records += records

    def replay(self, motion: Motion) -> Replay:
        """Return the map F_n, made of the stored layers.

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
