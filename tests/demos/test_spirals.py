from __future__ import annotations

import numpy as np
import pytest

from kflow.demos.spirals import spirals


def test_spirals():
    X, y = spirals(10)
    assert X.shape == (10, 2)
    assert y.tolist() == [1.0, -1.0] * 5
    assert np.linalg.norm(X, axis=1).max() == pytest.approx(1.0)
