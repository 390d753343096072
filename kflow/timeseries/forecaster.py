"""Forecasts of a dynamical system by a learned kernel, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from kflow import losses
from kflow._base.arguments import as_count, as_flag, as_nugget
from kflow._base.array_types import FloatArray
from kflow._base.warn import warn_user
from kflow.estimators.kernel_parameters import KernelParameters
from kflow.estimators.validation import seed_of
from kflow.kernels import Gaussian, Kernel, check_kernel
from kflow.linear.interpolant import Interpolant
from kflow.linear.jitter import with_jitter
from kflow.timeseries.embedding import (
    as_series,
    embed,
    is_several,
    long_enough,
    whole_parts,
)
from kflow.timeseries.ensemble import deviations
from kflow.timeseries.forecast_ensembles import ForecastEnsembles
from kflow.timeseries.forecaster_files import ForecasterFiles
from kflow.timeseries.nearby import NearbyWindows
from kflow.timeseries.starts import SeriesEnd, later_controls, with_controls
from kflow.timeseries.window_step import Affine, WindowStep

if TYPE_CHECKING:
    from kflow.learning import LearnedKernel

__all__ = ["Forecaster"]

# Number of rows from which the median distance is estimated.
_MEDIAN_ROWS = 1000

# Members of the ensemble from which standard deviations of forecasts are taken.
_N_FOR_STD = 200

# Largest number of rows of the batch on which a kernel is learned.
_BATCH_SIZE = 1000


def median_distance(X: FloatArray, rng: np.random.Generator) -> float:
    """Return the median distance of the rows, estimated from some of them; 1 if it is 0."""
    from scipy.spatial.distance import pdist

    if len(X) > _MEDIAN_ROWS:
        X = X[rng.choice(len(X), _MEDIAN_ROWS, replace=False)]
    median = float(np.median(pdist(X))) if len(X) > 1 else 0.0
    return median if median > 0.0 else 1.0


class Forecaster(ForecasterFiles, ForecastEnsembles, KernelParameters, BaseEstimator):  # type: ignore[misc]
    """Forecasts x_{k+1} = f(x_k, ..., x_{k-delay+1}), f an interpolant with a learned kernel.

    Parameters
    ----------
    kernel : kflow.kernels.Kernel or None
        Kernel of the scaled rows of `delay_embedding`, and where learning starts. None: a Gaussian
        whose length scale is the median distance of the rows.
    delay : int
        Number of observations from which the next one is forecast, at least 1.
    nugget : float
        Nugget of the interpolant and of learning. For data without noise choose it as small as rounding
        errors allow. For data with noise compare several by forecasts of data that were held out: the
        noise's fraction of the variance suits the next step, and forecasts of many steps may last longer
        with a much smaller one.
    learn : str or None
        The loss by which `kflow.learn_kernel` learns the kernel before it is used, by its name in
        `kflow.losses`. None: the kernel is not learned. ``bench/chaos.py`` compares the losses.
    learn_options : mapping or None
        Further arguments of `kflow.learn_kernel`, such as ``{"n_steps": 500}``. By default learning
        takes 60 steps of L-BFGS on one batch of at most 1000 rows, with eight halves. The nugget is
        learned only with ``{"learn_nugget": True}``, because rho prefers nuggets that are too large.
    increments : bool
        Learn x_{k+1} - x_k instead of x_{k+1}, divided by the gap if times are irregular. It is better
        where steps are small.
    scaling : {"standard"} or None
        ``"standard"``: each column of the series and of the targets is scaled to mean 0 and variance 1,
        and gaps are in units of the mean gap. None: the data are not scaled.
    stay_near : bool
        Whether windows that a forecast takes far from all windows of the training series are led back to
        the nearest of them, so that long forecasts stay near the attractor: "far" is farther from the
        nearest than 99 % of them are from their own nearest. It costs accuracy where forecasts go to
        places that were not visited before, and suits no series with a trend. `choose_forecaster`
        finds out whether it is needed.
    n_interpolation : int or None
        Number of rows of the interpolant, drawn at random. None: all rows. m rows cost 16 m^2 bytes
        and m^3 / 3 flops.
    random_state : None, int, RandomState, Generator or SeedSequence
        Source of the batches of learning and of the interpolant's rows.
    n_threads : int, optional
        Threads; see `kflow.get_num_threads`. The result does not depend on it.

    Attributes
    ----------
    learned_ : kflow.LearnedKernel or None
        The result of learning.
    n_features_in_ : int
        Columns of the series, q.
    n_controls_ : int
        Columns of the controls, r; 0 without controls.
    spread_factor_ : float
        What the errors that ensembles draw are multiplied by: 1, or what `calibrate` has found.

    Notes
    -----
    B. Hamzi and H. Owhadi, Learning dynamical systems from data: a simple cross-validation
    perspective, part I: parametric kernel flows, Physica D 421 (2021) 132817. Irregular times:
    J. Lee, E. De Brouwer, B. Hamzi and H. Owhadi, arXiv:2111.13037.

    Examples
    --------
    >>> from kflow.timeseries import Forecaster, logistic_map
    >>> series = logistic_map(300)
    >>> forecaster = Forecaster(learn=None).fit(series[:200])
    >>> forecast = forecaster.predict(5)
    >>> bool(abs(forecast - series[200:205]).max() < 0.01)
    True
    """

    def __init__(
        self,
        kernel: Kernel | None = None,
        *,
        delay: int = 1,
        nugget: float = 1e-8,
        learn: str | None = "e2",
        learn_options: Mapping[str, Any] | None = None,
        increments: bool = False,
        scaling: str | None = "standard",
        stay_near: bool = False,
        n_interpolation: int | None = None,
        random_state: Any = None,
        n_threads: int | None = None,
    ) -> None:
        self.kernel = kernel
        self.delay = delay
        self.nugget = nugget
        self.learn = learn
        self.learn_options = learn_options
        self.increments = increments
        self.scaling = scaling
        self.stay_near = stay_near
        self.n_interpolation = n_interpolation
        self.random_state = random_state
        self.n_threads = n_threads

    # ---- learning -----------------------------------------------------------------------------

    def fit(self, series: Any, times: Any = None, *, controls: Any = None) -> Forecaster:
        """Learn the kernel, and make the interpolant.

        Parameters
        ----------
        series : array_like, shape (T,) or (T, q), or list of them
            Observations, as in `delay_embedding`; several series of one system as a list of
            (T_i, q) arrays. A row with NaN is missing: no window contains it.
        times : array_like, shape (T,), or list of them, optional
            When they were made, strictly increasing, if not at equal steps. Dates count in seconds.
        controls : array_like, shape (T,) or (T, r), or list of them, optional
            Numbers from outside that will be known when forecasts are made, such as a control signal or
            the hour of the day. Row k acts on the step to observation k; what acts on the step that
            follows it must be moved by one row. None may be missing.

        Returns
        -------
        Forecaster
            Itself.

        Raises
        ------
        SingularKernelError
            If the interpolant's kernel matrix is not positive definite, even with a larger nugget.
        TypeError, ValueError
            For arguments of the wrong kind, shape or values, naming them.

        Warns
        -----
        JitterWarning
            If a larger nugget was needed.
        UserWarning
            If series are left out because they are too short.

        Notes
        -----
        A fit that fails leaves an earlier one as it was.
        """
        delay = as_count(self.delay, "delay", 1)
        nugget, increments = as_nugget(self.nugget), as_flag(self.increments, "increments")
        stay_near = as_flag(self.stay_near, "stay_near")
        if self.scaling not in ("standard", None):
            raise ValueError(f"scaling must be 'standard' or None, got {self.scaling!r}")
        joined, n_controls = with_controls(series, controls)
        tables, clocks = as_series(*whole_parts(joined, times))
        q = tables[0].shape[1] - n_controls
        last, last_clock = tables[-1][:, :q], None if clocks is None else clocks[-1]
        tables, clocks = long_enough(tables, clocks, delay)
        values = np.concatenate(tables)
        scale = Affine.of(values[:, :q], self.scaling, "series")
        control_scale = Affine.of(values[:, q:], self.scaling, "controls")
        scaled = [
            np.concatenate([scale(table[:, :q]), control_scale(table[:, q:])], axis=1)
            for table in tables
        ]
        pasts, gaps, following = embed(scaled, clocks, delay, 1)
        windows, inputs, following = pasts[:, :, :q], following[:, q:], following[:, :q]
        if increments:
            following = following - windows[:, -1]
            if clocks is not None:
                following = following / gaps[:, -1:]
        gap_unit: float | None = None
        if clocks is not None:
            # A variance of 1 would enlarge the rounding errors of gaps that are equal.
            gap_unit = float(gaps[:, -1].mean()) if self.scaling else 1.0
        target_scale = Affine.of(following, self.scaling, "series")
        unit = 1.0 if gap_unit is None else gap_unit
        X = np.concatenate([windows.reshape(len(windows), -1), gaps / unit, inputs], axis=1)
        Y = target_scale(following)

        seed = seed_of(self.random_state)
        seeds = np.random.SeedSequence(seed).spawn(2)
        rng = np.random.default_rng(seeds[0])
        rows = self._interpolation_rows(len(X), rng)
        if self.kernel is None:
            kernel: Kernel = Gaussian(median_distance(X, rng))
        else:
            kernel = check_kernel(self.kernel)
        learned: LearnedKernel | None = None
        if self.learn is not None:
            learned = self._learn(kernel, X, Y, nugget, np.random.default_rng(seeds[1]))
            kernel, nugget = learned.kernel, learned.nugget
        centres, targets = X[rows], Y[rows]

        def interpolate(nugget: float) -> Interpolant:
            return Interpolant(
                centres, targets, kernel=kernel, nugget=nugget, n_threads=self.n_threads
            )

        mean_diagonal = float(kernel.diag(centres).mean()) + nugget
        interpolant = with_jitter(interpolate, nugget, mean_diagonal, len(centres))

        self.learned_ = learned
        self.n_features_in_, self.n_controls_ = q, n_controls
        self.spread_factor_ = 1.0
        lowest, highest = WindowStep.region(scale(values[:, :q]))
        nearby = NearbyWindows(centres[:, : delay * q]) if stay_near else None
        self._step = WindowStep(
            interpolant, delay, q, increments, gap_unit, target_scale, lowest, highest, nearby
        )
        self._scale, self._control_scale = scale, control_scale
        self._is_flat = not is_several(series) and np.ndim(series) == 1
        self._end = SeriesEnd(
            last[-delay:].copy(), None if last_clock is None else last_clock[-delay:].copy()
        )
        self._step_errors = None
        return self

    def _check_fitted(self) -> None:
        check_is_fitted(self)

    def _interpolation_rows(self, n: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
        if self.n_interpolation is None:
            return np.arange(n)
        wanted = as_count(self.n_interpolation, "n_interpolation", 1)
        if wanted > n:
            raise ValueError(
                f"n_interpolation={wanted} is more than the {n} rows of the delay embedding: pass "
                "fewer, or None for all"
            )
        return np.sort(rng.choice(n, wanted, replace=False))

    def _learn(
        self, kernel: Kernel, X: FloatArray, Y: FloatArray, nugget: float, rng: np.random.Generator
    ) -> LearnedKernel:
        from kflow.learning import learn_kernel

        if isinstance(self.learn, str) and self.learn not in losses.LOSSES:
            raise ValueError(f"learn must be one of {tuple(losses.LOSSES)}, got {self.learn!r}")
        options = {} if self.learn_options is None else self.learn_options
        if not isinstance(options, Mapping):
            raise TypeError(f"learn_options must be a mapping, got {type(options).__name__}")
        own: dict[str, Any] = {"loss": self.learn, "nugget": nugget, "random_state": rng}
        own["n_threads"] = self.n_threads
        for name in own:
            if name in options:
                raise ValueError(f"learn_options: {name!r} is a parameter of the forecaster itself")
        usual: dict[str, Any] = {
            "optimizer": "lbfgs",
            "n_steps": 60,
            "n_halves": 8,
            "learn_nugget": False,
        }
        usual["batch_size"] = min(len(X), _BATCH_SIZE)
        return learn_kernel(kernel, X, Y, **{**usual, **options, **own})

    # ---- forecasts ----------------------------------------------------------------------------

    @property
    def interpolant_(self) -> Interpolant:
        """The map from scaled rows to scaled targets."""
        return self._step.interpolant

    @property
    def kernel_(self) -> Kernel:
        """The kernel of the interpolant: the learned one."""
        return self._step.interpolant.kernel

    @property
    def nugget_(self) -> float:
        """The nugget of the interpolant, larger than the given one where that was too small."""
        return self._step.interpolant.nugget

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there is a learned step."""
        return hasattr(self, "_step")

    def predict(
        self,
        n_steps: int,
        history: Any = None,
        times: Any = None,
        *,
        controls: Any = None,
        return_std: bool = False,
    ) -> Any:
        """Forecast by iteration: each forecast is an observation for the next one.

        Parameters
        ----------
        n_steps : int
            Number of steps, 0 or more.
        history : array_like, shape (L,) or (L, q), or list of them, optional
            Observations before the forecast, L >= delay. Several histories are a list of (L_i, q) arrays;
            to forecast them together takes less time than one by one. If not given: the (last) series
            of `fit`.
        times : array_like, shape (L + n_steps,) or (n_steps,), or list of them, optional
            If there were times in `fit`: the times of the history, if one is given, followed by those of
            the forecast.
        controls : array_like, shape (n_steps,) or (n_steps, r), or list of them, optional
            If there were controls in `fit`: those of the forecast. One array serves all histories.
        return_std : bool
            Whether standard deviations are returned, too: those of 200 members of `sample`.

        Returns
        -------
        forecast : ndarray, shape (n_steps,), (n_steps, q) or (s, n_steps, q)
            With the dimensions of the series in `fit`; with three for a list of s histories. A forecast
            that leaves the region of the data by more than ten times its largest extent (in the scaled
            columns) does not come back usefully: it is NaN from there on, with a RuntimeWarning.
        std : ndarray of the same shape
            If `return_std`: standard deviations of the members that did not run away, NaN where fewer
            than two are left.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            For arguments of the wrong kind, shape or values, naming them.

        Notes
        -----
        n_steps m evaluations of the kernel for each history, m the rows of the interpolant.
        """
        check_is_fitted(self)
        n, with_std = as_count(n_steps, "n_steps", 0), as_flag(return_std, "return_std")
        windows, gaps = self._end.histories(self._step.delay, n, history, times)
        later = later_controls(controls, self.n_controls_, len(windows), n)
        starts = self._scale(windows).reshape(len(windows), -1)
        states = self._step.iterate(starts, gaps, self._control_scale(later))
        lost = np.isnan(states[:, :, 0])
        n_lost = int(lost.any(axis=1).sum())
        if n_lost:
            first = int(lost.any(axis=0).argmax())
            warn_user(
                f"{n_lost} of {len(states)} forecasts ran away from the data, the first after "
                f"{first} steps, and end in NaN",
                RuntimeWarning,
            )
        forecast = self._scale.inverse(states)
        if history is None or not is_several(history):
            forecast = forecast[0, :, 0] if self._is_flat else forecast[0]
        if not with_std:
            return forecast
        members = self.sample(n, history, times, controls=controls, n_samples=_N_FOR_STD)
        several = history is not None and is_several(history)
        return forecast, deviations(members, axis=int(several))

    def one_step(
        self, series: Any, times: Any = None, *, controls: Any = None
    ) -> tuple[FloatArray, FloatArray]:
        """Forecast each observation of a series from those before it.

        Parameters
        ----------
        series : array_like, shape (T,) or (T, q), or list of them
            Observations, T > delay.
        times : array_like, shape (T,), or list of them, optional
            Their times, if there were times in `fit`.
        controls : array_like, shape (T,) or (T, r), or list of them, optional
            Their controls, if there were controls in `fit`.

        Returns
        -------
        forecasts : ndarray, shape (n, q)
            One for each row of `delay_embedding`, n = T - delay for one series.
        errors : ndarray, shape (n, q)
            Observations minus forecasts.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            For arguments of the wrong kind, shape or values, naming them.
        """
        check_is_fitted(self)
        tables, clocks, inputs = self._end.observed(series, times, controls, self.n_controls_)
        joined = [
            np.concatenate([self._scale(table), self._control_scale(rows)], axis=1)
            for table, rows in zip(tables, inputs, strict=True)
        ]
        windows, gaps, following = embed(joined, clocks, self._step.delay, 1)
        q = self.n_features_in_
        pasts = windows[:, :, :q].reshape(len(windows), -1)
        forecasts = self._scale.inverse(self._step(pasts, gaps, following[:, q:]))
        return forecasts, self._scale.inverse(following[:, :q]) - forecasts

    def window_map(
        self, start: Any, time_step: float = 1.0
    ) -> tuple[Callable[[FloatArray], FloatArray], FloatArray]:
        """Return the learned system as a map of windows of `delay` observations.

        Parameters
        ----------
        start : array_like, shape (delay,) or (delay, q)
            A window.
        time_step : float
            Time of a step, if there were times in `fit`.

        Returns
        -------
        step : callable
            It takes scaled windows (s, delay q) to those one step later.
        window : ndarray, shape (delay q,)
            The first window, scaled.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            If `start` is not a window, or the system has controls, and so is no map.
        """
        check_is_fitted(self)
        if self.n_controls_:
            raise ValueError("a forecaster with controls is no map of windows: fit it without")
        tables, _ = as_series(start, None, "start")
        learned = self._step
        if len(tables) > 1 or tables[0].shape != (learned.delay, learned.n_columns):
            raise ValueError(
                f"start must be a window of shape {(learned.delay, learned.n_columns)}, got "
                f"{np.shape(start)}"
            )
        n_gaps = 0 if learned.gap_unit is None else learned.delay

        def step(windows: FloatArray) -> FloatArray:
            gaps = np.full((len(windows), n_gaps), time_step)
            return learned.next_window(windows, learned(windows, gaps, np.empty((len(windows), 0))))

        return step, self._scale(tables[0]).ravel()
