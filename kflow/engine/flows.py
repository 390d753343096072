"""What an engine keeps for a flow: its moving points, or scratch memory for batches alone.

`kflow.engine.interface` has the rules for all arrays, and the notation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray, Rows
from kflow.engine.records import FlowBatch, Layer, LayerOptions, LayerReport

__all__ = ["BatchRunner", "MovingPoints"]


class MovingPoints(ABC):
    """The moving points of a flow: sets of points in the same coordinates, training points first.

    A layer's displacement may be added to the points later than `layer` computes it, because its step
    is known only after all training points were measured, and the next layer visits every point anyway.
    Such a layer is pending. The object holds what it needs to add it, and scratch memory. The
    coordinates that `to_host` returns contain no pending layer; `settle` adds it.

    Settled points can be pickled and deep-copied, and such copies go on with the same bits. Points with
    a pending layer are settled by their owner first.

    An exception may come at any moment, such as KeyboardInterrupt from the handler of a signal. The
    coordinates and `n_layers` must then still belong together, so they change in one step.

    Attributes
    ----------
    n_layers : int
        How many layers the coordinates contain, without one that is pending.
    """

    n_layers: int

    @abstractmethod
    def layer(
        self,
        number: int,
        batch: FlowBatch,
        targets: FloatArray,
        labels: npt.NDArray[np.intc] | None,
        options: LayerOptions,
        n_threads: int,
    ) -> tuple[Layer, LayerReport]:
        """Run a layer, after which it is pending or already in the points.

        Parameters
        ----------
        number : int
            The number of the layer: how many layers the caller has counted. It is `n_layers` if nothing
            is pending, or if the pending layer is to be forgotten: the caller did not count it, because
            something else failed after it had run. Else it is ``n_layers + 1``, and the pending layer
            is settled first. An engine may let several layers wait; it is larger by so many then.
        batch : FlowBatch
            Rows of the first set.
        targets : ndarray of float64, shape (N, n_targets)
            Targets of all points of the first set.
        labels : ndarray of intc, shape (N,), or None
            Their class numbers.
        options : LayerOptions
            How the layer descends.
        n_threads : int
            The largest number of threads.

        Returns
        -------
        layer : Layer
            The layer, in new arrays that belong to the caller.
        report : LayerReport
            What was measured.

        Raises
        ------
        NotPositiveDefinite
            If the batch's kernel matrix cannot be factorised. Its numbers are positions in
            ``batch.rows``.
        Diverged
            If a value is not finite, or the points would move too far. After both errors the points are
            those before this layer, whether the one before it pends or not, and the same number may
            come again.
        """

    @abstractmethod
    def settle(self, n_layers: int, n_threads: int) -> None:
        """Add the pending layer if the points contain fewer than `n_layers` layers without it.

        Afterwards the attribute `n_layers` is that number. Calling it again changes nothing. If the
        points contain `n_layers` layers already, a layer that pends does not count, and is not added.
        """

    @abstractmethod
    def through(self, layers: Sequence[Layer], n_threads: int) -> None:
        """Move all points through layers that were run elsewhere, which are added to `n_layers`.

        The points must be settled. The centres of all layers are of one shape, and so are the
        coefficients. Points of a flow with these layers arrive at the same bits.
        """

    @abstractmethod
    def to_host(self) -> list[FloatArray]:
        """Return the coordinates of each set, (n_i, k), without a layer that is pending.

        They need not be copies, and the caller does not change them: they may change with the points.
        """

    def on_device(self) -> list[FloatArray]:
        """Return what `to_host` returns, as arrays of the engine's device if it has one.

        They are no copies, and the caller does not change them.
        """
        return self.to_host()

    def training_rows(self, rows: Rows) -> FloatArray:
        """Return some rows of the first set, in host memory; without a layer that is pending."""
        return self.to_host()[0][rows]

    @abstractmethod
    def rest(self) -> None:
        """Give back all memory but that of the points, until there is another layer.

        The points must be settled.
        """

    @abstractmethod
    def release_scratch(self) -> None:
        """Give back the memory of a batch's algebra; the displacements stay where they are.

        The next layer is then as fast as if nothing had been given back.
        """


class BatchRunner(ABC):
    """Runs layers on their batches alone, for points that are elsewhere. It owns scratch memory.

    The layers are the same, to the last bit, as those of `MovingPoints` with `over_batch`.
    """

    @abstractmethod
    def layer(
        self,
        positions: FloatArray,
        batch: FlowBatch,
        targets: FloatArray,
        labels: npt.NDArray[np.intc] | None,
        options: LayerOptions,
        n_threads: int,
    ) -> tuple[Layer, LayerReport]:
        """Return the layer that a batch alone decides.

        Parameters
        ----------
        positions : ndarray of real, shape (m, k)
            The points of the batch, in the order of ``batch.rows``. The centres of the layer that is
            returned may be this very array.
        batch : FlowBatch
            The batch, whose rows themselves are not read.
        targets : ndarray of float64, shape (m, n_targets)
            Targets of the points of the batch.
        labels : ndarray of intc, shape (m,), or None
            Their class numbers.
        options : LayerOptions
            How the layer descends; ``over_batch`` is true.
        n_threads : int
            The largest number of threads.

        Returns
        -------
        layer : Layer
            The layer.
        report : LayerReport
            What was measured.

        Raises
        ------
        NotPositiveDefinite
            If the batch's kernel matrix cannot be factorised. Its numbers are positions in the batch.
        Diverged
            If a value is not finite, or the batch would move too far.
        """
