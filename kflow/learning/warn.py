"""The warnings at the end of learning."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from kflow._base.warn import warn_user
from kflow.errors import BoundsWarning, JitterWarning, LearningWarning
from kflow.kernels import Kernel
from kflow.learning.run import Run

__all__ = ["Limits", "warn_caller"]

Limits: TypeAlias = tuple[float, float] | None

# A parameter is at a bound if its logarithm differs by no more.
_AT_BOUND = 1e-2

# A nugget at a lower bound up to the first, or at an upper bound from the second on, says that there is
# no noise, or nothing else: another bound would not help.
_NO_NOISE, _ALL_NOISE = 1e-7, 1e4


def warn_caller(runs: list[Run], kernel: Kernel, nugget: float, limits: Limits) -> None:
    """Warn the caller of `learn_kernel` of what happened in all runs, once of each kind.

    Parameters
    ----------
    runs : list of Run
        All runs.
    kernel : Kernel
        The learned kernel.
    nugget : float
        The learned nugget.
    limits : tuple of float, or None
        Its bounds, if it was learned.
    """
    for message, category in (
        (_undefined(runs), LearningWarning),
        (_jittered(runs), JitterWarning),
        (_at_bounds(kernel), BoundsWarning),
        (_nugget_at_bound(nugget, limits), BoundsWarning),
    ):
        if message:
            warn_user(message, category)


def _undefined(runs: list[Run]) -> str:
    """Return a message if losses were not finite, else ""."""
    n_steps = sum(len(run.losses) for run in runs)
    n_undefined = sum(math.isnan(loss) for run in runs for loss in run.losses)
    n_given_up = sum(run.has_given_up for run in runs)
    if not (n_undefined or n_given_up):
        return ""
    message = "the loss or its gradient was not finite"
    if n_undefined:
        message += (
            f" in {n_undefined} of {n_steps} steps, after which learning went back to the last "
            "good parameters and halved its rate"
        )
    if n_given_up:
        message += f"; it ended {n_given_up} of {len(runs)} runs before their last step"
    return message + ": pass a smaller learning_rate, or bounds that keep parameters from extremes"


def _jittered(runs: list[Run]) -> str:
    """Return a message if matrices were not positive definite, else ""."""
    n_steps = sum(len(run.losses) for run in runs)
    jitters = [jitter for run in runs for jitter in run.jitters if jitter > 0.0]
    if not jitters:
        return ""
    return (
        f"the kernel matrix was not positive definite in {len(jitters)} of {n_steps} steps, "
        f"until at most {max(jitters):.1e} was added to its diagonal: pass a larger nugget, or "
        "nugget_bounds that keep it larger"
    )


def _at_bounds(kernel: Kernel) -> str:
    """Return a message if parameters are at a bound, else ""."""
    theta, bounds = kernel.theta, kernel.bounds
    at_bound = (np.abs(theta[:, None] - bounds) < _AT_BOUND).any(axis=1)
    at_bound &= bounds[:, 0] < bounds[:, 1]
    if not at_bound.any():
        return ""
    names = ", ".join(name for name, at in zip(kernel.parameter_names, at_bound, strict=True) if at)
    return (
        f"learning ended at a bound of {names}: pass wider bounds, or 'fixed' ones if the "
        "parameter has no effect there"
    )


def _nugget_at_bound(nugget: float, limits: Limits) -> str:
    """Return a message if the nugget was learned and is at a bound, else ""."""
    if limits is None or limits[0] == limits[1]:
        return ""
    lower, upper = limits
    at_lower = lower > _NO_NOISE and math.log(nugget / lower) < _AT_BOUND
    at_upper = upper < _ALL_NOISE and math.log(upper / nugget) < _AT_BOUND
    if not (at_lower or at_upper):
        return ""
    return (
        f"learning ended at a bound of the nugget, {nugget:g}: pass wider nugget_bounds, or "
        "learn_nugget=False"
    )
