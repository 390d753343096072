"""How many directions are left near a point: the dimension of noisy copies, as a flow moves them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count, as_generator, as_positive
from kflow._base.array_types import Doubles, Rows
from kflow._base.short_repr import ShortRepr
from kflow.analysis._sample import as_max_points, drawn_rows, json_numbers, quantiles
from kflow.flow.estimator_flow import as_layers, estimator_flow
from kflow.layers.moments import mean_squared_distance

__all__ = ["TangentDimensions", "tangent_dimension"]


@dataclass(frozen=True, eq=False, repr=False)
class TangentDimensions(ShortRepr):
    """Result of `tangent_dimension`.

    Attributes
    ----------
    layers : ndarray of int, shape (n_layers,)
        The numbers of layers after which dimensions are measured.
    rows : ndarray of int, shape (n_points,)
        The rows of X of which noisy copies are made.
    dimensions : ndarray, shape (n_layers, n_points)
        Participation ratio of the copies of each point: how many directions they span. NaN where the copies
        coincide.
    stretch : ndarray, shape (n_layers, n_points)
        Root mean square of the distances between the copies and the middle of each pair, over that before
        the flow.
    """

    layers: npt.NDArray[np.intp]
    rows: Rows
    dimensions: Doubles
    stretch: Doubles

    def summary(self) -> dict[str, Any]:
        """Return the medians and the means over points, by layers, as JSON data."""
        return {
            "layers": self.layers.tolist(),
            "median": quantiles(self.dimensions, 0.5),
            "stretch_median": quantiles(self.stretch, 0.5),
            "stretch_mean": json_numbers(self.stretch.mean(axis=1)),
        }


def tangent_dimension(
    estimator: Any,
    X: npt.ArrayLike,
    *,
    layers: Iterable[int] | None = None,
    noise: float = 0.1,
    n_copies: int = 50,
    max_points: int | None = 50,
    random_state: Any = 0,
) -> TangentDimensions:
    r"""Return how many directions noisy copies of a point span after several numbers of layers.

    Where noise is small, the copies lie in the plane that is tangent to the image of F_n at the point, and the
    result is that of the derivative there: :math:`(\sum_i s_i^2)^2 / \sum_i s_i^4` for its singular values.
    It is the number of directions in which the flow still tells points from each other.

    Parameters
    ----------
    estimator : KernelFlow, KernelFlowClassifier or KernelFlowRegressor
        The fitted estimator.
    X : array_like, shape (N, d)
        Points, unscaled for a classifier or regressor.
    layers : iterable of int, optional
        The numbers of layers after which dimensions are measured, in increasing order. None: eleven
        numbers, evenly spaced from 0 to all.
    noise : float
        Root mean square of the noise's length, in units of the root mean squared distance of the scaled
        points. It has the same variance in all directions.
    n_copies : int
        Number of pairs of copies of each point, x + e and x - e, at least 2.
    max_points : int or None
        Number of rows of X, drawn at random, of which copies are made. None: all.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of the rows and of the noise.

    Returns
    -------
    TangentDimensions
        The dimensions after each number of layers.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If an estimator has not been fitted; a ValueError for a KernelFlow.
    TypeError, ValueError
        For arguments of the wrong kind, shape or values, naming them, or if the layers were not kept.

    Notes
    -----
    Let v be half of the difference between the copies of a pair, without the even part of F_n. For m pairs
    the trace of the covariance is estimated by the mean of v_i . v_i, and that of its square without bias by
    the mean of (v_i . v_j)^2 over i != j, so that m may be far below the dimension. The relative error is
    about 1 / m. It costs a replay of 2 m max_points points. With a `rank` the distance from the subspace
    counts as one direction.

    References
    ----------
    J. Hopcroft, Research in deep learning (talk, 2019), for the plane tangent to copies of an image with
    noise.

    Examples
    --------
    >>> import numpy as np, kflow
    >>> from kflow.analysis import tangent_dimension
    >>> X = np.random.default_rng(0).normal(size=(300, 4))
    >>> flow = kflow.KernelFlow(n_layers=300, batch_size=100, nugget=3.0, step="rms", random_state=0)
    >>> found = tangent_dimension(flow.fit(X, X[:, 0] > 0), X, layers=[0, 300])
    >>> before, after = np.median(found.dimensions, axis=1)
    >>> bool(before > 3.5), bool(after < 3.0)
    (True, True)
    """
    source = estimator_flow(estimator)
    points = source.scaled(X)
    counts = as_layers(layers, source.flow, 11)
    length = as_positive(noise, "noise") * mean_squared_distance(points) ** 0.5
    if length == 0.0:
        raise ValueError("X holds one point only: the noise is as long as a part of their distance")
    m = as_count(n_copies, "n_copies", 2)
    limit = as_max_points(max_points)
    rng = as_generator(random_state)
    rows = drawn_rows(len(points), limit, rng)
    d = points.shape[1]
    errors = rng.normal(scale=length / d**0.5, size=(len(rows), m, d))
    middle = points[rows, None].astype(np.float64)
    copies = np.stack([middle + errors, middle - errors]).reshape(-1, d).astype(points.dtype)
    dimensions, stretch = np.empty((2, len(counts), len(rows)))
    for i, moved in enumerate(source.flow.trajectory(copies, counts, reduced=True)):
        plus, minus = moved.astype(np.float64).reshape(2, len(rows), m, -1)
        for j, v in enumerate(0.5 * (plus - minus)):
            products = v @ v.T
            own = np.diag(products)
            others = (products**2).sum() - (own**2).sum()
            stretch[i, j] = own.mean()
            dimensions[i, j] = own.mean() ** 2 / (others / (m * (m - 1))) if others > 0 else np.nan
    before = (errors**2).sum(axis=2).mean(axis=1)
    return TangentDimensions(np.array(counts, np.intp), rows, dimensions, np.sqrt(stretch / before))
