from __future__ import annotations

import pytest

from kflow.cli.columns import column_named, columns_named

COLUMNS = ["Age", "City", "a,b", "species"]


def test_names_and_near_misses():
    assert column_named("City", COLUMNS, "file") == "City"
    for wrong, right in (("age", "Age"), ("speceis", "species"), ("citty", "City")):
        with pytest.raises(ValueError, match=f"no column '{wrong}'; did you mean '{right}'"):
            column_named(wrong, COLUMNS, "file")
    with pytest.raises(ValueError, match="file has no column 'zzz'; its columns are Age, City"):
        column_named("zzz", COLUMNS, "file")


def test_many_columns_are_not_all_shown():
    with pytest.raises(ValueError, match=r"c19, \.\.\.$"):
        column_named("zzz", [f"c{k}" for k in range(30)], "file")


def test_several_names():
    assert columns_named(["Age, City", "species"], COLUMNS, "file") == ["Age", "City", "species"]
    assert columns_named(["a,b"], COLUMNS, "file") == ["a,b"]
    with pytest.raises(ValueError, match="did you mean 'City'"):
        columns_named(["Age,Citi"], COLUMNS, "file")
