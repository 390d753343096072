from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import kflow
from kflow import KernelFlow, KernelFlowClassifier, KernelFlowRegressor
from kflow.cli import command as cli
from kflow.cli.command import main
from kflow.cli.fit_checkpoint import FitCheckpoint
from kflow.datasets import Dataset
from kflow.estimators import flow_estimators as estimators
from kflow.presets import PRESETS
from kflow.storage.block_file import read_block


@pytest.fixture
def run():
    def run(*arguments, code=0):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def clouds(tmp_path, rng):
    """A .npz file: three clouds of text-labelled points, 120 for training and 30 for the test."""
    names = np.array(["ant", "bee", "cow"])

    def draw(n):
        labels = np.arange(n) % 3
        return rng.normal(size=(n, 4)) + 2 * np.eye(3, 4)[labels], names[labels]

    (X, y), (X_test, y_test) = draw(120), draw(30)
    path = tmp_path / "clouds.npz"
    np.savez(path, X=X, y=y, X_test=X_test, y_test=y_test)
    return path


@pytest.fixture
def wave(tmp_path, rng):
    """A .csv file with numbers to predict."""
    X = rng.uniform(-2, 2, (100, 2))
    path = tmp_path / "wave.csv"
    table = np.column_stack([np.sin(X[:, 0]) + X[:, 1], X])
    np.savetxt(path, table, delimiter=",", header="height,a,b", comments="")
    return path


SMALL = ("--layers", 6, "--batch-size", 30, "--draws", 2)


@pytest.fixture
def fitted(run, clouds, tmp_path):
    """The folder that fit wrote for the clouds."""
    run("fit", "--data", clouds, *SMALL, "--output", tmp_path / "out")
    return tmp_path / "out"


def test_version_and_help(run):
    assert kflow.__version__ in run("--version").stdout
    assert all(command in run("--help").stdout for command in ("fit", "predict", "info"))
    for command in ("fit", "predict", "info"):
        assert "Usage" in run(command, "--help").stdout


def test_the_package_runs_as_a_module(clean_environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "kflow", "--version"],
        capture_output=True,
        text=True,
        timeout=120,
        env=clean_environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"kflow, version {kflow.__version__}\n"


def test_help_imports_nothing_heavy(run_python):
    done = run_python(
        """
        import sys
        from kflow.cli import main
        main(["fit", "--help"], standalone_mode=False)
        heavy = {"matplotlib", "pandas", "rich", "scipy", "sklearn"} & set(sys.modules)
        sys.exit(f"imported: {heavy}" if heavy else 0)
        """
    )
    assert "--dataset" in done.stdout


# ---- fit ------------------------------------------------------------------------------------------


def test_fit_writes_a_model_results_and_pictures(run, tmp_path):
    out = tmp_path / "new" / "out"
    result = run("fit", "--dataset", "digits", *SMALL, "--output", out)
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


def test_the_error_of_the_model_itself_is_told(run, clouds, tmp_path):
    out = tmp_path / "out"
    table = run("fit", "--data", clouds, *SMALL, "--output", out).stdout
    results = json.loads((out / "results.json").read_text())
    with np.load(clouds) as data:
        wrong = kflow.load(out / "model.kflow").predict(data["X_test"]) != data["y_test"]
    assert results["model_error"] == pytest.approx(wrong.mean(), abs=1e-12)
    assert results["model"]["n_interpolation"] == 120
    (line,) = [line for line in table.splitlines() if "model: 120" in line]
    assert f"{100 * wrong.mean():.2f} %" in line


def test_json_is_all_that_stdout_gets(run, clouds):
    result = run("fit", "--data", clouds, *SMALL, "--no-save", "--json")
    results = json.loads(result.stdout)
    assert (results["n_train"], results["n_test"]) == (120, 30)
    assert results["model"]["settings"]["batch_size"] == 30
    assert 0 < results["class_distance_ratio"] < 2


def test_quiet_prints_the_table_only(run, clouds, tmp_path):
    result = run("fit", "--data", clouds, *SMALL, "--quiet", "--output", tmp_path / "out")
    assert result.stderr == ""
    assert "interpolation points" in result.stdout


