"""Points of a flow that stay on a device.

Two lanes of the device's work: batches are decided on the one, and all points move on the other. Where a
step is measured on its batch alone, the next batch need not wait until all points have moved: its own points
move through the layer before it at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
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
from kflow.engine.torch.lanes import Lane, Mark
from kflow.engine.torch.move import LayerOnDevice, step_to
from kflow.engine.torch.padding import rounded_up
from kflow.engine.torch.parcel import Parcel
from kflow.engine.torch.transfers import host_copy, send, start_host_copy, to_device

__all__ = ["ResidentPoints"]


@dataclass(frozen=True)
class _Positions:
    """Points, how many layers they contain, and when they are there: replaced together, in one step."""

    sets: tuple[Tensor, ...]
    n_layers: int
    ready: Mark


@dataclass(frozen=True)
class _Next:
    """The points after a layer that may not count, and that layer if its batch alone decided it."""

    positions: _Positions
    layer: LayerOnDevice | None
    step: float


@dataclass(frozen=True)
class _Places:
    """The memory of a flow: two places for the points, and displacements, (n, Q), of the first set."""

    sets: tuple[tuple[Tensor, ...], tuple[Tensor, ...]]
    displacements: Tensor

    def free(self, taken: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the place where the points are not."""
        first, second = self.sets
        return second if taken is first else first


