from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import kflow
from kflow.cli.fit_run import FitSteps


@pytest.mark.slow
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
        (["--n-layers", "1000000000000"], "need"),
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
def test_an_output_that_cannot_be_written_is_found_before_the_run(
    kind, run, small, clouds, tmp_path
):
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("")
    else:
        (out / "model.kflow").mkdir(parents=True)
    result = run("fit", "--data", clouds, *small, "--output", out, code=1)
    assert "Error: " in result.stderr
    assert str(out) in result.stderr
    assert "training" not in result.stderr


def test_too_little_space_is_found_before_the_run(run, small, clouds, tmp_path, monkeypatch):
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)  # noqa: ARG005
    result = run("fit", "--data", clouds, *small, "--output", tmp_path / "out", code=1)
    assert "Error: the output needs" in result.stderr
    assert "training" not in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), ValueError("bad"), TypeError("worse")],
    ids=repr,
)
@pytest.mark.parametrize("step", ["save", "write", "draw"])
def test_what_cannot_be_written_leaves_the_table_and_the_rest(
    error, step, run, small, clouds, failing, tmp_path
):
    out = tmp_path / "out"
    steps = FitSteps(**{step: failing(error)})
    result = run("fit", "--data", clouds, *small, "--output", out, steps=steps, code=1)
    assert "interpolation points" in result.stdout
    reason = getattr(error, "strerror", None) or str(error)
    assert f"Error: not everything could be written to {out}: {reason}\n" in result.stderr
    missing = {"save": "model.kflow", "write": "results.json"}
    written = {path.name for path in out.iterdir()}
    assert {"model.kflow", "results.json"} - written == {missing.get(step)} - {None}
    assert (out / "rho.png").exists() == (step != "draw")


@pytest.mark.slow
@pytest.mark.parametrize("error", [ValueError("bad"), TypeError("worse")], ids=repr)
@pytest.mark.parametrize(
    ("place", "missing"),
    [
        ("kflow.estimators.base.write_model", {"model.kflow"}),
        ("kflow.cli.fit_run.to_json", {"results.json"}),
        ("kflow.plotting.LossDisplay.from_estimator", set()),
    ],
)
def test_what_fails_within_a_step_leaves_no_half_of_a_file(
    error, place, missing, run, small, clouds, failing, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    monkeypatch.setattr(place, failing(error))
    result = run("fit", "--data", clouds, *small, "--output", out, code=1)
    assert "interpolation points" in result.stdout
    assert f"Error: not everything could be written to {out}: {error}\n" in result.stderr
    written = {path.name for path in out.iterdir() if path.is_file()}
    assert {"model.kflow", "results.json"} - written == missing


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("kind", ["full", "closed"])
def test_whoever_reads_the_output_the_files_are_written(
    kind, stream, clouds, small, tmp_path, clean_environment
):
    if kind == "full":
        place = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, place = os.pipe()
        os.close(reader)
    out = tmp_path / "out"
    command = ("fit", "--data", clouds, *small, "--n-threads", 1, "--output", out)
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


@pytest.mark.slow
def test_a_failed_evaluation_leaves_the_model(run, small, clouds, failing, tmp_path, monkeypatch):
    out = tmp_path / "out"
    # The last of the quantities, so that those before it are there and must not be shown.
    monkeypatch.setattr("kflow.cli.evaluate.class_distance_ratio", failing(MemoryError()))
    result = run("fit", "--data", clouds, *small, "--output", out, code=1)
    assert result.stdout == ""
    assert "Error: the model could not be evaluated: MemoryError\n" in result.stderr
    assert kflow.load(out / "model.kflow").flow_.n_layers_ == 6
    assert json.loads((out / "results.json").read_text())["curve"]["layers"] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
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
def test_what_was_learned_before_a_failure_is_kept(
    error, status, line, run, small, clouds, failing_in_layer, layers_on_disk, tmp_path
):
    out = tmp_path / "out"
    steps = failing_in_layer(4, error)
    arguments = ("--data", clouds, *small, "--output", out, "--json")
    result = run("fit", *arguments, steps=steps, code=1)
    assert result.stderr.endswith(f"Error: {line}\n")
    results = json.loads(result.stdout)
    assert results["status"] == status
    assert 0 <= results["model_error"] < 0.5
    assert results == json.loads((out / "results.json").read_text())
    assert kflow.load(out / "model.kflow").flow_.n_layers_ == 4
    assert layers_on_disk(out) == 4


def test_every_failure_is_told(run, small, clouds, failing, tmp_path):
    full = failing(OSError(errno.ENOSPC, "No space left on device"))
    diverging = ("--step", "fixed", "--step-size", "0:0.01,3:1e30")
    arguments = ("--data", clouds, *small, *diverging, "--output", tmp_path / "out")
    result = run("fit", *arguments, steps=FitSteps(save=full, draw=full), code=1)
    *_, last = result.stderr.splitlines()
    assert last.startswith("Error: the flow diverged in layer 3")
    assert last.count("No space left on device") == 1


@pytest.mark.slow
@pytest.mark.parametrize("data", ["clouds", "wave"])
def test_a_diverging_flow_keeps_the_last_good_layer(data, run, small, tmp_path, request):
    path = request.getfixturevalue(data)
    out = tmp_path / "out"
    steps = ("--step", "fixed", "--step-size", "0:0.01,3:1e30")
    result = run("fit", "--data", path, *small, *steps, "--output", out, "--json", code=1)
    assert "Error: the flow diverged in layer 3" in result.stderr
    results = json.loads(result.stdout)
    assert results["status"] == "diverged"
    assert results["model"]["n_layers"] == 3
    model = kflow.load(out / "model.kflow")
    assert getattr(model, "estimator", model).flow_.n_layers_ == 3
    run("predict", out / "model.kflow", path)


def test_a_flow_that_diverges_at_once_leaves_nothing(run, small, clouds, tmp_path):
    steps = ("--step", "fixed", "--step-size", "1e30")
    out = tmp_path / "out"
    result = run("fit", "--data", clouds, *small, *steps, "--output", out, code=1)
    assert "Error: the flow diverged in layer 0" in result.stderr
    assert list(out.iterdir()) == []


@pytest.mark.slow
def test_a_run_that_cannot_start_leaves_no_checkpoint(run, small, clouds, tmp_path):
    out = tmp_path / "out"
    run("fit", "--data", clouds, *small, "--nugget", -1, "--output", out, code=1)
    assert not (out / "checkpoint").exists()
    run("fit", "--data", clouds, *small, "--output", out)
    result = run("fit", "--resume", "--no-save", code=2)
    assert "--no-save leaves nothing for --resume" in result.stderr
