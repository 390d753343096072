"""`kflow fit` and `kflow predict` of a table as people have them."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np
import pytest

import kflow

HEADER = ["customer", "age", "city", "income", "country", "buys"]


@pytest.fixture
def people(rng):
    """Rows of text, numbers and empty cells, and what the people buy."""
    rows = []
    for number in range(160):
        age, city = int(rng.integers(18, 80)), str(rng.choice(["Oslo", "Bergen", "Rome"]))
        income = f"{rng.normal(40, 12):.1f}".replace(".", ",")
        buys = "yes" if (age > 45) != (city == "Rome") else "no"
        empty_age, empty_city = rng.random(2) < 0.08
        cells = [f"C{number:03}", "" if empty_age else age, "" if empty_city else city, income]
        rows.append([*cells, "EU", buys])
    return rows


@pytest.fixture
def write(tmp_path):
    def write(name, rows, header=HEADER, delimiter=";"):
        with open(tmp_path / name, "w", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerows([header, *rows] if header else rows)
        return tmp_path / name

    return write


@pytest.mark.slow
def test_as_an_ordinary_user_would_do_it(run, people, write, tmp_path):
    table = write("people.csv", people[:140])
    new = write("new.csv", [row[:-1] for row in people[140:]], HEADER[:-1])
    out = tmp_path / "out"
    options = ("--n-layers", 30, "--n-draws", 2)
    result = run("fit", "--data", table, "--id", "customer", *options, "--output", out)
    for line in (
        "people.csv: 140 rows of 6 columns",
        "  Cells are separated by semicolon (--separator)",
        "  The decimal mark is a comma (--decimal)",
        "Target: 'buys', the last column (--target chooses another). Classification, because",
        "Without --id 'customer': 4 columns become 7 features",
        "  age      number; ",
        "  city     3 categories, a column for each: Bergen, Oslo, Rome; ",
        "  country  dropped: all cells are 'EU'",
    ):
        assert f"\n{line}" in f"\n{result.stderr}"
    assert "the most frequent class" in result.stdout
    assert json.loads((out / "results.json").read_text())["model_error"] < 0.25

    result = run("predict", out / "model.kflow", new)
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert list(rows[0]) == ["customer", "prediction", "probability_no", "probability_yes"]
    assert [row["customer"] for row in rows] == [row[0] for row in people[140:]]
    right = [row["prediction"] == cells[-1] for row, cells in zip(rows, people[140:], strict=True)]
    assert np.mean(right) > 0.7
    for row in rows:
        shares = [float(row["probability_no"]), float(row["probability_yes"])]
        assert sum(shares) == pytest.approx(1.0, abs=1e-5)
        assert row["prediction"] == ("yes" if shares[1] > shares[0] else "no")

    facts = json.loads(run("info", out / "model.kflow", "--json").stdout)
    assert facts["id_column"] == "customer"
    assert facts["columns"]["income"] == "number"
    assert facts["n_features"] == 7


@pytest.fixture
def model(run, people, write, small, tmp_path):
    """A model of the table."""
    table = write("people.csv", people)
    run("fit", "--data", table, "--id", "customer", *small, "--output", tmp_path / "out")
    return tmp_path / "out" / "model.kflow"


@pytest.mark.slow
def test_predictions_of_other_files(run, model, people, write, tmp_path):
    expected = run("predict", model, write("same.csv", people)).stdout
    # Other columns and another order, separator and decimal mark, and no id.
    order = [5, 3, 4, 2, 1]
    rows = [[row[k].replace(",", ".") if k == 3 else row[k] for k in order] for row in people]
    path = write("other.csv", rows, [HEADER[k] for k in order], ",")
    result = run("predict", model, path)
    assert "has no column 'customer': the predictions have the numbers of the rows" in result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "row,prediction,probability_no,probability_yes"
    assert [line.split(",")[0] for line in lines[1:]] == [str(n) for n in range(1, 161)]
    cut = [line.split(",", 1)[1] for line in lines]
    assert cut == [line.split(",", 1)[1] for line in expected.splitlines()]
    result = run("predict", model, path, "--id", "city", "--output", tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text().startswith("city,prediction,")
    run("predict", model, path, "--output", tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as arrays:
        assert arrays["y"].tolist() == [line.split(",")[0] for line in cut[1:]]
        assert arrays["classes"].tolist() == ["no", "yes"]
        assert arrays["probabilities"].shape == (160, 2)


@pytest.mark.slow
def test_what_is_unusual_about_other_files(run, model, people, write):
    rows = [list(row) for row in people[:5]]
    rows[0][2] = "Paris"
    result = run("predict", model, write("paris.csv", rows))
    assert "Column 'city': 1 cell with categories that training had not (Paris)" in result.stderr
    rows[1][1] = "old"
    result = run("predict", model, write("old.csv", rows), code=1)
    assert "'age' held numbers in training, and now text such as 'old'" in result.stderr
    result = run("predict", model, write("lower.csv", rows, [n.upper() for n in HEADER]), code=1)
    assert "has no column 'age'; did you mean 'AGE'?" in result.stderr


@pytest.mark.slow
def test_the_data_of_a_resumed_run_are_encoded_alike(
    run, people, write, longer, failing_in_layer, tmp_path
):
    new = ("--data", write("people.csv", people), "--drop", "customer,country", *longer)
    run("fit", *new, "--output", tmp_path / "whole")
    steps = failing_in_layer(9, KeyboardInterrupt())
    run("fit", *new, "--output", tmp_path / "out", steps=steps, code=130)
    result = run("fit", "--resume", "--drop", "age", "--output", tmp_path / "out", code=1)
    assert "--drop contradicts the run" in result.stderr
    run("fit", "--resume", "--output", tmp_path / "out")
    outputs = [
        run("predict", tmp_path / name / "model.kflow", new[1]).stdout for name in ("whole", "out")
    ]
    assert outputs[0] == outputs[1]


@pytest.mark.slow
def test_a_table_without_names(run, small, rng, write, tmp_path):
    X = rng.normal(size=(60, 2))
    rows = [[*row, "in" if row[0] > 0 else "out"] for row in X.round(3).tolist()]
    path = write("plain.csv", rows, None, ",")
    result = run("fit", "--data", path, *small, "--output", tmp_path / "out")
    assert "plain.csv: 60 rows of 3 columns" in result.stderr
    assert "The first line holds values" in result.stderr
    assert len(kflow.load(tmp_path / "out" / "model.kflow").feature_names_in_) == 2
    new = write("new.csv", [row[:2] for row in rows[:4]], None, ",")
    result = run("predict", tmp_path / "out" / "model.kflow", new)
    assert len(result.stdout.splitlines()) == 5


@pytest.mark.slow
def test_an_earlier_model_is_announced_before_it_is_replaced(run, model, people, small, write):
    arguments = ("--data", write("people.csv", people), "--id", "customer", *small)
    result = run("fit", *arguments, "--output", model.parent, "--force")
    assert "model.kflow holds an earlier model, which this run will replace" in result.stderr
    assert result.stderr.index("earlier model") < result.stderr.index("The model is in")


def test_a_model_in_a_named_folder_is_not_replaced(run, small, tmp_path):
    (tmp_path / "model.kflow").write_bytes(b"took long")
    result = run("fit", "--data", "missing.csv", *small, "--output", tmp_path, code=2)
    assert "model.kflow holds an earlier model: pass --force to replace it" in result.stderr
    assert (tmp_path / "model.kflow").read_bytes() == b"took long"
    result = run("fit", "--data", "missing.csv", *small, "--output", tmp_path, "--force", code=1)
    assert "earlier model" not in result.stderr


def test_columns_that_look_like_an_id(run, small, people, write):
    rows = [[number, *row[1:]] for number, row in enumerate(people)]
    result = run("fit", "--data", write("people.csv", rows), *small, "--no-save")
    assert "'customer' looks like an id, as its whole numbers are all different" in result.stderr
    assert "pass --id customer or --drop customer" in result.stderr


def test_texts_that_look_like_an_id(run, small, write):
    rows = [[f"text {number}", number % 3, number % 2] for number in range(8)]
    path = write("few.csv", rows, ["a name", "x", "y"], ",")
    result = run("fit", "--data", path, *small, "--no-save")
    assert "'a name' looks like an id, as its texts are all different" in result.stderr
    assert "pass --id 'a name' or --drop 'a name'" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "different texts in"),
        (("--target", "bys"), "has no column 'bys'; did you mean 'buys'?"),
        (("--id", "costumer"), "did you mean 'customer'?"),
        (("--drop", "City"), "did you mean 'city'?"),
        (("--drop", "buys", "--target", "buys"), "is also one of --id and --drop"),
        (("--drop", ",".join(HEADER)), "has no column left to predict"),
        (("--drop", ",".join(HEADER[:-1])), "has no column beside the target 'buys'"),
        (("--target", "customer"), "has 160 classes in 160 rows, too many"),
        (("--target", "country"), "is the same in all rows"),
        (("--target", "city"), "the target 'city' is missing in"),
        (("--task", "regression"), "regression needs numbers"),
        (("--separator", "ab"), "separator must be one character"),
        (("--encoding", "utf-99"), "'utf-99' is unknown"),
    ],
)
def test_what_cannot_be_is_explained(options, message, run, small, people, write):
    path = write("people.csv", people)
    result = run("fit", "--data", path, *small, *options, "--no-save", code=1)
    assert message in result.stderr


def test_options_of_tables_belong_to_tables(run, clouds):
    assert "belong to tables" in run("fit", "--drop", "a", code=2).stderr
    assert "belong to tables" in run("fit", "--data", clouds, "--id", "a", code=2).stderr
    assert "belong to tables" in run("fit", "--data", clouds, "--decimal", ",", code=2).stderr


def test_without_pandas_tables_cannot_be_read(run, people, write, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    result = run("fit", "--data", write("people.csv", people), "--no-save", code=1)
    assert "pip install 'kflow[tables]'" in result.stderr


@pytest.mark.slow
def test_a_model_of_arrays_still_predicts_tables(run, fitted, clouds, tmp_path):
    with np.load(clouds) as data:
        X = data["X"]
    np.savetxt(tmp_path / "new.csv", X, delimiter=",", header="a,b,c,d", comments="")
    expected = kflow.load(fitted / "model.kflow").predict(X)
    lines = run("predict", fitted / "model.kflow", tmp_path / "new.csv").stdout.split()
    assert lines == list(expected)
    arguments = ("predict", fitted / "model.kflow", tmp_path / "new.csv", "--separator", "comma")
    assert "belong to models of tables" in run(*arguments, code=2).stderr


@pytest.fixture
def array_model(rng, tmp_path):
    """A model of an array, whose columns have no names."""
    array = np.array([[x, str(rng.integers(3)), "EU"] for x in rng.normal(size=60)], dtype=object)
    model = kflow.make_table_pipeline(kflow.GPRegressor(n_steps=2, random_state=0))
    model.fit(array, array[:, 0].astype(float) + array[:, 1].astype(float))
    model.save(tmp_path / "model.kflow")
    return tmp_path / "model.kflow", model, array


def test_a_model_of_an_array_takes_columns_in_their_order(run, array_model, write):
    path, model, array = array_model
    expected = model.predict(array[:9]).tolist()
    new = write("new.csv", array[:9].tolist(), ["x", "kind", "place"], ",")
    lines = run("predict", path, new).stdout.splitlines()
    assert [float(line.split(",")[1]) for line in lines[1:]] == pytest.approx(expected)
    rows = [[f"n{place}", *row] for place, row in enumerate(array[:9].tolist())]
    named = write("named.csv", rows, ["name", "x", "kind", "place"], ",")
    lines = run("predict", path, named, "--id", "name").stdout.splitlines()
    assert [float(line.split(",")[1]) for line in lines[1:]] == pytest.approx(expected)
    assert lines[1].startswith("n0,")
    result = run("predict", path, named, code=1)
    assert "has 4 columns to predict from (name, x, kind, place), and the model" in result.stderr
    assert "an array of 3, whose columns have no names" in result.stderr


def test_numbers_for_a_model_of_an_array(run, rng, tmp_path):
    X = rng.normal(size=(40, 2))
    model = kflow.make_table_pipeline(kflow.GPRegressor(n_steps=2, random_state=0))
    model.fit(X, X[:, 0]).save(tmp_path / "model.kflow")
    np.savez(tmp_path / "new.npz", X=X[:5])
    lines = run("predict", tmp_path / "model.kflow", tmp_path / "new.npz").stdout.splitlines()
    expected = model.predict(X[:5]).tolist()
    assert [float(line.split(",")[1]) for line in lines[1:]] == pytest.approx(expected)


def test_columns_that_training_dropped_are_not_needed(run, write, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": np.arange(40) % 7, "one": 1, "place": "EU"})
    model = kflow.make_table_pipeline(kflow.GPRegressor(n_steps=2, random_state=0))
    model.fit(frame, np.sin(frame["x"])).save(tmp_path / "model.kflow")
    path = write("new.csv", [[3, "a"], [5, "b"]], ["x", "other"], ",")
    lines = run("predict", tmp_path / "model.kflow", path).stdout.splitlines()
    expected = model.predict(frame.iloc[[3, 5]]).tolist()
    assert [float(line.split(",")[1]) for line in lines[1:]] == pytest.approx(expected)
    path = write("none.csv", [[3, "a"]], ["one", "place"], ",")
    assert "has no column 'x'" in run("predict", tmp_path / "model.kflow", path, code=1).stderr


def test_why_nothing_was_tried_is_told(run, write, small):
    rows = [[number % 7, number % 3, number % 2] for number in range(24)]
    path = write("few.csv", rows, ["a", "b", "y"], ",")
    options = ("--n-layers", 2, "--n-draws", 1, "--no-save")
    told = "Nothing was tried, because 18 rows are too few"
    assert told in run("fit", "--data", path, *options).stderr
    assert "Nothing was" not in run("fit", "--data", path, *small, "--no-save").stderr
