from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import kflow
from kflow.presets import PRESETS


@pytest.mark.slow
def test_fit_writes_a_model_results_and_pictures(run, small, tmp_path):
    out = tmp_path / "new" / "out"
    result = run("fit", "--dataset", "digits", *small, "--output", out)
    assert "digits: test error" in result.stdout
    assert "6 layers, " in result.stdout
    assert "1352 training and 445 test points" in result.stderr
    assert "rho" in result.stderr
    pictures = {"class-distance-ratio.png", "errors.png", "rho.png"}
    assert {path.name for path in out.iterdir()} == {"model.kflow", "results.json", *pictures}
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    results = json.loads((out / "results.json").read_text())
    assert results["status"] == "complete"
    assert [row["n_interpolation"] for row in results["errors"]] == [600, 60, 10]
    assert results["errors"][0]["average"] < results["errors"][2]["average"] < 0.8
    assert results["curve"]["layers"] == [1, 2, 3, 4, 5, 6]
    assert len(results["curve"]["errors"]["60"]) == 6
    estimator = kflow.load(out / "model.kflow")
    assert estimator.flow_.n_layers_ == 6
    assert list(estimator.classes_) == list(range(10))


@pytest.mark.slow
def test_the_error_of_the_model_itself_is_told(run, small, clouds, tmp_path):
    out = tmp_path / "out"
    table = run("fit", "--data", clouds, *small, "--output", out).stdout
    results = json.loads((out / "results.json").read_text())
    with np.load(clouds) as data:
        wrong = kflow.load(out / "model.kflow").predict(data["X_test"]) != data["y_test"]
    assert results["model_error"] == pytest.approx(wrong.mean(), abs=1e-12)
    assert results["model"]["n_interpolation"] == 120
    (line,) = [line for line in table.splitlines() if "model: 120" in line]
    assert f"{100 * wrong.mean():.2f} %" in line


def test_json_is_all_that_stdout_gets(run, small, clouds):
    result = run("fit", "--data", clouds, *small, "--no-save", "--json")
    results = json.loads(result.stdout)
    assert (results["n_train"], results["n_test"]) == (120, 30)
    assert results["model"]["settings"]["batch_size"] == 30
    assert 0 < results["class_distance_ratio"] < 2


@pytest.mark.slow
def test_quiet_prints_the_table_only(run, small, clouds, tmp_path):
    result = run("fit", "--data", clouds, *small, "--quiet", "--output", tmp_path / "out")
    assert result.stderr == ""
    assert "interpolation points" in result.stdout


