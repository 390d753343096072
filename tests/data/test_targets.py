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


BIG = [2**53, 2**53 + 1, 2**53 + 2]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64", "float32", "float64"])
def test_labels_keep_their_dtype(dtype):
    labels = (np.arange(64) % 3).astype(dtype)
    values = as_targets(labels, None, "file").values
    assert values.dtype == labels.dtype
    np.testing.assert_array_equal(values, labels)
    assert as_targets(labels, "regression", "file").values.dtype == np.float64


@pytest.mark.parametrize("labels", [BIG, [2**63, 2**64 - 1], [-(2**63), 5], [3, -1]])
def test_whole_numbers_lose_no_digit(labels):
    labels = np.repeat(labels, 16)
    for values in (labels, labels.astype(str)):
        found = as_targets(values, None, "file").values
        assert found.dtype.kind in "iu"
        assert found.tolist() == labels.tolist()


def test_numbers_that_no_integer_holds_stay_what_they_are():
    for numbers in ([1e30, 2e30], [2.0**60, 0.5]):
        values = np.repeat(numbers, 16)
        for given in (values, values.astype(str)):
            found = as_targets(given, "classification", "file").values
            assert found.dtype == np.float64
            np.testing.assert_array_equal(found, values)
    assert as_targets(np.array(["1.0", "2"] * 8), None, "file").values.dtype == np.int64
    huge = as_targets(np.array([str(2**70), "1"] * 8), "classification", "file").values
    np.testing.assert_array_equal(np.unique(huge), [1.0, 2.0**70])


def test_one_long_text_does_not_make_all_others_long():
    texts = np.array(["a", "b"] * 50 + ["c" * 1000], dtype=object)
    np.testing.assert_array_equal(as_targets(texts, None, "file").values, texts)
    texts[-1] += "c"
    with pytest.raises(ValueError, match="file: a target has 1001 characters"):
        as_targets(texts, None, "file")
