"""Delay embedding: a dynamical system as pairs of past and following observations."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from kflow._base.arguments import as_count
from kflow._base.array_types import FloatArray
from kflow._base.warn import warn_user
from kflow.data.arrays import as_matrix

__all__ = [
    "as_series",
    "as_times",
    "delay_embedding",
    "embed",
    "is_several",
    "long_enough",
    "whole_parts",
]


def is_several(series: Any) -> bool:
    """Return whether an argument holds several series: a list of tables, or (s, T, q) numbers."""
    if isinstance(series, (list, tuple)) and len(series):
        try:
            return np.ndim(series[0]) == 2
        except ValueError:  # rows of different lengths: as_matrix says which argument it is
            return False
    return np.ndim(series) == 3


def as_times(times: Any, name: str, n: int) -> FloatArray:
    """Return `n` strictly increasing times, (n,); those of dates are in seconds since 1970.

    Raises
    ------
    TypeError, ValueError
        If they are no such numbers.
    """
    if np.ndim(times) != 1:
        raise ValueError(f"{name} must have one dimension, got shape {np.shape(times)}")
    values = as_matrix(_in_seconds(times, name), name, dtype=np.float64, column_if_1d=True)[:, 0]
    if len(values) != n:
        raise ValueError(f"{name} must have {n} entries, got {len(values)}")
    late = np.flatnonzero(np.diff(values) <= 0)
    if len(late):
        i = int(late[0])
        raise ValueError(
            f"{name} must be strictly increasing, but {name}[{i}]={values[i]:g} is followed by "
            f"{values[i + 1]:g}: sort the observations and drop those of equal times"
        )
    return values


def _in_seconds(times: Any, name: str) -> Any:
    """Return dates as seconds since 1970, and other times as they are."""
    values = np.asarray(times)
    if values.dtype.kind == "O" and all(isinstance(time, datetime.date) for time in values):
        try:
            values = values.astype("datetime64[us]")
        except (TypeError, ValueError) as error:  # such as time zones
            raise TypeError(f"{name} holds dates that NumPy cannot take: {error}") from None
    if values.dtype.kind != "M":
        return times
    if np.isnat(values).any():
        raise ValueError(f"{name} has dates that are missing: remove those rows")
    return (values - np.datetime64("1970-01-01")) / np.timedelta64(1, "s")


def _as_observations(series: Any, name: str) -> FloatArray:
    if isinstance(series, (list, tuple)) and len({np.size(row) for row in series}) > 1:
        raise ValueError(
            f"{name} has rows of different lengths: pass several series as a list of (T, q) arrays, "
            "those of single numbers as columns"
        )
    return as_matrix(series, name, dtype=np.float64, column_if_1d=True, allow_no_rows=False)


def as_series(
    series: Any, times: Any, name: str = "series", times_name: str = "times"
) -> tuple[list[FloatArray], list[FloatArray] | None]:
    """Return the observations of one or several series, (T_i, q) each, and their times, (T_i,).

    Raises
    ------
    TypeError, ValueError
        If they are not numbers, differ in their columns, or have other times than observations.
    """
    if not is_several(series):
        values = _as_observations(series, name)
        return [values], None if times is None else [as_times(times, times_name, len(values))]
    tables = [_as_observations(table, f"{name}[{i}]") for i, table in enumerate(series)]
    for i, table in enumerate(tables):
        if table.shape[1] != tables[0].shape[1]:
            raise ValueError(
                f"{name}[{i}] has {table.shape[1]} columns where {name}[0] has "
                f"{tables[0].shape[1]}: series that are learned together are of one system"
            )
    if times is None:
        return tables, None
    if np.ndim(times[0]) != 1 or len(times) != len(tables):
        raise ValueError(
            f"{times_name} must be a list of {len(tables)} arrays, one for each of {name}"
        )
    return tables, [
        as_times(t, f"{times_name}[{i}]", len(table))
        for i, (t, table) in enumerate(zip(times, tables, strict=True))
    ]


def whole_parts(series: Any, times: Any) -> tuple[Any, Any]:
    """Return one or several series without NaN: in the place of each, its parts between the gaps.

    Parameters
    ----------
    series, times
        As for `as_series`. A row with NaN is an observation that is missing.

    Returns
    -------
    series, times
        Themselves if no row is missing, else lists.
    """
    tables = list(series) if is_several(series) else [series]
    clocks: list[Any] = [None] * len(tables)
    if times is not None:
        clocks = list(times) if is_several(series) else [times]
    parts, part_clocks = [], []
    for table, clock in zip(tables, clocks, strict=len(clocks) == len(tables)):
        values = np.asarray(table)
        if values.dtype.kind != "f" or not np.isnan(values).any() or len(values) == 0:
            parts.append(table)
            part_clocks.append(clock)
            continue
        missing = np.isnan(values.reshape(len(values), -1)).any(axis=1)
        edges = np.flatnonzero(np.diff(np.concatenate([[True], missing, [True]]).astype(int)))
        for start, stop in edges.reshape(-1, 2):
            rows = values[start:stop]
            parts.append(rows[:, None] if rows.ndim == 1 else rows)
            part_clocks.append(None if clock is None else np.asarray(clock)[start:stop])
    if not parts:
        raise ValueError("series has NaN in each of its rows: there is nothing to learn from")
    if len(parts) == len(tables) and all(a is b for a, b in zip(parts, tables, strict=True)):
        return series, times
    return parts, None if times is None else part_clocks


def long_enough(
    tables: list[FloatArray], clocks: list[FloatArray] | None, delay: int
) -> tuple[list[FloatArray], list[FloatArray] | None]:
    """Return the series with at least one window and what follows it, and warn of others."""
    kept = [i for i, table in enumerate(tables) if len(table) > delay]
    if not kept or len(kept) == len(tables):
        return tables, clocks
    warn_user(
        f"{len(tables) - len(kept)} of {len(tables)} series, or parts between missing observations, "
        f"have at most delay={delay} observations and are left out",
        UserWarning,
    )
    return [tables[i] for i in kept], None if clocks is None else [clocks[i] for i in kept]


def embed(
    tables: list[FloatArray],
    clocks: list[FloatArray] | None,
    delay: int,
    horizon: int,
    name: str = "series",
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the windows (n, delay, q) of all series, their gaps (n, delay or 0), and the targets."""
    windows, gaps, targets = [], [], []
    for i, table in enumerate(tables):
        n = len(table) - delay - horizon + 1
        if n < 1:
            which = name if len(tables) == 1 else f"{name}[{i}]"
            raise ValueError(
                f"{which} has {len(table)} observations where delay={delay} and horizon={horizon} "
                f"need {delay + horizon}: pass a longer series or a smaller delay"
            )
        # Views of (n, q, delay).
        windows.append(sliding_window_view(table, delay, axis=0)[:n].swapaxes(1, 2))
        targets.append(table[delay + horizon - 1 :])
        gap = np.empty((n, 0))
        if clocks is not None:
            clock = sliding_window_view(clocks[i], delay)[:n]
            ahead = clocks[i][delay + horizon - 1 :, None]
            gap = np.diff(np.concatenate([clock, ahead], axis=1), axis=1)
        gaps.append(gap)
    return np.concatenate(windows), np.concatenate(gaps), np.concatenate(targets)


