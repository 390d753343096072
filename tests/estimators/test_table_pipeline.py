from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

import kflow
from kflow import make_table_pipeline
from kflow.errors import ModelFileError

pandas = pytest.importorskip("pandas")

SETTINGS = {"n_layers": 3, "batch_size": 20, "random_state": 0}


@pytest.fixture
def table(rng):
    frame = pandas.DataFrame({"x": rng.normal(size=90), "side": rng.choice(["left", "right"], 90)})
    frame.loc[4, "x"] = np.nan
    return frame


@pytest.fixture
def y(table):
    return np.where((table["x"] > 0) == (table["side"] == "left"), "in", "out")


@pytest.mark.parametrize(
    ("estimator", "numbers"),
    [
        (kflow.KernelFlowClassifier(**SETTINGS), False),
        (kflow.KernelFlowRegressor(**SETTINGS), True),
        (kflow.GPRegressor(n_steps=2, random_state=0), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_saved_pipeline_comes_back(estimator, numbers, table, y, tmp_path):
    pipeline = make_table_pipeline(estimator).fit(table, y == "in" if numbers else y)
    pipeline.id_column = "number"
    pipeline.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(table), pipeline.predict(table))
    assert loaded.encoder.report_ == pipeline.encoder.report_
    assert loaded.id_column == "number"
    assert list(loaded.feature_names_in_) == ["x", "side"]
    assert type(loaded.estimator) is type(estimator)


def test_scikit_learn_knows_it(table, y):
    pipeline = make_table_pipeline(kflow.KernelFlowClassifier(**SETTINGS))
    pipeline.set_params(encoder__min_frequency=2, estimator__n_layers=1)
    pipeline.id_column = "number"
    again = clone(pipeline)
    assert again.id_column == "number"
    assert (again.encoder.min_frequency, again.estimator.n_layers) == (2, 1)
    assert cross_val_score(again, table, y, cv=3).mean() > 0.8
    assert isinstance(make_table_pipeline().estimator, kflow.KernelFlowClassifier)
    assert make_table_pipeline(encoder=again.encoder).encoder is again.encoder


def test_layers_take_less_room(table, y, tmp_path):
    pipeline = make_table_pipeline(kflow.KernelFlowClassifier(**SETTINGS)).fit(table, y)
    pipeline.save(tmp_path / "whole")
    pipeline.save(tmp_path / "half", layers_dtype="float16")
    sizes = [(tmp_path / name).stat().st_size for name in ("whole", "half")]
    assert sizes[1] < sizes[0]
    process = make_table_pipeline(kflow.GPRegressor(learn=None)).fit(table, np.arange(len(table)))
    with pytest.raises(ValueError, match="layers_dtype: a GPRegressor has no layers"):
        process.save(tmp_path / "none", layers_dtype="float16")


def test_other_estimators_cannot_be_saved(table, y, tmp_path):
    pipeline = make_table_pipeline(SVC()).fit(table, y)
    with pytest.raises(TypeError, match=r"only estimators of kflow can be saved .* not a SVC"):
        pipeline.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"encoder": None},
        {"encoder": {}},
        {"estimator": None},
        {"estimator": {"kind": "KernelFlowClassifier"}},
        {"estimator": {"kind": "TablePipeline", "settings": {}}},
        {"estimator": {"kind": "KernelFlow", "settings": {}}},
        {"id_column": 3},
    ],
    ids=str,
)
def test_damaged_files(change, table, y, tmp_path):
    path = tmp_path / "model"
    make_table_pipeline(kflow.KernelFlowClassifier(**SETTINGS)).fit(table, y).save(path)
    rewritten(path, lambda settings: settings.update(change))
    with pytest.raises(ModelFileError):
        kflow.load(path)


def test_parts_that_do_not_fit_each_other(table, y, tmp_path):
    path = tmp_path / "model"
    make_table_pipeline(kflow.KernelFlowClassifier(**SETTINGS)).fit(table, y).save(path)
    rewritten(path, lambda settings: settings["encoder"]["columns"].pop())
    with pytest.raises(ModelFileError, match="encoder does not fit its estimator"):
        kflow.load(path)


def rewritten(path, change):
    """Change the settings of a model file."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(parts["model.json"])
    change(header["settings"])
    parts["model.json"] = json.dumps(header).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
