"""The errors of conductivities, and of the solutions that kernels predict."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kflow import losses
from kflow._base.arguments import MOST_HALVES, as_count, as_generator, as_nugget
from kflow._base.array_types import Doubles
from kflow.data.arrays import as_matrix
from kflow.kernels import Kernel, check_kernel
from kflow.pde.conductivity import log_conductivities
from kflow.pde.observations import Function, as_observed, evaluated
from kflow.pde.quadrature import antiderivative

__all__ = ["conductivity_errors", "half_errors"]

# Number of grid points at which conductivities are compared.
_N_COMPARED = 1024


def conductivity_errors(
    weights: npt.ArrayLike, truth: Function, x: npt.ArrayLike, u: npt.ArrayLike
) -> dict[str, Doubles]:
    """Return the errors of conductivities b, after a and b are scaled to a geometric mean of 1.

    Parameters
    ----------
    weights : array_like, shape (..., 2, n_modes)
        W^c and W^s of one b or of many.
    truth : callable
        The function a, of arrays in [0, 1]; it is divided by its geometric mean.
    x, u : array_like, shape (n,) and (n,) or (n, m)
        The observations from which b was learned.

    Returns
    -------
    dict of ndarray, shape (...)
        ``log_error``, the root mean square of log b - log a over [0, 1]. ``weighted_log_error``,
        the same with the energy a |u'|^2 as weight, and minus the weighted mean: an observed u has
        little information about a where its energy is low. ``l2_error``, |b - a| / |a| in L2.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or shape, naming it.
    """
    points = as_observed(x)[:, 0]
    values = as_matrix(u, "u", dtype=np.float64, n_rows=len(points), column_if_1d=True)
    t = np.arange(_N_COMPARED) / _N_COMPARED
    log_a = np.log(evaluated(truth, t))
    # Between neighbours the flux a u' hardly changes; a |u'|^2 is its square over a.
    order = np.argsort(points)
    ends = np.concatenate([[0.0], points[order], [1.0]])
    steps = np.diff(np.pad(values[order], ((1, 1), (0, 0))), axis=0)
    flux = steps / np.diff(antiderivative(lambda t: 1.0 / evaluated(truth, t), ends))[:, None]
    energy = (flux**2).sum(axis=1)[np.searchsorted(ends, t, side="right") - 1] / np.exp(log_a)
    energy /= energy.sum()

    pairs = np.asarray(weights, np.float64)
    if pairs.ndim < 2 or pairs.shape[-2] != 2:
        raise ValueError(f"weights must have shape (..., 2, n_modes), got {pairs.shape}")
    shape = pairs.shape[:-2]
    log_b = log_conductivities(t, pairs.reshape(-1, *pairs.shape[-2:]))
    log_a -= log_a.mean()
    difference = log_b - log_a
    mean = (energy * difference).sum(axis=1, keepdims=True)
    squares = {
        "log_error": (difference**2).mean(axis=1),
        "weighted_log_error": (energy * (difference - mean) ** 2).sum(axis=1),
        "l2_error": ((np.exp(log_b) - np.exp(log_a)) ** 2).sum(axis=1) / np.exp(2 * log_a).sum(),
    }
    return {name: np.sqrt(square).reshape(shape) for name, square in squares.items()}


def half_errors(
    kernel: Kernel,
    x: npt.ArrayLike,
    u: npt.ArrayLike,
    *,
    nugget: float,
    n_halves: int = 50,
    random_state: Any = 0,
) -> dict[str, float]:
    """Return how well random halves of the observations interpolate all of them.

    Parameters
    ----------
    kernel : kflow.kernels.Kernel
        The kernel, such as a Green's function.
    x, u : array_like, shape (n,) and (n,) or (n, m)
        The observations.
    nugget : float
        Added to the diagonal of the kernel matrix.
    n_halves : int
        Halves, over which all is averaged.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of the halves: the default compares kernels on the same ones.

    Returns
    -------
    dict of float
        ``rho``, and ``u_error``, the relative L2 error of u at the points left out.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or shape, naming it.
    """
    points = as_observed(x)
    values = as_matrix(u, "u", dtype=np.float64, n_rows=len(points), column_if_1d=True)
    n, rng = len(points), as_generator(random_state)
    count = as_count(n_halves, "n_halves", 1, MOST_HALVES)
    halves = np.array([rng.permutation(n)[: n // 2] for _ in range(count)])
    K = check_kernel(kernel)(points) + as_nugget(nugget) * np.eye(n)
    rho = losses.rho(K, values, halves, gradient=False)[0]
    squares = losses.e2(K, values, halves, gradient=False)[0]
    left_out = (values**2).sum() - (values[halves] ** 2).sum(axis=(1, 2)).mean()
    return {"rho": rho, "u_error": float(np.sqrt(squares / left_out))}
