"""Reading saved models back."""

from __future__ import annotations

import os
from typing import Any

from kflow.errors import ModelFileError
from kflow.flow.kernel_flow import KernelFlow
from kflow.storage.model_file import ModelReader

__all__ = ["load"]


def load(path: str | os.PathLike[str]) -> Any:
    """Read a flow or an estimator from a file that its `save` wrote.

    No file can run code: there is no pickle inside.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    KernelFlow, KernelFlowClassifier, KernelFlowRegressor or GPRegressor
        As it was saved.

    Raises
    ------
    ModelFileError
        If the file is not a model, is damaged, or comes from a newer kflow.
    OSError
        If it cannot be read.
    """
    with ModelReader(path) as reader:
        if reader.kind == "KernelFlow":
            return KernelFlow.from_parts(reader, reader.settings)
        if reader.kind in ("KernelFlowClassifier", "KernelFlowRegressor"):
            from kflow.estimators import flow_estimators as estimators

            return getattr(estimators, reader.kind)._import(reader)
        if reader.kind == "GPRegressor":
            from kflow.estimators.gp_regressor import GPRegressor

            return GPRegressor._import(reader)
        raise ModelFileError(f"{path} holds a {reader.kind!r}, which this kflow does not know")
