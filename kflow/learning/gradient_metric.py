"""The gradient outer product of an interpolant, and the linear map of the points by its powers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kflow._base.array_types import Doubles, FloatArray
from kflow.data.chunks import row_chunks
from kflow.data.products import product
from kflow.engine.threads import single_threaded_blas
from kflow.kernels import Radial
from kflow.layers.moments import mean_squared_distance
from kflow.linear.interpolant import Interpolant

__all__ = [
    "LinearMap",
    "MapSettings",
    "gradient_outer_product",
    "learned_metric",
    "power_of_metric",
]

# Eigenvalues below this part of the largest one are rounding errors, and may be negative.
_NOISE = 1e-12


@dataclass(frozen=True)
class MapSettings:
    """Which linear map is made of a gradient outer product.

    Attributes
    ----------
    power : float
        The power of the metric; not negative.
    n_steps : int
        How often points are mapped.
    diagonal : bool
        Whether each feature is multiplied by a number of its own, and nothing more.
    """

    power: float = 0.5
    n_steps: int = 1
    diagonal: bool = False


@dataclass(frozen=True)
class LinearMap:
    """A linear map of points, x -> components x.

    Attributes
    ----------
    components : ndarray of float64, shape (d, d)
        The map.
    importances : ndarray of float64, shape (d,)
        The diagonal of the gradient outer product in the first step, divided by its sum.
    """

    components: Doubles
    importances: Doubles

    @classmethod
    def learn(
        cls,
        X: Doubles,
        Y: Doubles,
        kernel: Radial,
        nugget: float,
        settings: MapSettings,
        *,
        weights: Doubles | None = None,
        M: Doubles | None = None,
        n_threads: int | None = None,
    ) -> LinearMap:
        """Learn the map c M^(power / 2), or a product of several of them.

        Parameters
        ----------
        X : ndarray, shape (n, d)
            Points, not all the same.
        Y : ndarray, shape (n, q)
            Their values.
        kernel, nugget : Radial and float
            Those of the interpolant, whose gradient outer product is M.
        settings : MapSettings
            Power, number of steps and whether M counts as diagonal.
        weights : ndarray, shape (n,), optional
            Positive weights of the points, 1 by default.
        M : ndarray, shape (d, d), optional
            The gradient outer product of the first step, if it is known.
        n_threads : int, optional
            Threads; see `kflow.get_num_threads`.

        Returns
        -------
        LinearMap
            It keeps the mean squared distance of the points.

        Raises
        ------
        SingularKernelError
            If the kernel matrix is numerically singular.
        ValueError
            If the interpolant is constant.
        """
        msd = mean_squared_distance(X)
        components, mapped = np.eye(X.shape[1]), X
        importances: Doubles | None = None
        for _ in range(settings.n_steps):
            if M is None:
                M = learned_metric(mapped, Y, kernel, nugget, weights=weights, n_threads=n_threads)
            if not M.trace() > 0.0:
                raise ValueError(
                    "y: no change along any feature of X, so that none can be preferred"
                )
            if importances is None:
                importances = M.diagonal() / M.trace()
            power = power_of_metric(M, settings.power, diagonal=settings.diagonal)
            components = power @ components
            mapped = product(X, components.T)
            factor = np.sqrt(msd / mean_squared_distance(mapped))
            components, mapped, M = factor * components, factor * mapped, None
        assert importances is not None
        return cls(components, importances)

    def __call__(self, X: Doubles) -> Doubles:
        """Return mapped points, (n, d). Each row depends on its row of X alone."""
        return product(X, self.components.T)


def learned_metric(
    X: Doubles,
    Y: Doubles,
    kernel: Radial,
    nugget: float,
    *,
    weights: Doubles | None = None,
    n_threads: int | None = None,
) -> Doubles:
    """Return the gradient outer product, at points (n, d), of the interpolant of their values (n, q).

    Raises
    ------
    SingularKernelError
        If the kernel matrix is numerically singular.
    """
    u = Interpolant(X, Y, kernel=kernel, nugget=nugget, sample_weight=weights, n_threads=n_threads)
    return gradient_outer_product(u, X, weights)


def gradient_outer_product(
    interpolant: Interpolant, X: FloatArray, weights: Doubles | None = None
) -> Doubles:
    """Return the weighted mean of J(x)' J(x) over points, for the Jacobian J of an interpolant.

    Parameters
    ----------
    interpolant : Interpolant
        A function u of d features with q outputs, whose kernel depends on the distance alone.
    X : ndarray, shape (n, d)
        Points.
    weights : ndarray, shape (n,), optional
        Weights of the points, 1 by default.

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
    roots = None if weights is None else np.sqrt(weights)
    for rows in row_chunks(len(X)):
        points = X[rows]
        for k in range(n_outputs):
            one = np.zeros((len(points), n_outputs))
            one[:, k] = 1.0 if roots is None else roots[rows]
            gradients = interpolant.pull_back(points, one).astype(np.float64)
            with single_threaded_blas:
                total += gradients.T @ gradients
    return total / (len(X) if weights is None else weights.sum())


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
