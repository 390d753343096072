"""Choosing a forecaster's settings by forecasts of the end of the series."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kflow._base.arguments import as_count, as_flag
from kflow._base.array_types import FloatArray
from kflow._base.short_repr import ShortRepr
from kflow._base.warn import warn_user
from kflow.data.scaling import standardisation
from kflow.errors import JitterWarning, SingularKernelError
from kflow.estimators.validation import seed_of
from kflow.kernels import Gaussian, Kernel, Matern52, Polynomial, RationalQuadratic
from kflow.timeseries.embedding import as_series, embed, long_enough, whole_parts
from kflow.timeseries.forecaster import Forecaster, median_distance
from kflow.timeseries.held_out import HeldOut

__all__ = ["ForecasterChoice", "choose_forecaster"]

# What is tried. Those of numbers are in order: a search goes from one to its neighbours.
_AXES: dict[str, tuple[Any, ...]] = {
    "nugget": tuple(10.0**k for k in range(-14, -1)),
    "width": (0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
    "delay": (1, 2, 3, 4, 6, 8, 12, 16),
    "increments": (False, True),
    "kernel": (
        "matern52",
        "gaussian + matern52",
        "gaussian + polynomial",
        "rational quadratic",
    ),
    "learn": (None, "loo"),
}
# How far a step along an axis goes.
_STRIDES = {"nugget": 2, "width": 1, "delay": 1}

# Where a search begins: a few settings of which some suit a series of each kind. They were found on the
# systems of development of bench/forecasts.py.
_STARTS: tuple[dict[str, Any], ...] = tuple(
    dict(zip(("kernel", "width", "nugget", "delay", "increments"), values, strict=True))
    for values in (
        ("gaussian + matern52", 2.0, 1e-7, 6, True),
        ("gaussian + polynomial", 0.5, 1e-14, 6, True),
        ("gaussian + matern52", 1.0, 1e-14, 3, False),
        ("matern52", 2.0, 1e-4, 6, False),
        ("gaussian + polynomial", 0.5, 1e-12, 1, False),
        ("rational quadratic", 1.0, 1e-13, 6, False),
    )
)

# How many of the best settings are tried in free runs, until those of one stay.
_N_CHECKED = 4

# Rows of the batch on which a kernel is learned: the loss costs their cube.
_LEARNED_ROWS = 400


@dataclass(frozen=True, eq=False, repr=False)
class ForecasterChoice(ShortRepr):
    """Result of `choose_forecaster`.

    Attributes
    ----------
    forecaster : Forecaster
        The best of those tried, fitted to the whole series.
    chosen : dict
        Its settings by name, as far as they were not given (the forecaster's ``nugget_`` is larger where
        rounding errors of the whole series need it): ``kernel``, ``width`` (the length scale that
        the kernel starts from, over the median distance of the rows), ``nugget``, ``delay``,
        ``increments``, ``stay_near`` and ``learn``.
    error : float
        Least mean logarithm of the error of forecasts of the held-out end, over the deviation of the
        series; 0 is as bad as it gets.
    leaves : bool or None
        Whether free runs of the chosen one left the attractor; None if there were none.
    tried : list of dict
        All settings that were tried, in the order of the search, each with its ``error``.
    """

    forecaster: Forecaster
    chosen: dict[str, Any]
    error: float
    leaves: bool | None
    tried: list[dict[str, Any]]

    def facts(self) -> dict[str, Any]:
        """Return what is told of the object: what was chosen, and how good it is."""
        return {
            **self.chosen,
            "error": self.error,
            "leaves": self.leaves,
            "n_tried": len(self.tried),
        }


class Trials:
    """Tries settings, and knows what came of those that were tried.

    Parameters
    ----------
    held_out : HeldOut
        What is learned from and what is forecast.
    given : mapping
        Parameters of all forecasters.
    n_fits : int
        How many settings may be tried.
    """

    def __init__(self, held_out: HeldOut, given: Mapping[str, Any], n_fits: int) -> None:
        self.held_out, self.given, self.n_fits = held_out, given, n_fits
        self.tried: list[dict[str, Any]] = []
        self._known: dict[tuple[Any, ...], float] = {}

    @property
    def over(self) -> bool:
        """Whether no fits are left."""
        return len(self.tried) >= self.n_fits

    def error(self, settings: dict[str, Any]) -> float:
        """Return the error of settings; infinity if no fits are left, or the matrix was singular."""
        key = tuple(settings.values())
        if key not in self._known:
            if self.over:
                return math.inf
            forecasts = self._forecasts(settings, self.held_out.true.shape[1])
            error = math.inf if forecasts is None else self.held_out.error(forecasts)
            self._known[key] = error
            self.tried.append({**settings, "error": error})
        return self._known[key]

    def leave(self, settings: dict[str, Any]) -> bool:
        """Return whether free runs leave the attractor; this is another fit."""
        runs = self._forecasts(settings, self.held_out.n_run)
        return runs is None or self.held_out.leaves(runs)

    def _forecasts(self, settings: dict[str, Any], n_steps: int) -> FloatArray | None:
        held_out = self.held_out
        # What a bad candidate would warn of concerns nobody.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                forecaster = made(settings, self.given, held_out.series, held_out.times)
                forecaster.fit(held_out.series, held_out.times)
            except SingularKernelError:
                return None
            forecasts = forecaster.predict(n_steps, held_out.histories, held_out.history_times)
        return np.asarray(forecasts)

    def best(self, n: int) -> list[dict[str, Any]]:
        """Return the n settings of least error among those tried, the best first."""
        ranked = sorted(self.tried, key=lambda one: float(one["error"]))[:n]
        return [{name: one[name] for name in one if name != "error"} for one in ranked]


def kernel_of(name: str, length_scale: float, median: float) -> Kernel:
    """Return one of the kernels that are tried.

    Parameters
    ----------
    name : str
        Its name among the values of ``kernel``.
    length_scale : float
        Its length scale, but that of a polynomial,
    median : float
        which is the median distance.
    """
    if name == "matern52":
        return Matern52(length_scale)
    if name == "rational quadratic":
        return RationalQuadratic(length_scale)
    second = Matern52(length_scale) if "matern52" in name else Polynomial(median)
    both: Kernel = 1.0 * Gaussian(length_scale) + 1.0 * second
    return both


def made(
    settings: Mapping[str, Any],
    given: Mapping[str, Any],
    tables: list[FloatArray],
    clocks: list[FloatArray] | None,
) -> Forecaster:
    """Return a forecaster with settings of the search and given ones, not fitted.

    Parameters
    ----------
    settings, given : mapping
        Parameters of the forecaster; a kernel of the search has a name and a ``width``.
    tables, clocks
        The series from whose rows the median distance is taken, and their times.
    """
    rest = dict(settings)
    if "width" in rest:
        delay = rest.get("delay", given.get("delay", 1))
        rows = embedded(tables, clocks, delay, given.get("scaling", "standard"))
        median = median_distance(rows, np.random.default_rng(0))
        rest["kernel"] = kernel_of(rest["kernel"], rest.pop("width") * median, median)
    return Forecaster(**{**given, **rest})


def embedded(
    tables: list[FloatArray], clocks: list[FloatArray] | None, delay: int, scaling: str | None
) -> FloatArray:
    """Return the rows from which a `Forecaster` with a delay learns."""
    tables, clocks = long_enough(tables, clocks, delay)
    if scaling == "standard":
        mean, scale = standardisation(np.concatenate(tables), "series")
        tables = [(table - mean) / scale for table in tables]
    windows, gaps, _ = embed(tables, clocks, delay, 1)
    unit = float(gaps[:, -1].mean()) if clocks is not None and scaling else 1.0
    return np.concatenate([windows.reshape(len(windows), -1), gaps / unit], axis=1)


def search(
    trials: Trials, axes: Mapping[str, Sequence[Any]], starts: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the best settings found from the best start, along one axis after the other.

    Parameters
    ----------
    trials : Trials
        What tries settings; the search ends with its fits, or where no axis helps.
    axes : mapping
        The values of each setting.
    starts : list of dict
        Settings from which the search may begin.
    """
    here = min(starts, key=trials.error)
    while not trials.over:
        before = here
        for name, values in axes.items():
            if name in _STRIDES:
                here = walked(trials, here, name, values)
            else:
                # The present value comes first, and wins where others are no better.
                here = min([here, *({**here, name: value} for value in values)], key=trials.error)
        if here == before:
            break
    return here


