"""An example: observed solutions for a random conductivity that oscillates."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count, as_generator, as_nugget
from kflow._base.array_types import Doubles
from kflow.pde.conductivity import log_conductivity
from kflow.pde.observations import Function
from kflow.pde.quadrature import antiderivative

__all__ = ["example_problem"]

# Of log a: modes, whose weights fall like i^(-1/2), and root mean square.
_EXAMPLE_MODES = 16
_EXAMPLE_SPREAD = 0.7


def example_problem(
    n_points: int = 128,
    *,
    n_solutions: int = 1,
    noise: float = 0.0,
    random_state: Any = 0,
) -> tuple[Doubles, Doubles, Function]:
    """Return observations of solutions of -(a u')' = f, for a random conductivity that oscillates.

    log a has 16 random modes and a root mean square of 0.7: a varies by a factor of about 20. The
    first right-hand side is f = 1, the others are cos(pi x), cos(2 pi x), ... The points are
    random, one in each of n_points equal parts of [0, 1].

    Parameters
    ----------
    n_points : int
        The number of points at which values are given.
    n_solutions : int
        Solutions u, each for another f.
    noise : float
        Standard deviation of normal noise in u, as a part of the largest |u|.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of a, of the points and of the noise. The default gives the problem of the
        documentation.

    Returns
    -------
    x : ndarray, shape (n_points,)
        Points, in ascending order.
    u : ndarray, shape (n_points,), or (n_points, n_solutions) for several
        Observed solutions, each scaled to a largest value of 1 without noise.
    a : callable
        The conductivity, a function of arrays.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, naming it.

    Notes
    -----
    u(x) = int_0^x (c - F) / a with F' = f and c such that u(1) = 0, integrated by Gauss-Legendre
    quadrature to rounding errors.
    """
    n_points = as_count(n_points, "n_points", 1)
    n_solutions = as_count(n_solutions, "n_solutions", 1)
    noise = as_nugget(noise, "noise")
    rng = as_generator(random_state)
    weights = rng.normal(size=(2, _EXAMPLE_MODES)) / np.sqrt(np.arange(1, _EXAMPLE_MODES + 1))
    weights *= _EXAMPLE_SPREAD / np.sqrt(0.5 * (weights**2).sum())

    def conductivity(t: npt.ArrayLike) -> Doubles:
        return np.exp(log_conductivity(t, *weights))

    x = (np.arange(n_points) + rng.uniform(0.1, 0.9, n_points)) / n_points
    ends = np.append(x, 1.0)
    s = antiderivative(lambda t: 1.0 / conductivity(t), ends)
    solutions = []
    for k in range(n_solutions):

        def source(t: Doubles, k: int = k) -> Doubles:
            return t if k == 0 else np.sin(k * np.pi * t) / (k * np.pi)  # F for f = cos(k pi t)

        q = antiderivative(lambda t, F=source: F(t) / conductivity(t), ends)
        u = q[-1] / s[-1] * s[:-1] - q[:-1]
        solutions.append(u / np.abs(u).max())
    u = np.stack(solutions, axis=1)
    u += noise * rng.normal(size=u.shape)
    return x, u[:, 0] if n_solutions == 1 else u, conductivity
