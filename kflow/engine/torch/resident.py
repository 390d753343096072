"""Points of a flow that stay on a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from torch import Tensor

from kflow._base.array_types import FloatArray, Rows
from kflow.engine.interface import (
    FlowBatch,
    Layer,
    LayerOptions,
    LayerReport,
    MovingPoints,
    Profile,
)
from kflow.engine.torch.arrays import TorchArray
from kflow.engine.torch.batch import Decision
from kflow.engine.torch.device_arithmetic import DeviceArithmetic
from kflow.engine.torch.transfers import host_copy, send, to_device

__all__ = ["ResidentPoints"]


@dataclass(frozen=True)
class _Positions:
    """Points, and how many layers they contain: replaced together, in one step."""

    sets: tuple[Tensor, ...]
    n_layers: int


@dataclass(frozen=True)
class _Pending:
    """The displacements of a layer that is not in the points yet, and its step."""

    displacements: tuple[Tensor, ...]
    step: float


class ResidentPoints(MovingPoints):
    """Points that stay on a device.

    A layer's displacements are kept until the next layer, or `settle`, adds them: a caller may not
    count the layer. Points are replaced, never changed, so that an exception leaves them as they were;
    they take twice their room for a moment, and a third time for the displacements.
    """

    def __init__(
        self,
        sets: Sequence[FloatArray],
        n_fixed: int,
        profile: Profile,
        n_layers: int,
        arithmetic: DeviceArithmetic,
    ) -> None:
        self._n_fixed, self._profile, self._arithmetic = n_fixed, profile, arithmetic
        self._now = self._on_device(sets, n_layers)
        self._pending: _Pending | None = None
        self._prepare()

    def _on_device(self, sets: Sequence[FloatArray], n_layers: int) -> _Positions:
        return _Positions(tuple(to_device(x, self._arithmetic.device) for x in sets), n_layers)

    def _prepare(self) -> None:
        self._repeated = self._arithmetic.repeated()
        self._batches = self._arithmetic.batches(self._n_fixed, self._profile, self._repeated)
        self._mover = self._arithmetic.mover(self._profile, self._repeated)

    @property
    def n_layers(self) -> int:  # type: ignore[override]
        """How many layers the points themselves contain."""
        return self._now.n_layers

    def layer(
        self,
        number: int,
        batch: FlowBatch,
        targets: FloatArray,
        labels: npt.NDArray[np.intc] | None,
        options: LayerOptions,
        n_threads: int,
    ) -> tuple[Layer, LayerReport]:
        """Run a layer, which then pends; see `kflow.engine.interface.MovingPoints`."""
        self.settle(number, n_threads)
        sets = self._now.sets
        centres = sets[0][send(batch.rows, self._arithmetic.device)]
        n_moving = centres.shape[1] - self._n_fixed
        displacements = tuple(x.new_empty(len(x), n_moving) for x in sets)

        def measure(decision: Decision) -> Tensor:
            if options.over_batch:
                return decision.extent
            return self._mover.displace_and_measure(decision.layer, sets[0], displacements[0])

        decision, report = self._batches.layer(
            centres,
            targets[batch.rows],
            None if labels is None else labels[batch.rows],
            batch,
            options,
            measure,
        )
        layer = Layer(host_copy(centres), host_copy(decision.coefficients), report.step)
        # Nobody waits for these: the host goes on while the points move.
        first = 0 if options.over_batch else 1
        for x, out in zip(sets[first:], displacements[first:], strict=True):
            self._mover.displace(decision.layer, x, out)
        self._pending = _Pending(displacements, report.step)
        return layer, report

    def settle(self, n_layers: int, n_threads: int) -> None:
        """Add what is pending, so that the points contain so many layers; forget it if they do."""
        now, pending = self._now, self._pending
        if now.n_layers < n_layers:
            assert pending is not None
            sets = tuple(
                self._mover.moved(x, g, pending.step)
                for x, g in zip(now.sets, pending.displacements, strict=True)
            )
            self._now = _Positions(sets, n_layers)
            self._pending = None

    def through(self, layers: Sequence[Layer], n_threads: int) -> None:
        """Move all settled points through layers that were run elsewhere."""
        sets = tuple(self._mover.through(x, layers) for x in self._now.sets)
        self._now = _Positions(sets, self._now.n_layers + len(layers))

    def to_host(self) -> list[FloatArray]:
        """Return the coordinates of each set, which may be those of the points themselves."""
        return [x.cpu().numpy() for x in self._now.sets]

    def on_device(self) -> list[FloatArray]:
        """Return the coordinates of each set where they are."""
        return [cast(Any, TorchArray(x)) for x in self._now.sets]

    def training_rows(self, rows: Rows) -> FloatArray:
        """Return some rows of the first set."""
        return host_copy(self._now.sets[0][send(rows, self._arithmetic.device)])

    def rest(self) -> None:
        """Give back the memory of the displacements, and of what is recorded."""
        self._pending = None
        self._repeated.forget()

    def release_scratch(self) -> None:
        """Do nothing: what is recorded keeps its memory, so that the next layer is as fast."""

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and copy keep of settled points: arrays, which any device can take."""
        sets = [host_copy(x) for x in self._now.sets]
        return {
            "_n_fixed": self._n_fixed,
            "_profile": self._profile,
            "_arithmetic": self._arithmetic,
            "_now": (sets, self._now.n_layers),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what `__getstate__` kept."""
        self.__dict__.update(state, _pending=None)
        self._now = self._on_device(*state["_now"])
        self._prepare()
