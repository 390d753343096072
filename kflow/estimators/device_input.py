"""Arrays of other libraries at the border of the estimators: points on a device, and what comes back.

Points on the device of the flow stay there. Points in this process's memory are read by NumPy, whatever the
library, as scikit-learn does; with its array API dispatch, what comes back is of the library of the points.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from sklearn import get_config
from sklearn.utils import check_consistent_length
from sklearn.utils._array_api import get_namespace
from sklearn.utils.validation import validate_data

from kflow._base.array_types import FloatArray
from kflow.data.arrays import as_matrix
from kflow.engine.device_array import DeviceArray, given_back, is_foreign, to_host
from kflow.engine.interface import Engine
from kflow.estimators.validation import in_memory, validated

__all__ = ["picked_labels", "returned", "validated_fit", "validated_points"]


def validated_points(estimator: Any, X: Any, engine: Engine) -> FloatArray:
    """Return points of a fitted estimator as a NumPy array, or as an array of the engine's device.

    Raises
    ------
    TypeError, ValueError
        As `validated` does, and for arrays on another device.
    """
    points = _on_device(X, engine, estimator.n_features_in_)
    if points is not None:
        return points
    return cast(FloatArray, validated(estimator, X, dtype=[np.float64, np.float32], reset=False))


def validated_fit(
    estimator: Any, X: Any, y: Any, engine: Engine, *, fewest: int, **y_options: Any
) -> tuple[FloatArray, Any]:
    """Return training points, where they are, and targets in host memory.

    Parameters
    ----------
    estimator : sklearn.base.BaseEstimator
        The estimator, which gets its number and names of features.
    X, y : array_like
        Points and targets.
    engine : Engine
        The engine of the flow.
    fewest : int
        How many rows there must be.
    **y_options
        Options of ``validate_data`` that concern y.

    Raises
    ------
    TypeError, ValueError
        As for `validated_points`.
    """
    on_device = engine.adopt(y, "y")
    y = in_memory(y, "y") if on_device is None else to_host(on_device)
    points = _on_device(X, engine, None)
    if points is None:
        return cast(
            "tuple[FloatArray, Any]",
            validated(
                estimator,
                X,
                y,
                dtype=[np.float64, np.float32],
                ensure_min_samples=fewest,
                **y_options,
            ),
        )
    if len(points) < fewest:
        raise ValueError(f"X has {len(points)} sample(s), and a minimum of {fewest} is required")
    targets = validate_data(estimator, "no_validation", y, **y_options)
    check_consistent_length(np.empty(len(points)), targets)
    estimator.n_features_in_ = points.shape[1]
    return points, targets


def returned(values: Any, X: Any) -> Any:
    """Return what was computed of points as a user gets it, in the memory in which X is.

    Parameters
    ----------
    values : ndarray or DeviceArray
        Results.
    X : array_like
        The points as they were given.
    """
    if isinstance(values, DeviceArray):
        return given_back(values)
    dispatches = get_config().get("array_api_dispatch", False)
    if dispatches and is_foreign(X) and values.dtype.kind in "fiub":
        namespace, _ = get_namespace(X)
        return namespace.asarray(values, device=X.device)
    return values


def picked_labels(classes: Any, numbers: Any) -> Any:
    """Return the labels with some numbers, which are on a device; labels that are text are on the host."""
    if isinstance(numbers, DeviceArray) and classes.dtype.kind in "fiub":
        return numbers.picked_from(classes)
    return classes[to_host(numbers)]


def _on_device(X: Any, engine: Engine, n_features: int | None) -> FloatArray | None:
    """Return points on the engine's device after a check; None if they are not there."""
    adopted = engine.adopt(X, "X")
    if adopted is None:
        return None
    dtype = np.float32 if adopted.dtype == np.float32 else np.float64
    return as_matrix(adopted, "X", dtype=dtype, n_columns=n_features, allow_no_rows=False)
