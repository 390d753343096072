from __future__ import annotations

import numpy as np
import pytest

from kflow import losses
from kflow.testing.loss_tests import LossProblem


def test_mmd_needs_no_targets_and_does_not_see_the_nugget():
    p = LossProblem.random(14, 1, 2)
    value, G = losses.mmd(p.K, None, p.halves)
    again, other = losses.mmd(p.K + 3 * np.eye(14), None, p.halves)
    assert again == pytest.approx(value, rel=1e-12)
    np.testing.assert_array_equal(other, G)
    np.testing.assert_array_equal(np.diag(G), 0)


def test_mmd_is_zero_on_average():
    p = LossProblem.random(5)
    halves = [[i, j] for i in range(5) for j in range(i)]
    assert losses.mmd(p.K, None, halves)[0] == pytest.approx(0, abs=1e-15)


def test_mmd_of_one_row():
    p = LossProblem.random(6)
    with pytest.raises(ValueError, match="at least 2 and fewer than all 6 rows of K, got 1"):
        losses.mmd(p.K, None, [3])
