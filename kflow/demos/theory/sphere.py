"""Exact numbers of the unit sphere in any dimension: slabs, boxes, caps, and distances of categories."""

from __future__ import annotations

import math

from scipy.integrate import quad
from scipy.special import betainc, betaincinv, gammaln
from scipy.stats import norm

__all__ = [
    "box_bound",
    "cap_height",
    "ceiling",
    "mean_boundary_distance",
    "mean_norm",
    "slab_share",
]


def slab_share(t: float, d: int) -> float:
    """Return the part of the unit sphere in d dimensions with |x_1| < t: the square is beta distributed."""
    return float(betainc(0.5, 0.5 * (d - 1), min(t * t, 1.0)))


def box_bound(t: float, d: int) -> float:
    """Return a lower bound of the part of the sphere where all |x_i| < t: not all d slabs are left."""
    return max(0.0, 1.0 - d * (1.0 - slab_share(t, d)))


def cap_height(share: float, d: int) -> float:
    """Return the t for which the cap x_1 > t is a share, at most a half, of the unit sphere."""
    return math.sqrt(float(betaincinv(0.5, 0.5 * (d - 1), 1.0 - 2.0 * share)))


def ceiling(n_categories: int, d: int) -> float:
    """Return how far half of all points may be from another category, at most, for any categories.

    For k categories of equal shares. By Levy's isoperimetric inequality the points of a region of the
    sphere that are further than a from its complement have at most the share that they would have were
    the region a cap. Half of a cap with the share 1 / k is nearer to its edge than the cap with half of
    the share. The distance is the straight one between the two points on the sphere.
    """
    inner = math.asin(cap_height(0.5 / n_categories, d))
    outer = math.asin(cap_height(1.0 / n_categories, d))
    return 2.0 * math.sin(0.5 * (inner - outer))


def mean_norm(d: int) -> float:
    """Return the mean norm of d independent normal numbers."""
    return math.sqrt(2.0) * math.exp(gammaln(0.5 * (d + 1)) - gammaln(0.5 * d))


def mean_boundary_distance(n_categories: int, d: int) -> float:
    """Return the mean distance of a random point of the sphere from the nearest other category.

    The category is the largest of the first k coordinates. The two largest need to become equal, which
    takes their difference over the root of 2. A point of the sphere is a normally distributed one over
    its norm, which is independent of the direction, and the mean gap of the largest two of k normal
    numbers is the integral of k Phi^(k-1) (1 - Phi).
    """
    k = n_categories
    gap = quad(lambda x: k * norm.cdf(x) ** (k - 1) * norm.sf(x), -10.0, 10.0, limit=200)[0]
    return float(gap) / (math.sqrt(2.0) * mean_norm(d))
