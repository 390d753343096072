"""Reading saved models back."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from kflow.errors import ModelFileError
from kflow.flow.kernel_flow import KernelFlow
from kflow.storage.model_file import ModelReader

__all__ = ["load"]


def _flow(reader: ModelReader) -> Any:
    return KernelFlow.from_parts(reader, reader.settings)


# Estimators are imported when a file holds one: scikit-learn takes longer to import than kflow.


def _classifier(reader: ModelReader) -> Any:
    from kflow.estimators.classifier import KernelFlowClassifier

    return KernelFlowClassifier.from_model_file(reader)


def _regressor(reader: ModelReader) -> Any:
    from kflow.estimators.regressor import KernelFlowRegressor

    return KernelFlowRegressor.from_model_file(reader)


def _gp_regressor(reader: ModelReader) -> Any:
    from kflow.estimators.gp_regressor import GPRegressor

    return GPRegressor.from_model_file(reader)


def _stacked_gp_regressor(reader: ModelReader) -> Any:
    from kflow.estimators.stacked_gp import StackedGPRegressor

    return StackedGPRegressor.from_model_file(reader)


def _emulator(reader: ModelReader) -> Any:
    from kflow.emulator.emulator import Emulator

    return Emulator.from_model_file(reader)


def _forecaster(reader: ModelReader) -> Any:
    from kflow.timeseries.forecaster import Forecaster

    return Forecaster.from_model_file(reader)


def _table_pipeline(reader: ModelReader) -> Any:
    from kflow.estimators.table_pipeline import TablePipeline

    return TablePipeline.from_model_file(reader, lambda inner: _read(inner, _ESTIMATORS))


def _image_pipeline(reader: ModelReader) -> Any:
    from kflow.estimators.image_pipeline import ImagePipeline

    return ImagePipeline.from_model_file(reader, lambda inner: _read(inner, _ESTIMATORS))


# How each kind of model is read. Estimators may also stand behind the encoder of a table or of images.
_ESTIMATORS: Mapping[str, Callable[[ModelReader], Any]] = {
    "KernelFlowClassifier": _classifier,
    "KernelFlowRegressor": _regressor,
    "GPRegressor": _gp_regressor,
    "StackedGPRegressor": _stacked_gp_regressor,
}
_READERS = {
    **_ESTIMATORS,
    "KernelFlow": _flow,
    "Emulator": _emulator,
    "Forecaster": _forecaster,
    "ImagePipeline": _image_pipeline,
    "TablePipeline": _table_pipeline,
}


def _read(reader: ModelReader, readers: Mapping[str, Callable[[ModelReader], Any]]) -> Any:
    if reader.kind not in readers:
        raise ModelFileError(
            f"{reader.path} holds a {reader.kind!r}, which this kflow does not know"
        )
    return readers[reader.kind](reader)


def load(path: str | os.PathLike[str]) -> Any:
    """Read a flow or an estimator from a file that its `save` wrote.

    No file can run code: there is no pickle inside.

    Parameters
    ----------
    path : path
        The file to read.

    Returns
    -------
    KernelFlow, KernelFlowClassifier, KernelFlowRegressor, GPRegressor, StackedGPRegressor, Emulator,
    Forecaster, TablePipeline or ImagePipeline
        The model as it was saved.

    Raises
    ------
    ModelFileError
        If the file is not a model, is damaged, or comes from a newer kflow.
    OSError
        If it cannot be read.
    """
    with ModelReader(path) as reader:
        try:
            model = _read(reader, _READERS)
            reader.check_all_read()
        except ModelFileError as error:
            if str(reader.path) in str(error):
                raise
            raise ModelFileError(f"{reader.path}: {error}") from None
        return model
