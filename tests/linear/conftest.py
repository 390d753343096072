from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def X(rng):
    return rng.random((120, 3))


@pytest.fixture
def Y(rng, X):
    return np.column_stack([np.sin(3 * X[:, 0]), rng.normal(size=len(X))])
