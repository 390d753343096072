"""Ensembles of forecasts: errors of one step, estimated on parts left out, are added at each step.

The residual bootstrap of time series (B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap,
1993, section 8.5), with errors that are drawn near the state.
"""

from __future__ import annotations

import warnings

import numpy as np

from kflow._base.array_types import FloatArray, Rows
from kflow.linear.factor import Factor
from kflow.linear.interpolant import Interpolant

__all__ = ["NearbyErrors", "deviations", "spread_ratio", "step_errors"]

# Parts of consecutive rows that are left out one after the other.
_N_PARTS = 5

# Training rows near a state from whose errors the next one is drawn.
_N_NEAREST = 16

# Nine of ten draws of a standard normal variable are not larger than this.
_NORMAL_90 = 1.6448536269514722


def step_errors(interpolant: Interpolant) -> FloatArray:
    """Return the errors that an interpolant makes at its own centres if they are left out.

    Five parts of consecutive rows are left out, one after the other, and predicted from the others with
    the same kernel and nugget. Single rows would be predicted too well: those just before and after
    them remain.

    Parameters
    ----------
    interpolant : Interpolant
        The interpolant of m rows, in the order of time.

    Returns
    -------
    ndarray, shape (m, q)
        Values minus predictions; with a single row, its value.

    Notes
    -----
    0.9 m^3 flops.
    """
    points = np.asarray(interpolant.centres, np.float64)
    values = np.asarray(interpolant.targets(), np.float64)
    errors = values.copy()
    for rows in np.array_split(np.arange(len(points)), min(_N_PARTS, len(points))):
        rest = np.delete(np.arange(len(points)), rows)
        if not len(rest):
            break
        factor = Factor(
            interpolant.kernel,
            points[rest],
            interpolant.nugget,
            n_threads=interpolant.n_threads,
            what="rows of the embedding",
        )
        errors[rows] -= interpolant.kernel.interpolate(
            points[rows],
            points[rest],
            np.ascontiguousarray(factor.solve(values[rest])),
            n_threads=interpolant.n_threads,
        )
    return errors


class NearbyErrors:
    """Draws errors of one step that are distributed as those of the nearest training rows are.

    They are normal, with mean zero and the second moments of the errors of the 16 nearest rows: as large
    as errors are in that part of the space, with the correlations between their columns.

    Parameters
    ----------
    rows : ndarray, shape (m, D)
        Rows of the interpolant.
    errors : ndarray, shape (m, q)
        Their errors.
    factor : float
        What the errors are multiplied by.
    rng : numpy.random.Generator
        Source of the draws.
    """

    def __init__(
        self, rows: FloatArray, errors: FloatArray, factor: float, rng: np.random.Generator
    ) -> None:
        from scipy.spatial import KDTree

        self._tree = KDTree(rows)
        self._count = min(_N_NEAREST, len(rows))
        self._errors, self._rng = factor / np.sqrt(self._count) * errors, rng

    def __call__(self, rows: FloatArray, numbers: Rows, n_forecasts: int) -> FloatArray:
        """Return errors of one step, (s, q), for some of the forecasts."""
        weights = self._rng.standard_normal((n_forecasts, self._count))[numbers]
        nearest = self._tree.query(rows, k=np.arange(1, self._count + 1))[1]
        return np.asarray(np.einsum("sk,skq->sq", weights, self._errors[nearest]))


def deviations(members: FloatArray, axis: int) -> FloatArray:
    """Return the standard deviations of members along an axis; NaN where fewer than two are there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where fewer are
        return np.asarray(np.nanstd(members, axis=axis, ddof=1))


def spread_ratio(errors: FloatArray, deviations: FloatArray) -> float:
    """Return by what factor deviations are too small for 90 % of the errors to lie where they should.

    The 90 % quantile of sizes of errors over deviations, over what it is for normal errors. Errors or
    deviations that are not finite or are zero do not count; without any it is 1.

    Parameters
    ----------
    errors, deviations : ndarray
        Errors of forecasts, and the standard deviations that were told of them, of one shape.
    """
    counts = np.isfinite(errors) & np.isfinite(deviations) & (deviations > 0.0)
    if not counts.any():
        return 1.0
    ratio = float(np.quantile(np.abs(errors[counts]) / deviations[counts], 0.9)) / _NORMAL_90
    return ratio if np.isfinite(ratio) and ratio > 0.0 else 1.0
