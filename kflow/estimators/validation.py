"""The border of the estimators: what scikit-learn lets through, and kflow cannot take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from kflow._base.arguments import shown
from kflow.data.arrays import refuse_masked
from kflow.engine.device_array import is_foreign, refuse_elsewhere

__all__ = ["in_memory", "seed_of", "validated", "validated_already"]


def validated(estimator: Any, X: Any, *targets: Any, **options: Any) -> Any:
    """Return what scikit-learn's ``validate_data`` returns.

    Parameters
    ----------
    estimator : sklearn.base.BaseEstimator
        The estimator.
    X : array_like
        Points.
    *targets : array_like
        The targets y, if there are any.
    **options
        Those of ``validate_data``.

    Raises
    ------
    TypeError, ValueError
        As ``validate_data`` does; for masked entries, which scikit-learn would read; and for arrays on a
        device. Where text cannot be converted to numbers, the message names the column or the targets, and
        the remedy.

    Notes
    -----
    Arrays of other libraries that are in this process's memory are read as NumPy arrays, also where
    scikit-learn dispatches to these libraries.
    """
    X, y = in_memory(X, "X"), [in_memory(values, "y") for values in targets]
    try:
        data = validate_data(estimator, X, *y, **options)
        if options.get("y_numeric") and data[1].dtype.kind in "SU":
            raise ValueError("could not convert string")
        return data
    except ValueError as error:
        if "could not convert string" not in str(error):
            raise
        raise ValueError(_remedy(X, *y) or str(error)) from None


def in_memory(value: Any, name: str) -> Any:
    """Return an array of another library as one of NumPy, and anything else as it is.

    Raises
    ------
    TypeError, ValueError
        If it is on a device, if derivatives of it are wanted, or if it has masked entries.
    """
    refuse_masked(value, name)
    refuse_elsewhere(value, name)
    return np.asarray(value) if is_foreign(value) else value


def validated_already(estimator: Any, X: Any) -> bool:
    """Return whether `validated` would return X itself for a prediction in float64.

    Parameters
    ----------
    estimator : sklearn.base.BaseEstimator
        The estimator, fitted.
    X : array_like
        Points.

    Notes
    -----
    Scikit-learn's own checks take a hundred microseconds, more than some predictions.
    """
    return (
        type(X) is np.ndarray
        and X.dtype == np.float64
        and X.ndim == 2
        and len(X) > 0
        and X.shape[1] == estimator.n_features_in_
        and X.flags.c_contiguous
        and not hasattr(estimator, "feature_names_in_")
        and bool(np.isfinite(X).all())
    )


def seed_of(random_state: Any) -> int:
    """Return a seed that an estimator's `random_state` stands for.

    Parameters
    ----------
    random_state : None, int, RandomState, Generator or SeedSequence
        A generator is drawn from.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if isinstance(random_state, np.random.SeedSequence):
        return int(random_state.generate_state(1)[0]) >> 1
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    return int(check_random_state(random_state).randint(2**31 - 1))


def _remedy(X: Any, y: Any = None) -> str:
    for name, column in _columns(X):
        text = _first_text(column)
        if text is not None:
            return (
                f"X: column {name!r} holds text or categories, such as {text}: fit "
                "kflow.make_table_pipeline(estimator) instead, which encodes the columns of a table, "
                "or encode X by kflow.TableEncoder"
            )
    text = None if y is None else _first_text(np.ravel(np.asarray(y, object)))
    if text is None:
        return ""
    return (
        f"y holds text, such as {text}, where a regression needs numbers: use "
        "kflow.KernelFlowClassifier for classes, or convert y to numbers"
    )


def _columns(X: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the names and the values of the columns of a table or an array."""
    if hasattr(X, "columns") and hasattr(X, "iloc"):
        yield from ((name, X.iloc[:, number]) for number, name in enumerate(X.columns))
        return
    array = np.asarray(X, object)
    if array.ndim == 2:
        yield from enumerate(array.T)


def _first_text(values: Any) -> str | None:
    """Return the first of some values that is no number, as a message shows it; None if all are."""
    for value in np.asarray(values, object):
        try:
            float(0.0 if value is None else value)
        except (TypeError, ValueError):
            return shown(value)
    return None
