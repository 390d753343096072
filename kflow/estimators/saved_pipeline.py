"""An encoder of what users have and an estimator of kflow, as one estimator in one file."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from copy import copy
from itertools import chain
from typing import Any

import numpy.typing as npt
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from kflow.errors import ModelFileError
from kflow.storage.model_file import ModelReader, write_model

__all__ = ["SavedPipeline"]


class SavedPipeline(Pipeline):  # type: ignore[misc]
    """A pipeline of scikit-learn with the steps ``"encoder"`` and ``"estimator"`` that can be saved."""

    @classmethod
    def of(cls, encoder: Any, estimator: Any) -> Any:
        """Return the pipeline of an encoder and an estimator."""
        return cls([("encoder", encoder), ("estimator", estimator)])

    @property
    def encoder(self) -> Any:
        """The encoder."""
        return self.steps[0][1]

    @property
    def estimator(self) -> Any:
        """The estimator behind it."""
        return self.steps[1][1]

    def with_estimator(self, estimator: Any) -> Any:
        """Return the same pipeline with another fitted estimator."""
        other = copy(self)
        other.steps = [self.steps[0], (self.steps[1][0], estimator)]
        return other

    def own_settings(self) -> dict[str, Any]:
        """Return what a model file holds besides the encoder and the estimator, as JSON data."""
        return {}

    def own_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays that a model file holds besides those of the estimator."""
        return {}

    def save(self, path: str | os.PathLike[str], *, layers_dtype: str | None = None) -> None:
        """Write the fitted encoder and estimator to one file; `kflow.load` reads it.

        Parameters
        ----------
        path : path
            The file to write; an earlier one of this name is replaced.
        layers_dtype : {"float16", "float32", "float64"}, optional
            Precision of the layers in the file, as in `KernelFlowClassifier.save`; not for estimators
            without layers.

        Raises
        ------
        OSError
            If the file cannot be written; an earlier file of that name is then untouched.
        TypeError
            If the estimator is none of kflow.
        ValueError
            If `layers_dtype` is another dtype, or the estimator has no layers.
        """
        check_is_fitted(self)
        if not hasattr(self.estimator, "to_parts"):
            raise TypeError(
                f"only estimators of kflow can be saved in a model file, not a "
                f"{type(self.estimator).__name__}"
            )
        options = {} if layers_dtype is None else {"layers_dtype": layers_dtype}
        flow = getattr(self.estimator, "flow_", None)
        if options and flow is None:
            raise ValueError(f"layers_dtype: a {type(self.estimator).__name__} has no layers")
        with nullcontext() if flow is None else flow.still():
            inner, parts = self.estimator.to_parts(**options)
            settings = {
                "encoder": self.encoder.to_settings(),
                **self.own_settings(),
                "estimator": {"kind": type(self.estimator).__name__, "settings": inner},
            }
            write_model(
                path, type(self).__name__, settings, chain(parts, self.own_arrays().items())
            )

    @classmethod
    def from_model_file(
        cls, reader: ModelReader, read_estimator: Callable[[ModelReader], Any]
    ) -> Any:
        """Return the pipeline that a model file holds: `kflow.load` calls this.

        Parameters
        ----------
        reader : kflow.storage.model_file.ModelReader
            The file, open.
        read_estimator : callable
            Returns the estimator of a reader.

        Raises
        ------
        ModelFileError
            If what the file holds is no pipeline, or its parts do not fit each other.
        """
        encoder = cls.read_encoder(reader)
        estimator = read_estimator(reader.within("estimator"))
        if estimator.n_features_in_ != encoder.n_features_out_:
            raise ModelFileError("the model's encoder does not fit its estimator")
        return cls.of(encoder, estimator)

    @classmethod
    def read_encoder(cls, reader: ModelReader) -> Any:
        """Return the encoder that a model file holds."""
        raise NotImplementedError
