from __future__ import annotations

import numpy as np
import pytest

from kflow.data.targets import as_targets, held_out_rows


@pytest.mark.parametrize(
    ("values", "task", "reason"),
    [
        (np.array(["a", "b"]), "classification", "text"),
        (np.array([True, False]), "classification", "true or false"),
        (np.arange(64) % 3, "classification", "only 3 different"),
        (np.arange(64), "regression", "64 different whole numbers"),
        (np.array(["0.5", "1"]), "regression", "digits after the point"),
    ],
)
def test_the_reason_is_told(values, task, reason):
    targets = as_targets(values, None, "file")
    assert targets.task == task
    assert reason in targets.reason
    if values.dtype.kind != "U" or reason != "text":
        assert as_targets(values, "regression", "file").reason == "as asked for"


def test_held_out_rows_are_a_quarter_of_each_class():
    y = np.repeat(["a", "b"], [40, 10])
    held = held_out_rows(y, "classification", "file")
    assert [int(held[y == label].sum()) for label in "ab"] == [10, 2]
    np.testing.assert_array_equal(held, held_out_rows(y, "classification", "file"))
    with pytest.raises(ValueError, match=r"file: too few rows \(3\)"):
        held_out_rows(y[:3], "classification", "file")
