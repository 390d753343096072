"""The states behind noisy observations: an ensemble square-root filter over windows.

J. S. Whitaker and T. M. Hamill, Ensemble data assimilation without perturbed observations, Monthly
Weather Review 130 (2002) 1913-1924: observations are taken in one number at a time, since their noises
are independent. The mean and the covariance of the ensemble become what Kalman's formulas make of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from kflow._base.array_types import FloatArray
from kflow.timeseries.window_step import Disturbance, WindowStep

__all__ = ["FilteredSeries", "filtered", "first_members"]


@dataclass(frozen=True, eq=False)
class FilteredSeries:
    """What a filter found out of noisy observations.

    Attributes
    ----------
    mean : ndarray, shape (T, q)
        The state at each time, given the observations up to then.
    std : ndarray, shape (T, q)
        Its standard deviations.
    windows : ndarray, shape (n_members, delay, q)
        The last windows of the members. As a history of `Forecaster.sample` they start an ensemble of
        forecasts that knows how uncertain the state is.
    """

    mean: FloatArray
    std: FloatArray
    windows: FloatArray


def first_members(
    first: FloatArray,
    noise: FloatArray,
    training_windows: FloatArray,
    n_members: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Return windows (n_members, delay q) that agree with the first observations.

    Observed numbers are those that were observed, plus noise. Missing ones are taken from the training
    windows that are nearest to the observed ones.

    Parameters
    ----------
    first : ndarray, shape (delay q,)
        The scaled observations of the first window; NaN where they are missing.
    noise : ndarray, shape (delay q,)
        Scaled standard deviations of their noise.
    training_windows : ndarray, shape (m, delay q)
        Scaled windows of the training series.
    n_members : int
        Number of members.
    rng : numpy.random.Generator
        Source of the draws.
    """
    seen = ~np.isnan(first)
    distances = np.square(training_windows[:, seen] - first[seen]).sum(axis=1)
    if not seen.any():
        distances = rng.random(len(training_windows))
    nearest = np.argsort(distances, kind="stable")[:n_members]
    members = training_windows[nearest[np.arange(n_members) % len(nearest)]]
    drawn = first + noise * rng.standard_normal((n_members, len(first)))
    return np.where(seen, drawn, members)


def filtered(
    step: WindowStep,
    observations: FloatArray,
    gaps: FloatArray,
    controls: FloatArray,
    noise: FloatArray,
    members: FloatArray,
    disturbance: Disturbance,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return means and deviations (T, q) of the states, and the last windows of the members.

    Parameters
    ----------
    step : WindowStep
        The learned system.
    observations : ndarray, shape (T, q)
        Scaled observations, NaN where they are missing.
    gaps : ndarray, shape (T - 1,) or (0,)
        Times between them, if steps are irregular.
    controls : ndarray, shape (T, r)
        Scaled controls of all observations.
    noise : ndarray, shape (q,)
        Scaled standard deviations of the observations' noise.
    members : ndarray, shape (n_members, delay q)
        Windows of the first `delay` observations.
    disturbance : callable
        Gives the errors of a step.
    """
    n, q = observations.shape
    delay, n_members = step.delay, len(members)
    means, deviations = np.empty((n, q)), np.empty((n, q))
    begin = members.reshape(n_members, delay, q)
    means[:delay], deviations[:delay] = begin.mean(axis=0), begin.std(axis=0, ddof=1)
    windows = members
    errors = partial(disturbance, numbers=np.arange(n_members), n_forecasts=n_members)
    for k in range(delay, n):
        step_gaps = np.broadcast_to(gaps[k - delay : k], (n_members, delay if gaps.size else 0))
        step_controls = np.broadcast_to(controls[k], (n_members, controls.shape[1]))
        following = step(windows, step_gaps, step_controls, errors)
        # A member that runs away waits at the edge of the data for the next observation.
        following = np.clip(following, step.lowest, step.highest)
        windows = _updated(step.next_window(windows, following), observations[k], noise)
        means[k], deviations[k] = windows[:, -q:].mean(axis=0), windows[:, -q:].std(axis=0, ddof=1)
    return means, deviations, windows


def _updated(windows: FloatArray, observed: FloatArray, noise: FloatArray) -> FloatArray:
    """Return the windows (n_members, D) after an observation of their last q columns."""
    n_members, n_columns = windows.shape
    mean = windows.mean(axis=0)
    deviations = windows - mean
    for j in np.flatnonzero(~np.isnan(observed)):
        column = n_columns - len(observed) + j
        along = deviations[:, column].copy()
        variance = along @ along / (n_members - 1)
        if variance == 0.0:  # all members agree: an observation tells them nothing
            continue
        total = variance + noise[j] ** 2
        gain = deviations.T @ along / ((n_members - 1) * total)
        mean = mean + gain * (observed[j] - mean[column])
        shrinkage = 1.0 / (1.0 + noise[j] / np.sqrt(total))
        deviations = deviations - shrinkage * along[:, None] * gain
    return np.asarray(mean + deviations)
