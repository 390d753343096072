"""What the classifier and the regressor share: the steps of a fit, the map, and files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from kflow._base.arguments import as_count
from kflow._base.array_types import Doubles, FloatArray
from kflow.engine.interface import Engine
from kflow.engine.threads import resolve_n_threads
from kflow.errors import ModelFileError, damaged
from kflow.estimators.device_input import returned, validated_points
from kflow.estimators.fit_rows import FitRows
from kflow.estimators.flow_parameters import flow_of_parameters
from kflow.estimators.gradient_metric import GradientMetric
from kflow.estimators.input_files import input_arrays, read_inputs
from kflow.estimators.kernel_parameters import KernelParameters
from kflow.estimators.parameters import (
    keep_parameters,
    parameters_from_json,
    parameters_to_json,
)
from kflow.estimators.selection.choose import ALL_GIVEN, OutOfFold
from kflow.estimators.selection.fitted import FittedChoice, fit_choice
from kflow.estimators.selection.record import Selection
from kflow.estimators.selection.wanted import Wanted
from kflow.estimators.validation import seed_of
from kflow.flow.callbacks import Callback
from kflow.flow.kernel_flow import KernelFlow
from kflow.flow.settings import FlowSettings
from kflow.kernels import Radial, from_dict
from kflow.learning.gradient_metric import gradient_outer_product
from kflow.linear.interpolant import Interpolant
from kflow.storage.model_file import ModelReader, write_model

__all__ = ["MAX_INTERPOLATION", "VALIDATION", "KernelFlowEstimator", "Seeds"]

# Interpolation points when n_interpolation is None: their matrix takes 0.5 GB and some seconds.
MAX_INTERPOLATION = 8000

# Points at which gradients are averaged for the importances of features.
_MAX_GRADIENTS = 2000

# The name under which the flow follows the rows that are held out.
VALIDATION = "validation"

_NO_SELECTION = Selection(None, (), 0, 0, ALL_GIVEN)


class Seeds(NamedTuple):
    """The sources of randomness of one fit, so that none depends on what another one draws."""

    batches: np.random.SeedSequence
    interpolation: np.random.SeedSequence
    hold_out: np.random.SeedSequence
    folds: np.random.SeedSequence


class KernelFlowEstimator(
    KernelParameters,
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """What the classifier and the regressor share.

    A subclass validates its targets in `fit`, and says in `_interpolation_rows`, `_own_arrays` and
    `_set_own_arrays` what it does in its own way.
    """

    def __init__(
        self,
        kernel: Radial | str | None = "auto",
        *,
        metric: GradientMetric | str | None = "auto",
        n_layers: int | str = "auto",
        batch_size: int | str = "auto",
        coarse_fraction: float = 0.5,
        nugget: Any = "auto",
        step: Any = "rms",
        step_size: Any = 0.02,
        step_over: str = "all",
        gradient_cap: Any = 1.0,
        n_halves: int = 2,
        n_interpolation: int | None = None,
        interpolation_nugget: float | str = "auto",
        scaling: str | None = "standard",
        rank: str | int | float | None = None,
        shrink_every: int = 0,
        shrink_tolerance: float = 1e-4,
        dtype: str = "float64",
        random_state: Any = None,
        n_threads: int | None = None,
        layers: str = "memory",
        checkpoint: str | os.PathLike[str] | None = None,
        every: int = 20,
        callbacks: Iterable[Callback] = (),
        progress: bool = False,
        device: str | None = None,
        precision: str = "float64",
    ) -> None:
        keep_parameters(self, locals())

    # ---- fit ----------------------------------------------------------------------------------

    def _fit(
        self,
        data: FitRows,
        follow: Mapping[str, npt.ArrayLike] | None,
        seeds: Seeds,
        *,
        resume: bool,
    ) -> None:
        """Choose what is "auto", run the flow, and interpolate at some of the points it moved."""
        # What concerns the interpolant only must not fail after the flow.
        wanted = Wanted.by(self)
        followed = self._followed(follow, data.held_out)
        fitted = fit_choice(self, wanted, data, seeds.folds)
        chosen = fitted.choice.chosen
        self.n_layers_ = chosen.n_layers
        self.interpolation_nugget_ = fitted.choice.interpolation_nugget
        flow = flow_of_parameters(self, len(data.points), seeds.batches, **fitted.flow_settings)
        if data.stopping is not None:
            flow.callbacks += (data.stopping,)
        try:
            flow.start(data.points, data.targets, followed, scaling=fitted.scaling, resume=resume)
            flow.finish()
        except BaseException:
            # A flow that stopped early is at its last good layer: what it learned is kept. If no
            # interpolant can be made of it, the flow's own error says more about the reason.
            if flow.is_fitted:
                with suppress(Exception):
                    self._keep(flow, fitted, data, seeds)
            raise
        self._keep(flow, fitted, data, seeds)

    def _followed(
        self, follow: Mapping[str, npt.ArrayLike] | None, held_out: FloatArray | None
    ) -> dict[str, FloatArray]:
        """Return the arrays that the flow follows: the user's, validated, and the rows held out."""
        if follow is not None and not isinstance(follow, Mapping):
            raise TypeError(f"follow must map names to arrays, got {type(follow).__name__}")
        engine = self._engine()
        followed = {
            name: validated_points(self, points, engine) for name, points in (follow or {}).items()
        }
        if held_out is not None:
            if VALIDATION in followed:
                raise ValueError(
                    f"follow: {VALIDATION!r} is the name of the rows held out by early_stopping, "
                    "pass another"
                )
            followed[VALIDATION] = held_out
        return followed

    def _keep(self, flow: KernelFlow, fitted: FittedChoice, data: FitRows, seeds: Seeds) -> None:
        """Make a flow, and an interpolant of the points that it moved, the estimator's."""
        self.__dict__.pop("interpolant_", None)  # that of an earlier flow
        self.scaling_, self.flow_ = fitted.scaling, flow
        self.selection_, self.map_importances_ = fitted.choice.selection, fitted.importances
        self._calibrate(fitted.choice.out_of_fold)
        flow.rest()
        rows = self._interpolation_rows(data, np.random.default_rng(seeds.interpolation))
        self.interpolation_rows_ = rows if data.rows is None else data.rows[rows]
        self.interpolant_ = Interpolant(
            flow.state_.training_rows(rows, resolve_n_threads(self.n_threads)),
            data.targets[rows],
            kernel=flow.kernel_,
            nugget=self.interpolation_nugget_,
            sample_weight=None if data.weights is None else data.weights[rows],
            n_threads=self.n_threads,
        )

    def _calibrate(self, out_of_fold: OutOfFold | None) -> None:
        """Learn from predictions of rows left out what they say about the truth."""

    def _interpolation_rows(self, data: FitRows, rng: np.random.Generator) -> npt.NDArray[np.intp]:
        """Draw the rows at which the interpolant interpolates."""
        raise NotImplementedError

    def _seeds(self) -> Seeds:
        """Return the sources of randomness that `random_state` stands for."""
        if self.checkpoint is not None and not isinstance(self.random_state, (int, np.integer)):
            raise ValueError(
                f"random_state must be an int where there is a checkpoint, got {self.random_state!r}: "
                "a resumed fit must draw the same rows again"
            )
        seed = seed_of(self.random_state)
        return Seeds(*np.random.SeedSequence(seed).spawn(4))

    # ---- the map ------------------------------------------------------------------------------

    def _engine(self) -> Engine:
        """Return the engine that runs the flow of a fit."""
        return FlowSettings(n_layers=0, device=self.device).computing_engine()

    @property
    def feature_importances_(self) -> Doubles:
        """How much the predictions change along each scaled feature, shape (d,); the sum is 1.

        It is the diagonal of the average outer product of the gradients of an interpolant of the
        scaled features, as in `GradientMetric`: that from which the linear map was learned, or else
        the final one.

        Raises
        ------
        AttributeError
            If there is a flow but no linear map: the final interpolant is no function of the features.
        """
        check_is_fitted(self)
        if self.map_importances_ is not None:
            return self.map_importances_.copy()
        if self.flow_.n_layers_ or self.flow_.state_.subspace is not None:
            raise AttributeError(
                "feature_importances_ needs a linear map, or neither flow nor subspace: pass "
                "metric=kflow.GradientMetric(), or n_layers=0 and rank=None"
            )
        centres = self.interpolant_.centres
        most = min(len(centres), _MAX_GRADIENTS)
        points = centres[np.linspace(0, len(centres) - 1, most).astype(np.intp)]
        importances = gradient_outer_product(self.interpolant_, points).diagonal()
        return np.asarray(importances / max(importances.sum(), np.finfo(float).tiny))

    @property
    def energy_dropped_(self) -> float:
        """Part of the sum of squares of the scaled data outside the subspace."""
        check_is_fitted(self)
        return self.flow_.energy_dropped_

    @property
    def _n_features_out(self) -> int:
        return int(self.flow_.n_features_in_)

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: `transform` has the flow's dtype, whatever X has."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there is an interpolant."""
        return hasattr(self, "interpolant_")

    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """Return F_n of scaled points, (n, d): an array where X is, see `kflow.KernelFlow`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            For a wrong shape or values, or if the layers were not kept.
        """
        check_is_fitted(self)
        moved: FloatArray = returned(self._transform(X, reduced=False), X)
        return moved

    def _transform(self, X: npt.ArrayLike, *, reduced: bool) -> FloatArray:
        points = validated_points(self, X, self.flow_.computing_engine())
        return self.flow_.replay().final(points, self.scaling_, reduced)

    def _scores(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the interpolant's values at points, where these are."""
        moved, flow = self._transform(X, reduced=True), self.flow_
        if flow.device is None:
            return self.interpolant_(moved).astype(np.float64)
        return self.interpolant_.by_engine(moved, flow.computing_engine()).astype(np.float64)

    # ---- files --------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, layers_dtype: str | None = None) -> None:
        """Write the fitted estimator to one file; `kflow.load` reads it.

        A file does not hold functions that are schedules, nor a `random_state` that is not an int, nor
        a `class_weight` that is a mapping: these parameters are None after `kflow.load`. Nor does it
        hold `n_threads`, `device`, `precision`, `layers`, `checkpoint`, `every`, `callbacks` and `progress`,
        which then have their defaults.

        Parameters
        ----------
        path : path
            The file to write; an earlier one of this name is replaced.
        layers_dtype : {"float16", "float32", "float64"}, optional
            Precision of the layers in the file, as in `kflow.KernelFlow.save`.

        Raises
        ------
        OSError
            If the file cannot be written; an earlier file of that name is then untouched.
        ValueError
            If `layers_dtype` is another dtype.
        """
        check_is_fitted(self)
        with self.flow_.still():
            write_model(path, type(self).__name__, *self.to_parts(layers_dtype))

    def to_parts(
        self, layers_dtype: str | None = None
    ) -> tuple[dict[str, Any], Iterator[tuple[str, npt.NDArray[Any] | bytes]]]:
        """Return the settings and the parts of a model file, as `save` writes them."""
        check_is_fitted(self)
        flow_settings, flow_parts = self.flow_.to_parts(layers_dtype)
        settings = {
            "parameters": parameters_to_json(self),
            "selection": self.selection_.to_dict(),
            "flow": flow_settings,
            "n_features_in": int(self.n_features_in_),
            "interpolant": {
                "kernel": self.interpolant_.kernel.to_dict(),
                "nugget": self.interpolant_.nugget,
            },
        }
        return settings, chain(flow_parts, self._arrays())

    def _arrays(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Yield what a model file holds besides the flow, by name."""
        yield "interpolant_centres", self.interpolant_.centres
        yield "interpolant_coefficients", self.interpolant_.coefficients
        if self.interpolant_.sample_weight is not None:
            yield "interpolant_weights", self.interpolant_.sample_weight
        yield "interpolation_rows", self.interpolation_rows_
        if self.map_importances_ is not None:
            yield "importances", self.map_importances_
        yield from input_arrays(self)
        for name, array in self._own_arrays().items():
            yield f"own_{name}", array

    def _own_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what only this class stores."""
        raise NotImplementedError

    def _set_own_arrays(self, reader: ModelReader, n_outputs: int) -> None:
        """Read back what `_own_arrays` stored."""
        raise NotImplementedError

    @classmethod
    def from_model_file(cls, reader: ModelReader) -> KernelFlowEstimator:
        """Return the estimator that a model file holds: `kflow.load` calls this.

        Parameters
        ----------
        reader : kflow.storage.model_file.ModelReader
            The file, open.

        Raises
        ------
        ModelFileError
            If what the file holds is no estimator of this class.
        """
        with damaged("settings"):
            # Files of versions that had no linear map.
            parameters = {"metric": None, **parameters_from_json(reader.settings["parameters"])}
            if isinstance(parameters.get("metric"), Mapping):
                parameters["metric"] = GradientMetric(**parameters_from_json(parameters["metric"]))
            estimator = cls(**parameters)
            n_features = as_count(reader.settings["n_features_in"], "n_features_in", 1)
            flow_settings = reader.settings["flow"]
            # Files of early versions have none.
            chosen = reader.settings.get("selection")
            estimator.selection_ = _NO_SELECTION if chosen is None else Selection.from_dict(chosen)
        read_inputs(reader, estimator, n_features)
        estimator._read_importances(reader)
        estimator.flow_ = KernelFlow.from_parts(reader, flow_settings)
        if estimator.flow_.n_features_in_ != n_features:
            raise ModelFileError("the model's flow does not fit its features")
        estimator._read_interpolant(reader)
        estimator._set_own_arrays(reader, estimator.interpolant_.coefficients.shape[1])
        return estimator

    def _read_interpolant(self, reader: ModelReader) -> None:
        """Read the interpolant of a model file, and which rows it interpolates at."""
        with damaged("settings"):
            settings = reader.settings["interpolant"]
            kernel, nugget = from_dict(settings["kernel"]), settings["nugget"]
        centres = reader.array("interpolant_centres", ndim=2)
        coefficients = reader.array("interpolant_coefficients", ndim=2)
        if centres.shape[1] != self.flow_.positions().n_coordinates:
            raise ModelFileError("the model's interpolant does not fit its flow")
        weights = None
        if "interpolant_weights" in reader:
            weights = reader.array("interpolant_weights", ndim=1)
        with damaged("interpolant"):
            self.interpolant_ = Interpolant.from_coefficients(
                centres, coefficients, kernel=kernel, nugget=nugget, sample_weight=weights
            )
        self.n_layers_, self.interpolation_nugget_ = self.flow_.n_layers_, self.interpolant_.nugget
        if "interpolation_rows" in reader:  # files of early versions lack them
            rows = reader.array("interpolation_rows", ndim=1)
            if rows.shape != (len(centres),) or rows.dtype.kind != "i" or rows.min() < 0:
                raise ModelFileError("the model's interpolation rows do not fit its interpolant")
            self.interpolation_rows_ = rows.astype(np.intp)

    def _read_importances(self, reader: ModelReader) -> None:
        self.map_importances_ = None
        if "importances" in reader:
            importances = reader.array("importances", ndim=1)
            if importances.shape != (self.n_features_in_,) or importances.dtype.kind != "f":
                raise ModelFileError("the model's importances do not fit its features")
            self.map_importances_ = importances.astype(np.float64)