def test_no_save_writes_nothing(run, clouds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("fit", "--data", clouds, *SMALL, "--no-save")
    assert [path.name for path in tmp_path.iterdir()] == [clouds.name]


def test_the_seed_decides_everything(run, clouds):
    def errors(seed):
        arguments = ("--data", clouds, *SMALL, "--no-save", "--json", "--seed", seed)
        results = json.loads(run("fit", *arguments).stdout)
        return results["errors"], results["curve"]

    assert errors(1) == errors(1)
    assert errors(1) != errors(2)


def test_options_reach_the_flow(run, clouds):
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
        "--threads": 1,
    }
    arguments = [item for pair in options.items() for item in pair]
    result = run("fit", "--data", clouds, *SMALL, *arguments, "--no-save", "--json")
    model = json.loads(result.stdout)["model"]
    assert model["kernel"] == {"kernel": "matern32", "length_scale": 1.5}
    assert model["n_dimensions"] == 2
    settings = model["settings"]
    assert settings["nugget"] == {"0": 0.5, "4": 1.0}
    assert settings["step"] == {"0": "relative", "4": "rms"}
    assert (settings["step_size"], settings["n_halves"], settings["dtype"]) == (0.03, 3, "float64")
    assert (settings["scaling"], settings["rank"]) == ("unit", 2)


@pytest.mark.parametrize(("text", "rank"), [("auto", "auto"), ("2", 2), ("0.25", 0.25)])
def test_ranks_and_shrinking(text, rank, run, clouds, tmp_path):
    out = tmp_path / "out"
    options = ("--rank", text, "--shrink-every", 2, "--shrink-tolerance", 0.5, "--output", out)
    results = json.loads(run("fit", "--data", clouds, *SMALL, *options, "--json").stdout)
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


def test_none_and_zero_turn_scaling_and_projection_off(run, monkeypatch):
    monkeypatch.setitem(PRESETS, "digits", {"scaling": "unit", "rank": 3})
    result = run("fit", *SMALL, "--scaling", "none", "--rank", 0, "--no-save", "--json")
    settings = json.loads(result.stdout)["model"]["settings"]
    assert (settings["scaling"], settings["rank"]) == (None, None)


def test_no_layers_evaluate_the_kernel_itself(run, clouds, tmp_path):
    out = tmp_path / "out"
    result = run("fit", "--data", clouds, "--layers", 0, "--output", out, "--json")
    assert json.loads(result.stdout)["model"]["rho"] is None
    assert {path.name for path in out.iterdir()} == {"model.kflow", "results.json"}


def test_regression(run, wave, tmp_path):
    out = tmp_path / "out"
    arguments = ("--data", wave, "--target", "height", *SMALL, "--output", out)
    assert "RMSE" in run("fit", *arguments).stdout
    results = json.loads((out / "results.json").read_text())
    assert results["task"] == "regression"
    assert results["errors"]["r2"] > 0.8
    assert {path.name for path in out.iterdir()} == {"model.kflow", "results.json", "rho.png"}
    lines = run("predict", out / "model.kflow", wave, "--target", "height").stdout.splitlines()
    truth = np.loadtxt(wave, delimiter=",", skiprows=1)[:, 0]
    assert np.corrcoef(np.array(lines, float), truth)[0, 1] > 0.9


