"""Models and checkpoints that earlier versions wrote are read, and lead to the same results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg  # noqa: F401 - its BLAS, too, is one that `is_same_machine` looks at
from threadpoolctl import threadpool_info

import kflow
from kflow.presets import FIXED

FOLDER = Path(__file__).parents[1] / "fixtures" / "version-1"
SETTINGS = json.loads((FOLDER / "expected.json").read_text())
FEW, MORE = SETTINGS["layers"]

with np.load(FOLDER / "expected.npz") as file:
    EXPECTED = dict(file)
X, Y, T = (EXPECTED[name] for name in "XYT")


def is_same_machine():
    """Whether the last digits can be expected to be the same as where the files were written."""
    here, there = kflow.build_config(), SETTINGS["machine"]
    blas = {
        f"{library['internal_api']} {library['version']} {library.get('architecture')}"
        for library in threadpool_info()
        if library["user_api"] == "blas"
    }
    return sorted(blas) == there["blas"] and all(
        here[name] == there[name] for name in ("simd_level", "compiler", "numpy")
    )


def check(name, results):
    """Compare results with those of the version that wrote the files."""
    expected = {
        key.partition("/")[2]: value
        for key, value in EXPECTED.items()
        if key.partition("/")[0] == name and "/" in key
    }
    assert results.keys() == expected.keys()
    for key, value in results.items():
        assert value.dtype == expected[key].dtype, key
        if value.dtype.kind != "f" or is_same_machine():
            np.testing.assert_array_equal(value, expected[key], err_msg=key)
        else:
            size = np.abs(expected[key]).max()
            np.testing.assert_allclose(
                value, expected[key], rtol=1e-4, atol=1e-5 * size, err_msg=key
            )


def flow_results(flow):
    return {
        "points": flow.points_,
        "reduced": flow.reduced_points_,
        "transform": flow.transform(T),
        "rho": flow.history_["rho"],
        "rank": flow.history_["rank"],
        **{f"follow-{name}": points for name, points in flow.follow_.items()},
    }


def test_a_flow_is_loaded_and_goes_on():
    flow = kflow.load(FOLDER / "flow.kflow")
    check("flow", flow_results(flow))
    assert flow.history_["rank"][-1] < flow.history_["rank"][0]
    check("flow-5-more", flow_results(flow.run(5)))


@pytest.mark.parametrize("name", ["classifier", "compressed"])
def test_a_classifier_is_loaded(name):
    model = kflow.load(FOLDER / f"{name}.kflow")
    assert isinstance(model, kflow.KernelFlowClassifier)
    results = {key: getattr(model, key)(T) for key in ("predict", "transform", "predict_proba")}
    check(name, results)


def test_a_regressor_is_loaded():
    model = kflow.load(FOLDER / "regressor.kflow")
    assert isinstance(model, kflow.KernelFlowRegressor)
    check("regressor", {"predict": model.predict(T), "transform": model.transform(T)})


def test_a_gaussian_process_is_loaded():
    model = kflow.load(FOLDER / "gp.kflow")
    assert isinstance(model, kflow.GPRegressor)
    mean, std = model.predict(T, return_std=True)
    check("gp", {"predict": mean, "std": std})


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS["checkpoints"])
def test_a_checkpoint_is_resumed(name, tmp_path):
    folder = shutil.copytree(FOLDER / name, tmp_path / name)
    options = {**SETTINGS["checkpoints"][name], "checkpoint": folder}
    follow = {"test": T}
    first_layers = []

    def callback(flow):
        first_layers.append(flow.n_layers_)

    options["callbacks"] = [callback]
    if name == "checkpoint-classifier":
        model = kflow.KernelFlowClassifier(**{**FIXED, **options, "n_layers": MORE})
        flow = model.fit(X, EXPECTED["codes"], follow, resume=True).flow_
        assert model.stopping_.layers == list(range(1, MORE + 1))
    else:
        flow = kflow.KernelFlow(n_layers=MORE, **options).fit(X, Y, follow, resume=True)
    assert min(first_layers) > FEW  # the others were read
    check(name, flow_results(flow))


def test_other_data_than_those_of_a_checkpoint_are_refused(tmp_path):
    folder = shutil.copytree(FOLDER / "checkpoint", tmp_path / "flow")
    options = {**SETTINGS["checkpoints"]["checkpoint"], "checkpoint": folder}
    with pytest.raises(ValueError, match="X"):
        kflow.KernelFlow(n_layers=MORE, **options).fit(X + 1.0, Y, {"test": T}, resume=True)
