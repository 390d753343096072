"""The leader of a flow: it runs layers on the points of their batches alone.

Batches do not depend on positions, so that those of the next layers are known in advance, and only
their points must be current. The layers that the leader makes of them, a block, move everybody else.
The step of a layer is measured on its batch, since the others have not moved when it is needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray, Rows
from kflow.engine.interface import BatchRunner, FlowBatch, Layer, LayerOptions
from kflow.flow.schedules import SCHEDULES, Schedule
from kflow.layers.block import Block, Record
from kflow.layers.motion import Motion
from kflow.layers.positions import CarriedPoints
from kflow.layers.rank_reduction import Rotation

__all__ = ["FlowBatch", "Leader", "Plan", "draw_flow_batch", "shrink_rows"]

# Directions that a flow no longer needs are found on so many points, where a sample is wanted.
_SHRINK_SAMPLE = 8192


def draw_flow_batch(
    rng: np.random.Generator, n: int, size: int, coarse_fraction: float, n_halves: int
) -> FlowBatch:
    """Draw a batch of `size` of n points, and its coarse subsets."""
    n_coarse = min(max(round(coarse_fraction * size), 1), size - 1)
    rows = rng.choice(n, size, replace=False).astype(np.intp)
    order = np.arange(size, dtype=np.intp)
    further = []
    for half in range(1, n_halves):
        if half % 2:  # the last ones of the same order: antithetic to the half before
            further.append(order[size - n_coarse :])
        else:
            order = rng.permutation(size).astype(np.intp)
            further.append(order[:n_coarse])
    return FlowBatch(rows, np.array(further, dtype=np.intp).reshape(-1, n_coarse), n_coarse)


def shrink_rows(n: int, layer: int) -> Rows:
    """Return the sample of n points on which idle directions are found before a layer.

    It does not depend on the flow's generator: flows with and without shrinking draw the same
    batches.
    """
    if n <= _SHRINK_SAMPLE:
        return np.arange(n, dtype=np.intp)
    rng = np.random.default_rng([layer, n])
    return np.sort(rng.choice(n, _SHRINK_SAMPLE, replace=False)).astype(np.intp)


@dataclass(frozen=True, eq=False)
class Plan:
    """The batches of a block, drawn before its layers are run.

    Attributes
    ----------
    first : int
        Number of the first layer.
    batches : tuple of FlowBatch
        One for each layer.
    states : tuple of dict
        The generator's state before each of them, and after the last.
    rows : ndarray of int, shape (n,)
        The training points in the batches, and in the sample, each once: those that are needed
        longest come first.
    n_needed : tuple of int
        How many of them, the first ones, are needed after each layer.
    places : tuple of ndarray of int
        Where in `rows` the batches are.
    sample : ndarray of int or None
        Where in `rows` the sample is, if directions may be dropped before the first layer.
    """

    first: int
    batches: tuple[FlowBatch, ...]
    states: tuple[Mapping[str, Any], ...]
    rows: Rows
    n_needed: tuple[int, ...]
    places: tuple[Rows, ...]
    sample: Rows | None

    @property
    def end(self) -> int:
        """Return the number of the layer after the last."""
        return self.first + len(self.batches)

    @classmethod
    def of(
        cls,
        first: int,
        batches: Sequence[FlowBatch],
        states: Sequence[Mapping[str, Any]],
        sample: Rows | None,
    ) -> Plan:
        """Return the plan of some batches."""
        parts = [batch.rows for batch in batches] + ([] if sample is None else [sample])
        last_use = np.concatenate(
            [np.full(len(part), number) for number, part in enumerate(parts[: len(batches)])]
            + ([] if sample is None else [np.full(len(sample), -1)])
        )
        rows, where = np.unique(np.concatenate(parts), return_inverse=True)
        needed = np.full(len(rows), -1)
        np.maximum.at(needed, where, last_use)
        order = np.argsort(-needed, kind="stable")
        place_of = np.empty(len(rows), np.intp)
        place_of[order] = np.arange(len(rows), dtype=np.intp)
        places = np.split(place_of[where], np.cumsum([len(part) for part in parts])[:-1])
        return cls(
            first,
            tuple(batches),
            tuple(states),
            rows[order].astype(np.intp),
            tuple(int((needed > number).sum()) for number in range(len(batches))),
            tuple(places[: len(batches)]),
            None if sample is None else places[-1],
        )


@dataclass(frozen=True)
class Leader:
    """What it takes to run the layers of a flow on the points of their batches.

    Attributes
    ----------
    n_points : int
        N.
    batch_size, coarse_fraction, n_halves, shrink_every, shrink_tolerance
        As in `kflow.KernelFlow`.
    every : int
        Layers in a block, at most.
    schedules : mapping of str to Schedule
        Those of `kflow.schedules.SCHEDULES`.
    motion : Motion
        How points move.
    targets : callable
        Returns the targets of some rows, (n, m), in float64.
    labels : callable
        Returns the class numbers of some targets, or None where they are not classes.
    n_fixed : int
        Coordinates that do not move: 1 in a subspace, else 0.
    """

    n_points: int
    batch_size: int
    coarse_fraction: float
    n_halves: int
    shrink_every: int
    shrink_tolerance: float
    every: int
    schedules: Mapping[str, Schedule[Any]]
    motion: Motion
    targets: Callable[[Rows], FloatArray]
    labels: Callable[[FloatArray], npt.NDArray[np.intc] | None]
    n_fixed: int

    def plan(self, rng: np.random.Generator, first: int, n_layers: int) -> Plan:
        """Draw the batches of the block that starts with layer `first`: `n_layers` or fewer."""
        count = min(n_layers, self.every)
        if self.shrink_every:  # directions are dropped between blocks only
            count = min(count, self.shrink_every - first % self.shrink_every)
        batches, states = [], [rng.bit_generator.state]
        for _ in range(count):
            batches.append(
                draw_flow_batch(
                    rng, self.n_points, self.batch_size, self.coarse_fraction, self.n_halves
                )
            )
            states.append(rng.bit_generator.state)
        shrinks = self.shrink_every and first and first % self.shrink_every == 0
        sample = shrink_rows(self.n_points, first) if shrinks else None
        return Plan.of(first, batches, states, sample)

    def run(self, plan: Plan, positions: FloatArray) -> tuple[Block | None, Exception | None]:
        """Run the layers of a plan.

        Parameters
        ----------
        plan : Plan
            What to run.
        positions : ndarray, shape (n, k)
            Coordinates of ``plan.rows`` before the first layer; overwritten.

        Returns
        -------
        block : Block or None
            The layers, up to the first that failed; None if there are none.
        error : Exception or None
            Why that one failed: ``NotPositiveDefinite``, ``Diverged``, or what a
            schedule raised.
        """
        rotation = None
        if plan.sample is not None:
            rotation = Rotation.shrinking(positions[plan.sample], plan.first, self.shrink_tolerance)
        if rotation is not None:
            positions = rotation(positions)[0]
        rank = positions.shape[1] - self.n_fixed
        runner = self.motion.engine.batch_runner(self.n_fixed, self.motion.profile)
        layers: list[Layer] = []
        records: list[Record] = []
        error: Exception | None = None
        for number, (batch, places) in enumerate(zip(plan.batches, plan.places, strict=True)):
            start = time.perf_counter()
            try:
                layer, record = self._layer(plan.first + number, batch, positions[places], runner)
            except Exception as failure:
                error = failure
                break
            needed = positions[: plan.n_needed[number]]
            self.motion.through(needed, [layer])
            layers.append(layer)
            records.append((*record[:2], time.perf_counter() - start, *record[2:], rank))
        if not layers:
            return None, error
        return Block(plan.first, tuple(layers), rotation, tuple(records)), error

    def _layer(
        self, number: int, batch: FlowBatch, z: FloatArray, runner: BatchRunner
    ) -> tuple[Layer, tuple[float, ...]]:
        """Return a layer, and its rho, step, class distance ratio and nugget."""
        nugget, rule, size, cap = (self.schedules[name](number) for name in SCHEDULES)
        targets = self.targets(batch.rows)
        options = LayerOptions(nugget, rule, size, cap, over_batch=True)
        layer, report = runner.layer(
            z, batch, targets, self.labels(targets), options, self.motion.n_threads
        )
        return layer, (*report, nugget)

    def move(self, positions: FloatArray, block: Block) -> FloatArray:
        """Return the coordinates (n, k') to which a block takes those of some points, (n, k)."""
        points = CarriedPoints.before_layers({"": positions})
        return points.through(block, self.motion).sets[""]
