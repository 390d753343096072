"""How far a flow pulls points apart: Lipschitz constants of F_n, near points and anywhere."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_generator
from kflow._base.array_types import Doubles, FloatArray
from kflow._base.short_repr import ShortRepr
from kflow.analysis._derivative import in_double, singular_values_at
from kflow.analysis._sample import (
    as_labels,
    as_max_points,
    drawn_rows,
    json_numbers,
    near_hits_and_misses,
    quantiles,
)
from kflow.engine.threads import single_threaded_blas
from kflow.flow.estimator_flow import as_layers, estimator_flow
from kflow.flow.kernel_flow import KernelFlow
from kflow.layers.replay import Replay

__all__ = ["Lipschitz", "lipschitz", "lipschitz_bound"]


@dataclass(frozen=True, eq=False, repr=False)
class Lipschitz(ShortRepr):
    """Result of `lipschitz`.

    Attributes
    ----------
    layers : ndarray of int, shape (n_layers,)
        The numbers of layers after which constants are measured.
    rows : ndarray of int, shape (n_points,)
        The rows of X at which local constants are measured.
    local : ndarray, shape (n_layers, n_points)
        The local Lipschitz constants: the largest singular value of the derivative of F_n there.
    within : ndarray, shape (n_layers, N)
        |F_n(x) - F_n(z)| / |x - z| for each x of X and the nearest z of its class; NaN where there
        is none, or no distance between them.
    between : ndarray, shape (n_layers, N)
        The same with the nearest z of another class.
    log10_bound : ndarray, shape (n_layers,)
        The logarithm of `bound` to base 10.
    """

    layers: npt.NDArray[np.intp]
    rows: npt.NDArray[np.intp]
    local: Doubles
    within: Doubles
    between: Doubles
    log10_bound: Doubles

    @property
    def bound(self) -> Doubles:
        """Numbers that no |F_n(x) - F_n(z)| / |x - z| exceeds, (n_layers,); inf for an overflow."""
        with np.errstate(over="ignore"):
            return np.asarray(10.0**self.log10_bound)

    def summary(self) -> dict[str, Any]:
        """Return the median and the largest value of each measure, by layers, as JSON data."""
        result: dict[str, Any] = {
            "layers": self.layers.tolist(),
            "log10_bound": json_numbers(self.log10_bound),
        }
        for name in ("local", "within", "between"):
            result[f"{name}_median"] = quantiles(getattr(self, name), 0.5)
            result[f"{name}_max"] = quantiles(getattr(self, name), 1.0)
        return result


def lipschitz(
    estimator: Any,
    X: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    *,
    layers: Iterable[int] | None = None,
    max_points: int | None = 50,
    n_directions: int | None = None,
    random_state: Any = 0,
) -> Lipschitz:
    """Return local Lipschitz constants of F_n along a flow, and a bound on the global one.

    There are three measures, in ascending order. The first is |F_n(x) - F_n(z)| / |x - z| of pairs of
    near points. The second is the local constant, the largest singular value of the derivative of F_n
    at x, from the differences (F_n(x + h v) - F_n(x)) / h in all directions v of an orthonormal basis.
    The third is the bound of `lipschitz_bound`, which holds for all points.

    Parameters
    ----------
    estimator : KernelFlow, KernelFlowClassifier or KernelFlowRegressor
        The fitted estimator.
    X : array_like, shape (N, d)
        Points, unscaled for a classifier or regressor. Constants are those of F_n as a function of
        scaled points.
    y : array_like, shape (N,), optional
        Classes of the points. None: all are of one class.
    layers : iterable of int, optional
        The numbers of layers after which constants are measured, in increasing order. None: eleven
        numbers, evenly spaced from 0 to all.
    max_points : int or None
        Number of rows of X, drawn at random, at which local constants are computed. None: all.
    n_directions : int, optional
        Number of orthonormal directions v that are drawn at random. `local` is then the largest
        stretch in their span, which may be far below the local constant. None: all directions.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of the rows and of the directions.

    Returns
    -------
    Lipschitz
        The three measures after each number of layers.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If an estimator has not been fitted; a ValueError for a KernelFlow.
    TypeError, ValueError
        For arguments of the wrong kind, shape or values, naming them, or if the layers were not kept.

    Notes
    -----
    Distances after the flow are those that kernels see. With a `rank`, the directions are those of
    the subspace and the one from the subspace to the point. F_n moves nothing in the other directions,
    for which the derivative is the identity.

    For local constants layers are replayed in float64, whatever the flow's dtype. The step
    h = sqrt(eps max(|x|, l) l), where l is the kernel's length scale, balances rounding and truncation
    errors: about seven digits are right. The cost is a replay of max_points (r + 1) points with r
    coordinates and one of N points, 2 N^2 r flops for the pairs, and for the bound 2 batch_size^2 r
    flops in each layer.

    Examples
    --------
    >>> import numpy as np, kflow
    >>> from kflow.analysis import lipschitz
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> flow = kflow.KernelFlow(n_layers=20, batch_size=100, random_state=0).fit(X, X[:, 0] > 0)
    >>> result = lipschitz(flow, X, X[:, 0] > 0, layers=[0, 20])
    >>> largest = result.local.max(axis=1)
    >>> bool(abs(largest[0] - 1.0) < 1e-6), bool(1.0 < largest[1] < result.bound[1])
    (True, True)
    """
    source = estimator_flow(estimator)
    flow = source.flow
    points = source.scaled(X).astype(flow.dtype, copy=False)
    counts = as_layers(layers, flow, 11)
    limit = as_max_points(max_points)
    codes = np.zeros(len(points), np.intp) if y is None else as_labels(y, len(points))[1]
    rng = as_generator(random_state)
    replay = in_double(flow)
    rows = drawn_rows(len(points), limit, rng)
    stretches = singular_values_at(replay, flow, points[rows], counts, n_directions, rng)
    local = stretches[..., 0]
    within, between = _pair_stretches(flow, points, codes, counts)
    bound = _log_bounds(replay, flow, counts) / math.log(10.0)
    return Lipschitz(np.array(counts, np.intp), rows, local, within, between, bound)


def lipschitz_bound(estimator: Any, *, layers: Iterable[int] | None = None) -> Doubles:
    """Return log10 of a bound on the Lipschitz constant of F_n, from its layers alone.

    A layer adds G(x) = K(x, Z) C, where C contains the step. Along a unit vector a, a'G is a function
    of the kernel's space with norm (a'C'K(Z, Z)C a)^1/2, so that |G(x) - G(z)| <=
    lambda^1/2 |k(x, .) - k(z, .)| <= (lambda curvature)^1/2 |x - z| = L |x - z|, where lambda is the
    largest eigenvalue of C'K(Z, Z)C, and the curvature is -k''(0): `kflow.kernels.Radial.curvature`.
    F_n is a composition of the layers and of projections, so that its constant is at most
    prod (1 + L_m).

    Parameters
    ----------
    estimator : KernelFlow, KernelFlowClassifier or KernelFlowRegressor
        The fitted estimator.
    layers : iterable of int, optional
        The numbers of layers after which the bound is wanted, in increasing order. None: eleven
        numbers, evenly spaced from 0 to all.

    Returns
    -------
    ndarray, shape (n_layers,)
        The logarithms: 0 for no layers, and infinity for kernels that are not twice differentiable at
        0, such as the Laplacian.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If an estimator has not been fitted; a ValueError for a KernelFlow.
    TypeError, ValueError
        For layers that the flow does not have or has not kept.

    Notes
    -----
    Each layer takes 2 batch_size^2 r flops and a batch_size^2 matrix, in float64. The bound holds for
    any two points, near the data or not, and for exact sums, which each replay rounds.

    References
    ----------
    C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning (2006), 4.2.1, for
    Bochner's theorem; C. Szegedy et al., Intriguing properties of neural networks (2014), 4.3, for
    the product over layers.
    """
    flow = estimator_flow(estimator).flow
    return _log_bounds(in_double(flow), flow, as_layers(layers, flow, 11)) / math.log(10.0)


def _log_bounds(replay: Replay, flow: KernelFlow, counts: tuple[int, ...]) -> Doubles:
    """Return the natural logarithm of the bound after each number of layers."""
    curvature = flow.kernel_.curvature
    logs = [0.0]
    for number in range(counts[-1]):
        z, c, _ = replay.scaled_layer(number)
        K = flow.kernel_(z, n_threads=flow.n_threads)
        with single_threaded_blas:
            products = c.T @ (K @ c)
            largest = float(np.linalg.eigvalsh(0.5 * (products + products.T))[-1])
        logs.append(math.log1p(math.sqrt(largest * curvature)) if largest > 0.0 else 0.0)
    return np.cumsum(logs)[list(counts)]


def _pair_stretches(
    flow: KernelFlow, points: FloatArray, codes: npt.NDArray[np.intp], counts: tuple[int, ...]
) -> tuple[Doubles, Doubles]:
    """Return |F_n(x) - F_n(z)| / |x - z| for nearest z of the same class and of another one."""
    partners = near_hits_and_misses(points, codes)
    stretches = np.full((2, len(counts), len(points)), np.nan)
    for i, moved in enumerate(flow.trajectory(points, counts, reduced=True)):
        for kind, partner in enumerate(partners):
            rows = np.flatnonzero(partner >= 0)
            before = np.linalg.norm(points[rows] - points[partner[rows]], axis=1)
            rows, before = rows[before > 0.0], before[before > 0.0]
            after = np.linalg.norm(moved[rows] - moved[partner[rows]], axis=1)
            stretches[kind, i, rows] = after / before
    return stretches[0], stretches[1]
