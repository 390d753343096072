"""The parameters of an estimator: as attributes, and as JSON data in model files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from kflow._base.arguments import float_dtype
from kflow.estimators.auto import is_auto
from kflow.flow.schedules import SCHEDULES, Schedule
from kflow.kernels import Kernel, from_dict

__all__ = ["keep_parameters", "parameters_from_json", "parameters_to_json"]

# These parameters belong to the run or to the machine, not to the model: no file holds them.
_NOT_STORED = (
    "n_threads",
    "device",
    "precision",
    "layers",
    "checkpoint",
    "every",
    "callbacks",
    "progress",
)


def keep_parameters(estimator: Any, given: Mapping[str, Any]) -> None:
    """Set the parameters of an estimator as its attributes, unchanged.

    Parameters
    ----------
    estimator : sklearn.base.BaseEstimator
        The estimator.
    given : mapping of str to object
        The local variables of its ``__init__``. Scikit-learn reads the names and the defaults off
        the signature of that method, which therefore spells them out.
    """
    for name, value in given.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


def parameters_to_json(estimator: Any, without: Collection[str] = ()) -> dict[str, Any]:
    """Return the parameters that belong to the model as JSON data.

    Parameters
    ----------
    estimator : sklearn.base.BaseEstimator
        The estimator.
    without : collection of str
        Parameters that are left out, so that a loaded estimator has their defaults.

    Returns
    -------
    dict
        `parameters_from_json` is the inverse, but for what JSON cannot hold: None stands for
        functions and other objects.

    Raises
    ------
    TypeError
        If the kernel holds Python functions.
    ValueError
        If the kernel is none, so that the file could not be read.
    """
    stored = {
        name: _json_value(name, value)
        for name, value in estimator.get_params(deep=False).items()
        if name not in _NOT_STORED and name not in without
    }
    try:
        parameters_from_json(stored)
    except Exception as error:  # a kernel that was set after fit, and is none
        raise ValueError(
            f"kernel={estimator.kernel!r} cannot be saved, since no kernel can be read from it: set "
            f"the parameter that fit was given ({error})"
        ) from None
    return stored


def _json_value(name: str, value: Any) -> Any:
    if isinstance(value, Kernel):
        return value.to_dict()
    if isinstance(value, BaseEstimator):
        return parameters_to_json(value)
    if name in SCHEDULES:
        return Schedule.to_json(value)
    if name == "dtype":
        return float_dtype(value).name
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_json_value("", item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else None


def parameters_from_json(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that `parameters_to_json` stored, as arguments of the estimator's class.

    Raises
    ------
    TypeError, ValueError
        If the kernel is none, or for parameters that no file holds.
    """
    parameters = dict(stored)
    foreign = sorted(parameters.keys() & set(_NOT_STORED))
    if foreign:
        raise ValueError(f"no file holds the parameter {foreign[0]}")
    for name, value in stored.items():
        if isinstance(value, list):  # JSON has no tuples
            parameters[name] = tuple(value)
    if parameters.get("kernel") is not None and not is_auto(parameters["kernel"]):
        parameters["kernel"] = from_dict(parameters["kernel"])
    return parameters
