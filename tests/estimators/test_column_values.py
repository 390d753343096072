from __future__ import annotations

import datetime
import decimal

import numpy as np
import pytest

from kflow.estimators.column_values import column_values, holds_dates, looks_like_an_id

pandas = pytest.importorskip("pandas")
NAN = float("nan")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (np.array([1, 2], np.int8), [1.0, 2.0]),
        (np.array([1.5, NAN], np.float32), [1.5, NAN]),
        (np.array([1, None, decimal.Decimal("2.5"), np.float32(NAN)], object), [1, NAN, 2.5, NAN]),
        (np.array([None, None], object), [NAN, NAN]),
        (pandas.Series([1, None], dtype="Int64"), [1.0, NAN]),
    ],
)
def test_numbers(column, expected):
    values = column_values(column, "a")
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (np.array(["a", " b "]), ["a", "b"]),
        (np.array(["a", None, "", " ", NAN], object), ["a", None, None, None, None]),
        (np.array([True, False]), ["True", "False"]),
        (np.array([1, 2.0, "x", True], object), ["1", "2", "x", "True"]),
        (pandas.Series(["a", None], dtype="string"), ["a", None]),
        (pandas.Series([True, None], dtype="boolean"), ["True", None]),
        (pandas.Series([3.0, None, 1.5]).astype("category"), ["3", None, "1.5"]),
    ],
)
def test_text(column, expected):
    values = column_values(column, "a")
    assert values.dtype == object
    assert values.tolist() == expected


@pytest.mark.parametrize(
    "column",
    [
        pandas.Series(pandas.to_datetime(["2024-01-01", None])),
        pandas.Series(pandas.to_datetime(["2024-01-01", None])).dt.tz_localize("UTC"),
        pandas.Series(pandas.to_timedelta([1, 2], "D")),
        np.array([datetime.date(2024, 1, 1), None], object),
        np.array(["2024-01-31", "2024-02-01T12:00:00", None], object),
        np.array(["31.1.2024", "1/2/24 12:30"]),
    ],
)
def test_dates(column):
    assert holds_dates(column_values(column, "a"))


@pytest.mark.parametrize(
    "column", [["1.5", "2.5"], ["a", "2024-01-01"], [None, None], [20240101, 1]]
)
def test_what_holds_no_dates(column):
    assert not holds_dates(column_values(np.array(column, object), "a"))


def test_what_cannot_be():
    with pytest.raises(ValueError, match="column 'a' holds infinity"):
        column_values(np.array([1.0, np.inf]), "a")
    with pytest.raises(ValueError, match="column 'a': Complex data not supported"):
        column_values(np.array([1j]), "a")
    with pytest.raises(TypeError, match="column 'a': argument must be a string or a number, got"):
        column_values(np.array([{}, 1], object), "a")


@pytest.mark.parametrize(
    ("column", "is_id"),
    [
        (range(5), True),
        (range(5, 0, -1), True),
        ([3, 1, 2], False),
        (np.random.default_rng(0).permutation(1000)[:30], True),
        (np.arange(30) / 2, False),
        ([1, 2, 2, 3], False),
        ([1.0, 2.0, NAN], False),
        (["a", "b", "c"], True),
        (["a", "b", "a"], False),
        (["a", "b", None], False),
        ([1, 2], False),
    ],
)
def test_ids(column, is_id):
    assert looks_like_an_id(column_values(np.array(list(column)), "a")) is is_id
