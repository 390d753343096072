from __future__ import annotations

import numpy as np
import pytest

from kflow import (
    KernelFlowClassifier,
    KernelFlowRegressor,
)
from kflow.presets import FIXED

SETTINGS = {**FIXED, "n_layers": 5, "batch_size": 20, "random_state": 0}


@pytest.fixture
def X(rng):
    """Four features of different size and mean; rows 0 to 39 of one class, the others of two."""
    X = rng.normal(size=(80, 4))
    X[40:60] += [3, 0, 0, 0]
    X[60:] += [0, 3, 0, 0]
    return X * [1, 2, 5, 10] + [1, 0, 20, 0]


@pytest.fixture
def labels():
    return np.repeat(["plain", "first", "second"], [40, 20, 20])


@pytest.fixture(params=["classifier", "regressor"])
def make(request):
    """Return an estimator of either kind, with few layers."""
    kind = KernelFlowClassifier if request.param == "classifier" else KernelFlowRegressor
    return lambda **options: kind(**{**SETTINGS, **options})


@pytest.fixture
def y(make, X, labels):
    """Return what either kind can learn."""
    return labels if isinstance(make(), KernelFlowClassifier) else X[:, 0] + X[:, 1] ** 2
