from __future__ import annotations

import json
import pickle
from collections import Counter

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.estimator_checks import parametrize_with_checks

from kflow import TableEncoder
from kflow.errors import ModelFileError

pandas = pytest.importorskip("pandas")


@pytest.fixture
def table(rng):
    """A table of 200 rows with columns of all kinds, and missing cells."""
    n = 200
    frame = pandas.DataFrame(
        {
            "age": rng.normal(40, 10, n).round(1),
            "rooms": rng.integers(1, 6, n),
            "city": rng.choice(["Oslo", "Bergen", "Rome"], n),
            "is_new": rng.random(n) > 0.5,
            "grade": pandas.Categorical(rng.integers(1, 4, n)),
            "brand": rng.choice(list("abcdefgh"), n, p=[0.3, 0.3, 0.2, 0.16, *[0.01] * 4]),
            "unit": "kg",
        }
    )
    frame.loc[3:9, "age"] = np.nan
    frame.loc[[5, 7], "city"] = None
    return frame


@parametrize_with_checks([TableEncoder()])
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def reference(train, new, min_frequency, max_categories):
    """The features by the rules, cell by cell."""
    columns = []
    for name in train.columns:
        old, cells = list(train[name]), list(new[name])
        is_missing = [cell is None or cell != cell for cell in old]
        present = [cell for cell, missing in zip(old, is_missing, strict=True) if not missing]
        if len(set(present)) == 1 and not any(is_missing):
            continue
        now_missing = np.array([cell is None or cell != cell for cell in cells])
        if train[name].dtype.kind in "fi":
            median = sorted(present)[len(present) // 2]
            if len(present) % 2 == 0:
                median = (median + sorted(present)[len(present) // 2 - 1]) / 2
            columns.append([median if m else c for c, m in zip(cells, now_missing, strict=True)])
        else:
            counts = Counter(map(str, present)).most_common()
            kept = [text for text, n in counts[:max_categories] if n >= min_frequency]
            texts = [None if m else str(c) for c, m in zip(cells, now_missing, strict=True)]
            columns += [[text == category for text in texts] for category in sorted(kept)]
            if len(kept) < len(counts):
                columns.append([text is not None and text not in kept for text in texts])
        if any(is_missing):
            columns.append(now_missing)
    return np.array(columns, float).T


@pytest.mark.parametrize("options", [{}, {"min_frequency": 1}, {"max_categories": 2}])
def test_features_by_the_rules(options, table):
    encoder = TableEncoder(**options).fit(table[:120])
    settings = {"min_frequency": 3, "max_categories": 30, **options}
    for part in (table[:120], table[120:]):
        np.testing.assert_array_equal(
            encoder.transform(part), reference(table[:120], part, **settings)
        )


def test_features_are_those_of_scikit_learn(table):
    table = table.drop(columns="unit").astype({"is_new": str, "grade": str})
    table["city"] = table["city"].fillna("Oslo")  # it gives missing cells another place
    numbers, others = ["age", "rooms"], ["city", "is_new", "grade", "brand"]
    hot = OneHotEncoder(min_frequency=5, handle_unknown="infrequent_if_exist", sparse_output=False)
    theirs = ColumnTransformer(
        [("n", SimpleImputer(strategy="median"), numbers), ("c", hot, others)]
    ).fit(table[:150])
    ours = TableEncoder(min_frequency=5).fit(table[:150])
    keep = ours.get_feature_names_out() != "age is missing"
    np.testing.assert_array_equal(ours.transform(table)[:, keep], theirs.transform(table))


def test_names_and_report(table):
    encoder = TableEncoder().fit(table)
    names = encoder.get_feature_names_out().tolist()
    assert names[:6] == ["age", "age is missing", "rooms", "city=Bergen", "city=Oslo", "city=Rome"]
    assert {"city is missing", "is_new=True", "grade=2", "brand=a"} < set(names)
    assert len(names) == encoder.n_features_out_ == encoder.transform(table).shape[1]
    lines = encoder.report_.splitlines()
    assert len(lines) == encoder.n_features_in_ == 7
    assert lines[0].startswith("age     number; 7 cells missing: the median ")
    assert "2 cells missing, a category of their own" in lines[2]
    assert lines[6] == "unit    dropped: all cells are 'kg'"
    assert encoder.category_names_ == ("city", "is_new", "grade", "brand")
    frame = clone(encoder).set_output(transform="pandas").fit_transform(table)
    assert list(frame.columns) == names


def test_cells_that_training_has_not_seen(table):
    encoder = TableEncoder(min_frequency=1).fit(table)
    new = table[:3].copy()
    new["city"], new["rooms"], new["brand"] = "Paris", np.nan, "z"
    features = pandas.DataFrame(encoder.transform(new), columns=encoder.get_feature_names_out())
    assert (features.filter(like="city") == 0).all(axis=None)
    assert (features["rooms"] == table["rooms"].median()).all()
    assert [text.rpartition(":")[0] for text in encoder.surprises(new)] == [
        "Column 'rooms': 3 cells missing, where none was in training",
        "Column 'city': 3 cells with categories that training had not (Paris)",
        "Column 'brand': 3 cells with categories that training had not (z)",
    ]
    assert encoder.surprises(table) == ()
    rare = TableEncoder(max_categories=2).fit(table)
    assert (
        pandas.DataFrame(rare.transform(new), columns=rare.get_feature_names_out())["city is rare"]
        == 1
    ).all()


def test_a_category_is_the_same_in_any_type(table):
    encoder = TableEncoder().fit(table[["grade", "is_new", "age"]])
    expected = encoder.transform(table[["grade", "is_new", "age"]])
    as_text = table[["grade", "is_new", "age"]].astype({"grade": str, "is_new": str})
    as_float = table[["grade", "is_new", "age"]].astype({"grade": float})
    np.testing.assert_array_equal(encoder.transform(as_text), expected)
    np.testing.assert_array_equal(encoder.transform(as_float), expected)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([f"2024-01-{day:02}" for day in range(1, 21)], "'bad' holds dates such as 2024-01-01"),
        ([f"n{k}" for k in range(20)], "'bad' holds 20 different texts in 20 rows, such as 'n0'"),
        ([*map(str, range(19)), "many"], "1 cell of 20 cannot be read as one, such as 'many'"),
        ([f"{k}.5" for k in range(20)], "'bad' holds numbers as text, such as '0.5'"),
    ],
)
def test_columns_that_are_refused(cells, message, table):
    frame = table[:20].assign(bad=cells, worse=pandas.Timestamp("2024-01-01"))
    with pytest.raises(ValueError, match="these columns cannot be used") as caught:
        TableEncoder().fit(frame)
    assert message in str(caught.value)
    assert "X.drop(columns=['bad', 'worse']) drops them" in str(caught.value)
    assert "--drop bad,worse does" in str(caught.value)


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (["made"], "drops it; on the command line --drop made does"),
        (["a,b"], "--drop a,b does"),
        (["a,b", "made"], "--drop a,b --drop made does"),
        (["it's", "a b"], """--drop 'it'"'"'s,a b' does"""),
    ],
)
def test_the_command_that_drops_columns_can_be_pasted(names, options, table):
    frame = table[:20].assign(**dict.fromkeys(names, pandas.Timestamp("2024-01-01")))
    with pytest.raises(ValueError, match="cannot be used") as caught:
        TableEncoder().fit(frame)
    assert options in str(caught.value)


