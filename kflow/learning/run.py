"""The steps of a run of learning, and its state for callbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from kflow.kernels import Kernel
from kflow.learning.objective import Evaluation, Vector

__all__ = ["MAX_FAILURES", "Callback", "LearningState", "Run"]

# A run ends after so many evaluations in succession without a finite loss.
MAX_FAILURES = 5


@dataclass(frozen=True)
class LearningState:
    """The state of `kflow.learn_kernel` after a step, which it passes to callbacks.

    Attributes
    ----------
    step : int
        Number of the step in its run, from 0 on.
    loss : float
        Loss of the step's batch; NaN if it or its gradient is not finite.
    kernel : kflow.kernels.Kernel
        The kernel for which the loss was computed.
    nugget : float
        The nugget for which it was computed.
    run : int
        Number of the run: 0 is the one from the given start, others are restarts.
    """

    step: int
    loss: float
    kernel: Kernel
    nugget: float
    run: int


Callback: TypeAlias = Callable[[LearningState], "bool | None"]


class Run:
    """The steps of one run.

    Parameters
    ----------
    number : int
        Number of the run.
    listeners : sequence of callable
        Each is called with a `LearningState` after every step.

    Attributes
    ----------
    points, losses, jitters : list
        The vector of parameters, the loss and the jitter of each step.
    is_stopped : bool
        Whether a listener has ended learning.
    has_given_up : bool
        Whether the run ended because its losses were not finite.
    """

    def __init__(self, number: int, listeners: Sequence[Callback]) -> None:
        self._number = number
        self._listeners = listeners
        self.points: list[Vector] = []
        self.losses: list[float] = []
        self.jitters: list[float] = []
        self.is_stopped = False
        self.has_given_up = False

    def record(self, z: Vector, evaluation: Evaluation) -> bool:
        """Add a step, call the listeners, and return whether one of them ends learning."""
        self.points.append(z)
        self.losses.append(evaluation.value)
        self.jitters.append(evaluation.jitter)
        if self._listeners:
            state = LearningState(
                len(self.losses) - 1,
                evaluation.value,
                evaluation.kernel,
                evaluation.nugget,
                self._number,
            )
            for listener in self._listeners:
                self.is_stopped |= bool(listener(state))
        return self.is_stopped

    def best(self, window: int) -> tuple[float, Vector, int] | None:
        """Return the smallest mean loss of a window of steps, the mean of their points, the last step.

        Steps without a finite loss are left out; None if there are no others.
        """
        steps = np.flatnonzero(np.isfinite(self.losses))
        if len(steps) == 0:
            return None
        window = min(window, len(steps))
        values = np.array(self.losses)[steps]
        means = np.lib.stride_tricks.sliding_window_view(values, window).mean(axis=1)
        first = int(means.argmin())
        chosen = steps[first : first + window]
        point = np.mean([self.points[step] for step in chosen], axis=0)
        return float(means[first]), point, int(chosen[-1])
