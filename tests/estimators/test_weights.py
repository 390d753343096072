from __future__ import annotations

import numpy as np
import pytest

from kflow.estimators.weights import row_weights


def test_none_without_weights():
    assert row_weights(None, 5) is None


def test_weights_are_copied():
    given = np.array([1.0, 0.0, 2.0, 1.0, 1.0])
    weights = row_weights(given, 5)
    np.testing.assert_array_equal(weights, given)
    weights[0] = 5.0
    assert given[0] == 1.0


def test_balanced_classes_have_the_same_sum():
    labels = np.array(["a"] * 6 + ["b"] * 2)
    weights = row_weights(None, 8, "balanced", labels)
    assert weights[:6].sum() == pytest.approx(weights[6:].sum())
    weights = row_weights([1, 1, 1, 0, 0, 0, 1, 1], 8, "balanced", labels)
    assert (weights[3:6] == 0).all()
    np.testing.assert_allclose(weights[:3].sum() * 2, weights[6:].sum() * 2)


def test_weights_of_classes_by_name():
    labels = np.array(["a", "b", "a", "b"])
    weights = row_weights([1, 1, 3, 2], 4, {"a": 2.0}, labels)
    np.testing.assert_array_equal(weights, [2, 1, 6, 2])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 2.0], "sample_weight"),
        ([[1.0, 2.0, 3.0]], "one dimension"),
        ([1.0, -1.0, 1.0], "must not be negative"),
        ([1.0, np.nan, 1.0], "sample_weight"),
        (np.zeros(3), "all weights are zero"),
    ],
)
def test_other_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        row_weights(weights, 3)
