"""What a forecaster says of its uncertainty: ensembles, their calibration, and a filter."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count, as_nonnegative
from kflow._base.array_types import FloatArray, Rows
from kflow._base.warn import warn_user
from kflow.data.arrays import as_matrix
from kflow.estimators.validation import seed_of
from kflow.timeseries.embedding import is_several
from kflow.timeseries.ensemble import NearbyErrors, spread_ratio, step_errors
from kflow.timeseries.filter import FilteredSeries, filtered, first_members
from kflow.timeseries.starts import SeriesEnd, later_controls
from kflow.timeseries.window_step import Affine, WindowStep

__all__ = ["ForecastEnsembles"]

# How often a calibration corrects its factor: the spread grows in proportion to it only while it is small.
_N_CORRECTIONS = 3

# Members of the ensembles of a calibration.
_N_CALIBRATION = 50


class ForecastEnsembles:
    """Draws ensembles of forecasts, calibrates their spread, and filters noisy observations."""

    spread_factor_: float
    n_features_in_: int
    n_controls_: int
    _step: WindowStep
    _scale: Affine
    _control_scale: Affine
    _end: SeriesEnd
    _is_flat: bool
    _step_errors: FloatArray | None

    def _check_fitted(self) -> None:
        raise NotImplementedError

    def sample(
        self,
        n_steps: int,
        history: Any = None,
        times: Any = None,
        *,
        controls: Any = None,
        n_samples: int = 100,
        noise: Any = None,
        random_state: Any = 0,
    ) -> FloatArray:
        """Draw an ensemble of forecasts, which spread as their uncertainty grows.

        To each step of each member, one of the errors is added that the forecaster makes at training
        rows which are left out, times `spread_factor_`. Quantiles of the members at a step are bounds of
        the state there.

        Parameters
        ----------
        n_steps, history, times, controls
            As for `predict`.
        n_samples : int
            Members of the ensemble, for each history.
        noise : float or array_like, shape (q,), optional
            Standard deviations of the observations' noise, in the units of the series: each member starts
            from states that are disturbed by it. None: the states of the history are taken as exact.
        random_state : None, int, RandomState, Generator or SeedSequence
            Source of the draws. With an int, the ensemble is the same at each call.

        Returns
        -------
        ndarray, shape (n_samples, n_steps), (n_samples, n_steps, q) or (s, n_samples, n_steps, q)
            With one dimension more than the result of `predict`. Members that run away from the data
            are NaN from there on, with a RuntimeWarning.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            For arguments of the wrong kind, shape or values, naming them.

        Notes
        -----
        n_samples times the cost of `predict`; the first call also takes 0.9 m^3 flops for the errors of
        m training rows. Without `calibrate`, the spread is right for noise and for data that are dense;
        in a system without noise, errors of consecutive steps are alike, and grow faster than draws do.
        """
        self._check_fitted()
        n, count = as_count(n_steps, "n_steps", 0), as_count(n_samples, "n_samples", 1)
        windows, gaps = self._end.histories(self._step.delay, n, history, times)
        later = later_controls(controls, self.n_controls_, len(windows), n)
        rng = np.random.default_rng(seed_of(random_state))
        states = self._members(self._scale(windows), gaps, later, count, self._noise(noise), rng)
        n_lost = int(np.isnan(states[..., 0]).any(axis=2).sum())
        if n_lost:
            warn_user(
                f"{n_lost} of {states.shape[0] * count} members ran away from the data, and end in NaN",
                RuntimeWarning,
            )
        members = self._scale.inverse(states)
        if history is not None and is_several(history):
            return members
        return members[0, ..., 0] if self._is_flat else members[0]

    def _members(
        self,
        windows: FloatArray,
        gaps: FloatArray,
        controls: FloatArray,
        n_samples: int,
        noise: FloatArray | None,
        rng: np.random.Generator,
    ) -> FloatArray:
        """Return scaled members (s, n_samples, n_steps, q) from scaled windows (s, delay, q)."""
        n = len(windows)
        starts = np.repeat(windows, n_samples, axis=0)
        if noise is not None:
            starts = starts + noise * rng.standard_normal(starts.shape)
        states = self._step.iterate(
            starts.reshape(len(starts), -1),
            np.repeat(gaps, n_samples, axis=0),
            self._control_scale(np.repeat(controls, n_samples, axis=0)),
            self._drawn(rng),
        )
        return states.reshape(n, n_samples, *states.shape[1:])

    def _drawn(self, rng: np.random.Generator, factor: float = 1.0) -> NearbyErrors:
        """Return the source of one-step errors, which are found at the first call."""
        interpolant = self._step.interpolant
        if self._step_errors is None:
            self._step_errors = step_errors(interpolant)
        return NearbyErrors(
            interpolant.centres, self._step_errors, factor * self.spread_factor_, rng
        )

    def _noise(self, noise: Any) -> FloatArray | None:
        """Return noise of observations in scaled units, (q,)."""
        if noise is None:
            return None
        given = np.atleast_1d(np.asarray(noise))
        if given.ndim != 1 or len(given) not in (1, self.n_features_in_):
            raise ValueError(
                f"noise must be a number or {self.n_features_in_} of them, one for each column, got "
                f"shape {np.shape(noise)}"
            )
        values = as_matrix(given[None], "noise", dtype=np.float64)[0]
        if (values < 0.0).any():
            raise ValueError(f"noise must not be negative, got {values.min():g}")
        return np.asarray(np.broadcast_to(values, self.n_features_in_) / self._scale.scale)

    def calibrate(
        self,
        series: Any,
        times: Any = None,
        *,
        controls: Any = None,
        n_steps: int = 20,
        n_starts: int = 20,
        noise: Any = None,
        random_state: Any = 0,
    ) -> Any:
        """Set the spread of ensembles by a series that the forecaster has not seen.

        Parameters
        ----------
        series : array_like, shape (T,) or (T, q), or list of them
            Observations, T >= delay + n_steps, such as the part of a series that comes after the one of
            `fit`.
        times : array_like, shape (T,), or list of them, optional
            Their times, if there were times in `fit`.
        controls : array_like, shape (T,) or (T, r), or list of them, optional
            Their controls, if there were controls in `fit`.
        n_steps : int
            Steps of the forecasts that are compared. Choose as many as they remain good for: once
            forecasts are lost, the spread is that of all states, whatever the factor.
        n_starts : int
            The largest number of forecasts, which begin at places that are spread evenly.
        noise, random_state
            As for `sample`.

        Returns
        -------
        Forecaster
            Itself, with another `spread_factor_`: with it, the errors of the ensembles' means are as
            large as the ensembles' standard deviations say, in the median over starts, steps and columns.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            For arguments of the wrong kind, shape or values, naming them.

        Notes
        -----
        150 forecasts for each start.
        """
        self._check_fitted()
        n, most = as_count(n_steps, "n_steps", 1), as_count(n_starts, "n_starts", 1)
        delay = self._step.delay
        tables, clocks, inputs = self._end.observed(series, times, controls, self.n_controls_)
        places = [
            (i, k) for i, table in enumerate(tables) for k in range(delay, len(table) - n + 1)
        ]
        if not places:
            raise ValueError(
                f"series has no part of delay={delay} observations and n_steps={n} after them: pass a "
                "longer series or fewer steps"
            )
        chosen = [places[j] for j in _spread_evenly(len(places), most)]
        windows = np.stack([tables[i][k - delay : k] for i, k in chosen])
        true = self._scale(np.stack([tables[i][k : k + n] for i, k in chosen]))
        later = np.stack([inputs[i][k : k + n] for i, k in chosen])
        gaps = np.empty((len(chosen), 0))
        if clocks is not None:
            gaps = np.stack([np.diff(clocks[i][k - delay : k + n]) for i, k in chosen])
        disturbed, seed = self._noise(noise), seed_of(random_state)
        self.spread_factor_ = 1.0
        for _ in range(_N_CORRECTIONS):
            members = self._members(
                self._scale(windows),
                gaps,
                later,
                _N_CALIBRATION,
                disturbed,
                np.random.default_rng(seed),
            )
            errors = true - members.mean(axis=1)
            self.spread_factor_ *= spread_ratio(errors, members.std(axis=1, ddof=1))
        return self

    def filter(
        self,
        observations: Any,
        times: Any = None,
        *,
        noise: Any,
        controls: Any = None,
        n_members: int = 100,
        model_error: float = 1.0,
        random_state: Any = 0,
    ) -> FilteredSeries:
        """Find the states behind noisy observations by an ensemble Kalman filter.

        Parameters
        ----------
        observations : array_like, shape (T,) or (T, q)
            Observations in the order of time, T >= delay. NaN stands for a number that is missing; single
            columns may be missing.
        times : array_like, shape (T,), optional
            Their times, if there were times in `fit`.
        noise : float or array_like, shape (q,)
            Standard deviations of the observations' noise, in the units of the series, which is taken to
            be normal and independent. Not zero.
        controls : array_like, shape (T,) or (T, r), optional
            Controls, if there were some in `fit`.
        n_members : int
            Members of the ensemble, at least 2.
        model_error : float
            Factor of the one-step errors that are added to the members, not negative. The default is
            right if the system of `fit` was learned without noise. Errors at noisy training rows are those
            of the noise, too: then choose less, for example by the errors of forecasts.
        random_state : None, int, RandomState, Generator or SeedSequence
            Source of the draws.

        Returns
        -------
        FilteredSeries
            Means and standard deviations of the states, and the members' last windows. Up to the first
            `delay` observations these are the observations themselves.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            For arguments of the wrong kind, shape or values, naming them.

        Notes
        -----
        T n_members evaluations of the interpolant, and 2 T q n_members delay q flops. Whitaker and Hamill,
        Monthly Weather Review 130 (2002) 1913-1924: the square-root form, which draws no observations.
        """
        self._check_fitted()
        count = as_count(n_members, "n_members", 2)
        factor = as_nonnegative(model_error, "model_error")
        if noise is None:
            raise ValueError("noise must be given: the standard deviation of the observations")
        sizes = self._noise(noise)
        assert sizes is not None
        if not (sizes > 0.0).all():
            raise ValueError("noise must be positive: a forecast needs no filter without noise")
        step, end = self._step, self._end
        table, missing = _with_missing(observations, self.n_features_in_)
        tables, clocks, inputs = end.observed(table, times, controls, self.n_controls_)
        if len(table) < step.delay:
            raise ValueError(
                f"observations has {len(table)} rows where delay={step.delay} needs as many: pass more"
            )
        gaps = np.empty(0) if clocks is None else np.diff(clocks[0])
        rng = np.random.default_rng(seed_of(random_state))
        scaled = np.where(missing, np.nan, self._scale(tables[0]))
        members = first_members(
            scaled[: step.delay].ravel(),
            np.tile(sizes, step.delay),
            step.interpolant.centres[:, : step.delay * step.n_columns],
            count,
            rng,
        )
        mean, std, windows = filtered(
            step,
            scaled,
            gaps,
            self._control_scale(inputs[0]),
            sizes,
            members,
            self._drawn(rng, factor),
        )
        last = windows.reshape(count, step.delay, step.n_columns)
        return FilteredSeries(
            self._scale.inverse(mean), std * self._scale.scale, self._scale.inverse(last)
        )


def _with_missing(observations: Any, n_columns: int) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Return observations (T, q) with 0 for NaN, and where NaN was."""
    array = np.asarray(observations)
    missing = np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)
    table = as_matrix(
        np.where(missing, 0.0, array) if missing.any() else array,
        "observations",
        dtype=np.float64,
        n_columns=n_columns,
        column_if_1d=True,
        allow_no_rows=False,
    )
    return table, missing.reshape(table.shape)


def _spread_evenly(n: int, most: int) -> Rows:
    """Return at most `most` of n places, spread evenly."""
    return np.unique(np.linspace(0, n - 1, min(most, n)).round().astype(np.intp))
