from __future__ import annotations

import numpy as np
import pytest

from kflow import KernelFlow
from kflow._base.warn import warn_user
from kflow.errors import FlowWarning


def test_a_warning_points_at_the_callers_line():
    with pytest.warns(FlowWarning) as caught:
        warn_user("look", FlowWarning)
    assert caught[0].filename == __file__


def test_a_warning_from_deep_inside_does_too():
    X = np.random.default_rng(0).normal(size=(40, 2))
    with pytest.warns(FlowWarning) as caught:
        KernelFlow(n_layers=0, batch_size=8).fit(X, np.arange(40) % 4)
    assert caught[0].filename == __file__
