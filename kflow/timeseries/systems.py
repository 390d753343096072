"""Chaotic systems whose largest Lyapunov exponents are known, to try forecasts on.

The exponents are those of J. C. Sprott, Chaos and Time-Series Analysis (2003), natural logarithms
per step of a map and per unit of time of a flow; that of the logistic map with r = 4 is log 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count, as_number, as_positive
from kflow._base.array_types import FloatArray
from kflow.data.arrays import as_matrix
from kflow.timeseries.embedding import as_times

__all__ = ["LYAPUNOV", "henon_map", "logistic_map", "lorenz63"]

# For the default parameters of the functions.
LYAPUNOV = {"logistic_map": math.log(2.0), "henon_map": 0.41922, "lorenz63": 0.9056}

# Steps, or units of time, after which a random start lies on the attractor.
_TRANSIENT = 100
_LORENZ_TRANSIENT = 30.0


def _as_start(start: Any, random: FloatArray) -> list[float]:
    """Return the first state: `random` if none is given."""
    if start is None:
        return [float(value) for value in random]
    if np.size(start) != len(random) or np.ndim(start) > 1:
        raise ValueError(f"start must have {len(random)} entries, got shape {np.shape(start)}")
    row = as_matrix(np.reshape(start, (1, -1)), "start", dtype=np.float64)[0]
    return [float(value) for value in row]


def _orbit(
    step: Callable[..., tuple[float, ...]], state: list[float], n: int, skip: int
) -> FloatArray:
    """Return `n` successive states of a map, (n, d), after those that are skipped."""
    states = np.empty((n, len(state)))
    for i in range(skip + n):
        if i >= skip:
            states[i - skip] = state
        state = list(step(*state))
    return states


def logistic_map(
    n: int,
    *,
    r: float = 4.0,
    start: float | None = None,
    random_state: int | np.random.Generator | None = 0,
) -> FloatArray:
    """Return an orbit of x -> r x (1 - x) on [0, 1].

    Parameters
    ----------
    n : int
        Number of states, the first included.
    r : float
        The parameter of the map, in (0, 4].
    start : float, optional
        First state; if not given, one that a random state reaches after 100 steps.
    random_state : int, numpy.random.Generator or None
        Source of the random state.

    Returns
    -------
    ndarray, shape (n,)

    Examples
    --------
    >>> from kflow.timeseries import logistic_map
    >>> logistic_map(3, start=0.25)
    array([0.25, 0.75, 0.75])
    """
    n, r = as_count(n, "n", 1), as_positive(r, "r")
    if r > 4.0:
        raise ValueError(f"r must be at most 4, got {r:g}: the orbit would leave [0, 1]")
    state = _as_start(start, np.random.default_rng(random_state).uniform(0.1, 0.9, 1))
    if not 0.0 <= state[0] <= 1.0:
        raise ValueError(f"start must lie in [0, 1], got {state[0]:g}")
    skip = _TRANSIENT if start is None else 0
    return _orbit(lambda x: (r * x * (1.0 - x),), state, n, skip)[:, 0]


def henon_map(
    n: int,
    *,
    a: float = 1.4,
    b: float = 0.3,
    start: npt.ArrayLike | None = None,
    random_state: int | np.random.Generator | None = 0,
) -> FloatArray:
    """Return an orbit of (x, y) -> (1 - a x^2 + y, b x).

    Parameters
    ----------
    n : int
        Number of states, the first included.
    a, b : float
        The map's parameters.
    start : array_like, shape (2,), optional
        First state; if not given, one that a random state near 0 reaches after 100 steps.
    random_state : int, numpy.random.Generator or None
        Source of the random state.

    Returns
    -------
    ndarray, shape (n, 2)

    Raises
    ------
    ValueError
        If the orbit runs away to infinity, as it does from states far from 0.

    Notes
    -----
    M. Henon, A two-dimensional mapping with a strange attractor, Commun. Math. Phys. 50 (1976).

    Examples
    --------
    >>> from kflow.timeseries import henon_map
    >>> henon_map(2, start=[0.0, 0.0])
    array([[0., 0.],
           [1., 0.]])
    """
    n, a, b = as_count(n, "n", 1), as_number(a, "a"), as_number(b, "b")
    state = _as_start(start, np.random.default_rng(random_state).uniform(-0.1, 0.1, 2))

    def step(x: float, y: float) -> tuple[float, float]:
        if abs(x) > 1e6:
            raise ValueError("the orbit runs away to infinity: pass another start, a or b")
        return 1.0 - a * x * x + y, b * x

    return _orbit(step, state, n, _TRANSIENT if start is None else 0)


def lorenz63(
    n: int | None = None,
    *,
    time_step: float = 0.05,
    times: npt.ArrayLike | None = None,
    sigma: float = 10.0,
    rho: float = 28.0,
    beta: float = 8.0 / 3.0,
    start: npt.ArrayLike | None = None,
    random_state: int | np.random.Generator | None = 0,
) -> FloatArray:
    """Return a trajectory of the Lorenz system, at equal steps or at given times.

    Its equations are x' = sigma (y - x), y' = x (rho - z) - y, z' = x y - beta z.

    Parameters
    ----------
    n : int
        Number of states, the first included, `time_step` apart; not with `times`.
    time_step : float
        Time between two states.
    times : array_like, shape (n,), optional
        The times of the states, strictly increasing, in place of `n` and `time_step`.
    sigma, rho, beta : float
        The system's parameters.
    start : array_like, shape (3,), optional
        First state; if not given, one that a random state reaches after 30 units of time.
    random_state : int, numpy.random.Generator or None
        Source of the random state.

    Returns
    -------
    ndarray, shape (n, 3)

    Notes
    -----
    E. N. Lorenz, Deterministic nonperiodic flow, J. Atmos. Sci. 20 (1963). Integrated by SciPy's
    DOP853 with a relative tolerance of 1e-10: each step is right to about as much, a trajectory as a
    whole for some twenty units of time, as of any chaotic system.

    Examples
    --------
    >>> from kflow.timeseries import lorenz63
    >>> lorenz63(100, time_step=0.1).shape
    (100, 3)
    """
    from scipy.integrate import solve_ivp

    if (n is None) == (times is None):
        raise ValueError("pass n or times, one of them")
    if times is None:
        clock = np.arange(as_count(n, "n", 1)) * as_positive(time_step, "time_step")
    else:
        clock = as_times(times, "times", np.size(times))
        clock = clock - clock[0]
    s, r, b = as_number(sigma, "sigma"), as_number(rho, "rho"), as_number(beta, "beta")
    random = np.array([0.0, 0.0, 20.0]) + np.random.default_rng(random_state).uniform(-10, 10, 3)
    state = np.array(_as_start(start, random))

    def velocity(_: float, state: FloatArray) -> list[float]:
        x, y, z = state.tolist()  # numbers of Python are faster than those of NumPy
        return [s * (y - x), x * (r - z) - y, x * y - b * z]

    def integrate(state: FloatArray, clock: FloatArray) -> FloatArray:
        if len(clock) == 1:
            return state[None, :]
        solution = solve_ivp(
            velocity,
            (clock[0], clock[-1]),
            state,
            method="DOP853",
            t_eval=clock,
            rtol=1e-10,
            atol=1e-10,
        )
        if not solution.success:
            raise ValueError(f"the trajectory cannot be computed: {solution.message}")
        return np.ascontiguousarray(solution.y.T)

    if start is None:
        state = integrate(state, np.array([0.0, _LORENZ_TRANSIENT]))[-1]
    return integrate(state, clock)
