"""The leader of a flow: it runs layers on the points of their batches alone.

Batches do not depend on positions, so that the batches of the next layers are known in advance, and
only their points must be current. From them the leader makes a block of layers, through which all
other points are moved later. The step of a layer is measured on its batch, since the other points
have not yet moved when the step is needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray, Rows
from kflow.engine.interface import BatchRunner, FlowBatch, Layer, LayerOptions, LayerReport
from kflow.flow.batch import draw_batch, due_reduction, falls_before, sample_rows
from kflow.flow.settings import FlowSettings
from kflow.flow.warn import warn_of_standstill
from kflow.layers.block import Block, LayerRecord
from kflow.layers.motion import Motion
from kflow.layers.positions import Positions

__all__ = ["Leader", "Plan"]


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
        The generator's state before each batch, and after the last.
    rows : ndarray of int, shape (n,)
        The training points in the batches and in the sample, each once. The points that are needed
        longest come first.
    n_needed : tuple of int
        For each layer, how many points at the beginning of `rows` are still needed after it.
    places : tuple of ndarray of int
        For each batch, the places of its points in `rows`.
    sample : ndarray of int or None
        The places of the sample in `rows`, if directions may be dropped before the first layer.
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
    """Object that runs the layers of a flow on the points of their batches.

    Attributes
    ----------
    settings : FlowSettings
        The flow's settings.
    n_points : int
        Number of training points, N.
    n_fixed : int
        Number of coordinates that do not move: 1 in a subspace, else 0.
    motion : Motion
        How points move.
    targets : callable
        Returns the targets of some rows, (n, m), in float64.
    labels : callable
        Returns the class numbers of some targets, or None where they are not classes.
    """

    settings: FlowSettings
    n_points: int
    n_fixed: int
    motion: Motion
    targets: Callable[[Rows], FloatArray]
    labels: Callable[[FloatArray], npt.NDArray[np.intc] | None]

    def plan(self, rng: np.random.Generator, first: int, n_layers: int) -> Plan:
        """Draw the batches of a block that starts with layer `first`: at most `n_layers`."""
        settings = self.settings
        count = min(n_layers, settings.every)
        if settings.shrink_every:  # the rank may only fall between blocks
            count = min(count, settings.shrink_every - first % settings.shrink_every)
        batches, states = [], [rng.bit_generator.state]
        for _ in range(count):
            batches.append(draw_batch(rng, self.n_points, settings))
            states.append(rng.bit_generator.state)
        sample = sample_rows(self.n_points, first) if falls_before(first, settings) else None
        return Plan.of(first, batches, states, sample)

    def run(self, plan: Plan, positions: FloatArray) -> tuple[Block | None, Exception | None]:
        """Run the layers of a plan.

        Parameters
        ----------
        plan : Plan
            The plan of the layers to run.
        positions : ndarray, shape (n, k)
            Coordinates of ``plan.rows`` before the first layer; they are overwritten.

        Returns
        -------
        block : Block or None
            The layers before the first that failed; None if there are none.
        error : Exception or None
            Why a layer failed, if one did: ``NotPositiveDefinite``, ``Diverged``, or an exception
            that a schedule raised.
        """
        settings = self.settings
        reduction = due_reduction(plan.first, settings, lambda: positions[plan.sample])
        if reduction is not None:
            positions = reduction(positions)[0]
        options_of = settings.layer_options()
        rank = positions.shape[1] - self.n_fixed
        runner = self.motion.engine.batch_runner(self.n_fixed, self.motion.profile)
        layers: list[Layer] = []
        records: list[LayerRecord] = []
        failure: Exception | None = None
        for number, (batch, places) in enumerate(zip(plan.batches, plan.places, strict=True)):
            start = time.perf_counter()
            if plan.first + number == 0:
                motion = self.motion
                warn_of_standstill(positions[places], motion.profile, motion.n_threads)
            try:
                options = options_of(plan.first + number)
                layer, report = self._layer(batch, positions[places], options, runner)
            except Exception as error:
                failure = error
                break
            needed = positions[: plan.n_needed[number]]
            self.motion.through(needed, [layer])
            layers.append(layer)
            seconds = time.perf_counter() - start
            records.append(
                LayerRecord.of(report, seconds=seconds, nugget=options.nugget, rank=rank)
            )
        if not layers:
            return None, failure
        return Block(plan.first, tuple(layers), reduction, tuple(records)), failure

    def _layer(
        self, batch: FlowBatch, z: FloatArray, options: LayerOptions, runner: BatchRunner
    ) -> tuple[Layer, LayerReport]:
        targets = self.targets(batch.rows)
        labels = self.labels(targets)
        return runner.layer(z, batch, targets, labels, options, self.motion.n_threads)

    def move(self, positions: FloatArray, block: Block) -> FloatArray:
        """Return the coordinates (n, k') of points (n, k) after they moved through a block."""
        points = Positions.of(positions)
        return points.through(block, self.motion).training
