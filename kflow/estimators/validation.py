"""The border of the estimators: what scikit-learn lets through, and kflow cannot take."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from kflow.data.arrays import refuse_masked

__all__ = ["seed_of", "validated"]


def validated(estimator: Any, X: Any, *y: Any, **options: Any) -> Any:
    """Return what scikit-learn's ``validate_data`` returns.

    Parameters
    ----------
    estimator : sklearn.base.BaseEstimator
        The estimator.
    X : array_like
        Points.
    *y : array_like
        The targets, if there are any.
    **options
        Those of ``validate_data``.

    Raises
    ------
    TypeError, ValueError
        As ``validate_data`` does; and for masked entries, which scikit-learn would read.
    """
    for array, name in zip((X, *y), ("X", "y"), strict=False):
        refuse_masked(array, name)
    return validate_data(estimator, X, *y, **options)


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
