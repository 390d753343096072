"""Measures of a learned dynamical system: its forecasts, its attractor, its sensitivity."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count, as_positive
from kflow._base.array_types import FloatArray
from kflow.data.arrays import as_matrix
from kflow.errors import DivergenceError

__all__ = ["attractor_distance", "lyapunov_exponent", "valid_prediction_time"]

# Number of distances that exist at a time: 32 MB.
_BLOCK = 4_000_000

# The tangent's length over the state's: the error of a central difference is least near the cubic
# root of the rounding error.
_TANGENT = 1e-5


def _as_trajectory(value: Any, name: str, n_columns: int | None = None) -> FloatArray:
    return as_matrix(
        value,
        name,
        dtype=np.float64,
        n_columns=n_columns,
        column_if_1d=True,
        allow_no_rows=False,
    )


def valid_prediction_time(
    true: npt.ArrayLike,
    predicted: npt.ArrayLike,
    *,
    threshold: float = 0.4,
    time_step: float = 1.0,
    lyapunov: float | None = None,
    scale: float | None = None,
) -> float:
    """Return how long a forecast follows the truth.

    A forecast x^ follows x as long as |x - x^| / sqrt(mean |x - mean x|^2) is at most `threshold`.

    Parameters
    ----------
    true : array_like, shape (T,) or (T, q)
        The true states, from the first step of the forecast on.
    predicted : array_like, shape (T,) or (T, q)
        The forecast. It does not follow the truth where it is NaN.
    threshold : float
        Largest error, positive.
    time_step : float
        Time between two rows.
    lyapunov : float, optional
        The system's largest Lyapunov exponent, per unit of time; if given, the result is in
        Lyapunov times 1 / lyapunov.
    scale : float, optional
        A number, in the units of the data, that replaces sqrt(mean |x - mean x|^2) over the rows of
        `true`: for few rows pass that of a longer series.

    Returns
    -------
    float
        Steps before the first error beyond the threshold, times `time_step`, times `lyapunov` if
        given. T steps, a lower bound, if there is no such error.

    Raises
    ------
    TypeError, ValueError
        For wrong shapes or values, and where `true` does not vary and no `scale` is given.

    Notes
    -----
    J. Pathak et al., Hybrid forecasting of chaotic processes, Chaos 28 (2018) 041101.

    Examples
    --------
    >>> from kflow.timeseries import valid_prediction_time
    >>> valid_prediction_time([0, 1, 0, 1, 0], [0, 1, 0, 0, 0], time_step=0.5)
    1.5
    """
    truth = _as_trajectory(true, "true")
    forecast = np.asarray(predicted, np.float64)
    forecast = forecast[:, None] if forecast.ndim == 1 else forecast
    if forecast.shape != truth.shape:
        raise ValueError(
            f"predicted must have the shape of true, {truth.shape}, got {forecast.shape}"
        )
    limit, step = as_positive(threshold, "threshold"), as_positive(time_step, "time_step")
    unit = 1.0 if lyapunov is None else as_positive(lyapunov, "lyapunov")
    if scale is None:
        size = math.sqrt(np.square(truth - truth.mean(axis=0)).sum(axis=1).mean())
        if size == 0.0:
            raise ValueError("true does not vary: pass scale, the deviation of a longer series")
    else:
        size = as_positive(scale, "scale")
    good = np.linalg.norm(truth - forecast, axis=1) <= limit * size  # NaN is not
    n_good = len(good) if good.all() else int(np.argmin(good))
    return n_good * step * unit


def mean_distance(a: FloatArray, b: FloatArray, n_entries: int = _BLOCK) -> float:
    """Return the mean distance between the rows of a and those of b.

    Parameters
    ----------
    a, b : ndarray, shape (n, q) and (m, q)
        The points, one in each row.
    n_entries : int
        Largest number of distances that exist at a time, but at least a row of them.
    """
    from scipy.spatial.distance import cdist

    rows = max(1, n_entries // len(b))
    total = sum(float(cdist(a[i : i + rows], b).sum()) for i in range(0, len(a), rows))
    return total / (len(a) * len(b))


def attractor_distance(
    a: npt.ArrayLike, b: npt.ArrayLike, *, measure: Literal["hausdorff", "energy"] = "energy"
) -> float:
    """Return how far apart two clouds of points are, such as a true and a learned attractor.

    Parameters
    ----------
    a, b : array_like, shape (n,) or (n, q), and (m,) or (m, q)
        Points, such as the states of two long trajectories; their order does not matter.
    measure : {"energy", "hausdorff"}
        ``"energy"``: sqrt(2 E|a - b| - E|a - a'| - E|b - b'|), the energy distance of the two
        distributions. It depends on how often each place is visited, and hardly on a single outlier.
        ``"hausdorff"``: the largest distance from a point of one cloud to the nearest of the other.
        It depends on the shape only, holes and outliers included.

    Returns
    -------
    float
        0 if the clouds are the same. The Hausdorff distance is in the units of the data, the energy
        distance in the root of them.

    Raises
    ------
    TypeError, ValueError
        For an unknown measure, and for wrong shapes or values. Forecasts that end in NaN must be cut
        before.

    Notes
    -----
    G. J. Szekely and M. L. Rizzo, Energy statistics, J. Stat. Plan. Inference 143 (2013): for
    numbers it is `scipy.stats.energy_distance`. The energy distance costs (n + m)^2 distances, in
    blocks of at most 32 MB; the Hausdorff distance one search for neighbours per point. Scale
    coordinates of different units before.

    Examples
    --------
    >>> from kflow.timeseries import attractor_distance
    >>> attractor_distance([[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [1.0, 3.0]], measure="hausdorff")
    3.0
    """
    first = _as_trajectory(a, "a")
    second = _as_trajectory(b, "b", first.shape[1])
    if measure == "hausdorff":
        from scipy.spatial import KDTree

        there = KDTree(second).query(first)[0].max()
        back = KDTree(first).query(second)[0].max()
        return float(max(there, back))
    if measure != "energy":
        raise ValueError(f"measure must be 'energy' or 'hausdorff', got {measure!r}")
    between = 2.0 * mean_distance(first, second)
    within = mean_distance(first, first) + mean_distance(second, second)
    return math.sqrt(max(0.0, between - within))


def _as_map(
    system: Any, start: Any, time_step: float
) -> tuple[Callable[[FloatArray], FloatArray], FloatArray]:
    """Return a map of rows of states, (s, d) to (s, d), and the first state, (d,)."""
    if hasattr(system, "window_map"):
        step, window = system.window_map(start, time_step)
        return step, window
    if not callable(system):
        raise TypeError(f"system must be a Forecaster or a function, got {type(system).__name__}")
    state = _as_trajectory(start, "start").ravel()

    def step_by_function(states: FloatArray) -> FloatArray:
        rows = [np.asarray(system(state.copy()), np.float64) for state in states]
        if rows[0].shape != state.shape:
            raise ValueError(
                f"system must return a state of shape {state.shape}, as start, got {rows[0].shape}"
            )
        return np.stack(rows)

    return step_by_function, state


def lyapunov_exponent(
    system: Any,
    start: npt.ArrayLike,
    n_steps: int,
    *,
    n_transient: int = 100,
    time_step: float = 1.0,
) -> float:
    """Return the largest Lyapunov exponent of a map, such as a learned one.

    Parameters
    ----------
    system : callable or Forecaster
        A map of a state, (d,), to the next one, or a fitted `Forecaster`, whose states are windows
        of `delay` observations.
    start : array_like, shape (d,); for a Forecaster (delay,) or (delay, q)
        A state of the system, from which the trajectory starts.
    n_steps : int
        Steps over which the growth is averaged, at least 1.
    n_transient : int
        Steps before these: the state reaches the attractor, the tangent the direction that grows.
    time_step : float
        Time of a step. A Forecaster that has learned from irregular times takes steps of this length.

    Returns
    -------
    float
        The mean logarithm of a tangent's growth, per unit of time; positive for chaos.

    Raises
    ------
    DivergenceError
        If the orbit runs away.
    TypeError, ValueError
        For wrong shapes or values.

    Notes
    -----
    G. Benettin, L. Galgani, A. Giorgilli and J.-M. Strelcyn, Lyapunov characteristic exponents for
    smooth dynamical systems, Meccanica 15 (1980). The tangent is carried by a central difference of
    the map, and brought back to length 1 after each step: three evaluations of the map a step.

    Examples
    --------
    >>> from kflow.timeseries import lyapunov_exponent
    >>> exponent = lyapunov_exponent(lambda x: 4 * x * (1 - x), [0.3], 20000)
    >>> round(exponent, 2)  # log 2
    0.69
    """
    n_steps, n_transient = as_count(n_steps, "n_steps", 1), as_count(n_transient, "n_transient", 0)
    duration = as_positive(time_step, "time_step")
    step, state = _as_map(system, start, duration)
    # A random direction: a symmetry may keep a special one apart from the direction that grows.
    tangent = np.random.default_rng(0).standard_normal(state.shape)
    tangent /= np.linalg.norm(tangent)
    size = float(np.abs(state).max())
    total = 0.0
    for i in range(n_transient + n_steps):
        size = max(size, float(np.abs(state).max()))  # of the attractor
        h = _TANGENT * (size or 1.0)
        state, ahead, behind = step(np.array([state, state + h * tangent, state - h * tangent]))
        tangent = (ahead - behind) / (2.0 * h)
        growth = float(np.linalg.norm(tangent))
        if not (np.isfinite(state).all() and math.isfinite(growth)):
            raise DivergenceError(
                f"the orbit ran away after {i} steps: pass another start, or a better system"
            )
        if growth == 0.0:
            return -math.inf
        tangent /= growth
        if i >= n_transient:
            total += math.log(growth)
    return total / (n_steps * duration)
