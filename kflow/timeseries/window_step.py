"""The step of a learned system: from a window of observations to the next one, and over again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow.data.scaling import standardisation
from kflow.linear.interpolant import Interpolant
from kflow.timeseries.nearby import NearbyWindows

__all__ = ["Affine", "Disturbance", "WindowStep"]

# A forecast farther from the data than so many times their largest extent goes to infinity.
_FAR = 10.0


class Disturbance(Protocol):
    """What is added to forecasts of one step."""

    def __call__(
        self, rows: FloatArray, numbers: npt.NDArray[np.intp], n_forecasts: int
    ) -> FloatArray:
        """Return errors of one step, (s, q), in units of the scaled targets.

        Parameters
        ----------
        rows : ndarray, shape (s, D)
            Rows of the interpolant, from which the steps are made.
        numbers : ndarray of int, shape (s,)
            Which of all forecasts these are. What one gets does not depend on which others are there.
        n_forecasts : int
            Number of all forecasts.
        """


@dataclass(frozen=True, eq=False)
class Affine:
    """v -> (v - mean) / scale, column by column.

    Attributes
    ----------
    mean, scale : ndarray of float64, shape (q,)
        The scales are positive.
    """

    mean: FloatArray
    scale: FloatArray

    @classmethod
    def of(cls, values: FloatArray, scaling: str | None, name: str) -> Affine:
        """Return the map to mean 0 and variance 1 of some rows, or the identity without a scaling."""
        if scaling == "standard":
            return cls(*standardisation(values, name))
        return cls(np.zeros(values.shape[1]), np.ones(values.shape[1]))

    def __call__(self, values: FloatArray) -> FloatArray:
        """Return values in scaled units."""
        return np.asarray((values - self.mean) / self.scale)

    def inverse(self, values: FloatArray) -> FloatArray:
        """Return scaled values in their own units."""
        return np.asarray(values * self.scale + self.mean)


@dataclass(frozen=True, eq=False)
class WindowStep:
    """The map from scaled windows to the scaled states that follow, and its iteration.

    Attributes
    ----------
    interpolant : Interpolant
        From rows to scaled targets.
    delay : int
        Number of states in a window.
    n_columns : int
        Number of columns of a state, q.
    increments : bool
        Whether targets are differences from the last state, over the gap if there are gaps.
    gap_unit : float or None
        The unit of gaps; None if steps are equal, and rows hold no gaps.
    target_scale : Affine
        The scaling of the targets.
    lowest, highest : ndarray, shape (q,)
        The region outside of which a forecast is lost.
    nearby : NearbyWindows or None
        What leads windows back that have gone far from all of the training series.
    """

    interpolant: Interpolant
    delay: int
    n_columns: int
    increments: bool
    gap_unit: float | None
    target_scale: Affine
    lowest: FloatArray
    highest: FloatArray
    nearby: NearbyWindows | None = None

    @staticmethod
    def region(states: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return `lowest` and `highest` for the scaled states (n, q) of the training series."""
        extent = float(np.ptp(states, axis=0).max()) or 1.0 + float(np.abs(states).max())
        return states.min(axis=0) - _FAR * extent, states.max(axis=0) + _FAR * extent

    def rows(self, windows: FloatArray, gaps: FloatArray, controls: FloatArray) -> FloatArray:
        """Return rows of the interpolant.

        Parameters
        ----------
        windows : ndarray, shape (s, delay q)
            States, the earliest first.
        gaps : ndarray, shape (s, delay) or (s, 0)
            Times between the states and up to the one that follows, or none where steps are equal.
        controls : ndarray, shape (s, r)
            Scaled controls of the states that follow; r may be 0.
        """
        unit = 1.0 if self.gap_unit is None else self.gap_unit
        return np.concatenate([windows, gaps / unit, controls], axis=1)

    def __call__(
        self,
        windows: FloatArray,
        gaps: FloatArray,
        controls: FloatArray,
        errors: Callable[[FloatArray], FloatArray] | None = None,
    ) -> FloatArray:
        """Return the states (s, q) that follow.

        Parameters
        ----------
        windows, gaps, controls
            As for `rows`.
        errors : callable, optional
            Takes rows to errors (s, q) that are added, in units of the scaled targets.
        """
        rows = self.rows(windows, gaps, controls)
        following = self.interpolant(rows)
        if errors is not None:
            following = following + errors(rows)
        following = self.target_scale.inverse(following)
        if self.increments:
            if gaps.size:
                following *= gaps[:, -1:]
            following += windows[:, -self.n_columns :]
        return following

    def next_window(self, windows: FloatArray, following: FloatArray) -> FloatArray:
        """Return the windows (s, delay q) one step later, led back if they went far."""
        later = np.concatenate([windows[:, self.n_columns :], following], axis=1)
        return later if self.nearby is None else self.nearby.led_back(later)

    def is_inside(self, states: FloatArray) -> npt.NDArray[np.bool_]:
        """Return which states (s, q) lie in the region of the data."""
        inside = (states >= self.lowest) & (states <= self.highest)
        return np.asarray(inside.all(axis=1))

    def iterate(
        self,
        windows: FloatArray,
        gaps: FloatArray,
        controls: FloatArray,
        disturbance: Disturbance | None = None,
    ) -> FloatArray:
        """Return scaled forecasts (s, n_steps, q); NaN from where they leave the region.

        Parameters
        ----------
        windows : ndarray, shape (s, delay q)
            The first windows.
        gaps : ndarray, shape (s, delay - 1 + n_steps) or (s, 0)
            The times between the states of the windows, and then up to each forecast.
        controls : ndarray, shape (s, n_steps, r)
            Scaled controls of the forecasts.
        disturbance : callable, optional
            Gives what is added to each step.
        """
        n, n_steps = controls.shape[:2]
        states = np.full((n, n_steps, self.n_columns), np.nan)
        going = np.arange(n)
        for k in range(n_steps):
            errors = None
            if disturbance is not None:
                errors = partial(disturbance, numbers=going, n_forecasts=n)
            step_gaps = gaps[going, k : k + self.delay]
            following = self(windows, step_gaps, controls[going, k], errors)
            windows = self.next_window(windows, following)
            following = windows[:, -self.n_columns :]
            inside = self.is_inside(following)
            if not inside.all():
                going, windows, following = going[inside], windows[inside], following[inside]
                if not len(going):
                    break
            states[going, k] = following
        return states
