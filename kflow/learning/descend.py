"""Descent of a loss by an update rule, on random batches."""

from __future__ import annotations

import math
from collections.abc import Callable

from kflow.learning.batches import Batch
from kflow.learning.objective import Objective, Vector
from kflow.learning.optimizers import Rule, cosine_decay
from kflow.learning.run import MAX_FAILURES, Run

__all__ = ["descend"]


def descend(
    run: Run,
    objective: Objective,
    start: Vector,
    draw: Callable[[], list[Batch]],
    n_steps: int,
    make_rule: Callable[[], Rule],
    rate: float,
) -> None:
    """Follow an update rule, with new batches in each step.

    Parameters
    ----------
    run : Run
        Receives the steps.
    objective : Objective
        The loss.
    start : ndarray, shape (p,)
        Where to start.
    draw : callable
        Draws the batches of a step.
    n_steps : int
        Number of steps.
    make_rule : callable
        Makes the update rule.
    rate : float
        Learning rate of the first step. It falls to zero along half a cosine.
    """
    rule = make_rule()
    z = last_good = start
    n_failures = 0
    for step in range(n_steps):
        evaluation = objective(z, draw())
        if run.record(z, evaluation):
            return
        if math.isnan(evaluation.value):
            n_failures += 1
            if n_failures == MAX_FAILURES:
                run.has_given_up = True
                return
            z, rule, rate = last_good, make_rule(), 0.5 * rate
        else:
            n_failures, last_good = 0, z
            step_length = rate * cosine_decay(step, n_steps)
            z = objective.parameters.projected(z - step_length * rule(evaluation.gradient))
