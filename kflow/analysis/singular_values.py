"""All singular values of the derivative of F_n: which signals a flow lets vanish or explode."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_generator
from kflow._base.array_types import Doubles
from kflow._base.short_repr import ShortRepr
from kflow.analysis._derivative import in_double, singular_values_at
from kflow.analysis._sample import as_max_points, drawn_rows
from kflow.flow.estimator_flow import as_layers, estimator_flow

__all__ = ["SingularValues", "singular_values"]

# Smaller singular values, as a part of the largest, are rounding errors of the differences.
_SMALLEST = 1e-8


@dataclass(frozen=True, eq=False, repr=False)
class SingularValues(ShortRepr):
    """Result of `singular_values`.

    Attributes
    ----------
    layers : ndarray of int, shape (n_layers,)
        The numbers of layers n after which the derivative of F_n is measured.
    rows : ndarray of int, shape (n_points,)
        The rows of X at which it is measured.
    values : ndarray, shape (n_layers, n_points, k)
        The singular values, in decreasing order.
    """

    layers: npt.NDArray[np.intp]
    rows: npt.NDArray[np.intp]
    values: Doubles

    @property
    def logarithms(self) -> Doubles:
        """Natural logarithms of the values, (n_layers, n_points, k).

        Values below 1e-8 of the largest one at that point, which are rounding errors, count as 1e-8
        of it.
        """
        largest = np.maximum(self.values[..., :1], np.finfo(np.float64).tiny)
        return np.asarray(np.log(np.maximum(self.values, _SMALLEST * largest)))

    @property
    def mean_exponent(self) -> Doubles:
        """The mean logarithm over points and directions, (n_layers,): that of a volume's k-th root.

        Divided by n it is the mean of the Lyapunov exponents. It is 0 if volumes neither vanish nor
        explode.
        """
        return np.asarray(self.logarithms.mean(axis=(1, 2)))

    @property
    def gain_exponent(self) -> Doubles:
        """Half the logarithm of the mean squared value, (n_layers,).

        A small signal in a random direction leaves the flow larger by exp of this, as a root mean
        square. It is 0 at the edge of chaos of random networks, negative where signals vanish, and
        positive where they explode.
        """
        with np.errstate(divide="ignore"):
            return np.asarray(0.5 * np.log((self.values**2).mean(axis=(1, 2))))

    @property
    def distance_from_isometry(self) -> Doubles:
        """The root mean square logarithm, (n_layers,): 0 if no direction is stretched or squeezed."""
        return np.asarray(np.sqrt((self.logarithms**2).mean(axis=(1, 2))))


def singular_values(
    estimator: Any,
    X: npt.ArrayLike,
    *,
    layers: Iterable[int] | None = None,
    max_points: int | None = 50,
    random_state: Any = 0,
) -> SingularValues:
    """Return the singular values of the derivative of F_n at some points, along a flow.

    Parameters
    ----------
    estimator : KernelFlow, KernelFlowClassifier or KernelFlowRegressor
        The fitted estimator.
    X : array_like, shape (N, d)
        Points, unscaled for a classifier or regressor. F_n is a function of scaled points.
    layers : iterable of int, optional
        The numbers of layers n, in increasing order. None: eleven numbers, evenly spaced from 0 to
        all.
    max_points : int or None
        Number of rows of X, drawn at random, at which the derivative is computed. None: all.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of the rows.

    Returns
    -------
    SingularValues
        The values, and exponents.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If an estimator has not been fitted; a ValueError for a KernelFlow.
    TypeError, ValueError
        For arguments of the wrong kind, shape or values, naming them, or if the layers were not kept.

    Notes
    -----
    The derivative is by differences, as for `lipschitz`: in float64, with an error of about 1e-7 of
    the largest value. There are d values, or rank + 1 with a `rank`: the last direction is the one from
    the subspace to the point, in which nothing moves. Where the flow has dropped coordinates, the last
    values are 0. The cost is a replay of
    max_points (k + 1) points, and max_points decompositions of a k x k matrix for each entry of
    `layers`.

    References
    ----------
    J. Pennington, S. Schoenholz and S. Ganguli, Resurrecting the sigmoid in deep learning through
    dynamical isometry (2017), for the values of random networks, and their edge of chaos.

    Examples
    --------
    >>> import numpy as np, kflow
    >>> from kflow.analysis import singular_values
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> flow = kflow.KernelFlow(n_layers=20, batch_size=100, random_state=0).fit(X, X[:, 0] > 0)
    >>> found = singular_values(flow, X, layers=[0, 20])
    >>> found.values.shape, bool(found.distance_from_isometry[0] < 1e-6)
    ((2, 50, 2), True)
    """
    source = estimator_flow(estimator)
    flow = source.flow
    points = source.scaled(X).astype(flow.dtype, copy=False)
    counts = as_layers(layers, flow, 11)
    limit = as_max_points(max_points)
    rng = as_generator(random_state)
    rows = drawn_rows(len(points), limit, rng)
    values = singular_values_at(in_double(flow), flow, points[rows], counts, None, rng)
    return SingularValues(np.array(counts, np.intp), rows, values)