def delay_embedding(
    series: npt.ArrayLike | list[npt.ArrayLike],
    delay: int,
    *,
    times: npt.ArrayLike | list[npt.ArrayLike] | None = None,
    horizon: int = 1,
) -> tuple[FloatArray, FloatArray]:
    """Return the pairs of inputs and targets from which a dynamical system is learned.

    Parameters
    ----------
    series : array_like, shape (T,) or (T, q), or list of them
        Observations x_0, x_1, ... in the order of time. Several series of one system are a list of
        (T_i, q) arrays; no pair straddles two of them.
    delay : int
        Number of observations in a row of X, tau, at least 1.
    times : array_like, shape (T,), or list of them, optional
        When the observations were made, strictly increasing; for several series a list. If given,
        each row also contains the gaps between its observations and the gap to its target, as inputs
        for irregular sampling.
    horizon : int
        How many observations ahead the target is, at least 1.

    Returns
    -------
    X : ndarray, shape (n, tau q) or (n, tau q + tau)
        Rows x_k, x_{k+1}, ..., x_{k+tau-1}, then, with times, t_{k+1} - t_k, ...,
        t_{k+tau-1} - t_{k+tau-2}, and t_{k+tau+horizon-1} - t_{k+tau-1}. A series of T observations
        gives T - tau - horizon + 1 rows.
    Y : ndarray, shape (n, q)
        Targets x_{k+tau+horizon-1}.

    Raises
    ------
    TypeError, ValueError
        For NaN, times that do not increase, or a series too short for the delay, naming it.

    Notes
    -----
    Takens, Detecting strange attractors in turbulence (1981), for the embedding; Hamzi and Owhadi,
    Physica D 421 (2021) 132817, for its use with learned kernels; Lee, De Brouwer, Hamzi and Owhadi,
    arXiv:2111.13037, for the gaps as inputs.

    Examples
    --------
    >>> from kflow.timeseries import delay_embedding
    >>> X, Y = delay_embedding([1.0, 2.0, 4.0, 8.0], 2)
    >>> X
    array([[1., 2.],
           [2., 4.]])
    >>> Y
    array([[4.],
           [8.]])
    """
    n_delay, n_ahead = as_count(delay, "delay", 1), as_count(horizon, "horizon", 1)
    tables, clocks = as_series(series, times)
    windows, gaps, targets = embed(tables, clocks, n_delay, n_ahead)
    return np.concatenate([windows.reshape(len(windows), -1), gaps], axis=1), targets