def walked(
    trials: Trials, here: dict[str, Any], name: str, values: Sequence[Any]
) -> dict[str, Any]:
    """Return the settings reached by going down or up an axis as long as it gets better."""
    for stride in (-_STRIDES[name], _STRIDES[name]):
        start = here
        i = values.index(here[name]) + stride
        while 0 <= i < len(values):
            ahead = {**here, name: values[i]}
            if not trials.error(ahead) < trials.error(here):
                break
            here = ahead
            i += stride
        if here is not start:
            break
    return here


def starts_on(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return the settings where a search begins, each once, of values that the axes have."""
    starts: list[dict[str, Any]] = []
    for wanted in _STARTS:
        start = {name: wanted.get(name, values[0]) for name, values in axes.items()}
        if "delay" in start:
            start["delay"] = min(start["delay"], axes["delay"][-1])
        if start not in starts:
            starts.append(start)
    return starts


def staying(trials: Trials, given: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the best settings whose free runs stay on the attractor, and False; or the best and True.

    Each of the few best is tried as it is, and then with ``stay_near`` if that was not given.
    """
    best = trials.best(_N_CHECKED)
    for settings in best:
        for stay_near in (None,) if "stay_near" in given else (False, True):
            whole = settings if stay_near is None else {**settings, "stay_near": stay_near}
            if not trials.leave(whole):
                return whole, False
    return best[0], True


def choose_forecaster(
    series: Any,
    times: Any = None,
    *,
    n_fits: int = 24,
    n_starts: int = 8,
    free_runs: bool = True,
    random_state: Any = None,
    **given: Any,
) -> ForecasterChoice:
    """Choose the settings of a `Forecaster` by its forecasts of the end of the series.

    The last quarter of each series is held out. Candidates learn from the rest and forecast, from some
    places of the ends, as many steps as half of an end has. The one whose errors have the least mean
    logarithm is fitted to everything. Tried are delays, nuggets, four kernels and their length scales,
    increments, and learning by leave-one-out errors: a few settings first, then the best of them is
    improved setting by setting. At last free runs of the best are compared with the series: where they
    leave the attractor, ``stay_near`` is tried, and then the next best.

    Parameters
    ----------
    series : array_like, shape (T,) or (T, q), or list of them
        Observations, as in `Forecaster.fit`; at least 16 of a series.
    times : array_like, shape (T,), or list of them, optional
        When they were made, if not at equal steps.
    n_fits : int
        Number of candidates at most.
    n_starts : int
        Number of forecasts of each candidate.
    free_runs : bool
        Whether the best must stay on the attractor in free runs of four times as many steps: the states of
        their later halves may be twice as far from the training series, by the energy distance, as those
        held out are. It takes one more fit, or up to eight if runs leave. It is not done with `times`.
    random_state : None, int, RandomState, Generator or SeedSequence
        The `random_state` of all forecasters.
    **given
        Parameters of `Forecaster`, such as ``delay=5``: they are not chosen. With a ``kernel`` no width is
        chosen. Unless ``learn_options`` are given, kernels are learned on batches of 400 rows.

    Returns
    -------
    ForecasterChoice
        The fitted forecaster, what was chosen, and what was tried.

    Raises
    ------
    SingularKernelError
        If the chosen one's kernel matrix is not positive definite.
    TypeError, ValueError
        For arguments of the wrong kind, shape or values, naming them, and for series that are too short
        or do not vary.

    Warns
    -----
    UserWarning
        If free runs of the four best candidates leave the attractor, even with ``stay_near``.

    Notes
    -----
    A fit costs m^3 / 3 flops for m rows, and its forecasts 8 (T / 2) m evaluations of the kernel; a
    kernel that is learned costs more than ten times as much as another with some hundreds of rows.

    The last forecasts of a series are the best test of the next ones: L. J. Tashman, Out-of-sample tests
    of forecasting accuracy, Int. J. Forecasting 16 (2000) 437. Energy distance: `attractor_distance`.

    Examples
    --------
    >>> from kflow.timeseries import choose_forecaster, henon_map
    >>> series = henon_map(300, random_state=0)
    >>> choice = choose_forecaster(series[:200], n_fits=8, random_state=0)
    >>> bool(abs(choice.forecaster.predict(5) - series[200:205]).max() < 0.01)
    True
    """
    n, free = as_count(n_fits, "n_fits", 1), as_flag(free_runs, "free_runs")
    known = inspect.signature(Forecaster).parameters
    for name in given:
        if name not in known:
            raise TypeError(f"{name!r} is no parameter of a Forecaster, which are {tuple(known)}")
    held_out = HeldOut.of(series, times, as_count(n_starts, "n_starts", 1))
    longest = min(len(history) for history in held_out.histories) - 1
    axes = {name: values for name, values in _AXES.items() if name not in given}
    if "kernel" in given:
        del axes["width"]
    if "delay" in axes:
        axes["delay"] = tuple(delay for delay in axes["delay"] if delay <= longest)
    elif as_count(given["delay"], "delay", 1) > longest:
        raise ValueError(
            f"delay={given['delay']} is more than the {longest} observations that are left before the "
            "held-out end: pass a smaller delay or a longer series"
        )
    options = {
        "learn_options": {"batch_size": _LEARNED_ROWS},
        "random_state": seed_of(random_state),
    }
    trials = Trials(held_out, {**options, **given}, n)
    chosen = search(trials, axes, starts_on(axes)) if axes else {}
    error, leaves = trials.error(chosen), None
    if free and held_out.times is None:
        chosen, leaves = staying(trials, given)
    tables, clocks = as_series(*whole_parts(series, times))
    forecaster = made(chosen, trials.given, tables, clocks)
    with warnings.catch_warnings():
        if "nugget" not in given:  # then nobody can pass another one
            warnings.simplefilter("ignore", JitterWarning)
        forecaster.fit(series, times)
    if leaves:
        warn_user(
            "free runs of all good candidates leave the attractor: long forecasts are not to be trusted; "
            "pass a longer series, or more n_fits",
            UserWarning,
        )
    return ForecasterChoice(forecaster, chosen, error, leaves, trials.tried)