def test_without_matplotlib_the_pictures_are_missing(run, clouds, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run("fit", "--data", clouds, *SMALL, "--output", tmp_path / "out")
    assert "No pictures" in result.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.kflow", "results.json"}


@pytest.fixture
def apart(tmp_path, rng):
    """A .npz file: three clouds that collapse in a few layers."""
    labels = np.arange(150) % 3
    path = tmp_path / "apart.npz"
    np.savez(path, X=rng.normal(size=(150, 4)) + 6 * np.eye(3, 4)[labels], y=labels)
    return path


EARLY = ("--layers", 100, "--batch-size", 30, "--early-stopping")


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


def test_early_stopping_that_never_happens(run, clouds):
    steps = ("--step", "fixed", "--step-size", 1e-9)
    arguments = ("--data", clouds, *SMALL, *steps, "--early-stopping", "--no-save", "--json")
    results = json.loads(run("fit", *arguments).stdout)
    assert (results["status"], results["early_stopping"]["stopped_at"]) == ("complete", None)
    assert results["early_stopping"]["layers"] == [1, 2, 3, 4, 5, 6]
    assert results["model"]["n_layers"] == 6
    results = json.loads(run("fit", "--data", clouds, *SMALL, "--no-save", "--json").stdout)
    assert "early_stopping" not in results


def test_early_stopping_is_of_classes(run, wave):
    result = run("fit", "--data", wave, "--target", "height", "--early-stopping", code=2)
    assert "--early-stopping belongs to classification" in result.stderr


# ---- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "mnist"], "pass data_dir (--data-dir)"),
        (["--dataset", "mnist", "--data-dir", "nowhere"], "nowhere/train-images-idx3-ubyte.gz"),
        (["--data", "nowhere.npz"], "nowhere.npz: No such file or directory"),
        (["--rank", "65"], "rank must lie between 1 and the 64 features"),
        (["--rank", "1.5"], "rank as a part of the sum of squares must lie in (0, 1)"),
        (["--shrink-every", "5"], "shrink_every=5 needs a rank"),
        (["--step", "huge"], "step must be one of"),
        (["--nugget", "4:1.0"], "nugget as a schedule must have a value for layer 0"),
        (["--length-scale", "-1"], "length_scale must be positive"),
        (["--layers", "1000000000000"], "need"),
        (
            ["--early-stopping", "--validation-fraction", "1"],
            "validation_fraction must lie between",
        ),
    ],
)
def test_bad_input_is_one_line(arguments, message, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("fit", *arguments, "--quiet", code=1)
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nugget", "0:0.1,x"], "'0:0.1,x' is neither a value nor a schedule"),
        (["--data", "a.npz", "--dataset", "digits"], "--data excludes --dataset"),
        (["--target", "y"], "belong to --data"),
        (["--validation-fraction", "0.2"], "belongs to --early-stopping"),
        (["--kernel", "laplacian"], "needs --length-scale"),
        (["--rank", "all"], "'all' is neither auto, a whole number nor a fraction"),
    ],
)
def test_a_malformed_command_line_ends_with_2(arguments, message, run):
    assert message in run("fit", *arguments, code=2).stderr


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_output_that_cannot_be_written_is_found_before_the_run(kind, run, clouds, tmp_path):
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("")
    else:
        (out / "model.kflow").mkdir(parents=True)
    result = run("fit", "--data", clouds, *SMALL, "--output", out, code=1)
    assert "Error: " in result.stderr
    assert str(out) in result.stderr
    assert "training" not in result.stderr


def test_too_little_space_is_found_before_the_run(run, clouds, tmp_path, monkeypatch):
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)  # noqa: ARG005
    result = run("fit", "--data", clouds, *SMALL, "--output", tmp_path / "out", code=1)
    assert "Error: the output needs" in result.stderr
    assert "training" not in result.stderr


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), ValueError("bad"), TypeError("worse")],
    ids=repr,
)
@pytest.mark.parametrize(
    "place",
    [
        "estimators.flow_estimators.write_model",
        "plotting.LossDisplay.from_estimator",
        "cli.command.to_json",
    ],
)
def test_what_cannot_be_written_leaves_the_table_and_the_rest(
    error, place, run, clouds, tmp_path, monkeypatch
):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(f"kflow.{place}", fail)
    out = tmp_path / "out"
    result = run("fit", "--data", clouds, *SMALL, "--output", out, code=1)
    assert "interpolation points" in result.stdout
    reason = getattr(error, "strerror", None) or str(error)
    assert f"Error: not everything could be written to {out}: {reason}\n" in result.stderr
    missing = {
        "estimators.flow_estimators.write_model": "model.kflow",
        "cli.command.to_json": "results.json",
    }
    written = {path.name for path in out.iterdir()}
    assert {"model.kflow", "results.json"} - written == {missing.get(place)} - {None}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("kind", ["full", "closed"])
