from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys

import pytest

import kflow


@pytest.mark.slow
def test_verbose(run, longer, clouds, tmp_path):
    result = run("fit", "--data", clouds, *longer, "--verbose", "--output", tmp_path / "out")
    assert "wrote layers 0 to 3:" in result.stderr
    assert "MB in" in result.stderr
    result = run("fit", "--data", clouds, *longer, "--output", tmp_path / "other")
    assert "wrote layers" not in result.stderr
    assert "60 layers will take up to" in result.stderr
    log = logging.getLogger("kflow")
    assert [type(handler) for handler in log.handlers] == [logging.NullHandler]
    assert log.level == logging.NOTSET


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
        command = ["fit", "--data", clouds, "--n-layers", 100000, "--batch-size", 12, *arguments]
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_second_ctrl_c_aborts(start, tmp_path):
    process = start("--n-draws", 10**9)
    process.send_signal(signal.SIGINT)
    wait_for(process, "The model is in")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "Aborted\n"
    assert stdout == ""
    names = sorted(path.name for path in (tmp_path / "kflow-output").iterdir())
    assert names == ["checkpoint", "model.kflow"]
