from __future__ import annotations

import numpy as np
import pytest

from kflow._base.arguments import as_count, as_number, shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.int64(3), "3"),
        (np.float32(0.5), "0.5"),
        (np.str_("a"), "'a'"),
        (np.array(2.0), "2.0"),
        (np.arange(3), "[0, 1, 2]"),
        (np.zeros((5, 4)), "an array of shape (5, 4)"),
        ((np.int64(1), None), "(1, None)"),
        ((np.int64(1),), "(1,)"),
        ([np.str_("a")], "['a']"),
        ("x" * 300, "'" + "x" * 196 + "..."),
    ],
)
def test_values_are_shown_as_one_would_type_them(value, text):
    assert shown(value) == text


def test_messages_show_no_numpy():
    with pytest.raises(TypeError, match=r"got 2\.5$"):
        as_count(np.float64(2.5), "n", 1)
    with pytest.raises(TypeError, match=r"got an array of shape \(9,\)$"):
        as_number(np.zeros(9), "x")
