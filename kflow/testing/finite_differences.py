"""Derivatives by finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kflow._base.array_types import Doubles

__all__ = ["differences"]


def differences(
    function: Callable[[Doubles], float], point: Doubles, step: float = 1e-5
) -> Doubles:
    """Return the gradient of a function of an array, by central differences.

    Parameters
    ----------
    function : callable
        It takes an array like `point`.
    point : ndarray
        Where to differentiate.
    step : float
        How far entries are moved to either side.
    """
    gradient = np.empty_like(point)
    for index in np.ndindex(point.shape):
        ends = []
        for sign in (1, -1):
            moved = point.copy()
            moved[index] += sign * step
            ends.append(function(moved))
        gradient[index] = (ends[0] - ends[1]) / (2 * step)
    return gradient
