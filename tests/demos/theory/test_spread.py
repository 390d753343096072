from __future__ import annotations

import numpy as np

from kflow.demos.theory.spread import percents, spread


def test_values_that_are_missing_are_left_out():
    assert spread([1.0, 3.0, np.nan], ".1f") == "2.0 ± 1.0"
    assert spread([np.nan], missing="diverged") == "diverged"


def test_percents():
    assert percents([0.01, 0.03]) == "2.00 ± 1.00 %"
    assert percents([]) == "-"
