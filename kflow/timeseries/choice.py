"""Choosing a forecaster's settings by forecasts of the end of the series."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from kflow._base.arguments import as_count
from kflow._base.array_types import FloatArray
from kflow._base.short_repr import ShortRepr
from kflow.data.scaling import standardisation
from kflow.errors import SingularKernelError
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
    "stay_near": (False, True),
    "learn": (None, "loo"),
}
# How far a step along an axis goes.
_STRIDES = {"nugget": 2, "width": 1, "delay": 1}

# Where a search begins: a few settings of which some suit a series of each kind. They were found on the
# systems of development of bench/forecasts.py. The first are for data without noise.
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

# Rows of the batch on which a kernel is learned: the loss costs their cube.
_LEARNED_ROWS = 400


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
    return 1.0 * Gaussian(length_scale) + 1.0 * second


@dataclass(frozen=True, eq=False, repr=False)
class ForecasterChoice(ShortRepr):
    """Result of `choose_forecaster`.

    Attributes
    ----------
    forecaster : Forecaster
        The best of those tried, fitted to the whole series.
    chosen : dict
        Its settings by name: ``kernel``, ``width`` (the length scale that the kernel starts from, over the
        median distance of the rows), ``nugget``, ``delay``, ``increments`` and ``learn``, as far as they
        were not given.
    error : float
        Mean logarithm of the error of its forecasts of the held-out end, over the deviation of the
        series; 0 is as bad as it gets.
    tried : list of dict
        All settings that were tried, in the order of the search, each with its ``error``.
    """

    forecaster: Forecaster
    chosen: dict[str, Any]
    error: float
    tried: list[dict[str, Any]] = field(repr=False)


class Score(NamedTuple):
    """How good settings are; the smaller, the better.

    Attributes
    ----------
    leaves : bool
        Whether free runs leave the attractor.
    error : float
        Mean logarithm of the error of forecasts.
    """

    leaves: bool
    error: float


_WORST = Score(True, math.inf)


class _Trials:
    """What is known of the settings that were tried."""

    def __init__(
        self, held_out: HeldOut, given: Mapping[str, Any], n_fits: int, free_runs: bool
    ) -> None:
        self.held_out, self.given, self.n_fits = held_out, given, n_fits
        self.free_runs = free_runs and held_out.times is None
        self.known: dict[tuple[Any, ...], Score] = {}
        self.tried: list[dict[str, Any]] = []

    @property
    def over(self) -> bool:
        return len(self.tried) >= self.n_fits

    def score(self, settings: dict[str, Any]) -> Score:
        """Return how good settings are; the worst if no fits are left or possible."""
        key = tuple(settings.values())
        if key not in self.known:
            if self.over:
                return _WORST
            self.known[key] = self._score(settings)
            self.tried.append({**settings, **self.known[key]._asdict()})
        return self.known[key]

    def _score(self, settings: dict[str, Any]) -> Score:
        held_out = self.held_out
        delay = settings.get("delay", self.given.get("delay", 1))
        if min(map(len, held_out.histories)) < delay or max(map(len, held_out.series)) <= delay + 1:
            return _WORST
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                forecaster = made(settings, self.given, held_out.series, held_out.times)
                forecaster.fit(held_out.series, held_out.times)
            except SingularKernelError:
                return _WORST
            steps = held_out.true.shape[1]
            n = held_out.n_run if self.free_runs else steps
            runs = forecaster.predict(n, held_out.histories, held_out.history_times)
        leaves = self.free_runs and held_out.leaves(runs)
        return Score(leaves, held_out.error(runs[:, :steps]))


def made(
    settings: Mapping[str, Any],
    given: Mapping[str, Any],
    tables: list[FloatArray],
    clocks: list[FloatArray] | None,
) -> Forecaster:
    """Return a forecaster with settings of the search and others, not fitted."""
    rest = dict(settings)
    if "kernel" in rest:
        delay = rest.get("delay", given.get("delay", 1))
        parts, part_clocks = long_enough(tables, clocks, delay)
        rows = embedded(parts, part_clocks, delay, given.get("scaling", "standard"))
        median = median_distance(rows, np.random.default_rng(0))
        rest["kernel"] = kernel_of(rest["kernel"], rest.pop("width") * median, median)
    return Forecaster(**{**given, **rest})


def embedded(
    tables: list[FloatArray], clocks: list[FloatArray] | None, delay: int, scaling: str | None
) -> FloatArray:
    """Return the rows of which a `Forecaster` knows the median distance."""
    if scaling == "standard":
        mean, scale = standardisation(np.concatenate(tables), "series")
        tables = [(table - mean) / scale for table in tables]
    windows, gaps, _ = embed(tables, clocks, delay, 1)
    unit = float(gaps[:, -1].mean()) if clocks is not None and scaling else 1.0
    return np.concatenate([windows.reshape(len(windows), -1), gaps / unit], axis=1)


def search(trials: _Trials, axes: Mapping[str, Sequence[Any]], starts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the best settings found from the best start by going along one axis after the other."""
    here = min(starts, key=trials.score)
    while not trials.over:
        before = here
        for name, values in axes.items():
            if name in _STRIDES:
                here = walked(trials, here, name, values)
            else:
                # The present value comes first, and wins where others are no better.
                here = min([here, *({**here, name: value} for value in values)], key=trials.score)
        if here == before:
            break
    return here


def walked(
    trials: _Trials, here: dict[str, Any], name: str, values: Sequence[Any]
) -> dict[str, Any]:
    """Return the place reached by going up or down one axis as long as it gets better."""
    for stride in (-_STRIDES[name], _STRIDES[name]):
        start = here
        while True:
            i = values.index(here[name]) + stride
            if not 0 <= i < len(values):
                break
            ahead = {**here, name: values[i]}
            if not trials.score(ahead) < trials.score(here):
                break
            here = ahead
        if here is not start:
            break
    return here


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
    """Choose the settings of a `Forecaster` by its forecasts of the last quarter of the series.
    """
    as_count(n_fits, "n_fits", 1)
    known = set(inspect.signature(Forecaster).parameters)
    for name in given:
        if name not in known:
            raise TypeError(f"{name!r} is no parameter of a Forecaster: {sorted(known)}")
    held_out = HeldOut.of(series, times, as_count(n_starts, "n_starts", 1))
    axes = {name: values for name, values in _AXES.items() if name not in given}
    if "kernel" in given:
        del axes["width"]
    options = {"random_state": seed_of(random_state)}
    if "learn_options" not in given:
        options["learn_options"] = {"batch_size": _LEARNED_ROWS}
    trials = _Trials(held_out, {**options, **given}, n_fits, free_runs)
    starts = []
    for start in _STARTS:
        start = {name: start.get(name, values[0]) for name, values in axes.items()}
        if start not in starts:
            starts.append(start)
    chosen = search(trials, axes, starts)
    tables, clocks = as_series(*whole_parts(series, times))
    forecaster = made(chosen, trials.given, tables, clocks).fit(series, times)
    return ForecasterChoice(forecaster, chosen, trials.score(chosen).error, trials.tried)
