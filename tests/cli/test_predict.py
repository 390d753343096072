from __future__ import annotations

import csv
import os

import numpy as np
import pytest

import kflow
from kflow.presets import FIXED


@pytest.fixture
def table_model(run, small, tmp_path, rng):
    """A model of a table whose first column is the target, the table, and its predictions."""
    X = rng.normal(size=(120, 3))
    path = tmp_path / "table.csv"
    lines = [f"{int(a > b)},{a},{b},{c}" for a, b, c in X]
    path.write_text("\n".join(["kind,a,b,c", *lines]))
    run("fit", "--data", path, "--target", "kind", *small, "--output", tmp_path / "out")
    model = kflow.load(tmp_path / "out" / "model.kflow")
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    return tmp_path / "out" / "model.kflow", X, model.estimator.predict(X).tolist()


def column(result, name):
    """A column of the table that was printed."""
    return [row[name] for row in csv.DictReader(result.stdout.splitlines())]


@pytest.mark.slow
def test_predictions_go_to_stdout_or_a_file(run, fitted, clouds, tmp_path):
    model = fitted / "model.kflow"
    with np.load(clouds) as data:
        X, y = data["X"], data["y"]
    expected = kflow.load(model).predict(X)
    assert (expected == y).mean() > 0.8
    assert run("predict", model, clouds).stdout.split() == list(expected)
    assert run("predict", model, clouds, "--output", tmp_path / "p.csv").stdout == ""
    assert (tmp_path / "p.csv").read_text().split() == list(expected)
    run("predict", model, clouds, "--output", tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as predicted:
        np.testing.assert_array_equal(predicted["y"], expected)


@pytest.mark.slow
def test_predict_takes_tables_without_a_target(run, fitted, tmp_path):
    table = tmp_path / "points.csv"
    table.write_text("a,b,c,d\n2,0,0,0\n0,0,2,0\n")
    assert run("predict", fitted / "model.kflow", table).stdout.split() == ["ant", "cow"]


@pytest.mark.slow
@pytest.mark.parametrize("header", ["kind,a,b,c", "c,a,b", "a,b,c", "b,id,c,a,kind"])
def test_predict_finds_columns_by_name(header, run, table_model, tmp_path):
    model, X, expected = table_model
    columns = {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2]}
    other = np.full(len(X), "text")
    cells = [columns.get(name, other).tolist() for name in header.split(",")]
    path = tmp_path / "other.csv"
    path.write_text(
        "\n".join([header, *(",".join(map(str, row)) for row in zip(*cells, strict=True))])
    )
    result = run("predict", model, path)
    assert list(map(int, column(result, "prediction"))) == expected
    assert result.stderr == ""


@pytest.mark.slow
def test_predict_names_a_missing_column(run, table_model, tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("a,b,d\n1,2,3\n")
    result = run("predict", table_model[0], path, code=1)
    assert "has no column 'c'; its columns are a, b, d" in result.stderr


@pytest.mark.slow
def test_predict_takes_arrays_in_the_order_of_the_names(run, table_model, tmp_path):
    model, X, expected = table_model
    np.savez(tmp_path / "points.npz", X=X)
    result = run("predict", model, tmp_path / "points.npz")
    assert list(map(int, column(result, "prediction"))) == expected
    assert result.stderr == ""


@pytest.mark.slow
def test_predict_explains_what_it_cannot_do(run, fitted, clouds, tmp_path):
    model = fitted / "model.kflow"
    assert "is not a kflow model" in run("predict", clouds, clouds, code=1).stderr
    assert "no.kflow: No such file" in run("predict", "no.kflow", clouds, code=1).stderr
    assert "must end in .csv" in run("predict", model, clouds, "--output", "x.txt", code=2).stderr
    np.savez(tmp_path / "wide.npz", X=np.ones((2, 5)))
    assert "X must have 4 columns" in run("predict", model, tmp_path / "wide.npz", code=1).stderr


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("nowhere/p.csv", "nowhere: No such file or directory"),
        ("folder.npz", "folder.npz: Is a directory"),
        ("locked.csv", "locked.csv: Permission denied"),
    ],
)
def test_predict_finds_out_first_where_it_cannot_write(
    output, message, run, clouds, tmp_path, monkeypatch
):
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "locked.csv").write_text("kept")

    def access(path, mode, may=os.access):  # root may write anywhere
        return not ("locked" in str(path) and mode == os.W_OK) and may(path, mode)

    monkeypatch.setattr(os, "access", access)
    # There is no model either, which would be found next.
    result = run("predict", "no.kflow", clouds, "--output", tmp_path / output, code=1)
    assert result.stderr == f"Error: {tmp_path}/{message}\n"
    assert (tmp_path / "locked.csv").read_text() == "kept"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npz", "csv"])
@pytest.mark.parametrize("labels", [[2**53, 2**53 + 1, 2**53 + 2], [2**63 + 1, 2**63 + 2]])
def test_labels_come_back_as_they_are_in_the_file(run, small, tmp_path, rng, kind, labels):
    codes = np.arange(60) % len(labels)
    X = 9.0 * codes[:, None] + 0.1 * rng.normal(size=(60, 2))
    y = np.array(labels, np.uint64)[codes]
    path = tmp_path / f"data.{kind}"
    if kind == "npz":
        np.savez(path, X=X, y=y)
    else:
        path.write_text(
            "\n".join(["a,b,y", *(f"{a},{b},{t}" for (a, b), t in zip(X, y, strict=False))])
        )
    run("fit", "--data", path, *small, "--output", tmp_path / "out")
    run("predict", tmp_path / "out" / "model.kflow", path, "--output", tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as predicted:
        assert predicted["y"].tolist() == y.tolist()
        assert predicted["y"].dtype.kind in "iu"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["p.csv", "p.npz"])
def test_a_full_disk_leaves_earlier_predictions(run, fitted, clouds, tmp_path, name, monkeypatch):
    (tmp_path / name).write_bytes(b"earlier")

    def full(_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    result = run("predict", fitted / "model.kflow", clouds, "--output", tmp_path / name, code=1)
    assert "No space left" in result.stderr
    assert (tmp_path / name).read_bytes() == b"earlier"
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.slow
def test_labels_are_written_whatever_the_locale(run_python, tmp_path, rng):
    X = rng.normal(size=(40, 2))
    y = np.where(X[:, 0] > 0, "è", "ü")
    model = kflow.KernelFlowClassifier(**{**FIXED, "n_layers": 2}, random_state=0).fit(X, y)
    model.save(tmp_path / "model")
    np.savez(tmp_path / "data.npz", X=X)
    run_python(
        f"""
        import os
        from kflow.cli import main
        os.chdir({str(tmp_path)!r})
        main(["predict", "model", "data.npz", "--output", "out.csv"])
        """,
        LC_ALL="C",
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
    )
    lines = (tmp_path / "out.csv").read_text("utf-8").splitlines()
    np.testing.assert_array_equal(lines, model.predict(X))
