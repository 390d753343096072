"""Weights of training rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.class_weight import compute_sample_weight

from kflow._base.array_types import Doubles
from kflow.data.arrays import as_matrix

__all__ = ["row_weights"]

# A flow's batch has at least so many points.
_FEWEST = 4


def row_weights(
    sample_weight: npt.ArrayLike | None,
    n: int,
    class_weight: Any = None,
    labels: npt.NDArray[Any] | None = None,
    *,
    fewest: int = _FEWEST,
) -> Doubles | None:
    """Return the weights of rows, or None if all count alike.

    Parameters
    ----------
    sample_weight : array_like, shape (n,), or None
        Weights of the rows, not negative.
    n : int
        Number of rows.
    class_weight : "balanced", mapping or None
        Weights of classes, as in scikit-learn, with which those of the rows are multiplied.
    labels : ndarray, shape (n,), optional
        The classes of the rows.
    fewest : int
        How many weights must be positive.

    Returns
    -------
    ndarray, shape (n,), or None

    Raises
    ------
    TypeError, ValueError
        If the weights are no finite numbers, one for each row, not negative and not all 0.
    """
    if sample_weight is None and class_weight is None:
        return None
    weights = np.ones(n)
    if sample_weight is not None:
        given = np.asarray(sample_weight)
        if given.ndim != 1:
            raise ValueError(f"sample_weight must have one dimension, got shape {given.shape}")
        column = as_matrix(given, "sample_weight", dtype=np.float64, n_rows=n, column_if_1d=True)
        weights = np.array(column[:, 0], np.float64)
    if (weights < 0.0).any():
        raise ValueError("sample_weight must not be negative")
    if not (weights > 0.0).any():
        raise ValueError("sample_weight: all weights are zero, and at least one row must count")
    if np.count_nonzero(weights) < fewest:
        raise ValueError(
            f"sample_weight is positive for {np.count_nonzero(weights)} rows: at least {fewest} are "
            "needed"
        )
    if class_weight is not None:
        # The rows of weight 0 do not count for the balance.
        counted = weights > 0.0
        assert labels is not None
        weights[counted] *= compute_sample_weight(class_weight, labels[counted])
        if not (np.isfinite(weights).all() and (weights[counted] > 0.0).all()):
            raise ValueError(
                f"class_weight must hold positive finite numbers, got {class_weight!r}"
            )
    return weights
