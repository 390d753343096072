"""Leading a state back to those that were seen, so that iterated forecasts stay near an attractor."""

from __future__ import annotations

import numpy as np

from kflow._base.array_types import FloatArray

__all__ = ["NearbyWindows"]

# Windows between which one is led back.
_N_NEAREST = 8

# The fraction of the windows whose nearest is not called far.
_USUAL = 0.99


class NearbyWindows:
    """The windows of a series, and how far apart they usually are.

    Parameters
    ----------
    windows : ndarray, shape (m, D)
        Scaled windows.

    Attributes
    ----------
    limit : float
        The distance from its nearest that 99 % of the windows do not exceed; infinite for one window.

    Notes
    -----
    On an attractor a learned map is good; what it does beside it, the data do not say, and often it
    leads away. A window that has gone far is replaced by the mean of its eight nearest, with the inverse
    distances for weights: D. Shepard, A two-dimensional interpolation function for irregularly-spaced
    data, Proc. 23rd ACM National Conference (1968). From there on the forecast is one of analogues
    (E. N. Lorenz, J. Atmos. Sci. 26 (1969) 636) until it is near again. A search costs about D log m,
    in high dimensions D m.
    """

    def __init__(self, windows: FloatArray) -> None:
        from scipy.spatial import KDTree

        self._windows, self._tree = windows, KDTree(windows)
        self._count = min(_N_NEAREST, len(windows))
        self.limit = np.inf
        if len(windows) > 1:
            self.limit = float(np.quantile(self._tree.query(windows, 2)[0][:, 1], _USUAL))

    def led_back(self, windows: FloatArray) -> FloatArray:
        """Return windows (s, D), of which those far from all others are replaced; a new array if any is."""
        distances, nearest = self._tree.query(windows, np.arange(1, self._count + 1))
        far = distances[:, 0] > self.limit
        if not far.any():
            return windows
        weights = 1.0 / distances[far]
        weights /= weights.sum(axis=1, keepdims=True)
        result = windows.copy()
        result[far] = np.einsum("sk,skd->sd", weights, self._windows[nearest[far]])
        return result
