"""The end of a series, on which forecasters are compared before the series goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from kflow._base.array_types import FloatArray
from kflow.timeseries.embedding import as_series, whole_parts
from kflow.timeseries.measures import attractor_distance

__all__ = ["HeldOut"]

# Errors below are as good as none, so that a single perfect step does not outweigh all others.
_LEAST_ERROR = 1e-12

# Observations of a history before a forecast: more than any delay that is tried.
_N_HISTORY = 200


# Energy distance over the root of the size of what has the same distribution for all purposes: that of
# normal variables whose means differ by a seventh of their deviation.
_NEAR = 0.1

# Number of states at most between which distances are taken.
_N_STATES = 500


def some(states: FloatArray) -> FloatArray:
    """Return at most 500 of the states, evenly spread."""
    return states[np.linspace(0, len(states) - 1, min(len(states), _N_STATES), dtype=int)]


@dataclass(frozen=True)
class HeldOut:
    """The first part of one or several series, and forecasts to be made of the rest.

    Attributes
    ----------
    series : list of ndarray, shape (T_i, q)
        What may be learned from: the series without their ends.
    times : list of ndarray, shape (T_i,), or None
        Their times.
    histories : list of ndarray, shape (L_i, q)
        What precedes each of the forecasts: 200 observations, or as many as there are.
    history_times : list of ndarray, shape (L_i + h,), or None
        The times of histories and forecasts.
    true : ndarray, shape (s, h, q)
        What was observed in the place of the forecasts.
    size : float
        The deviation of all observations, sqrt(sum_j var x_j).
    """

    series: list[FloatArray]
    times: list[FloatArray] | None
    histories: list[FloatArray]
    history_times: list[FloatArray] | None
    true: FloatArray
    size: float

    @classmethod
    def of(cls, series: Any, times: Any = None, n_starts: int = 8, part: float = 0.25) -> HeldOut:
        """Hold out the end of each series.

        Parameters
        ----------
        series, times
            As in `Forecaster.fit`.
        n_starts : int
            Number of forecasts at least, spread over all ends.
        part : float
            What fraction of each series is held out. Forecasts go over half of the longest end; series
            whose ends are shorter than a forecast are learned from as a whole.

        Returns
        -------
        HeldOut
            The parts.

        Raises
        ------
        TypeError, ValueError
            For series that are too short, do not vary, or are none.
        """
        tables, clocks = as_series(*whole_parts(series, times))
        ends = [int(part * len(table)) for table in tables]
        steps = max(ends) // 2
        if steps < 2:
            raise ValueError(
                f"series has {max(map(len, tables))} observations, too few to hold a quarter of them out: "
                "pass a longer series, or choose the settings yourself"
            )
        size = math.sqrt(float(np.concatenate(tables).var(axis=0).sum()))
        if size == 0.0:
            raise ValueError("series does not vary: there is nothing to choose by")
        ends = [end if end >= steps else 0 for end in ends]
        each = math.ceil(n_starts / sum(end > 0 for end in ends))
        places = [
            (i, int(start))
            for i, end in enumerate(ends)
            if end
            for start in np.unique(
                np.linspace(len(tables[i]) - end, len(tables[i]) - steps, each, dtype=int)
            )
        ]
        cuts = [len(table) - end for table, end in zip(tables, ends, strict=True)]
        return cls(
            [table[:cut] for table, cut in zip(tables, cuts, strict=True)],
            None if clocks is None else [c[:cut] for c, cut in zip(clocks, cuts, strict=True)],
            [tables[i][max(0, start - _N_HISTORY) : start] for i, start in places],
            None
            if clocks is None
            else [clocks[i][max(0, start - _N_HISTORY) : start + steps] for i, start in places],
            np.stack([tables[i][start : start + steps] for i, start in places]),
            size,
        )

    @property
    def n_run(self) -> int:
        """Steps of a free run, by whose states one judges whether forecasts stay: four forecasts."""
        return 4 * int(self.true.shape[1])

    def leaves(self, runs: FloatArray) -> bool:
        """Return whether free runs (s, n, q) leave the attractor.

        They do if the states of their second halves are more than twice as far, by the energy
        distance, from what was learned from as those of the held-out ends are, and if a run ran away.
        A tenth of the root of the size is near in any case: ends that repeat what was learned from,
        as those of a cycle, are hardly any distance away.
        """
        late = runs[:, runs.shape[1] // 2 :].reshape(-1, runs.shape[2])
        if not np.isfinite(late).all():
            return True
        learned = np.concatenate(self.series)
        usual = attractor_distance(some(self.true.reshape(-1, late.shape[1])), some(learned))
        allowed = max(2.0 * usual, _NEAR * math.sqrt(self.size))
        return attractor_distance(some(late), some(learned)) > allowed

    def error(self, forecasts: FloatArray) -> float:
        """Return the mean logarithm of the error of forecasts (s, h, q).

        An error is |x - x^| over the size, at most 1, as is that of a forecast that ran away. Unlike
        the valid prediction time the mean also tells apart forecasts that are valid to the end, and
        unlike the mean square it is not that of the last steps, in which all forecasts fail.
        """
        errors = np.linalg.norm(self.true - forecasts, axis=2) / self.size
        errors = np.where(np.isfinite(errors), errors, 1.0)
        return float(np.log(np.clip(errors, _LEAST_ERROR, 1.0)).mean())
