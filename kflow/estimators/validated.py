"""Data of estimators, validated by scikit-learn, with errors that say what to do about text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from kflow._base.arguments import shown

__all__ = ["validated"]


def validated(estimator: Any, X: Any, *y: Any, **options: Any) -> Any:
    """Return what scikit-learn's `validate_data` returns.

    Raises
    ------
    ValueError
        As that function does. Where text cannot be converted to numbers, the message names the column
        or the targets, and the remedy.
    """
    try:
        data = validate_data(estimator, X, *y, **options)
        if options.get("y_numeric") and data[1].dtype.kind in "SU":
            raise ValueError("could not convert string")
        return data
    except ValueError as error:
        if "could not convert string" not in str(error):
            raise
        raise ValueError(_remedy(X, *y) or str(error)) from None


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
