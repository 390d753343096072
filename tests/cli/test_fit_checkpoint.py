from __future__ import annotations

import json

import numpy as np
import pytest

import kflow
from kflow.cli.fit_run import FitSteps
from kflow.storage.block_file import read_block


def stopping_after(n_layers):
    """Return steps of `kflow fit` that end the run after so many layers, as the first Ctrl-C does."""

    def stop(flow):
        return flow.n_layers_ == n_layers

    stop.interrupts = True
    return FitSteps(callbacks=(stop,))


@pytest.fixture
def unfinished(run, longer, clouds, failing_in_layer, tmp_path):
    """The output of a run that was aborted, as by the second Ctrl-C."""
    out = tmp_path / "out"
    steps = failing_in_layer(9, KeyboardInterrupt())
    run("fit", "--data", clouds, *longer, "--output", out, steps=steps, code=130)
    return out


def outcome(out):
    """Return the results of a run, but for its times, with its model and pictures."""
    results = json.loads((out / "results.json").read_text())
    for name in ("seconds", "layers_per_second"):
        results.pop(name, None)
        results["model"].pop(name, None)
    model = kflow.load(out / "model.kflow")
    return (
        results,
        getattr(model, "estimator", model),
        {p.name: p.read_bytes() for p in out.glob("*.png")},
    )


@pytest.mark.slow
def test_the_layers_are_on_disk_until_the_model_holds_them(
    run, small, clouds, failing_in_layer, tmp_path
):
    out = tmp_path / "out"
    seen = []

    def save(*arguments):
        (folder,) = [place for place in out.iterdir() if place.is_dir()]
        assert folder.name == "checkpoint"
        seen.extend(len(read_block(path).block) for path in folder.glob("block-*"))
        FitSteps().save(*arguments)

    arguments = ("--data", clouds, *small, "--output", out)
    run("fit", *arguments, steps=FitSteps(save=save))
    assert seen == [6]
    assert not any(place.is_dir() for place in out.iterdir())
    # An earlier model is replaced, and an error that nobody foresaw leaves no layers either.
    failing = failing_in_layer(0, ZeroDivisionError())
    result = run("fit", *arguments, "--force", steps=failing, code=1)
    assert isinstance(result.exception, ZeroDivisionError)
    assert not any(place.is_dir() for place in out.iterdir())


@pytest.mark.slow
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
def test_resumed_is_uninterrupted(
    data,
    options,
    run,
    longer,
    failing,
    failing_in_layer,
    layers_on_disk,
    tmp_path,
    request,
    monkeypatch,
):
    path = request.getfixturevalue(data)
    monkeypatch.chdir(tmp_path)
    new, again = ("--data", path.name, *longer, *options), ("--resume",)
    run("fit", *new, "--output", "whole")
    # Aborted in the first layer, and twice within a block, whose finished layers are kept.
    for number in (0, 7, 23):
        arguments = again if number else new
        steps = failing_in_layer(number, KeyboardInterrupt())
        result = run("fit", *arguments, "--output", "out", steps=steps, code=130)
        assert result.stderr.endswith("Aborted\n")
        assert layers_on_disk(tmp_path / "out") == number
    # Ended within a block, as by the first Ctrl-C.
    result = run("fit", *again, "--output", "out", steps=stopping_after(26))
    assert result.stderr.endswith("--output out goes on\n")
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
    steps = FitSteps(fit=failing(AssertionError()))
    result = run("fit", "--resume", "--output", tmp_path / "out", "--json", steps=steps)
    assert "is complete" in result.stderr
    assert json.loads(result.stdout)["errors"] == expected["errors"]


@pytest.mark.slow
def test_an_unfinished_run_is_not_overwritten(run, longer, clouds, unfinished, tmp_path):
    out = unfinished
    (line,) = run("fit", "--data", clouds, *longer, "--output", out, code=1).stderr.splitlines()
    assert "checkpoint holds an unfinished run: go on with it by kflow fit --resume" in line
    assert "or pass another --output, or remove that folder" in line
    for options, message in (
        (("--n-layers", 50), "--n-layers contradicts the run in"),
        (("--layers", 50), "--n-layers contradicts the run in"),
        (("--n-draws", 3), "--n-draws contradicts the run in"),
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
    same = ("--n-layers", 60, "--data", clouds, "--seed", 0, "--n-threads", 1, "--quiet")
    assert "60 layers" in run("fit", "--resume", *same, "--output", out).stdout


def test_the_data_must_be_what_they_were(run, clouds, unfinished):
    out = unfinished
    with np.load(clouds) as arrays:
        changed = {**arrays, "X": arrays["X"][::-1]}
    np.savez(clouds, **changed)
    result = run("fit", "--resume", "--output", out, code=1)
    assert "holds a flow with other X" in result.stderr
    assert (out / "checkpoint" / "flow.json").exists()


@pytest.mark.slow
def test_resume_starts_what_has_not_begun(run, small, clouds, tmp_path):
    out = tmp_path / "out"
    run("fit", "--resume", "--data", clouds, *small, "--output", out)
    assert json.loads((out / "results.json").read_text())["status"] == "complete"
    (out / "model.kflow").unlink()
    run("fit", "--resume", "--data", clouds, *small, "--output", out)
    assert (out / "model.kflow").exists()
    (out / "checkpoint.removed").mkdir()  # a process was killed in its last act
    run("fit", "--resume", "--output", out)
    assert not (out / "checkpoint.removed").exists()


def test_damaged_arguments(run, unfinished):
    out = unfinished
    arguments = out / "checkpoint" / "arguments.json"
    arguments.write_text(arguments.read_text()[:-10])
    for _ in range(2):
        result = run("fit", "--resume", "--output", out, code=1)
        assert "arguments.json is missing or damaged" in result.stderr
        arguments.unlink(missing_ok=True)


@pytest.mark.slow
def test_a_run_of_an_earlier_version_goes_on(run, longer, clouds, unfinished, tmp_path):
    run("fit", "--data", clouds, *longer, "--output", tmp_path / "whole")
    file = unfinished / "checkpoint" / "arguments.json"
    arguments = json.loads(file.read_text())
    arguments["draws"] = arguments.pop("n_draws")
    file.write_text(json.dumps(arguments))
    run("fit", "--resume", "--draws", 2, "--output", unfinished)
    assert outcome(unfinished)[0] == outcome(tmp_path / "whole")[0]
