"""The result of learning."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from kflow._base.short_repr import ShortRepr
from kflow.errors import DivergenceError
from kflow.kernels import Kernel
from kflow.learning.objective import Parameters
from kflow.learning.run import Run

__all__ = ["LearnedKernel", "result_of"]


@dataclass(frozen=True, eq=False, repr=False)
class LearnedKernel(ShortRepr):
    """Result of `learn_kernel`.

    Attributes
    ----------
    kernel : kflow.kernels.Kernel
        The learned kernel.
    nugget : float
        The learned nugget, or the given one.
    loss : float
        Mean loss of the steps of which kernel and nugget are the mean.
    history : dict of ndarray
        For each step of the best run: ``loss`` (n_steps,), which is NaN where it or its gradient was
        not finite; ``theta`` (n_steps, p) and ``nugget`` (n_steps,), for which it was computed; and
        ``jitter`` (n_steps,), what was added to the diagonal besides the nugget.
    best_step : int
        The last of the steps of which kernel and nugget are the mean.
    n_steps : int
        Steps of the best run.
    restarts : ndarray, shape (n_restarts + 1,)
        Smallest mean loss of each run, the one from the given start first; NaN for a run without a
        finite loss. There are fewer entries if a callback ended learning.
    """

    kernel: Kernel
    nugget: float
    loss: float
    history: dict[str, npt.NDArray[np.float64]] = field(repr=False)
    best_step: int
    n_steps: int
    restarts: npt.NDArray[np.float64] = field(repr=False)


def result_of(runs: list[Run], parameters: Parameters, window: int) -> LearnedKernel:
    """Return what the best run learned.

    Parameters
    ----------
    runs : list of Run
        All runs.
    parameters : Parameters
        The kernel and nugget for which a vector stands.
    window : int
        Number of steps over which the loss and the parameters are averaged.

    Raises
    ------
    DivergenceError
        If no run has a finite loss.
    """
    bests = [run.best(window) for run in runs]
    values = np.array([math.nan if best is None else best[0] for best in bests])
    if np.isnan(values).all():
        raise DivergenceError(
            "the loss or its gradient is not finite where learning starts: pass another kernel or "
            "nugget to start from, or data of a smaller scale"
        )
    number = int(np.nanargmin(values))
    run, best = runs[number], bests[number]
    assert best is not None
    loss, z, best_step = best
    z = parameters.projected(z)
    kernel, nugget = parameters(z)
    points = np.array(run.points)
    n_theta = parameters.n_theta
    n_steps = len(points)
    history = {
        "loss": np.array(run.losses),
        "theta": points[:, :n_theta],
        "nugget": np.exp(points[:, -1]) if parameters.learn_nugget else np.full(n_steps, nugget),
        "jitter": np.array(run.jitters),
    }
    return LearnedKernel(kernel, nugget, loss, history, best_step, n_steps, values)
