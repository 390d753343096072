"""What a forecast starts from: histories, their times, and controls of the steps to come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kflow._base.array_types import FloatArray
from kflow.data.arrays import as_matrix
from kflow.timeseries.embedding import as_series, as_times, is_several

__all__ = ["SeriesEnd", "as_controls", "later_controls", "with_controls"]


@dataclass(frozen=True, eq=False)
class SeriesEnd:
    """The end of the training series, from which forecasts go on where no history is given.

    Attributes
    ----------
    states : ndarray, shape (L, q)
        The last observations, up to `delay` of them.
    times : ndarray, shape (L,), or None
        Their times; None if steps are equal.
    """

    states: FloatArray
    times: FloatArray | None

    def histories(
        self, delay: int, n_steps: int, history: Any, times: Any
    ) -> tuple[FloatArray, FloatArray]:
        """Return windows (s, delay, q), and the gaps (s, delay + n_steps - 1) or (s, 0).

        Parameters
        ----------
        delay, n_steps : int
            Number of states in a window, and of steps to forecast.
        history, times
            As for `Forecaster.predict`.

        Raises
        ------
        TypeError, ValueError
            For arguments of the wrong kind, shape or values, naming them.
        """
        q = self.states.shape[1]
        if (times is None) != (self.times is None):
            raise ValueError(
                "times must be given if and only if the forecaster was fitted with times: those of "
                "the history, if one is given, then those of the forecast"
            )
        tables = [self.states] if history is None else as_series(history, None, "history")[0]
        if tables[0].shape[1] != q:
            raise ValueError(
                f"history must have {q} columns, as the series had, got {tables[0].shape[1]}"
            )
        for i, table in enumerate(tables):
            if len(table) < delay:
                name = f"history[{i}]" if is_several(history) else "history"
                name = "the end of the series" if history is None else name
                raise ValueError(
                    f"{name} has {len(table)} observations where delay={delay} needs as many: pass "
                    "a longer history"
                )
        windows = np.stack([table[-delay:] for table in tables])
        if times is None:
            return windows, np.empty((len(windows), 0))
        if history is None:
            clocks = [self._later_times(as_times(times, "times", n_steps))]
        elif not is_several(history):
            clocks = [as_times(times, "times", len(tables[0]) + n_steps)]
        elif len(times) == len(tables):
            clocks = [
                as_times(t, f"times[{i}]", len(tables[i]) + n_steps) for i, t in enumerate(times)
            ]
        else:
            raise ValueError(f"times must be a list of {len(tables)} arrays, one for each history")
        return windows, np.stack([np.diff(clock[-delay - n_steps :]) for clock in clocks])

    def observed(
        self, series: Any, times: Any, controls: Any, n_controls: int
    ) -> tuple[list[FloatArray], list[FloatArray] | None, list[FloatArray]]:
        """Return tables (T, q) of a series like the training series, their times and controls (T, r).

        Parameters
        ----------
        series, times, controls
            As for `Forecaster.one_step`.
        n_controls : int
            How many columns of controls there were in the fit, r.

        Raises
        ------
        TypeError, ValueError
            For arguments of the wrong kind, shape or values, naming them.
        """
        for name, given, there in (
            ("times", times, self.times is not None),
            ("controls", controls, n_controls > 0),
        ):
            if (given is not None) != there:
                raise ValueError(
                    f"{name} must be given if and only if the forecaster was fitted with {name}"
                )
        joined, r = with_controls(series, controls)
        tables, clocks = as_series(joined, times)
        q = self.states.shape[1]
        if tables[0].shape[1] - r != q:
            raise ValueError(
                f"series must have {q} columns, as in fit, got {tables[0].shape[1] - r}"
            )
        if r != n_controls:
            raise ValueError(f"controls must have {n_controls} columns, as in fit, got {r}")
        return [table[:, :q] for table in tables], clocks, [table[:, q:] for table in tables]

    def _later_times(self, times: FloatArray) -> FloatArray:
        """Return the times of the last window of the training series, followed by these."""
        assert self.times is not None
        if len(times) and times[0] <= self.times[-1]:
            raise ValueError(
                f"times must go on after the series, which ends at {self.times[-1]:g}, got "
                f"{times[0]:g}"
            )
        return np.concatenate([self.times, times])


def with_controls(series: Any, controls: Any) -> tuple[Any, int]:
    """Return series whose tables have the controls as further columns, and how many these are.

    Parameters
    ----------
    series : array_like, shape (T,) or (T, q), or list of them
        Observations.
    controls : array_like, shape (T,) or (T, r), or list of them, or None
        Controls, a row for each observation.

    Raises
    ------
    TypeError, ValueError
        If controls are no finite numbers, or not as many rows as observations.
    """
    if controls is None:
        return series, 0
    if not is_several(series):
        table = np.asarray(series)
        rows = as_controls(controls, "controls", len(table))
        return _joined(table, rows), rows.shape[1]
    if len(controls) != len(series):
        raise ValueError(
            f"controls must be a list of {len(series)} arrays, one for each series, got {len(controls)}"
        )
    tables = [np.asarray(table) for table in series]
    several = [
        as_controls(one, f"controls[{i}]", len(table))
        for i, (one, table) in enumerate(zip(controls, tables, strict=True))
    ]
    for i, one in enumerate(several):
        if one.shape[1] != several[0].shape[1]:
            raise ValueError(
                f"controls[{i}] has {one.shape[1]} columns where controls[0] has {several[0].shape[1]}"
            )
    joined = [_joined(table, one) for table, one in zip(tables, several, strict=True)]
    return joined, several[0].shape[1]


def _joined(table: Any, controls: FloatArray) -> Any:
    columns = table[:, None] if table.ndim == 1 else table
    if columns.ndim != 2:
        raise ValueError(f"series must have one or two dimensions, got shape {table.shape}")
    return np.concatenate([columns, controls], axis=1)


def as_controls(controls: Any, name: str, n_rows: int) -> FloatArray:
    """Return controls as an array of float64, (n_rows, r).

    Raises
    ------
    TypeError, ValueError
        If they are no finite numbers, or not as many rows. Missing ones are refused: a forecast needs
        them all.
    """
    return as_matrix(controls, name, dtype=np.float64, n_rows=n_rows, column_if_1d=True)


def later_controls(controls: Any, n_controls: int, n_histories: int, n_steps: int) -> FloatArray:
    """Return the controls of forecasts, (s, n_steps, r), from those that were given.

    Parameters
    ----------
    controls : array_like, shape (n_steps,) or (n_steps, r), or list of s of them, or None
        Controls of the forecasts; one array serves all histories.
    n_controls : int
        How many columns of controls there were in the fit, r.
    n_histories, n_steps : int
        Number of histories s, and of steps.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind, shape or values, naming them.
    """
    if (controls is None) != (n_controls == 0):
        raise ValueError(
            "controls must be given if and only if the forecaster was fitted with controls: "
            f"{n_steps} rows, those of the forecast"
        )
    if controls is None:
        return np.empty((n_histories, n_steps, 0))
    if not is_several(controls):
        one = as_controls(controls, "controls", n_steps)
        several = [one] * n_histories
    elif len(controls) == n_histories:
        several = [as_controls(c, f"controls[{i}]", n_steps) for i, c in enumerate(controls)]
    else:
        raise ValueError(
            f"controls must be one array, or a list of {n_histories}, one for each history, got "
            f"{len(controls)}"
        )
    for i, one in enumerate(several):
        if one.shape[1] != n_controls:
            name = f"controls[{i}]" if is_several(controls) else "controls"
            raise ValueError(
                f"{name} must have {n_controls} columns, as in fit, got {one.shape[1]}"
            )
    return np.stack(several)