def test_missing_categories_are_told_if_training_had_none():
    frame = pandas.DataFrame({"side": ["left", "right"] * 5, "rare": [*"aaabbb", *"wxyz"]})
    encoder = TableEncoder().fit(frame)
    new = pandas.DataFrame({"side": [None, "up", None], "rare": [None, "new", "a"]})
    assert encoder.surprises(new) == (
        "Column 'side': 1 cell with categories that training had not (up); 2 cells missing, where "
        "none was in training: all of its features are 0 there",
        "Column 'rare': 1 cell missing, where none was in training: all of its features are 0 there",
    )
    assert TableEncoder().fit(pandas.concat([frame, new[::2]])).surprises(new[::2]) == ()


def test_a_fit_that_fails_leaves_the_earlier_one(table):
    encoder = TableEncoder().fit(table)
    with pytest.raises(ValueError, match="no column is left"):
        encoder.fit(table[["unit"]])
    assert encoder.transform(table).shape == (200, encoder.n_features_out_)


def test_columns_from_which_nothing_can_be_learned():
    frame = pandas.DataFrame(
        {"x": range(6), "none": None, "one": [1] * 6, "rare": list("aabbcc"), "half": [1, None] * 3}
    )
    encoder = TableEncoder().fit(frame)
    report = dict(line.split(None, 1) for line in encoder.report_.splitlines())
    assert report["none"] == "dropped: all cells are missing"
    assert report["one"] == "dropped: all cells are 1"
    assert report["rare"] == "dropped: each of its 3 categories is rare"
    assert encoder.get_feature_names_out().tolist() == ["x", "half", "half is missing"]


