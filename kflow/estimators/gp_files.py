"""Model files of Gaussian processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from kflow._base.arguments import as_count, as_flag, as_nugget, as_positive
from kflow._base.array_types import Doubles
from kflow.engine import HOST
from kflow.errors import damaged
from kflow.estimators.gp_posterior import Posterior, read_posterior
from kflow.estimators.input_files import input_arrays, read_inputs
from kflow.estimators.parameters import parameters_from_json, parameters_to_json
from kflow.estimators.target_scaling import TargetScaling, read_outputs
from kflow.kernels import Kernel, from_dict
from kflow.storage.model_file import ModelReader, write_model

__all__ = ["GPFiles"]


class GPFiles:
    """Saves a fitted Gaussian process to a file, and reads it."""

    learn: Any
    kernel_: Kernel
    learned_: Any
    nugget_: float
    scale_: Doubles
    solver_: str
    n_iterations_: int
    weight_unit_: float
    n_features_in_: int
    _posterior: Posterior
    _target_scaling: TargetScaling

    def _keep(self, posterior: Posterior, scale: Doubles) -> None:
        """Make a posterior and its amplitudes the estimator's."""
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to one file; `kflow.load` reads it.

        A file does not hold a loss that is a function, a `random_state` that is not an int,
        `callbacks`, `progress` and `n_threads`: these parameters have their defaults after
        `kflow.load`. The file holds the training points, but no N x N matrix, which the first
        deviations after `kflow.load` factorise again.

        Raises
        ------
        OSError
            If the file cannot be written; an earlier file of that name is then untouched.
        TypeError
            If the kernel holds Python functions.
        """
        write_model(path, type(self).__name__, *self.to_parts())

    def to_parts(self) -> tuple[dict[str, Any], Iterator[tuple[str, npt.NDArray[Any]]]]:
        """Return the settings and the parts of a model file, as `save` writes them."""
        check_is_fitted(self)
        settings = {
            # A loss that is a function is left out: None would say that nothing is learned.
            "parameters": parameters_to_json(
                self, without={"learn"} if callable(self.learn) else ()
            ),
            "kernel": self.kernel_.to_dict(),
            "nugget": self.nugget_,
            "solver": self.solver_,
            "n_iterations": self.n_iterations_,
            "weight_unit": self.weight_unit_,
            "n_features_in": int(self.n_features_in_),
            "one_dimensional": self._target_scaling.one_dimensional,
            "engine": HOST.identity,
        }
        return settings, self._arrays()

    def _arrays(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Yield the arrays of a model file, by name."""
        yield from self._posterior.arrays()
        yield "scale", self.scale_
        yield "target_mean", self._target_scaling.mean
        yield "target_scale", self._target_scaling.scale
        yield from input_arrays(self)

    @classmethod
    def from_model_file(cls, reader: ModelReader) -> Any:
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
        settings = reader.settings
        with damaged("settings"):
            estimator = cls(**parameters_from_json(settings["parameters"]))
            n_features = as_count(settings["n_features_in"], "n_features_in", 1)
            kernel = from_dict(settings["kernel"])
            kernel.check_dimension(n_features)
            nugget = as_nugget(settings["nugget"])
            n_iterations = as_count(settings["n_iterations"], "n_iterations", 0)
            estimator.solver_ = str(settings["solver"])
            # Files of early versions have none.
            estimator.weight_unit_ = as_positive(settings.get("weight_unit", 1.0), "weight_unit")
            one_dimensional = as_flag(settings["one_dimensional"], "one_dimensional")
        read_inputs(reader, estimator, n_features)
        estimator.learned_ = None  # it belongs to the run, not to the model
        posterior = read_posterior(reader, kernel, n_features, nugget, n_iterations)
        m = posterior.coefficients.shape[1]
        mean, scale, amplitudes = (
            read_outputs(reader, name, m) for name in ("target_mean", "target_scale", "scale")
        )
        with damaged("targets"):
            estimator._target_scaling = TargetScaling(mean, scale, one_dimensional)
        estimator._keep(posterior, amplitudes)
        return estimator
