"""The gradient outer product of an interpolant: along which directions it changes, and how much."""

from __future__ import annotations

import numpy as np

from kflow._base.array_types import Doubles, FloatArray
from kflow.data.chunks import row_chunks
from kflow.engine.threads import single_threaded_blas
from kflow.linear.interpolant import Interpolant

__all__ = ["gradient_outer_product", "power_of_metric"]

# Eigenvalues below this part of the largest one are rounding errors, and may be negative.
_NOISE = 1e-12


def gradient_outer_product(interpolant: Interpolant, X: FloatArray) -> Doubles:
    """Return the mean of J(x)' J(x) over points, for the Jacobian J of an interpolant.

    Parameters
    ----------
    interpolant : Interpolant
        A function u of d features with q outputs, whose kernel depends on the distance alone.
    X : ndarray, shape (n, d)
        Points.

    Returns
    -------
    ndarray of float64, shape (d, d)
        (1/n) sum_i sum_k grad u_k(x_i) grad u_k(x_i)', which is symmetric and positive semidefinite.
        Where the profile has no slope at distance 0, the slope counts as 0.

    Notes
    -----
    2 q n m (2 d + q) flops for m centres, and 2 q n d^2 for the products.
    """
    n_outputs = interpolant.coefficients.shape[1]
    total = np.zeros((X.shape[1], X.shape[1]))
    for rows in row_chunks(len(X)):
        points = X[rows]
        for k in range(n_outputs):
            one = np.zeros((len(points), n_outputs))
            one[:, k] = 1.0
            gradients = interpolant.pull_back(points, one).astype(np.float64)
            with single_threaded_blas:
                total += gradients.T @ gradients
    return total / len(X)


def power_of_metric(M: Doubles, power: float, *, diagonal: bool) -> Doubles:
    """Return the symmetric A for which A A is a power of a metric, up to a factor.

    Parameters
    ----------
    M : ndarray of float64, shape (d, d)
        A positive semidefinite matrix, not zero.
    power : float
        The power. 0 gives the identity.
    diagonal : bool
        Whether only the diagonal of M counts, so that A is diagonal, too.

    Returns
    -------
    ndarray of float64, shape (d, d)
        M^(power / 2), divided by the largest eigenvalue of that matrix.
    """
    if diagonal:
        weights = M.diagonal()
        return np.diag((weights / weights.max()) ** (power / 2.0))
    with single_threaded_blas:
        values, vectors = np.linalg.eigh(M)
        weights = np.maximum(values / values[-1], _NOISE) ** (power / 2.0)
        return np.asarray((vectors * weights) @ vectors.T)