def test_no_save_writes_nothing(run, small, clouds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("fit", "--data", clouds, *small, "--no-save")
    assert [path.name for path in tmp_path.iterdir()] == [clouds.name]


@pytest.mark.slow
def test_the_seed_decides_everything(run, small, clouds):
    def errors(seed):
        arguments = ("--data", clouds, *small, "--no-save", "--json", "--seed", seed)
        results = json.loads(run("fit", *arguments).stdout)
        return results["errors"], results["curve"]

    assert errors(1) == errors(1)
    assert errors(1) != errors(2)


def test_options_reach_the_flow(run, small, clouds):
    options = {
        "--nugget": "0:0.5, 4:1.0",
        "--step": "0:relative,4:rms",
        "--step-size": 0.03,
        "--n-halves": 3,
        "--rank": 2,
        "--scaling": "unit",
        "--kernel": "matern32",
        "--length-scale": 1.5,
        "--dtype": "float64",
        "--n-threads": 1,
    }
    arguments = [item for pair in options.items() for item in pair]
    result = run("fit", "--data", clouds, *small, *arguments, "--no-save", "--json")
    model = json.loads(result.stdout)["model"]
    assert model["kernel"] == {"kernel": "matern32", "length_scale": 1.5}
    assert model["n_dimensions"] == 2
    settings = model["settings"]
    assert settings["nugget"] == {"0": 0.5, "4": 1.0}
    assert settings["step"] == {"0": "relative", "4": "rms"}
    assert (settings["step_size"], settings["n_halves"], settings["dtype"]) == (0.03, 3, "float64")
    assert (settings["scaling"], settings["rank"]) == ("unit", 2)


@pytest.mark.slow
@pytest.mark.parametrize(("text", "rank"), [("auto", "auto"), ("2", 2), ("0.25", 0.25)])
def test_ranks_and_shrinking(text, rank, run, small, clouds, tmp_path):
    out = tmp_path / "out"
    options = ("--rank", text, "--shrink-every", 2, "--shrink-tolerance", 0.5, "--output", out)
    results = json.loads(run("fit", "--data", clouds, *small, *options, "--json").stdout)
    model = results["model"]
    assert model["settings"]["rank"] == rank
    assert (model["settings"]["shrink_every"], model["settings"]["shrink_tolerance"]) == (2, 0.5)
    flow = kflow.load(out / "model.kflow").flow_
    assert model["n_dimensions"] == flow.rank_ < 4
    assert model["energy_dropped"] == pytest.approx(flow.energy_dropped_)
    assert flow.n_features_in_ == model["n_features"] == 4
    # What is evaluated is what the model predicts.
    with np.load(clouds) as data:
        wrong = kflow.load(out / "model.kflow").predict(data["X_test"]) != data["y_test"]
    assert results["model_error"] == pytest.approx(wrong.mean(), abs=1e-12)


@pytest.mark.slow
def test_none_and_zero_turn_scaling_and_projection_off(run, small, monkeypatch):
    monkeypatch.setitem(PRESETS, "digits", {"scaling": "unit", "rank": 3})
    result = run("fit", *small, "--scaling", "none", "--rank", 0, "--no-save", "--json")
    settings = json.loads(result.stdout)["model"]["settings"]
    assert (settings["scaling"], settings["rank"]) == (None, None)


def test_no_layers_evaluate_the_kernel_itself(run, clouds, tmp_path):
    out = tmp_path / "out"
    result = run("fit", "--data", clouds, "--n-layers", 0, "--output", out, "--json")
    assert json.loads(result.stdout)["model"]["rho"] is None
    assert {path.name for path in out.iterdir()} == {"model.kflow", "results.json"}


@pytest.mark.slow
def test_regression(run, small, wave, tmp_path):
    out = tmp_path / "out"
    arguments = ("--data", wave, "--target", "height", *small, "--output", out)
    assert "RMSE" in run("fit", *arguments).stdout
    results = json.loads((out / "results.json").read_text())
    assert results["task"] == "regression"
    assert results["errors"]["r2"] > 0.8
    assert {path.name for path in out.iterdir()} == {"model.kflow", "results.json", "rho.png"}
    assert results["baseline"] > 2 * results["errors"]["rmse"]
    assert results["baseline"] > results["error_before"] > 0.0
    lines = run("predict", out / "model.kflow", wave, "--target", "height").stdout.splitlines()
    assert lines[:1] == ["row,prediction"]
    truth = np.loadtxt(wave, delimiter=",", skiprows=1)[:, 0]
    assert np.corrcoef([float(line.split(",")[1]) for line in lines[1:]], truth)[0, 1] > 0.9


def test_without_matplotlib_the_pictures_are_missing(run, small, clouds, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run("fit", "--data", clouds, *small, "--output", tmp_path / "out")
    assert "No pictures" in result.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.kflow", "results.json"}


@pytest.fixture
def apart(tmp_path, rng):
    """A .npz file: three clouds that collapse in a few layers."""
    labels = np.arange(150) % 3
    path = tmp_path / "apart.npz"
    np.savez(path, X=rng.normal(size=(150, 4)) + 6 * np.eye(3, 4)[labels], y=labels)
    return path


EARLY = ("--n-layers", 100, "--batch-size", 30, "--early-stopping")


@pytest.mark.slow
def test_early_stopping_completes_the_flow(run, apart, tmp_path):
    out = tmp_path / "out"
    result = run("fit", "--data", apart, *EARLY, "--validation-fraction", 0.2, "--output", out)
    results = json.loads((out / "results.json").read_text())
    stopping, n = results["early_stopping"], results["model"]["n_layers"]
    assert results["status"] == "complete"
    assert f"Done after layer {n} of 100: the classes have collapsed" in result.stderr
    assert "Stopped" not in result.stderr
    assert 5 <= n < 100
    assert stopping["stopped_at"] == n == stopping["layers"][-1]
    n_kept = results["model"]["n_points"]
    largest, smallest = stopping["errors"]
    assert n_kept == pytest.approx(0.8 * results["n_train"], abs=3)
    assert smallest == "3"
    assert n_kept - 6 <= int(largest) <= n_kept
    assert len(stopping["errors"]["3"]) == len(stopping["layers"])
    assert len(results["curve"]["layers"]) == n // 5 + 1
    assert all(row["average"] < 0.1 for row in results["errors"])
    assert results["class_distance_ratio"] < 0.2
    assert kflow.load(out / "model.kflow").validation_fraction == 0.2


@pytest.mark.slow
def test_the_test_points_do_not_stop_the_flow(run, apart, tmp_path):
    with np.load(apart) as data:
        X, y = data["X"], data["y"]
    models = []
    for number, y_test in enumerate((y[100:], np.roll(y[100:], 1))):
        path, out = tmp_path / f"{number}.npz", tmp_path / f"out{number}"
        np.savez(path, X=X[:100], y=y[:100], X_test=X[100:], y_test=y_test)
        run("fit", "--data", path, *EARLY, "--quiet", "--output", out)
        results = json.loads((out / "results.json").read_text())
        models.append((results["model"]["rho"], results["early_stopping"]))
    assert models[0] == models[1]
    alone = kflow.KernelFlowClassifier(
        n_layers=100, batch_size=30, early_stopping=True, random_state=0
    ).fit(X[:100], y[:100])
    assert alone.stopping_.stopped_at == models[0][1]["stopped_at"]


def test_early_stopping_that_never_happens(run, small, clouds):
    steps = ("--step", "fixed", "--step-size", 1e-9)
    arguments = ("--data", clouds, *small, *steps, "--early-stopping", "--no-save", "--json")
    results = json.loads(run("fit", *arguments).stdout)
    assert (results["status"], results["early_stopping"]["stopped_at"]) == ("complete", None)
    assert results["early_stopping"]["layers"] == [1, 2, 3, 4, 5, 6]
    assert results["model"]["n_layers"] == 6
    results = json.loads(run("fit", "--data", clouds, *small, "--no-save", "--json").stdout)
    assert "early_stopping" not in results


def test_early_stopping_is_of_classes(run, wave):
    result = run("fit", "--data", wave, "--target", "height", "--early-stopping", code=2)
    assert "--early-stopping belongs to classification" in result.stderr


@pytest.mark.slow
def test_layers_in_half_precision(run, longer, clouds, tmp_path):
    for name, options in (("whole", ()), ("half", ("--layers-dtype", "float16"))):
        run("fit", "--data", clouds, *longer, *options, "--output", tmp_path / name)
    whole, half = ((tmp_path / name / "model.kflow") for name in ("whole", "half"))
    assert half.stat().st_size < 0.8 * whole.stat().st_size
    first, second = kflow.load(whole), kflow.load(half)
    np.testing.assert_array_equal(first.flow_.points_, second.flow_.points_)
    with np.load(clouds) as arrays:
        np.testing.assert_allclose(
            first.transform(arrays["X"]), second.transform(arrays["X"]), rtol=0, atol=0.05
        )
    run("predict", half, clouds)


def test_a_precision_needs_a_device(run, small, clouds):
    result = run("fit", "--data", clouds, *small, "--no-save", "--precision", "mixed", code=1)
    assert "precision='mixed' is a matter of devices" in result.stderr