def test_whoever_reads_the_output_the_files_are_written(
    kind, stream, clouds, tmp_path, clean_environment
):
    if kind == "full":
        place = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, place = os.pipe()
        os.close(reader)
    out = tmp_path / "out"
    command = ("fit", "--data", clouds, *SMALL, "--threads", 1, "--output", out)
    done = subprocess.run(
        [sys.executable, "-c", "from kflow.cli import main; main()", *map(str, command)],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: place},
        timeout=120,
        text=True,
        env=clean_environment,
    )
    os.close(place)
    assert done.returncode == 1
    if stream == "stdout":
        assert "Traceback" not in done.stderr
    assert kflow.load(out / "model.kflow").flow_.n_layers_ == 6
    assert json.loads((out / "results.json").read_text())["status"] == "complete"
    assert (out / "errors.png").exists()


def test_a_failed_evaluation_leaves_the_model(run, clouds, tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("kflow.evaluation.class_distance_ratio", fail)
    out = tmp_path / "out"
    result = run("fit", "--data", clouds, *SMALL, "--output", out, code=1)
    assert result.stdout == ""
    assert "Error: the model could not be evaluated: MemoryError\n" in result.stderr
    assert kflow.load(out / "model.kflow").flow_.n_layers_ == 6
    assert json.loads((out / "results.json").read_text())["curve"]["layers"] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (MemoryError(), "failed", "MemoryError"),
        (RuntimeError("no threads"), "failed", "RuntimeError: no threads"),
        (kflow.SingularKernelError("singular"), "singular", "singular"),
        (kflow.DivergenceError("diverged"), "diverged", "diverged"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_was_learnt_before_a_failure_is_kept(
    error, status, line, run, clouds, tmp_path, monkeypatch
):
    def fail_late(flow, *arguments, run_layer=kflow.KernelFlow._run_layer):
        if flow.n_layers_ == 4:
            raise error
        run_layer(flow, *arguments)

    monkeypatch.setattr(kflow.KernelFlow, "_run_layer", fail_late)
    out = tmp_path / "out"
    result = run("fit", "--data", clouds, *SMALL, "--output", out, "--json", code=1)
    assert result.stderr.endswith(f"Error: {line}\n")
    results = json.loads(result.stdout)
    assert results["status"] == status
    assert 0 <= results["model_error"] < 0.5
    assert results == json.loads((out / "results.json").read_text())
    assert kflow.load(out / "model.kflow").flow_.n_layers_ == 4


def test_the_layers_are_on_disk_until_the_model_holds_them(run, clouds, tmp_path, monkeypatch):
    out = tmp_path / "out"
    seen = []

    def write(path, *arguments, write=estimators.write_model):
        (folder,) = [place for place in out.iterdir() if place.is_dir()]
        assert folder.name == "checkpoint"
        seen.extend(len(read_block(path).block) for path in folder.glob("block-*"))
        write(path, *arguments)

    monkeypatch.setattr(estimators, "write_model", write)
    run("fit", "--data", clouds, *SMALL, "--output", out)
    assert seen == [6]
    assert not any(place.is_dir() for place in out.iterdir())
    # An earlier model is replaced, and a failure leaves no layers either.
    monkeypatch.setattr("kflow.flow.KernelFlow._run_layer", lambda *_: 1 / 0)
    result = CliRunner().invoke(
        main, ["fit", "--data", str(clouds), *map(str, SMALL), "--output", str(out)]
    )
    assert isinstance(result.exception, ZeroDivisionError)
    assert not any(place.is_dir() for place in out.iterdir())


@pytest.mark.parametrize("rank", [None, "auto", 3, 0.5])
@pytest.mark.parametrize("shrink", [{}, {"shrink_every": 1, "shrink_tolerance": 0.5}])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_space_that_is_asked_for_suffices(rank, shrink, task, tmp_path, rng):
    if rank is None and shrink:
        return
    n, d = 60, 40
    X, y = rng.normal(size=(n, d)), np.arange(n) % 3
    dataset = Dataset("some", X, y, X, y, task)
    kind = KernelFlowClassifier if task == "classification" else KernelFlowRegressor
    folder = tmp_path / "checkpoint"
    estimator = kind(
        n_layers=200, batch_size=20, rank=rank, checkpoint=folder, random_state=0, **shrink
    )
    estimator.fit(X, y, follow={"test": X})
    for layers_dtype in (None, "float16"):
        estimator.save(tmp_path / "model", layers_dtype=layers_dtype)
        used = FitCheckpoint(tmp_path).n_bytes + (tmp_path / "model").stat().st_size
        needed = cli._output_bytes(estimator, dataset, layers_dtype)
        assert used < needed
        if not shrink and rank in (None, 3):
            assert needed < 1.3 * used + 2**20


def test_every_failure_is_told(run, clouds, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("kflow.estimators.flow_estimators.write_model", full)
    monkeypatch.setattr("kflow.cli.command._draw", full)
    steps = ("--step", "fixed", "--step-size", "0:0.01,3:1e30")
    result = run("fit", "--data", clouds, *SMALL, *steps, "--output", tmp_path / "out", code=1)
    *_, last = result.stderr.splitlines()
    assert last.startswith("Error: the flow diverged in layer 3")
    assert last.count("No space left on device") == 1


@pytest.mark.parametrize("data", ["clouds", "wave"])
def test_a_diverging_flow_keeps_the_last_good_layer(data, run, tmp_path, request):
    path = request.getfixturevalue(data)
    out = tmp_path / "out"
    steps = ("--step", "fixed", "--step-size", "0:0.01,3:1e30")
    result = run("fit", "--data", path, *SMALL, *steps, "--output", out, "--json", code=1)
    assert "Error: the flow diverged in layer 3" in result.stderr
    results = json.loads(result.stdout)
    assert results["status"] == "diverged"
    assert results["model"]["n_layers"] == 3
    assert kflow.load(out / "model.kflow").flow_.n_layers_ == 3
    run("predict", out / "model.kflow", path)


def test_a_flow_that_diverges_at_once_leaves_nothing(run, clouds, tmp_path):
    steps = ("--step", "fixed", "--step-size", "1e30")
    out = tmp_path / "out"
    result = run("fit", "--data", clouds, *SMALL, *steps, "--output", out, code=1)
    assert "Error: the flow diverged in layer 0" in result.stderr
    assert list(out.iterdir()) == []


# ---- stop and resume ------------------------------------------------------------------------------

LONGER = ("--layers", 60, "--batch-size", 30, "--draws", 2, "--every", 4)


@contextmanager
def aborted_in_layer(number):
    """Raise KeyboardInterrupt there, as a second Ctrl-C does."""
    run_layer = KernelFlow._run_layer

    def aborted(flow, *arguments):
        if flow.n_layers_ == number:
            raise KeyboardInterrupt
        return run_layer(flow, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KernelFlow, "_run_layer", aborted)
        yield


def outcome(out):
    """Return the results of a run, but for its times, with its model and pictures."""
    results = json.loads((out / "results.json").read_text())
    for name in ("seconds", "layers_per_second"):
        results.pop(name, None)
        results["model"].pop(name, None)
    return (
        results,
        kflow.load(out / "model.kflow"),
        {p.name: p.read_bytes() for p in out.glob("*.png")},
    )


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ("clouds", ("--early-stopping", "--rank", "auto", "--shrink-every", 10)),
        ("clouds", ("--seed", 3, "--nugget", "0:1,30:2", "--gradient-cap", "0:2,20:inf")),
        (
            "wave",
            (
                "--step-over",
                "batch",
                "--target",
                "height",
                "--kernel",
                "laplacian",
                "--length-scale",
                2,
            ),
        ),
    ],
)
def test_resumed_is_uninterrupted(data, options, run, tmp_path, request, monkeypatch):
    path = request.getfixturevalue(data)
    monkeypatch.chdir(tmp_path)
    run("fit", "--data", path.name, *LONGER, *options, "--output", "whole")
    for number in (0, 7, 23):
        with aborted_in_layer(number):
            again = ("--resume",) if number else ("--data", path.name, *LONGER, *options)
            result = run("fit", *again, "--output", "out", code=130)
            assert result.stderr.endswith("Aborted\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    result = run("fit", "--resume", "--output", tmp_path / "out")
    expected, model, pictures = outcome(tmp_path / "whole")
    got, resumed, resumed_pictures = outcome(tmp_path / "out")
    assert got == expected
    assert resumed_pictures == pictures
    X = np.random.default_rng(0).normal(size=(5, model.n_features_in_))
    np.testing.assert_array_equal(resumed.flow_.transform(X), model.flow_.transform(X))
    np.testing.assert_array_equal(resumed.flow_.points_, model.flow_.points_)
    assert not (tmp_path / "out" / "checkpoint").exists()
    # Once more, there is nothing left to do.
    with aborted_in_layer(0):
        result = run("fit", "--resume", "--output", tmp_path / "out", "--json")
    assert "is complete" in result.stderr
    assert json.loads(result.stdout)["errors"] == expected["errors"]


def test_an_unfinished_run_is_not_overwritten(run, clouds, tmp_path):
    out = tmp_path / "out"
    with aborted_in_layer(9):
        run("fit", "--data", clouds, *LONGER, "--output", out, code=130)
    (line,) = run("fit", "--data", clouds, *LONGER, "--output", out, code=1).stderr.splitlines()
    assert "checkpoint holds an unfinished run: go on with it by kflow fit --resume" in line
    assert "or pass another --output, or remove that folder" in line
    for options, message in (
        (("--layers", 50), "--layers contradicts the run in"),
        (("--nugget", 2), "--nugget contradicts the run in"),
        (("--batch-size", 40), "--batch-size contradicts"),
        (("--seed", 1), "--seed contradicts the run in"),
        (("--early-stopping",), "--early-stopping contradicts"),
        (("--dataset", "digits"), "--dataset contradicts"),
        (("--data", tmp_path / "other.npz"), "--data contradicts"),
        (("--every", 5), "--every contradicts"),
    ):
        result = run("fit", "--resume", *options, "--output", out, code=1)
        assert message in result.stderr, result.stderr
        assert "leave it out, or start a new run in another --output" in result.stderr
    same = ("--layers", 60, "--data", clouds, "--seed", 0, "--threads", 1, "--quiet")
    assert "60 layers" in run("fit", "--resume", *same, "--output", out).stdout


def test_the_data_must_be_what_they_were(run, clouds, tmp_path):
    out = tmp_path / "out"
    with aborted_in_layer(9):
        run("fit", "--data", clouds, *LONGER, "--output", out, code=130)
    with np.load(clouds) as arrays:
        changed = {**arrays, "X": arrays["X"][::-1]}
    np.savez(clouds, **changed)
    result = run("fit", "--resume", "--output", out, code=1)
    assert "holds a flow with other X" in result.stderr
    assert (out / "checkpoint" / "flow.json").exists()


def test_resume_starts_what_has_not_begun(run, clouds, tmp_path):
    out = tmp_path / "out"
    run("fit", "--resume", "--data", clouds, *SMALL, "--output", out)
    assert json.loads((out / "results.json").read_text())["status"] == "complete"
    (out / "model.kflow").unlink()
    run("fit", "--resume", "--data", clouds, *SMALL, "--output", out)
    assert (out / "model.kflow").exists()
    (out / "checkpoint.removed").mkdir()  # a process was killed in its last act
    run("fit", "--resume", "--output", out)
    assert not (out / "checkpoint.removed").exists()


def test_damaged_arguments(run, clouds, tmp_path):
    out = tmp_path / "out"
    with aborted_in_layer(9):
        run("fit", "--data", clouds, *LONGER, "--output", out, code=130)
    arguments = out / "checkpoint" / "arguments.json"
    arguments.write_text(arguments.read_text()[:-10])
    for _ in range(2):
        result = run("fit", "--resume", "--output", out, code=1)
        assert "arguments.json is missing or damaged" in result.stderr
        arguments.unlink(missing_ok=True)


def test_a_run_that_cannot_start_leaves_no_checkpoint(run, clouds, tmp_path):
    out = tmp_path / "out"
    run("fit", "--data", clouds, *SMALL, "--nugget", -1, "--output", out, code=1)
    assert not (out / "checkpoint").exists()
    run("fit", "--data", clouds, *SMALL, "--output", out)
    result = run("fit", "--resume", "--no-save", code=2)
    assert "--no-save leaves nothing for --resume" in result.stderr


def test_verbose(run, clouds, tmp_path):
    result = run("fit", "--data", clouds, *LONGER, "--verbose", "--output", tmp_path / "out")
    assert "wrote layers 0 to 3:" in result.stderr
    assert "MB in" in result.stderr
    result = run("fit", "--data", clouds, *LONGER, "--output", tmp_path / "other")
    assert "wrote layers" not in result.stderr
    assert "60 layers will take up to" in result.stderr
    log = logging.getLogger("kflow")
    assert [type(handler) for handler in log.handlers] == [logging.NullHandler]
    assert log.level == logging.NOTSET


def test_layers_in_half_precision(run, clouds, tmp_path):
    for name, options in (("whole", ()), ("half", ("--layers-dtype", "float16"))):
        run("fit", "--data", clouds, *LONGER, *options, "--output", tmp_path / name)
    whole, half = ((tmp_path / name / "model.kflow") for name in ("whole", "half"))
    assert half.stat().st_size < 0.8 * whole.stat().st_size
    first, second = kflow.load(whole), kflow.load(half)
    np.testing.assert_array_equal(first.flow_.points_, second.flow_.points_)
    with np.load(clouds) as arrays:
        np.testing.assert_allclose(
            first.transform(arrays["X"]), second.transform(arrays["X"]), rtol=0, atol=0.05
        )
    run("predict", half, clouds)


# ---- Ctrl-C ---------------------------------------------------------------------------------------


@pytest.fixture
def start(clouds, tmp_path):
    """Start a long fit in a process of its own; it has handled its arguments on return."""
    # The handler that Python installs unless the tests run in the background.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from kflow.cli import main; main()"
    )
    processes = []

    def start(*arguments):
        command = ["fit", "--data", clouds, "--layers", 100000, "--batch-size", 12, *arguments]
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        processes.append(process)
        wait_for(process, "training")
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def wait_for(process, word):
    for line in process.stderr:
        if word in line:
            return
    raise AssertionError(f"{word!r} was not printed; exit status {process.wait()}")


def test_ctrl_c_ends_the_flow_and_keeps_it(start, tmp_path):
    process = start("--json")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    results = json.loads(stdout)
    assert results["status"] == "interrupted"
    n_layers = results["model"]["n_layers"]
    assert 1 <= n_layers < 100000
    assert f"Stopped after layer {n_layers} of 100000" in stderr
    assert kflow.load(tmp_path / "kflow-output" / "model.kflow").flow_.n_layers_ == n_layers


def test_a_second_ctrl_c_aborts(start, tmp_path):
    process = start("--draws", 10**9)
    process.send_signal(signal.SIGINT)
    wait_for(process, "The model is in")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "Aborted\n"
    assert stdout == ""
    names = sorted(path.name for path in (tmp_path / "kflow-output").iterdir())
    assert names == ["checkpoint", "model.kflow"]


# ---- predict and info -----------------------------------------------------------------------------


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


def test_predict_takes_tables_without_a_target(run, fitted, tmp_path):
    table = tmp_path / "points.csv"
    table.write_text("a,b,c,d\n2,0,0,0\n0,0,2,0\n")
    assert run("predict", fitted / "model.kflow", table).stdout.split() == ["ant", "cow"]


@pytest.fixture
def table_model(run, tmp_path, rng):
    """A model of a table whose first column is the target, the table, and its predictions."""
    X = rng.normal(size=(120, 3))
    path = tmp_path / "table.csv"
    lines = [f"{int(a > b)},{a},{b},{c}" for a, b, c in X]
    path.write_text("\n".join(["kind,a,b,c", *lines]))
    run("fit", "--data", path, "--target", "kind", *SMALL, "--output", tmp_path / "out")
    model = kflow.load(tmp_path / "out" / "model.kflow")
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    del model.feature_names_in_  # or scikit-learn would warn that an array has none
    return tmp_path / "out" / "model.kflow", X, model.predict(X).tolist()


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
    assert list(map(int, result.stdout.split())) == expected
    assert result.stderr == ""


def test_predict_names_a_missing_column(run, table_model, tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("a,b,d\n1,2,3\n")
    result = run("predict", table_model[0], path, code=1)
    assert "has no column 'c'; its columns are a, b, d" in result.stderr


def test_predict_takes_arrays_in_the_order_of_the_names(run, table_model, tmp_path):
    model, X, expected = table_model
    np.savez(tmp_path / "points.npz", X=X)
    result = run("predict", model, tmp_path / "points.npz")
    assert list(map(int, result.stdout.split())) == expected
    assert result.stderr == ""


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
