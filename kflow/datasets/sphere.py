"""Categories into which the unit sphere is divided, in any dimension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count, as_generator
from kflow._base.array_types import Doubles, Rows
from kflow._base.short_repr import ShortRepr
from kflow.data.arrays import as_matrix

__all__ = ["SphereCategories", "sphere_points"]

# Inner products of centres that are below this count as zero.
_ORTHOGONAL = 1e-10


def sphere_points(n: int, dimension: int, random_state: Any = None) -> Doubles:
    """Return points drawn at random on the unit sphere, with the same density everywhere.

    Parameters
    ----------
    n : int
        Number of points.
    dimension : int
        Number d of their coordinates.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of the draw.

    Returns
    -------
    ndarray, shape (n, d)
        Points of norm 1: normally distributed ones, each divided by its norm.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or value, naming them.

    Examples
    --------
    >>> import numpy as np
    >>> from kflow.datasets import sphere_points
    >>> X = sphere_points(1000, 400, random_state=0)
    >>> bool(np.allclose((X**2).sum(axis=1), 1.0))
    True
    >>> round(float((np.abs(X[:, 0]) < 2 / 400**0.5).mean()), 1)  # nearly all lie near the equator
    1.0
    """
    shape = as_count(n, "n", 1), as_count(dimension, "dimension", 1)
    points: Doubles = as_generator(random_state).normal(size=shape)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points


@dataclass(frozen=True, eq=False, repr=False)
class SphereCategories(ShortRepr):
    """A division of space into categories: a point belongs to the centre with the largest inner product.

    Each category is a convex cone, and meets the unit sphere in one piece. `by_coordinate` and `at_random`
    make two such divisions.

    Parameters
    ----------
    centres : array_like, shape (k, d)
        The centres, k >= 2 different ones, which are divided by their norms.

    Attributes
    ----------
    centres : ndarray, shape (k, d)
        The centres, of norm 1.

    Raises
    ------
    TypeError, ValueError
        If the centres are no such points.

    Examples
    --------
    In high dimensions a random point is close to each of 100 categories, where its distance to another
    random point is about 1.41:

    >>> from kflow.datasets import SphereCategories, sphere_points
    >>> categories = SphereCategories.by_coordinate(100, 10000)
    >>> X = sphere_points(50, 10000, random_state=0)
    >>> bool(categories.distances(X).max() < 0.1)
    True
    """

    centres: Doubles

    def __post_init__(self) -> None:
        """Check the centres, and give them the norm 1."""
        centres = as_matrix(self.centres, "centres", dtype=np.float64, allow_no_rows=False)
        norms = np.linalg.norm(centres, axis=1, keepdims=True)
        if not (norms > 0.0).all():
            raise ValueError("centres must not be 0: a centre is a direction")
        centres = centres / norms
        if len(centres) < 2 or len(np.unique(centres, axis=0)) < len(centres):
            raise ValueError("centres must be at least two different directions")
        object.__setattr__(self, "centres", centres)

    @classmethod
    def by_coordinate(cls, n_categories: int, dimension: int) -> SphereCategories:
        """Return the categories of points whose j-th coordinate is the largest of the first k.

        Parameters
        ----------
        n_categories : int
            Number k of categories, at least 2.
        dimension : int
            Number d of coordinates, at least k.
        """
        k = as_count(n_categories, "n_categories", 2)
        return cls(np.eye(k, as_count(dimension, "dimension", k)))

    @classmethod
    def at_random(
        cls, n_categories: int, dimension: int, random_state: Any = None
    ) -> SphereCategories:
        """Return the categories of points that are nearest to each of k random points of the sphere.

        Parameters
        ----------
        n_categories : int
            Number k of categories, at least 2.
        dimension : int
            Number d of coordinates, at least 2.
        random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
            Source of the draw.
        """
        k, d = as_count(n_categories, "n_categories", 2), as_count(dimension, "dimension", 2)
        return cls(sphere_points(k, d, random_state))

    def labels(self, X: npt.ArrayLike) -> Rows:
        """Return the number of each point's category, (n,)."""
        return np.asarray(self._products(X).argmax(axis=1), np.intp)

    def boundary_distances(self, X: npt.ArrayLike) -> Doubles:
        """Return how far each point is from the nearest point of another category.

        Parameters
        ----------
        X : array_like, shape (n, d)
            Points.

        Returns
        -------
        ndarray, shape (n,)
            The distances in space. On the sphere the way is longer: 2 sin(a / 2) for sin(a) in space, if
            the point has norm 1.

        Notes
        -----
        The boundary between the own category i and j lies where (c_i - c_j) . x = 0, and a category is
        convex: the distance is the least of (c_i - c_j) . x / |c_i - c_j| over all j. It costs n k d
        flops.
        """
        products = self._products(X)
        own = products.argmax(axis=1)
        gaps = np.take_along_axis(products, own[:, None], axis=1) - products
        # |c_i - c_j|^2 = 2 - 2 c_i . c_j, which would lose digits for near centres.
        lengths = np.linalg.norm(self.centres[:, None] - self.centres, axis=2)[own]
        lengths[np.arange(len(own)), own] = 1.0
        gaps[np.arange(len(own)), own] = np.inf
        return np.asarray((gaps / lengths).min(axis=1))

    def distances(self, X: npt.ArrayLike) -> Doubles:
        """Return how far each point is from the nearest point of each category.

        Parameters
        ----------
        X : array_like, shape (n, d)
            Points.

        Returns
        -------
        ndarray, shape (n, k)
            The distances, 0 for the own category.

        Raises
        ------
        ValueError
            If the centres are not orthogonal to each other.

        Notes
        -----
        Let v be the inner products of x with the centres. The nearest point of category j has at j the
        value t, and t also where v was larger: t is the mean of v_j and of all v_i > t. They are found
        in descending order, which takes k^2 numbers for each point.
        """
        products = self._products(X)
        if np.abs(self.centres @ self.centres.T - np.eye(len(self.centres))).max() > _ORTHOGONAL:
            raise ValueError(
                "distances to each category are known for orthogonal centres: take "
                "SphereCategories.by_coordinate, or boundary_distances, which are known for all"
            )
        return np.array([_distances_to_largest(values) for values in products])

    def _products(self, X: npt.ArrayLike) -> Doubles:
        points = as_matrix(X, "X", dtype=np.float64, n_columns=self.centres.shape[1])
        products: Doubles = points @ self.centres.T
        return products


def _distances_to_largest(values: Doubles) -> Doubles:
    """Return for each j how far numbers are from those of which the j-th is the largest."""
    descending = np.sort(values)[::-1]
    counts = np.arange(1, len(values) + 1)
    levels = (values[:, None] + np.cumsum(descending)) / (counts + 1)
    # The level of the first p numbers is right if the next one lies below.
    below = np.append(descending[1:], -np.inf)
    place = np.argmax(levels >= below, axis=1)
    level = levels[np.arange(len(values)), place]
    lowered = np.maximum(descending - level[:, None], 0.0)
    distances: Doubles = np.sqrt((level - values) ** 2 + (lowered**2).sum(axis=1))
    distances[values == descending[0]] = 0.0
    return distances
