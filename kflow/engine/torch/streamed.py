"""Points of a flow that are too many for a device: they pass through it in tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kflow._base.array_types import FloatArray
from kflow.engine.interface import (
    FlowBatch,
    Layer,
    LayerOptions,
    LayerReport,
    MovingPoints,
    Profile,
)
from kflow.engine.torch.batch import Decision
from kflow.engine.torch.conveyor import Conveyor
from kflow.engine.torch.device_arithmetic import DeviceArithmetic
from kflow.engine.torch.extent import extent, lengths
from kflow.engine.torch.move import LayerOnDevice, rows_of_a_tile
from kflow.engine.torch.page_locked import PageLocked
from kflow.engine.torch.parcel import Parcel
from kflow.engine.torch.transfers import host_copy, send, to_device

__all__ = ["StreamedPoints"]

# Layers that may wait for one pass of all points, where no layer needs them: a pass takes the time of its
# transfers, and each layer that waits moves the points of every batch once more.
_MOST_WAITING = 8


@dataclass(frozen=True)
class _Waiting:
    """A layer through which the points have not moved yet."""

    layer: LayerOnDevice
    step: float


@dataclass(frozen=True)
class _Place:
    """Memory for all points, from which the device copies on its own."""

    sets: tuple[Tensor, ...]
    locked: PageLocked

    @classmethod
    def of(cls, sets: Sequence[Tensor], device: str) -> _Place:
        return cls(tuple(sets), PageLocked(sets, device))


@dataclass(frozen=True)
class _State:
    """Points, how many layers they contain, and those that wait: replaced together, in one step."""

    place: _Place
    n_layers: int
    waiting: tuple[_Waiting, ...] = ()


class StreamedPoints(MovingPoints):
    """Points in this process's memory that pass through a device in tiles, to the bits of `ResidentPoints`.

    A layer waits: the points of the next batch move through it alone, and all others with the next pass.
    There is one pass for each layer if the step is measured on all points, else one for eight layers. A pass
    takes the points to another place in memory, so that an exception leaves them as they were.
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
        self._state = self._in_memory(sets, n_layers)
        self._prepare()

    def _in_memory(self, sets: Sequence[FloatArray], n_layers: int) -> _State:
        tensors = [torch.from_numpy(np.ascontiguousarray(x)) for x in sets]
        return _State(_Place.of(tensors, self._arithmetic.device), n_layers)

    def _prepare(self) -> None:
        self._repeated = self._arithmetic.repeated()
        self._batches = self._arithmetic.batches(self._n_fixed, self._profile, self._repeated)
        self._mover = self._arithmetic.mover(self._profile, self._repeated)
        self._conveyor: Conveyor | None = None
        self._other: _Place | None = None

    @property
    def n_layers(self) -> int:  # type: ignore[override]
        """How many layers the points themselves contain, without those that wait."""
        return self._state.n_layers

    def layer(
        self,
        number: int,
        batch: FlowBatch,
        targets: FloatArray,
        labels: npt.NDArray[np.intc] | None,
        options: LayerOptions,
        n_threads: int,
    ) -> tuple[Layer, LayerReport]:
        """Run a layer, which then waits; see `kflow.engine.interface.MovingPoints`."""
        self._forget(number)
        if len(self._state.waiting) >= _MOST_WAITING:
            self.settle(number, n_threads)
        state, device = self._state, self._arithmetic.device
        centres = send(state.place.sets[0].numpy()[batch.rows], device)
        for each in state.waiting:
            n_moving = centres.shape[1] - self._n_fixed
            centres = self._mover.moved(each.layer, centres, each.step, n_moving)

        def measure(decision: Decision) -> Tensor:
            return decision.extent if options.over_batch else self._pass_and_measure(decision.layer)

        parcel = Parcel.of(batch, targets, labels, options, device)
        decision, report = self._batches.layer(centres, parcel, options, measure)
        layer = Layer(host_copy(centres), host_copy(decision.coefficients), report.step)
        waiting = (*self._state.waiting, _Waiting(decision.layer, report.step))
        self._state = replace(self._state, waiting=waiting)
        return layer, report

    def settle(self, n_layers: int, n_threads: int) -> None:
        """Move all points through the layers that wait, so that they contain so many."""
        self._forget(n_layers)
        if self._state.waiting:
            self._pass(self._state.waiting)

    def through(self, layers: Sequence[Layer], n_threads: int) -> None:
        """Move all settled points through layers that were run elsewhere."""
        device = self._arithmetic.device
        self._forget(self._state.n_layers)
        self._pass(
            [
                _Waiting(LayerOnDevice.of(to_device(z, device), to_device(c, device)), step)
                for z, c, step in layers
            ]
        )

    def to_host(self) -> list[FloatArray]:
        """Return the coordinates of each set: not copies."""
        return [x.numpy() for x in self._state.place.sets]

    def rest(self) -> None:
        """Give back the memory on the device, and the other place."""
        self._forget(self._state.n_layers)
        self._conveyor = self._other = None
        self._repeated.forget()

    def release_scratch(self) -> None:
        """Do nothing: what is recorded keeps its memory, so that the next layer is as fast."""

    # ---- passes -------------------------------------------------------------------------------

    def _forget(self, n_layers: int) -> None:
        """Forget layers that wait but do not count: those after `n_layers`."""
        state = self._state
        counted = state.waiting[: max(n_layers - state.n_layers, 0)]
        self._state = replace(state, waiting=counted)

    def _tile(self, x: Tensor, waiting: Sequence[_Waiting]) -> Tensor:
        """Return the points of a full tile after layers."""
        n_moving = x.shape[1] - self._n_fixed
        for each in waiting:
            x = self._mover.moved_tile(each.layer, x, each.step, n_moving)
        return x

    def _carry(self) -> Conveyor:
        if self._conveyor is None:
            points, device = self._state.place.sets[0], self._arithmetic.device
            self._conveyor = Conveyor(rows_of_a_tile(device), points.shape[1], points.dtype, device)
        return self._conveyor

    def _pass(
        self, layers: Sequence[_Waiting], measured: LayerOnDevice | None = None
    ) -> Tensor | None:
        """Move all points through layers, and return the extent by one more layer of the first set."""
        conveyor, state, found = self._carry(), self._state, list[tuple[Tensor, Tensor]]()

        def work(x: Tensor, n: int) -> Tensor | None:
            after = self._tile(x, layers)
            if measured is not None and first:
                g = self._mover.displacement(measured, after)
                found.append((lengths(after[:n]), lengths(g[:n])))
            return after

        target = self._free_place() if layers else None
        for number, source in enumerate(state.place.sets):
            first = number == 0
            if target is not None or (first and measured is not None):
                conveyor.run(source, work, None if target is None else target.sets[number])
        if target is not None:
            self._state = _State(target, state.n_layers + len(layers))
            self._other = state.place
        return extent(*map(torch.cat, zip(*found, strict=True))) if found else None

    def _free_place(self) -> _Place:
        """Return the place where the points are not."""
        taken, other = self._state.place, self._other
        if other is None or other is taken:
            empty = [torch.empty_like(x) for x in taken.sets]
            self._other = other = _Place.of(empty, self._arithmetic.device)
        return other

    def _pass_and_measure(self, layer: LayerOnDevice) -> Tensor:
        found = self._pass(self._state.waiting, layer)
        assert found is not None
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and copy keep of settled points."""
        sets = [np.array(x.numpy()) for x in self._state.place.sets]
        return {
            "_n_fixed": self._n_fixed,
            "_profile": self._profile,
            "_arithmetic": self._arithmetic,
            "_state": (sets, self._state.n_layers),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what `__getstate__` kept."""
        self.__dict__.update(state)
        self._state = self._in_memory(*state["_state"])
        self._prepare()