class ResidentPoints(MovingPoints):
    """Points that stay on a device.

    A layer moves them to another place, and they stay where they were until the next layer, or `settle`,
    says that it counts: an exception leaves them as they were.
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
        self._prepare(sets, n_layers)

    def _prepare(self, sets: Sequence[FloatArray], n_layers: int) -> None:
        arithmetic, profile, device = self._arithmetic, self._profile, self._arithmetic.device
        self._leading, self._fetching = (Lane.new(device, first=True) for _ in range(2))
        self._moving = Lane.new(device)
        # What is recorded is not run by two lanes at once.
        leading, moving, here = self._repeated = tuple(arithmetic.repeated() for _ in range(3))
        self._batches = arithmetic.batches(self._n_fixed, profile, leading)
        self._leader = arithmetic.mover(profile, leading)
        self._sweeper = arithmetic.sweeper(profile, moving)
        self._mover = arithmetic.mover(profile, here)
        self._now = self._positions(tuple(to_device(x, device) for x in sets), n_layers)
        self._next: _Next | None = None
        self._places: _Places | None = None

    def _positions(self, sets: tuple[Tensor, ...], n_layers: int) -> _Positions:
        return _Positions(sets, n_layers, Lane.current(self._arithmetic.device).mark())

    @property
    def n_layers(self) -> int:  # type: ignore[override]
        """How many layers the points themselves contain."""
        return self._now.n_layers

    # ---- layers -------------------------------------------------------------------------------

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
        device, leading, moving = self._arithmetic.device, self._leading, self._moving
        places = self._two_places()
        leading.after(Lane.current(device).mark())
        kept: list[tuple[FloatArray, FloatArray]] = []
        with leading.context():
            parcel = Parcel.of(batch, targets, labels, options, device)
            centres = self._centres(parcel.contents().rows, number)
            self.settle(number, n_threads)
            fetched = self._fetch(centres)
            now, n_moving = self._now.sets, centres.shape[1] - self._n_fixed

            def measure(decision: Decision) -> Tensor:
                if options.over_batch:
                    return decision.extent
                with self._behind(*decision.layer):
                    extent = self._sweeper.displace(decision.layer, now[0], places.displacements)
                # The host keeps the layer while the device measures.
                kept.append((fetched(), self._fetch(decision.coefficients)()))
                leading.after(moving.mark())
                leading.keep(extent)
                return extent

            decision, report = self._batches.layer(centres, parcel, options, measure)
        after = places.free(now)
        with self._behind(*decision.layer):
            step = torch.full((), report.step, dtype=centres.dtype, device=device)
            if not options.over_batch:
                step_to(now[0], places.displacements[:, :n_moving], step, after[0])
            first = 0 if options.over_batch else 1
            self._sweeper.move(decision.layer, now[first:], step, n_moving, after[first:])
        positions = _Positions(after, number + 1, moving.mark())
        decided = decision.layer if options.over_batch else None
        self._next = _Next(positions, decided, report.step)
        if not kept:  # while the points move
            kept.append((fetched(), self._fetch(decision.coefficients)()))
        return Layer(*kept[-1], report.step), report

    def _two_places(self) -> _Places:
        """Return the memory of the flow, which is kept until `rest`."""
        if self._places is None:
            sets = self._now.sets
            n, k = sets[0].shape
            displacements = sets[0].new_empty(n, rounded_up(k - self._n_fixed))
            places = _Places((sets, tuple(map(torch.empty_like, sets))), displacements)
            for lane in (self._leading, self._moving):
                lane.keep(*places.sets[0], *places.sets[1], displacements)
            self._places = places
        return self._places

    def _centres(self, index: Tensor, number: int) -> Tensor:
        """Return some points after `number` layers: before all points are there, where that is sooner."""
        now, after = self._now, self._next
        if now.n_layers == number:
            self._leading.after(now.ready)
            return now.sets[0][index]
        assert after is not None
        if after.layer is None:
            self._leading.after(after.positions.ready)
            return after.positions.sets[0][index]
        self._leading.after(now.ready)
        some = now.sets[0][index]
        return self._leader.moved(after.layer, some, after.step, some.shape[1] - self._n_fixed)

    def _fetch(self, tensor: Tensor) -> Callable[[], FloatArray]:
        """Start to copy what the leading lane computes, beside what follows."""
        self._fetching.after(self._leading.mark())
        self._fetching.keep(tensor)
        with self._fetching.context():
            return start_host_copy(tensor)

    @contextmanager
    def _behind(self, *needed: Tensor) -> Iterator[None]:
        """Let work be done when the leading lane has come so far; it needs tensors of that lane."""
        self._moving.after(self._leading.mark())
        self._moving.keep(*needed)
        with self._moving.context():
            yield

    # ---- points -------------------------------------------------------------------------------

    def settle(self, n_layers: int, n_threads: int) -> None:
        """Let the layer that pends count, so that the points contain so many; forget it if they do."""
        if self._now.n_layers < n_layers:
            assert self._next is not None
            self._now = self._next.positions
        self._next = None

    def through(self, layers: Sequence[Layer], n_threads: int) -> None:
        """Move all settled points through layers that were run elsewhere."""
        sets = tuple(self._mover.through(x, layers) for x in self._sets())
        self._now = self._positions(sets, self._now.n_layers + len(layers))
        self._places = None

    def to_host(self) -> list[FloatArray]:
        """Return the coordinates of each set, which may be those of the points themselves."""
        return [x.cpu().numpy() for x in self._sets()]

    def on_device(self) -> list[FloatArray]:
        """Return the coordinates of each set where they are."""
        return [cast(Any, TorchArray(x)) for x in self._sets()]

    def training_rows(self, rows: Rows) -> FloatArray:
        """Return some rows of the first set."""
        return host_copy(self._sets()[0][send(rows, self._arithmetic.device)])

    def _sets(self) -> tuple[Tensor, ...]:
        """Return the points for work of this thread's lane."""
        here = Lane.current(self._arithmetic.device)
        here.after(self._now.ready)
        here.keep(*self._now.sets)
        return self._now.sets

    def rest(self) -> None:
        """Give back the memory of the next points, and of what is recorded."""
        self._next = self._places = None
        for repeated in self._repeated:
            repeated.forget()

    def release_scratch(self) -> None:
        """Do nothing: what is recorded keeps its memory, so that the next layer is as fast."""

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and copy keep of settled points: arrays, which any device can take."""
        return {
            "_n_fixed": self._n_fixed,
            "_profile": self._profile,
            "_arithmetic": self._arithmetic,
            "_now": ([host_copy(x) for x in self._sets()], self._now.n_layers),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what `__getstate__` kept."""
        self.__dict__.update(state)
        self._prepare(*state["_now"])
