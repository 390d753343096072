"""Model files of stacks of Gaussian processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from kflow._base.arguments import as_count, as_flag
from kflow._base.array_types import Doubles
from kflow.errors import ModelFileError, damaged
from kflow.estimators.gp_regressor import GPRegressor
from kflow.estimators.input_files import name_arrays, read_names
from kflow.estimators.parameters import parameters_from_json, parameters_to_json
from kflow.estimators.stack_members import Member
from kflow.kernels import from_dict
from kflow.storage.model_file import ModelReader, write_model

__all__ = ["StackFiles"]


class StackFiles:
    """Saves a fitted stack to a file, and reads it."""

    kernels: Any
    estimator: Any
    log_targets: str
    weights_: Doubles
    errors_: Doubles
    variance_factor_: Doubles
    n_features_in_: int
    _members: list[Member]
    _one_dimensional: bool

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to one file; `kflow.load` reads it.

        The file holds every member, as `GPRegressor.save` writes it.

        Raises
        ------
        OSError
            If the file cannot be written; an earlier file of that name is then untouched.
        TypeError
            If a kernel holds Python functions.
        """
        write_model(path, type(self).__name__, *self.to_parts())

    def to_parts(self) -> tuple[dict[str, Any], Iterator[tuple[str, npt.NDArray[Any]]]]:
        """Return the settings and the parts of a model file, as `save` writes them."""
        check_is_fitted(self)
        parts = [member.process.to_parts() for member in self._members]
        kernels = self.kernels
        settings = {
            "parameters": {
                "kernels": None if kernels is None else [kernel.to_dict() for kernel in kernels],
                "estimator": None if self.estimator is None else parameters_to_json(self.estimator),
                "log_targets": self.log_targets,
            },
            "n_features_in": int(self.n_features_in_),
            "n_members": len(parts),
            "one_dimensional": self._one_dimensional,
            **{
                f"member_{number}": {"kind": "GPRegressor", "settings": inner}
                for number, (inner, _) in enumerate(parts)
            },
        }
        return settings, self._arrays([arrays for _, arrays in parts])

    def _arrays(
        self, of_members: list[Iterator[tuple[str, npt.NDArray[Any]]]]
    ) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Yield the arrays of a model file, by name."""
        yield "stack_weights", self.weights_
        yield "stack_errors", self.errors_
        yield "variance_factor", self.variance_factor_
        for number, (member, arrays) in enumerate(zip(self._members, of_members, strict=True)):
            if member.highest is not None:
                yield f"highest_{number}", member.highest
            yield from ((f"member_{number}_{name}", array) for name, array in arrays)
        yield from name_arrays(self)

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
            parameters = dict(settings["parameters"])
            if parameters["kernels"] is not None:
                parameters["kernels"] = [from_dict(kernel) for kernel in parameters["kernels"]]
            if parameters["estimator"] is not None:
                inner = parameters_from_json(parameters["estimator"])
                parameters["estimator"] = GPRegressor(**inner)
            stack = cls(**parameters)
            n_features = as_count(settings["n_features_in"], "n_features_in", 1)
            n_members = as_count(settings["n_members"], "n_members", 1, len(settings))
            stack._one_dimensional = as_flag(settings["one_dimensional"], "one_dimensional")
        stack.n_features_in_ = n_features
        read_names(reader, stack)
        stack._members = [_read_member(reader, number, n_features) for number in range(n_members)]
        stack.weights_, stack.errors_ = (
            reader.array(name, ndim=2) for name in ("stack_weights", "stack_errors")
        )
        stack.variance_factor_ = reader.array("variance_factor", ndim=1)
        m = len(stack.variance_factor_)
        outputs = {len(member.process.scale_) for member in stack._members}
        arrays = (stack.weights_, stack.errors_, stack.variance_factor_)
        if (
            outputs != {m}
            or stack.weights_.shape != (n_members, m)
            or stack.errors_.shape != (n_members, m)
            or any(array.dtype != np.float64 or not np.isfinite(array).all() for array in arrays)
            or (stack.weights_ < 0.0).any()
            or np.abs(stack.weights_.sum(axis=0) - 1.0).max(initial=0.0) > 1e-6
            or (stack.variance_factor_ <= 0.0).any()
            or (stack._one_dimensional and m != 1)
        ):
            raise ModelFileError("the model's weights do not fit its members")
        return stack


def _read_member(reader: ModelReader, number: int, n_features: int) -> Member:
    """Return one member of a model file."""
    name = f"member_{number}"
    process = GPRegressor.from_model_file(reader.within(name, prefix=f"{name}_"))
    if process.n_features_in_ != n_features:
        raise ModelFileError(f"the model's {name} does not fit its {n_features} features")
    if f"highest_{number}" not in reader:
        return Member(process)
    highest = reader.array(f"highest_{number}", ndim=1)
    if (
        highest.shape != process.scale_.shape
        or highest.dtype != np.float64
        or not np.isfinite(highest).all()
        or (highest <= 0.0).any()
    ):
        raise ModelFileError(f"the model's highest_{number} does not fit its targets")
    return Member(process, highest)
