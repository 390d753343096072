"""Hyperplanes that separate two classes, and lines with the fewest points on the wrong side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from kflow.data.arrays import as_matrix

__all__ = ["Hyperplane", "best_line", "separating_hyperplane"]

Array: TypeAlias = npt.NDArray[np.float64]

# Largest number of equally good directions whose gaps are compared.
_MOST_DIRECTIONS = 500
# Angles that differ by less than this count as equal: their points lie on one line.
_NARROWEST = 1e-12


@dataclass(frozen=True, eq=False)
class Hyperplane:
    """The points x with normal'x = offset.

    Attributes
    ----------
    normal : ndarray, shape (d,)
        Unit vector that points to the side of the class that is second in sorted order.
    offset : float
        Distance of the hyperplane from the origin, along the normal.
    error : float
        Fraction of the points that lie on the wrong side, or on the hyperplane itself.
    """

    normal: Array
    offset: float
    error: float


def separating_hyperplane(points: npt.ArrayLike, labels: npt.ArrayLike) -> Hyperplane | None:
    """Return a hyperplane with one class on either side, or None if there is none.

    Parameters
    ----------
    points : array_like, shape (n, d)
        The points, one in each row.
    labels : array_like, shape (n,)
        Their classes; there must be two.

    Returns
    -------
    Hyperplane or None
        A hyperplane with the widest margin, measured by the sum of the absolute coordinates. The
        result is also None if the margin is below about 1e-7 of the extent of the points, which is
        the accuracy of the solver. A hyperplane that is returned separates the points in floating
        point.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind, shape or values, naming them.

    Notes
    -----
    Let s_i be -1 or 1, depending on the class of x_i. The largest t for which there are w and b
    with s_i (w . x_i - b) >= t and |w_j| <= 1 is positive if and only if there is a separating
    hyperplane. HiGHS computes w, b and t by solving a linear program in these d + 2 unknowns with n
    constraints.
    """
    x, signs = _two_classes(points, labels)
    from scipy.optimize import linprog

    n, d = x.shape
    centre = x.mean(axis=0)
    scale = float(np.abs(x - centre).max()) or 1.0
    centred = (x - centre) / scale
    constraints = np.hstack([-signs[:, None] * centred, signs[:, None], np.ones((n, 1))])
    bounds = [(-1.0, 1.0)] * d + [(None, None)] * 2
    solved = linprog(
        [0.0] * (d + 1) + [-1.0],
        A_ub=constraints,
        b_ub=np.zeros(n),
        bounds=bounds,
        method="highs",
    )
    if not solved.success:  # there is always a solution, since w = 0, b = 0, t = 0 is feasible
        raise RuntimeError(f"HiGHS found no solution: {solved.message}")
    w, b = solved.x[:d], float(solved.x[d])
    if not (signs * (centred @ w - b)).min() > 0.0:
        return None
    length = float(np.linalg.norm(w))
    normal = w / length
    offset = scale * b / length + float(normal @ centre)
    found = Hyperplane(normal, offset, _error(x, signs, normal, offset))
    return found if found.error == 0.0 else None


def best_line(points: npt.ArrayLike, labels: npt.ArrayLike) -> Hyperplane:
    """Return the line in the plane with the fewest points of two classes on the wrong side.

    Parameters
    ----------
    points : array_like, shape (n, 2)
        The points, one in each row.
    labels : array_like, shape (n,)
        Their classes; there must be two.

    Returns
    -------
    Hyperplane
        One of the best lines, with a wide gap between the points on either side.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind, shape or values, naming them.

    Notes
    -----
    The result is exact, up to rounding: any line can be shifted until it meets a point, which may
    then be counted on either side. For each point, a line is turned around that point and passes
    the other points one after another. This takes O(n^2 log n) operations and O(n^2) memory.
    """
    x, signs = _two_classes(points, labels)
    if x.shape[1] != 2:
        raise ValueError(f"points must have two columns, got {x.shape[1]}")
    angles = _best_directions(x, signs) + np.pi / 2.0
    spread = np.linspace(0, len(angles) - 1, min(len(angles), _MOST_DIRECTIONS)).astype(np.intp)
    angle, offset, side = _best_threshold(x, signs, angles[spread])
    normal = side * np.array([np.cos(angle), np.sin(angle)])
    return Hyperplane(normal, side * offset, _error(x, signs, normal, side * offset))


def _best_directions(x: Array, signs: Array) -> Array:
    """Return the angles of lines through a point with the fewest other points on the wrong side."""
    apart = x[None, :, :] - x[:, None, :]
    same = (apart == 0.0).all(axis=2)
    angles = np.arctan2(apart[:, :, 1], apart[:, :, 0])
    above = angles >= 0.0
    angles = np.where(same, np.inf, np.where(above, angles, angles + np.pi))
    order = angles.argsort(axis=1)
    angles = np.take_along_axis(angles, order, axis=1)
    # The sum of signs on the left of a line that turns from angle 0 to pi.
    turned = np.where(above, -signs, signs)
    start = np.where(above & ~same, signs, 0.0).sum(axis=1, keepdims=True)
    left = start + np.cumsum(
        np.where(np.isinf(angles), 0.0, np.take_along_axis(turned, order, axis=1)), axis=1
    )
    left = np.hstack([start, left])
    ends = np.hstack(
        [np.zeros((len(x), 1)), np.minimum(angles, np.pi), np.full((len(x), 1), np.pi)]
    )
    # Points on the line, such as the point around which it turns, may count on either side.
    own = np.where(same, signs, 0.0).sum(axis=1, keepdims=True)
    # With the second class on the left, n_second - sum points are on the wrong side; with the
    # second class on the right, n_first + sum.
    n_first, n_second = (signs < 0.0).sum(), (signs > 0.0).sum()
    fewest = np.minimum(
        n_second - left - np.maximum(own, 0.0), n_first + left + np.minimum(own, 0.0)
    )
    widths = np.diff(ends, axis=1)
    fewest = np.where(widths > _NARROWEST, fewest, np.inf)
    middles = ends[:, :-1] + widths / 2.0
    return np.unique(middles[fewest == fewest.min()])


def _best_threshold(x: Array, signs: Array, angles: Array) -> tuple[float, float, float]:
    """Return angle, threshold and side, 1 or -1, of the best line perpendicular to given angles."""
    heights = np.cos(angles)[:, None] * x[:, 0] + np.sin(angles)[:, None] * x[:, 1]
    order = heights.argsort(axis=1)
    heights = np.take_along_axis(heights, order, axis=1)
    ends = np.pad(heights, ((0, 0), (1, 1)), mode="edge")
    ends[:, 0] -= 1.0
    ends[:, -1] += 1.0
    gaps = np.diff(ends, axis=1)
    below = np.pad(np.cumsum(signs[order], axis=1), ((0, 0), (1, 0)))
    # If the second class belongs above the line, its points below the line and the points of the
    # first class above the line are wrong.
    wrong = below + (signs < 0.0).sum()
    best = (np.inf, 0.0, 0.0, 0.0, 1.0)
    for side, count in ((1.0, wrong), (-1.0, len(x) - wrong)):
        fewest = np.where(gaps > 0.0, count, np.inf)
        widest = np.where(fewest == fewest.min(), gaps, 0.0)
        row, column = np.unravel_index(int(widest.argmax()), widest.shape)
        middle = float(ends[row, column] + gaps[row, column] / 2.0)
        gap = float(gaps[row, column])
        best = min(best, (float(fewest.min()), -gap, float(angles[row]), middle, side))
    return best[2:]


def _two_classes(points: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Array, Array]:
    """Return the points, and for each of them -1 or 1, depending on its class."""
    x = as_matrix(points, "points", dtype=np.float64, allow_no_rows=False)
    given = np.asarray(labels)
    if given.shape != (len(x),):
        raise ValueError(f"labels must have shape ({len(x)},), got {given.shape}")
    classes, codes = np.unique(given, return_inverse=True)
    if len(classes) != 2:
        raise ValueError(f"labels must be of two classes, got {len(classes)}")
    return x.astype(np.float64, copy=False), np.where(codes == 1, 1.0, -1.0)


def _error(x: Array, signs: Array, normal: Array, offset: float) -> float:
    """Return the fraction of points that are not on their side of a hyperplane."""
    return float((signs * (x @ normal - offset) <= 0.0).mean())
