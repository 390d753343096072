"""A fitted classifier, and the points on which it was fitted and from which it interpolates."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow.analysis._sample import as_labels
from kflow.flow.estimator_flow import estimator_flow
from kflow.operations import one_hot

__all__ = ["as_classifier", "interpolation_points", "training_data"]

# Number of interpolation points that are compared with those of the classifier.
_N_COMPARED = 16


def as_classifier(classifier: Any) -> Any:
    """Return a classifier, which must be fitted.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If it has not been fitted.
    TypeError
        If it is something else.
    """
    from sklearn.utils.validation import check_is_fitted

    from kflow.estimators.classifier import KernelFlowClassifier

    if not isinstance(classifier, KernelFlowClassifier):
        raise TypeError(
            f"classifier must be a KernelFlowClassifier, got {type(classifier).__name__}"
        )
    check_is_fitted(classifier)
    return classifier


def interpolation_points(
    classifier: Any, X: npt.ArrayLike, y: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return a classifier's interpolation points before the flow, scaled, and their one-hot values.

    Parameters
    ----------
    classifier : KernelFlowClassifier
        The fitted classifier.
    X, y : array_like, shape (N, d) and (N,)
        The data on which it was fitted.

    Returns
    -------
    points, values : ndarray, shape (m, d) and (m, n_classes)
        The scaled points, and one-hot rows.

    Raises
    ------
    sklearn.exceptions.NotFittedError, TypeError, ValueError
        As for `unflowed`.
    """
    points, codes = training_data(classifier, X, y)
    rows = classifier.interpolation_rows_
    return points[rows], one_hot(codes)[rows]


def training_data(
    classifier: Any, X: npt.ArrayLike, y: npt.ArrayLike
) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """Return the scaled points, and the position of each label among a classifier's classes.

    Raises
    ------
    sklearn.exceptions.NotFittedError, TypeError, ValueError
        As for `unflowed`: among others if the classifier was fitted on other data.
    """
    source = estimator_flow(as_classifier(classifier))
    points = source.scaled(X).astype(source.flow.dtype, copy=False)
    classes, codes = as_labels(y, len(points))
    other = "the classifier was fitted on other data: pass the X and y that it was fitted on"
    if not np.array_equal(classes, classifier.classes_):
        raise ValueError(f"y: {other}")
    if not hasattr(classifier, "interpolation_rows_"):
        raise ValueError(
            "the classifier comes from a file of an early version, which does not say on which rows "
            "it interpolates: fit it again"
        )
    rows = classifier.interpolation_rows_
    if len(points) < len(source.flow.targets_) or rows.max() >= len(points):
        raise ValueError(f"X: {other}")
    # A replay of a few points shows whether they are the same. Not all of them need to agree, as a
    # flow may magnify the rounding errors of some.
    moved = source.flow.transform(points[rows[:_N_COMPARED]], reduced=True)
    centres = classifier.interpolant_.centres[:_N_COMPARED]
    size = max(float(np.abs(centres).max()), 1.0)
    if np.median(np.abs(moved - centres).max(axis=1)) > 1e-2 * size:
        raise ValueError(f"X: {other}")
    return points, codes
