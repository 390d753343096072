"""Running a flow whose points are not in memory: block after block, ahead of the points.

The leader needs the points of a block's batches at its first layer. They are gathered a block earlier,
by whoever moves all points, and the leader takes them through that block itself: so it can run a
block while the points still move through the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np

from kflow.flow.leader import Leader, Plan
from kflow.layers.block import Block
from kflow.points.protocol import ShardedPoints, Ticket

__all__ = ["stream"]


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
        Source of the batches: where the first layer begins. A copy of it runs ahead.
    first, n_layers : int
        The first layer, and how many.
    keep : callable
        Stores a block, before the points move through it, with the generator's state after it, and
        returns whether to stop.

    Returns
    -------
    (plan, number, error) or None
        Where a layer failed, the number of its batch in the plan, and with what; the layers before
        it were kept.
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
