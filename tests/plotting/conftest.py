from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow.presets import FIXED


@pytest.fixture(scope="module")
def data():
    """Three clouds of labelled points in four dimensions."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    return rng.normal(size=(60, 4)) + 3 * np.eye(3, 4)[y], np.array(["a", "b", "c"])[y]


@pytest.fixture(scope="module")
def classifier(data):
    """A classifier of the clouds."""
    return kflow.KernelFlowClassifier(
        **{**FIXED, "n_layers": 10, "batch_size": 30, "random_state": 0}
    ).fit(*data)
