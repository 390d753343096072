from __future__ import annotations

import json

import numpy as np
import pytest

import kflow


@pytest.mark.slow
def test_info_of_an_estimator(run, fitted):
    model = fitted / "model.kflow"
    facts = json.loads(run("info", model, "--json").stdout)
    assert facts["kind"] == "KernelFlowClassifier"
    assert facts["kernel"]["kernel"] == "gaussian"
    assert (facts["n_layers"], facts["n_points"], facts["n_features"]) == (6, 120, 4)
    assert 0 < facts["rho"]["last"] < 1
    assert facts["bytes"] == model.stat().st_size
    text = run("info", model).stdout
    assert "KernelFlowClassifier" in text
    assert "gaussian" in text


def test_info_of_a_flow(run, tmp_path, rng, clouds):
    X = rng.normal(size=(20, 3))
    flow = kflow.KernelFlow(
        kflow.kernels.Gaussian(2.0), n_layers=3, batch_size=10, nugget=lambda layer: 1 / (layer + 1)
    )
    flow.fit(X, X[:, 0]).save(tmp_path / "flow.kflow")
    facts = json.loads(run("info", tmp_path / "flow.kflow", "--json").stdout)
    assert facts["kind"] == "KernelFlow"
    assert facts["settings"]["nugget"] is None
    result = run("predict", tmp_path / "flow.kflow", clouds, code=1)
    assert "holds a KernelFlow, which predicts nothing" in result.stderr


def test_info_of_a_gaussian_process(run, tmp_path, rng):
    X = rng.normal(size=(30, 2))
    model = kflow.GPRegressor(n_steps=2, random_state=0).fit(X, X[:, 0])
    model.save(tmp_path / "model.kflow")
    facts = json.loads(run("info", tmp_path / "model.kflow", "--json").stdout)
    assert facts["kind"] == "GPRegressor"
    assert facts["kernel"] == model.kernel_.to_dict()
    assert (facts["n_points"], facts["n_features"]) == (30, 2)
    assert facts["nugget"] == pytest.approx(model.nugget_)
    assert "n_layers" not in facts
    assert "GPRegressor" in run("info", tmp_path / "model.kflow").stdout


def test_info_of_a_gaussian_process_for_tables(run, tmp_path, rng):
    table = np.array([[x, "in" if x > 0 else "out"] for x in rng.normal(size=30)], dtype=object)
    model = kflow.make_table_pipeline(kflow.GPRegressor(n_steps=2, random_state=0))
    model.fit(table, table[:, 0].astype(float)).save(tmp_path / "model.kflow")
    facts = json.loads(run("info", tmp_path / "model.kflow", "--json").stdout)
    assert (facts["kind"], facts["n_points"], facts["n_features"]) == ("GPRegressor", 30, 3)
    assert facts["columns"]["x0"] == "number"
