from __future__ import annotations

import numpy as np

from kflow.demos.theory.spread import mean_and_deviation, percents


def test_values_that_are_missing_are_left_out():
    assert mean_and_deviation([1.0, 3.0, np.nan], ".1f") == "2.0 ± 1.0"
    assert mean_and_deviation([np.nan], missing="diverged") == "diverged"


def test_percents():
    assert percents([0.01, 0.03]) == "2.00 ± 1.00 %"
    assert percents([]) == "-"
