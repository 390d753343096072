"""The effective dimension of all points and of each class, as a flow moves them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count, as_generator, as_number, common_dtype
from kflow._base.array_types import Doubles, FloatArray
from kflow._base.short_repr import ShortRepr
from kflow.analysis._sample import as_labels, as_max_points, drawn_rows, json_numbers
from kflow.data.arrays import as_matrix
from kflow.data.chunks import row_chunks
from kflow.engine.threads import single_threaded_blas
from kflow.flow.estimator_flow import as_layers, estimator_flow

__all__ = [
    "Dimensions",
    "effective_dimension",
    "explained_dimension",
    "neighbour_dimension",
    "participation_ratio",
]


# Differences between points below so many rounding units of the largest norm are rounding errors.
_ROUNDING = 10.0


def participation_ratio(points: npt.ArrayLike) -> float:
    """Return (sum l)^2 / sum l^2, where l are the eigenvalues of the points' covariance.

    Parameters
    ----------
    points : array_like, shape (n, d)
        The points, one in each row.

    Returns
    -------
    float
        A number between 1, for points on a line, and d, for a variance that is the same in all
        directions; NaN where there is no variance but rounding errors.

    Raises
    ------
    TypeError, ValueError
        For a wrong shape or values.

    Notes
    -----
    It takes n d min(n, d) flops, in float64. It does not change with the scale of the points.

    References
    ----------
    R. J. Bell and P. Dean, Atomic vibrations in vitreous silica, Discuss. Faraday Soc. 50 (1970),
    for the ratio; P. Gao et al., A theory of multineuronal dimensionality, dynamics and
    measurement, bioRxiv 214262 (2017), for the dimension of a covariance.

    Examples
    --------
    >>> import numpy as np
    >>> from kflow.analysis import participation_ratio
    >>> round(participation_ratio(np.vstack([np.eye(3), -np.eye(3)])), 6)
    3.0
    """
    return _participation(_variances(_as_points(points)))


def explained_dimension(points: npt.ArrayLike, share: float = 0.99) -> int:
    """Return how many principal directions explain a share of the variance.

    Parameters
    ----------
    points : array_like, shape (n, d)
        The points, one in each row.
    share : float
        The share, in (0, 1).

    Returns
    -------
    int
        The fewest directions that do; 0 where there is no variance but rounding errors.

    Raises
    ------
    TypeError, ValueError
        For a wrong shape or values.

    Notes
    -----
    The cost is that of `participation_ratio`.
    """
    return _explained(_variances(_as_points(points)), _as_share(share))


def neighbour_dimension(
    points: npt.ArrayLike,
    n_neighbours: Sequence[int] = (10, 20),
    *,
    max_points: int | None = None,
    random_state: Any = None,
) -> float:
    """Return the dimension that fits the distances to nearest neighbours, by maximum likelihood.

    Let T_j be the distance from a point to its j-th neighbour. Where the density is constant up to the
    k-th neighbour, the inverse of the dimension is 1/(k - 1) sum_{j < k} log(T_k / T_j). The inverses
    are averaged over points, a correction by MacKay and Ghahramani, and their reciprocals over k.

    Parameters
    ----------
    points : array_like, shape (n, d)
        Points. Those that coincide count as one.
    n_neighbours : (int, int)
        The first and the last k, 2 <= k1 <= k2.
    max_points : int, optional
        Number of points, drawn at random, over which the inverses are averaged. All points are
        neighbours. None: all.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of these points.

    Returns
    -------
    float
        The dimension. It is NaN for k2 different points or fewer, and where half of the points or more
        have their nearest neighbour within rounding errors, as in classes that have collapsed. If
        fewer have, they are left out of the average.

    Raises
    ------
    TypeError, ValueError
        For a wrong shape or values.

    Notes
    -----
    All distances are computed, which takes n^2 d flops, or n max_points d. The estimate is biased
    downwards in high dimensions: it needs a number of points that is exponential in the dimension. It
    does not change with the scale of the points.

    References
    ----------
    E. Levina and P. J. Bickel, Maximum likelihood estimation of intrinsic dimension, NIPS 17 (2004).
    D. J. C. MacKay and Z. Ghahramani, Comments on 'Maximum likelihood estimation of intrinsic
    dimension' by E. Levina and P. Bickel (2005), inference.org.uk/mackay/dimension.
    """
    first, last = _as_neighbours(n_neighbours)
    return _neighbours(
        _as_points(points),
        (first, last),
        as_max_points(max_points),
        as_generator(random_state),
    )


@dataclass(frozen=True, eq=False, repr=False)
class Dimensions(ShortRepr):
    """Result of `effective_dimension`.

    Attributes
    ----------
    layers : ndarray of int, shape (n_layers,)
        The numbers of layers after which dimensions are measured.
    classes : ndarray, shape (n_classes,)
        The classes; empty without labels.
    participation, explained, neighbours : ndarray, shape (n_layers, 1 + n_classes)
        The `participation_ratio`, the `explained_dimension` and the `neighbour_dimension` of all
        points, in column 0, and of the points of each class. Where they are undefined, `explained` is
        0 and the others are NaN.
    share : float
        The part of the variance that `explained` explains.
    n_neighbours : (int, int)
        The first and the last number of neighbours of `neighbours`.
    """

    layers: npt.NDArray[np.intp]
    classes: npt.NDArray[Any]
    participation: Doubles
    explained: Doubles
    neighbours: Doubles
    share: float
    n_neighbours: tuple[int, int]

    def within_classes(self, measure: str) -> Doubles:
        """Return the mean of a measure, such as "participation", over classes, (n_layers,).

        Classes for which the measure is undefined do not count; the mean is NaN if none is left.
        """
        values: Doubles = getattr(self, measure)[:, 1:]
        known = np.isfinite(values)
        sums = np.where(known, values, 0.0).sum(axis=1)
        counts = known.sum(axis=1)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    def summary(self) -> dict[str, Any]:
        """Return the dimensions of all points and their mean over classes, by layers, as JSON data."""
        result: dict[str, Any] = {"layers": self.layers.tolist()}
        for name in ("participation", "explained", "neighbours"):
            result[name] = json_numbers(getattr(self, name)[:, 0])
            if len(self.classes):
                result[f"{name}_within_classes"] = json_numbers(self.within_classes(name))
        return result


def effective_dimension(
    estimator: Any,
    X: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    *,
    layers: Iterable[int] | None = None,
    share: float = 0.99,
    n_neighbours: Sequence[int] = (10, 20),
    max_points: int | None = 2000,
    random_state: Any = 0,
) -> Dimensions:
    """Return the effective dimension of F_n(X) for several n, of all points and of each class.

    Parameters
    ----------
    estimator : KernelFlow, KernelFlowClassifier or KernelFlowRegressor
        The fitted estimator.
    X : array_like, shape (N, d)
        Points, unscaled for a classifier or regressor.
    y : array_like, shape (N,), optional
        Classes of the points.
    layers : iterable of int, optional
        The numbers of layers after which dimensions are measured, in increasing order. None: eleven
        numbers, evenly spaced from 0 to all.
    share : float
        The part of the variance, in (0, 1), that principal directions are to explain.
    n_neighbours : (int, int)
        The first and the last number of neighbours, as in `neighbour_dimension`.
    max_points : int or None
        Number of points, of all and of each class, over which `neighbour_dimension` averages. None:
        all.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of these points.

    Returns
    -------
    Dimensions
        The dimensions after each number of layers.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If an estimator has not been fitted; a ValueError for a KernelFlow.
    TypeError, ValueError
        For arguments of the wrong kind, shape or values, naming them, or if the layers were not kept.

    Notes
    -----
    The layers are replayed once. For N points with r coordinates, each entry of `layers` takes 2 N r^2
    flops for the covariances and 4 N max_points r for the neighbours. In a flow with a `rank` the
    points' distance from the subspace counts as one coordinate.

    Examples
    --------
    >>> import numpy as np, kflow
    >>> from kflow.analysis import effective_dimension
    >>> X = np.random.default_rng(0).normal(size=(300, 4))
    >>> Y = X[:, 0] > 0
    >>> flow = kflow.KernelFlow(n_layers=300, batch_size=100, nugget=3.0, step="rms", random_state=0)
    >>> dimensions = effective_dimension(flow.fit(X, Y), X, Y, layers=[0, 300])
    >>> before, after = dimensions.participation[:, 0]
    >>> bool(before > 3.9), bool(after < 2.0)
    (True, True)
    """
    source = estimator_flow(estimator)
    points = source.scaled(X)
    counts = as_layers(layers, source.flow, 11)
    share, both = _as_share(share), _as_neighbours(n_neighbours)
    limit = as_max_points(max_points)
    classes, codes = (np.array([]), None) if y is None else as_labels(y, len(points))
    # The points drawn are the same after each number of layers.
    seeds = as_generator(random_state).integers(2**63, size=1 + len(classes))
    members: list[Any] = [slice(None)]
    members += [np.flatnonzero(codes == code) for code in range(len(classes))]
    results = np.empty((3, len(counts), len(members)))
    for i, moved in enumerate(source.flow.trajectory(points, counts, reduced=True)):
        for j, (rows, seed) in enumerate(zip(members, seeds, strict=True)):
            group = moved[rows]
            variances = _variances(group)
            results[0, i, j] = _participation(variances)
            results[1, i, j] = _explained(variances, share)
            results[2, i, j] = _neighbours(group, both, limit, as_generator(seed))
    return Dimensions(
        np.array(counts, np.intp), classes, results[0], results[1], results[2], share, both
    )


# ---- arguments ----------------------------------------------------------------------------------


def _as_points(points: npt.ArrayLike) -> FloatArray:
    return as_matrix(points, "points", dtype=common_dtype(points), allow_no_rows=False)


def _as_share(share: Any) -> float:
    number = as_number(share, "share")
    if not 0.0 < number < 1.0:
        raise ValueError(f"share must lie between 0 and 1, both excluded, got {share!r}")
    return number


def _as_neighbours(n_neighbours: Any) -> tuple[int, int]:
    try:
        first, last = n_neighbours
    except (TypeError, ValueError):
        raise TypeError(
            f"n_neighbours must be two whole numbers (k1, k2), got {n_neighbours!r}"
        ) from None
    first = as_count(first, "n_neighbours[0]", 2)
    return first, as_count(last, "n_neighbours[1]", first)


# ---- the three measures -------------------------------------------------------------------------


def _resolution(points: FloatArray) -> float:
    """Return the distance below which points differ by no more than rounding errors."""
    largest = np.sqrt(np.einsum("ij,ij->i", points, points, dtype=np.float64).max())
    return float(_ROUNDING * np.finfo(points.dtype).eps * largest)


def _variances(points: FloatArray) -> Doubles:
    """Return the eigenvalues of the covariance, largest first; none where all points coincide."""
    n, d = points.shape
    # Differences from the first point lose no digits where the points are far from the origin.
    centre = points[0].astype(np.float64)
    sums = sum((points[rows] - centre).sum(axis=0) for rows in row_chunks(n))
    centre = centre + sums / n
    with single_threaded_blas:
        if n < d:
            deviations = points - centre
            matrix = deviations @ deviations.T
        else:
            matrix = np.zeros((d, d))
            for rows in row_chunks(n):
                deviations = points[rows] - centre
                matrix += deviations.T @ deviations
        if np.trace(matrix) <= n * _resolution(points) ** 2:
            return np.empty(0)
        variances: Doubles = np.maximum(np.linalg.eigvalsh(matrix)[::-1], 0.0) / n
    return variances


def _participation(variances: Doubles) -> float:
    if not len(variances):
        return np.nan
    shares = variances / variances.sum()
    return float(1.0 / (shares**2).sum())


def _explained(variances: Doubles, share: float) -> int:
    if not len(variances):
        return 0
    left = np.append(np.cumsum(variances[::-1])[::-1], 0.0)  # left[r]: what r directions leave
    return int(np.argmax(left <= (1.0 - share) * left[0]))


def _neighbours(
    points: FloatArray,
    n_neighbours: tuple[int, int],
    max_points: int | None,
    rng: np.random.Generator,
) -> float:
    from sklearn.neighbors import NearestNeighbors

    first, last = n_neighbours
    points = np.unique(points, axis=0)
    if len(points) <= last:
        return np.nan
    rows = drawn_rows(len(points), max_points, rng)
    search = NearestNeighbors(n_neighbors=last + 1, algorithm="brute").fit(points)
    found = search.kneighbors(points[rows], return_distance=False)
    # The point itself is left out, which need not come first: see below.
    order = np.argsort(found == rows[:, None], axis=1, kind="stable")[:, :last]
    near = np.take_along_axis(found, order, axis=1)
    distances = np.empty((len(rows), last))
    for some in row_chunks(len(rows)):
        # The distances of the search come from products, which cancel between near points.
        differences = points[near[some]].astype(np.float64) - points[rows[some], None]
        distances[some] = np.sqrt((differences**2).sum(axis=2))
    distances.sort(axis=1)
    resolved = distances[:, 0] > _resolution(points)
    if 2 * resolved.sum() <= len(rows):
        return np.nan
    logs = np.log(distances[resolved])
    estimates = []
    for k in range(first, last + 1):
        inverse = (logs[:, k - 1 : k] - logs[:, : k - 1]).sum(axis=1).mean() / (k - 1)
        estimates.append(1.0 / inverse if inverse > 0.0 else np.nan)
    return float(np.mean(estimates))
