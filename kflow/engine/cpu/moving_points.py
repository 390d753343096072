"""Layers of a flow, run on points in this process's memory: on all of them, or on a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow.engine.cpu import _core
from kflow.engine.cpu.convert import core_errors, core_options, core_profile
from kflow.engine.interface import (
    BatchRunner,
    FlowBatch,
    Layer,
    LayerOptions,
    LayerReport,
    MovingPoints,
    Profile,
)

__all__ = ["CpuBatchRunner", "CpuMovingPoints"]


class CpuMovingPoints(MovingPoints):
    """Points that the core changes where they are.

    The core changes the points and the number of layers that they contain, `n_layers`, in one call: an
    exception that comes at any other time, such as that of a signal's handler, leaves both right.
    """

    def __init__(
        self, sets: Sequence[FloatArray], n_fixed: int, profile: Profile, n_layers: int
    ) -> None:
        self._sets = list(sets)
        self._n_fixed = n_fixed
        self._profile = profile
        self._n_layers = np.array([n_layers], dtype=np.intp)
        # The step of the last layer, whose displacements are added when the next layer comes by.
        self._step = 0.0
        self._displacements = self._no_displacements()
        self._workspace = _core.Batch()

    @property
    def n_layers(self) -> int:  # type: ignore[override]
        """How many layers the points themselves contain."""
        return int(self._n_layers[0])

    def layer(
        self,
        number: int,
        batch: FlowBatch,
        targets: FloatArray,
        labels: npt.NDArray[np.intc] | None,
        options: LayerOptions,
        n_threads: int,
    ) -> tuple[Layer, LayerReport]:
        """Run a layer and move all points by it; see `kflow.engine.interface.MovingPoints`."""
        points = self._sets[0]
        rank = points.shape[1] - self._n_fixed
        z = np.empty((len(batch.rows), points.shape[1]), points.dtype)
        c = np.empty((len(batch.rows), rank), points.dtype)
        with core_errors:
            report = LayerReport(
                *_core.flow_layer(
                    sets=self._moving(),
                    pending=self._pending(number),
                    settled=self._n_layers,
                    layer=number,
                    Y=targets,
                    labels=labels,
                    batch=batch.rows,
                    further_halves=batch.halves,
                    options=core_options(
                        self._profile, z.dtype, options, batch.n_coarse, len(batch.halves) + 1
                    ),
                    z=z,
                    c=c,
                    workspace=self._workspace,
                    n_threads=n_threads,
                )
            )
        self._step = report.step
        return Layer(z, c, report.step), report

    def settle(self, n_layers: int, n_threads: int) -> None:
        """Add what is pending, so that the points contain so many layers."""
        if self.n_layers < n_layers:
            pending = self._pending(n_layers)
            _core.settle(self._moving(), pending, self._n_layers, n_layers, n_threads)

    def through(self, layers: Sequence[Layer], n_threads: int) -> None:
        """Move all settled points through layers that were run elsewhere."""
        # Copies: where memory runs out on the way, the points are those before all layers.
        moved = [points.copy() for points in self._sets]
        for points in moved:
            _core.replay(points, layers, core_profile(self._profile, points.dtype), n_threads)
        self._sets = moved
        self._n_layers[0] += len(layers)

    def to_host(self) -> list[FloatArray]:
        """Return the coordinates of each set: not copies."""
        return list(self._sets)

    def rest(self) -> None:
        """Give back the memory of the displacements and of the batch's algebra."""
        self._displacements = self._no_displacements()
        self.release_scratch()

    def release_scratch(self) -> None:
        """Give back the memory of the batch's algebra."""
        self._workspace = _core.Batch()

    def _pending(self, n_layers: int) -> float:
        return self._step if self.n_layers < n_layers else 0.0

    def _no_displacements(self) -> list[FloatArray]:
        """Return zeros, which take no room until they are written."""
        return [
            np.zeros((len(points), points.shape[1] - self._n_fixed), points.dtype)
            for points in self._sets
        ]

    def _moving(self) -> list[tuple[FloatArray, FloatArray]]:
        return list(zip(self._sets, self._displacements, strict=True))

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and copy keep of settled points."""
        return {**self.__dict__, "_displacements": [], "_workspace": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what `__getstate__` kept."""
        self.__dict__.update(state, _workspace=_core.Batch())
        self._displacements = self._no_displacements()


class CpuBatchRunner(BatchRunner):
    """Runs layers on their batches alone, with scratch memory for one batch."""

    def __init__(self, n_fixed: int, profile: Profile) -> None:
        self._n_fixed = n_fixed
        self._profile = profile
        self._workspace = _core.Batch()

    def layer(
        self,
        positions: FloatArray,
        batch: FlowBatch,
        targets: FloatArray,
        labels: npt.NDArray[np.intc] | None,
        options: LayerOptions,
        n_threads: int,
    ) -> tuple[Layer, LayerReport]:
        """Return the layer that a batch decides; see `kflow.engine.interface.BatchRunner`."""
        c = np.empty((len(positions), positions.shape[1] - self._n_fixed), positions.dtype)
        with core_errors:
            report = LayerReport(
                *_core.batch_layer(
                    z=positions,
                    Y=targets,
                    labels=labels,
                    further_halves=batch.halves,
                    options=core_options(
                        self._profile, c.dtype, options, batch.n_coarse, len(batch.halves) + 1
                    ),
                    c=c,
                    workspace=self._workspace,
                    n_threads=n_threads,
                )
            )
        return Layer(positions, c, report.step), report
