"""Model files of forecasters."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count, as_flag, as_nugget, as_positive
from kflow._base.array_types import FloatArray
from kflow.engine import HOST
from kflow.errors import damaged
from kflow.estimators.parameters import parameters_from_json, parameters_to_json
from kflow.kernels import from_dict
from kflow.linear.interpolant import Interpolant
from kflow.storage.model_file import ModelReader, write_model
from kflow.timeseries.nearby import NearbyWindows
from kflow.timeseries.starts import SeriesEnd
from kflow.timeseries.window_step import Affine, WindowStep

__all__ = ["ForecasterFiles"]


class ForecasterFiles:
    """Saves a fitted forecaster to a file, and reads it."""

    learn: Any
    n_threads: Any
    stay_near: Any
    learned_: Any
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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted forecaster to one file; `kflow.load` reads it.

        A file does not hold a loss that is a function, `learn_options`, a `random_state` that is not an
        int, and `n_threads`: these parameters have their defaults after `kflow.load`. It holds the rows
        of the interpolant and the end of the series, from which forecasts go on.

        Parameters
        ----------
        path : path
            The file; replaced if it exists.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        OSError
            If the file cannot be written; an earlier file of that name is then untouched.
        TypeError
            If the kernel holds Python functions.
        """
        self._check_fitted()
        step = self._step
        settings = {
            "parameters": parameters_to_json(
                self, without={"learn", "learn_options"} if callable(self.learn) else ()
            ),
            "kernel": step.interpolant.kernel.to_dict(),
            "nugget": step.interpolant.nugget,
            "delay": step.delay,
            "increments": step.increments,
            "gap_unit": step.gap_unit,
            "n_controls": self.n_controls_,
            "spread_factor": self.spread_factor_,
            "is_flat": self._is_flat,
            "engine": HOST.identity,
        }
        write_model(path, type(self).__name__, settings, self._arrays())

    def _arrays(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Yield the arrays of a model file, by name."""
        step = self._step
        yield "rows", step.interpolant.centres
        yield "coefficients", step.interpolant.coefficients
        yield "region", np.stack([step.lowest, step.highest])
        yield "scale", np.stack([self._scale.mean, self._scale.scale])
        yield "target_scale", np.stack([step.target_scale.mean, step.target_scale.scale])
        yield "control_scale", np.stack([self._control_scale.mean, self._control_scale.scale])
        yield "end", self._end.states
        if self._end.times is not None:
            yield "end_times", self._end.times

    @classmethod
    def from_model_file(cls, reader: ModelReader) -> Any:
        """Return the forecaster that a model file holds: `kflow.load` calls this.

        Parameters
        ----------
        reader : kflow.storage.model_file.ModelReader
            The file, open.

        Raises
        ------
        ModelFileError
            If what the file holds is no forecaster.
        """
        settings = reader.settings
        with damaged("settings"):
            forecaster = cls(**parameters_from_json(settings["parameters"]))
            delay = as_count(settings["delay"], "delay", 1)
            increments = as_flag(settings["increments"], "increments")
            gap_unit = settings["gap_unit"]
            gap_unit = None if gap_unit is None else as_positive(gap_unit, "gap_unit")
            forecaster.n_controls_ = as_count(settings["n_controls"], "n_controls", 0)
            forecaster.spread_factor_ = as_positive(settings["spread_factor"], "spread_factor")
            forecaster._is_flat = as_flag(settings["is_flat"], "is_flat")
            forecaster.stay_near = as_flag(forecaster.stay_near, "stay_near")
            kernel = from_dict(settings["kernel"])
            nugget = as_nugget(settings["nugget"])
        rows, coefficients = (_numbers(reader, name) for name in ("rows", "coefficients"))
        with damaged("rows"):
            q, r = coefficients.shape[1], forecaster.n_controls_
            n_gaps = 0 if gap_unit is None else delay
            if len(rows) != len(coefficients) or rows.shape[1] != delay * q + n_gaps + r:
                raise ValueError(f"shapes are {rows.shape} and {coefficients.shape}")
            if forecaster._is_flat and q != 1:
                raise ValueError(f"a series of numbers has no {q} columns")
            kernel.check_dimension(rows.shape[1])
            interpolant = Interpolant.from_coefficients(
                rows,
                coefficients,
                kernel=kernel,
                nugget=nugget,
                n_threads=forecaster.n_threads,
            )
        lowest, highest = _pair(reader, "region", q)
        forecaster._scale = _affine(reader, "scale", q)
        forecaster._control_scale = _affine(reader, "control_scale", r)
        forecaster._step = WindowStep(
            interpolant=interpolant,
            delay=delay,
            n_columns=q,
            increments=increments,
            gap_unit=gap_unit,
            target_scale=_affine(reader, "target_scale", q),
            lowest=lowest,
            highest=highest,
            nearby=NearbyWindows(rows[:, : delay * q]) if forecaster.stay_near else None,
        )
        states = _numbers(reader, "end")
        times = None
        if gap_unit is not None:
            times = _numbers(reader, "end_times", ndim=1)
        with damaged("end"):
            if states.shape[1] != q or not 1 <= len(states) <= delay:
                raise ValueError(f"shape {states.shape}")
            if times is not None and (len(times) != len(states) or (np.diff(times) <= 0.0).any()):
                raise ValueError("times do not increase, or are not as many as states")
        forecaster._end = SeriesEnd(states, times)
        forecaster.n_features_in_ = q
        forecaster.learned_ = None  # it belongs to the run, not to the model
        forecaster._step_errors = None
        return forecaster


def _numbers(reader: ModelReader, name: str, ndim: int = 2) -> FloatArray:
    """Return an array of a file, whose numbers must be finite doubles."""
    array = reader.array(name, ndim=ndim)
    with damaged(name):
        if array.dtype != np.float64 or not np.isfinite(array).all() or not len(array):
            raise ValueError("numbers must be finite and of float64")
    return np.ascontiguousarray(array)


def _pair(reader: ModelReader, name: str, n: int) -> tuple[FloatArray, FloatArray]:
    """Return two rows of n numbers."""
    array = _numbers(reader, name)
    with damaged(name):
        if array.shape != (2, n):
            raise ValueError(f"shape {array.shape}")
    return array[0], array[1]


def _affine(reader: ModelReader, name: str, n: int) -> Affine:
    """Return a scaling of n columns."""
    mean, scale = _pair(reader, name, n)
    with damaged(name):
        if not (scale > 0.0).all():
            raise ValueError("a scale is not positive")
    return Affine(mean, scale)
