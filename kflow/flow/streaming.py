"""Running a flow whose points are not in memory: block after block, ahead of the points.

The leader needs the points of a block's batches as they are before the first layer of the block.
The object that moves all points gathers them one block earlier, and the leader itself moves them
through that earlier block. The leader can therefore run a block while the other points still move
through the block before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np

from kflow.flow.layer_by_layer import KeepLayers, layer_failure
from kflow.flow.leader import Leader, Plan
from kflow.flow.settings import FlowSettings
from kflow.flow.state import Elsewhere, FlowState
from kflow.layers.block import Block
from kflow.points.protocol import ShardedPoints, Ticket

__all__ = ["run_elsewhere", "stream"]


def run_elsewhere(
    state: FlowState,
    elsewhere: Elsewhere,
    settings: FlowSettings,
    n_layers: int,
    keep: KeepLayers,
) -> None:
    """Run layers ahead of training points that are not in memory.

    Parameters
    ----------
    state : FlowState
        The flow.
    elsewhere : Elsewhere
        Its training points.
    settings : FlowSettings
        Its settings.
    n_layers : int
        How many layers, unless `keep` stops them.
    keep : callable
        Called with the layers, block by block.

    Raises
    ------
    DivergenceError, SingularKernelError
        If a layer fails; the flow stays at the last good layer.
    """
    data, motion = elsewhere.data, settings.motion(state.kernel)
    leader = Leader(
        settings=settings,
        n_points=len(data.X),
        n_fixed=state.points.n_fixed,
        motion=motion,
        targets=lambda rows: data.Y[rows],
        labels=data.labels,
    )
    start = time.perf_counter()

    def keep_timed(block: Block, generator: Any) -> bool:
        nonlocal start
        now = time.perf_counter()
        seconds = (now - start) / len(block)  # includes the points' move through the last block
        start = now
        records = tuple(record._replace(seconds=seconds) for record in block.records)
        state.points.through(block, motion.n_threads)
        return keep(block.layers, records, generator)

    failed = stream(leader, elsewhere.points, state.rng, state.n_layers, n_layers, keep_timed)
    if failed is not None:
        plan, number, error = failed
        layer = plan.first + number
        nugget = settings.schedules()["nugget"](layer)
        raise layer_failure(error, layer, nugget, plan.batches[number].rows) from None


def stream(
    leader: Leader,
    points: ShardedPoints,
    rng: np.random.Generator,
    first: int,
    n_layers: int,
    keep: Callable[[Block, Mapping[str, Any]], bool],
) -> tuple[Plan, int, Exception] | None:
    """Run layers and move the points through them.

    Parameters
    ----------
    leader : Leader
        Runs the layers.
    points : ShardedPoints
        The training points, after `first` layers.
    rng : numpy.random.Generator
        Source of the batches, in its state before the first layer. Batches are drawn ahead from a
        copy.
    first, n_layers : int
        Number of the first layer, and number of layers to run.
    keep : callable
        Called with a block and the generator's state after it, before the points move through the
        block. It stores the block and returns whether to stop.

    Returns
    -------
    (plan, number, error) or None
        If a layer failed: the plan that it belongs to, the number of its batch in the plan, and the
        error. The layers before it were kept.
    """
    drawing = deepcopy(rng)
    plans: list[Plan] = []

    def plan_from(start: int) -> None:
        if start < first + n_layers:
            plans.append(leader.plan(drawing, start, first + n_layers - start))

    plan_from(first)
    if not plans:
        return None
    plan_from(plans[0].end)
    gathered = points.gather(np.concatenate([plan.rows for plan in plans]), first)
    n_current = len(plans[0].rows)
    current, following = gathered[:n_current], gathered[n_current:]
    ticket: Ticket | None = None
    while plans:
        plan = plans.pop(0)
        block, error = leader.run(plan, current)
        if ticket is not None:
            following = ticket()
        if block is None:
            assert error is not None
            return plan, 0, error
        if plans:
            plan_from(plans[-1].end)
        stop = keep(block, plan.states[len(block)])
        goes_on = error is None and not stop and bool(plans)
        further = plans[1].rows if goes_on and len(plans) > 1 else plan.rows[:0]
        ticket = points.advance(block, further)
        if not goes_on:
            ticket()
            return None if error is None else (plan, len(block), error)
        current = leader.move(following, block)
    return None