def test_wrong_arguments(table):
    for options in ({"min_frequency": 0}, {"max_categories": 0}, {"min_frequency": 0.5}):
        with pytest.raises((TypeError, ValueError), match=next(iter(options))):
            TableEncoder(**options).fit(table)
    encoder = TableEncoder().fit(table)
    with pytest.raises(ValueError, match="feature names should match"):
        encoder.transform(table[table.columns[::-1]])
    with pytest.raises(
        ValueError, match="'age' held numbers in training, and now text such as 'x'"
    ):
        encoder.transform(table.assign(age="x"))
    twice = table[["age", "age"]].set_axis([0, 0], axis=1)
    with pytest.raises(ValueError, match=r"more than one column|unique column"):
        encoder.fit(twice)
    with pytest.raises(ValueError, match="at least 2 are needed"):
        encoder.fit(table[:1])


def test_masked_cells_are_missing_ones(rng):
    X = rng.normal(size=(20, 2))
    hidden = X > 1.0
    encoder = TableEncoder().fit(np.ma.masked_array(X, hidden))
    missing = np.where(hidden, np.nan, X)
    expected = TableEncoder().fit(missing)
    assert encoder.report_ == expected.report_
    np.testing.assert_array_equal(
        encoder.transform(np.ma.masked_array(X, hidden)), expected.transform(missing)
    )


def test_parameters_that_are_wrong_after_the_fit_are_named(table):
    encoder = TableEncoder().fit(table).set_params(min_frequency="x")
    with pytest.raises(TypeError, match="min_frequency must be a whole number"):
        encoder.to_settings()


def test_settings_are_json_and_bring_the_encoder_back(table):
    for X in (table, table.to_numpy(dtype=object)):
        encoder = TableEncoder(max_categories=2).fit(X)
        settings = json.loads(json.dumps(encoder.to_settings(), allow_nan=False))
        for again in (TableEncoder.from_settings(settings), pickle.loads(pickle.dumps(encoder))):
            np.testing.assert_array_equal(again.transform(X), encoder.transform(X))
            assert again.report_ == encoder.report_
            assert again.get_params() == encoder.get_params()
            assert hasattr(again, "feature_names_in_") == hasattr(X, "columns")


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": None},
        {"parameters": {"unknown": 1}},
        {"parameters": {"min_frequency": -1}},
        {"has_names": {}, "columns": None},
        {"columns": []},
        {"columns": [3]},
        {"columns": [{"kind": "pickle", "name": "a"}]},
        {"columns": [{"kind": "number", "name": 3, "median": 1.0, "n_missing": 0}]},
        {"columns": [{"kind": "number", "name": "a", "median": float("nan"), "n_missing": 0}]},
        {"columns": [{"kind": "number", "name": "a", "median": "1", "n_missing": 0}]},
        {"columns": [{"kind": "number", "name": "a", "median": 1.0, "n_missing": -1}]},
        {"columns": [{"kind": "number", "name": "a", "median": 1.0, "n_missing": 0}] * 2},
        {"columns": [{"kind": "number", "name": "a", "median": 1.0, "n_missing": 0, "more": 1}]},
        {"columns": [{"kind": "dropped", "name": "a", "reason": "old"}]},
        {"columns": [{"kind": "dropped", "name": "a", "reason": None}]},
        *(
            {"columns": [{"kind": "category", "name": "a", "n_missing": 0, "n_rare": 0, **more}]}
            for more in ({}, {"categories": [1]}, {"categories": ["b", "b"]}, {"categories": 3})
        ),
    ],
    ids=str,
)
def test_damaged_settings(change, table):
    settings = TableEncoder().fit(table).to_settings()
    with pytest.raises(ModelFileError, match="table encoder"):
        TableEncoder.from_settings({**settings, **change})
