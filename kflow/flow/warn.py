"""What a flow says of data and kernels that its user can hardly have meant."""

from __future__ import annotations

from typing import Any

import numpy as np

from kflow._base.array_types import FloatArray
from kflow._base.warn import warn_user
from kflow.data.labels import ClassLabels
from kflow.engine import HOST
from kflow.engine.interface import Profile
from kflow.errors import StandstillWarning, TargetsWarning

__all__ = ["warn_of_labels", "warn_of_standstill"]

# Numbers of points of the first batch between which the kernel is taken: a few, which clear almost every
# flow at next to no cost, and more where they do not.
_FEW_POINTS, _MAX_POINTS = 40, 500

# The kernel matrix is the identity to a flow if most points have no neighbour above this value, and all
# ones if no pair is below one minus this value: rho then stays where it is.
_NOTHING = 1e-6


def warn_of_labels(Y: Any, labels: ClassLabels) -> None:
    """Warn if targets look like class labels that were taken for numbers.

    Parameters
    ----------
    Y : array_like
        The targets as they were given: one column of whole numbers with a few distinct values, three
        or more, may be labels. Two values are not an order, so that nothing is lost by them.
    labels : ClassLabels
        What was found out about them.
    """
    dtype = getattr(Y, "dtype", None) or np.asarray(Y).dtype
    if getattr(dtype, "kind", "") not in "iu" or not labels.may_be_classes:
        return
    warn_user(
        f"Y: its {labels.n_values} different whole numbers are learned as the values of a "
        "regression, in which 1 lies between 0 and 2. If they are labels of classes, pass "
        "kflow.one_hot(Y), or use kflow.KernelFlowClassifier; if they are quantities, pass them as "
        "floats, Y.astype(float), which says so",
        TargetsWarning,
    )


def warn_of_standstill(points: FloatArray, profile: Profile, n_threads: int) -> None:
    """Warn if the kernel is the same for almost all pairs of points, so that no flow can move them.

    Parameters
    ----------
    points : ndarray, shape (n, k)
        The points of the first batch, in the coordinates of the flow.
    profile : Profile
        The kernel.
    n_threads : int
        Number of threads.

    Notes
    -----
    Forty points are looked at, once for each flow, and 500 if the kernel cannot tell those apart: n^2
    evaluations of the kernel.
    """
    if _standstill(points[:_FEW_POINTS], profile, n_threads) is None:
        return
    some = points[:_MAX_POINTS]
    found = _standstill(some, profile, n_threads)
    if found is None:
        return
    how, what = found
    distance = _median_distance(some.astype(np.float64))
    if distance == 0.0:  # most points coincide, and no length scale could tell them apart
        return
    warn_user(
        f"kernel: its length scale {profile.length_scale:.3g} is far {how} than the distances of the "
        f"points, whose median is {distance:.3g}. To this kernel {what}, so that the flow hardly "
        "moves and rho stays where it is. Pass kernel=None, which fits a Gaussian to the data, or a "
        f"length_scale of the order of these distances, such as {distance / np.sqrt(3.0):.2g}",
        StandstillWarning,
    )


def _standstill(points: FloatArray, profile: Profile, n_threads: int) -> tuple[str, str] | None:
    """Return how the length scale differs from the distances and what that does; None if it fits."""
    some, n = np.ascontiguousarray(points, np.float64), len(points)
    K = np.empty((n, n))
    HOST.gram(some, some, profile, K, n_threads)
    if K.min() > 1.0 - _NOTHING:
        return "longer", "all points look the same"
    np.fill_diagonal(K, 0.0)
    if 2 * np.count_nonzero(K.max(axis=1) < _NOTHING) > n:
        return "shorter", "no point sees another"
    return None


def _median_distance(points: FloatArray) -> float:
    """Return the median distance of two points; 0 if it is no more than rounding errors."""
    squares = np.square(points).sum(axis=1)
    squared = squares[:, None] + squares - 2.0 * points @ points.T
    median = np.median(squared[~np.eye(len(points), dtype=bool)])
    rounding = 16 * np.finfo(np.float64).eps * squares.max()
    return float(np.sqrt(median)) if median > rounding else 0.0
