"""The inputs of an estimator in model files: their scaling, and the names of the features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow.data.scaling import Preprocessing
from kflow.errors import ModelFileError
from kflow.storage.model_file import ModelReader

__all__ = ["input_arrays", "name_arrays", "read_inputs", "read_names"]


def input_arrays(estimator: Any) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield the arrays of a fitted estimator's inputs, by name; `read_inputs` is the inverse."""
    for name, array in estimator.scaling_.to_arrays().items():
        yield f"preprocessing_{name}", array
    yield from name_arrays(estimator)


def name_arrays(estimator: Any) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield the names of a fitted estimator's features, if it has them; `read_names` is the inverse."""
    if hasattr(estimator, "feature_names_in_"):
        yield "feature_names", np.asarray(estimator.feature_names_in_, dtype=np.str_)


def read_inputs(reader: ModelReader, estimator: Any, n_features: int) -> None:
    """Give an estimator its number of features, their names and their scaling.

    Raises
    ------
    ModelFileError
        If the arrays are damaged or do not fit each other.
    """
    estimator.n_features_in_ = n_features
    estimator.scaling_ = Preprocessing.from_arrays(
        {
            name: reader.array(f"preprocessing_{name}")
            for name in Preprocessing.ARRAYS
            if f"preprocessing_{name}" in reader
        },
        n_features,
    )
    read_names(reader, estimator)


def read_names(reader: ModelReader, estimator: Any) -> None:
    """Give an estimator, whose number of features is known, their names, if the file has them.

    Raises
    ------
    ModelFileError
        If the names do not fit the features.
    """
    if "feature_names" in reader:
        names = reader.array("feature_names", ndim=1)
        if len(names) != estimator.n_features_in_ or names.dtype.kind != "U":
            raise ModelFileError("the model's feature names do not fit its features")
        estimator.feature_names_in_ = names.astype(object)
