from __future__ import annotations

import json
import os
import sys
from types import ModuleType

import click
import pytest
from matplotlib.figure import Figure

import kflow
from kflow import demos
from kflow.cli.demo import demo
from kflow.demos import DEMOS, Demo, Options
from kflow.demos.report import Report


@pytest.fixture
def run(run):
    """Run ``kflow demo``."""
    return lambda *arguments, code=0: run("demo", *arguments, code=code)


@pytest.fixture
def figure():
    """A small figure."""
    figure = Figure(figsize=(2.0, 1.0))
    figure.subplots().plot([0, 1])
    return figure


@pytest.fixture
def small(monkeypatch, figure):
    """A demo that takes no time."""
    calls = []

    def function(options):
        calls.append(options)
        report = Report("Small", "A summary.", options.command("small"))
        report.section("One", "Text.").figure(figure, "line", "A line.")
        report.numbers["one"] = 1
        return report

    module = ModuleType("kflow.demos.small")
    module.run = function
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(DEMOS, "digits-of-pi", Demo("A small one", "small"))
    monkeypatch.setattr(demo.params[0], "type", click.Choice(DEMOS))
    return calls


def test_list(run):
    lines = run("--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(DEMOS)
    assert all(entry.summary in line for entry, line in zip(DEMOS.values(), lines, strict=True))


def test_list_as_json(run):
    told = json.loads(run("--list", "--json").stdout)
    assert told == {name: entry.summary for name, entry in DEMOS.items()}


def test_bad_names(run):
    assert "'cheese' is not one of" in run("cheese", code=2).stderr
    assert "kflow demo --list" in run(code=2).stderr
    with pytest.raises(ValueError, match="there is no demo 'cheese': pass one of"):
        demos.run("cheese")


def test_bad_options(run, tmp_path):
    assert "--seed" in run("swiss-roll", "--seed", -1, code=2).stderr
    result = run("swiss-roll", "--n-threads", 0, "--output", tmp_path / "out", code=1)
    assert result.stderr == "Error: n_threads must be a positive whole number, got 0\n"
    assert not (tmp_path / "out").exists()


def test_options_reach_the_demo(run, small, tmp_path):
    arguments = ("--seed", 3, "--n-threads", 2, "--data-dir", tmp_path, "--quiet", "--quick")
    run("digits-of-pi", *arguments, "--output", tmp_path)
    assert small == [Options(True, 3, 2, tmp_path, False)]
    assert Options(True, 3).command("x") == "kflow demo x --quick --seed 3"
    assert small[0].command("x") == "kflow demo x --quick --seed 3 --data-dir DIR"
    assert json.loads((tmp_path / "results.json").read_text())["numbers"] == {"one": 1}
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"results.json", "line.png", "report.md", "report.html"}


def test_the_default_folder(run, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("digits-of-pi").stdout == "kflow-demo/digits-of-pi/report.html\n"
    assert len(small) == 1
    assert (tmp_path / "kflow-demo" / "digits-of-pi" / "results.json").exists()


def test_folders_are_checked_before_the_run(run, small, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    result = run("digits-of-pi", "--output", tmp_path / "file", code=1)
    assert result.stderr == f"Error: {tmp_path / 'file'}: File exists\n"
    (tmp_path / "a" / "report.html").mkdir(parents=True)
    assert run("digits-of-pi", "--output", tmp_path / "a", code=1).stderr == (
        f"Error: {tmp_path / 'a' / 'report.html'} is a folder: pass another --output\n"
    )
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "figures").touch()
    assert run("digits-of-pi", "--output", tmp_path / "b", code=1).stderr == (
        f"Error: {tmp_path / 'b' / 'figures'} is not a folder: pass another --output\n"
    )
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)  # noqa: ARG005
    result = run("digits-of-pi", "--output", tmp_path / "c", code=1)
    assert "GB free: pass another --output" in result.stderr
    assert not (tmp_path / "c").exists()
    assert small == []


def test_a_failed_run_leaves_no_empty_folders(run, tmp_path):
    (tmp_path / "there").mkdir()
    for place in ("new", "new/in/new", "there", "there/new"):
        result = run("mnist", "--output", tmp_path / place, code=1)
        assert "data_dir" in result.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


@pytest.mark.usefixtures("small")
def test_numbers_are_told_even_where_nothing_can_be_written(run, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = run("digits-of-pi", "--json", "--output", tmp_path, code=1)
    assert json.loads(result.stdout)["numbers"] == {"one": 1}
    names = "results.json, figures/line.png, report.md, report.html"
    assert result.stderr == (
        f"Error: not everything could be written to {tmp_path}: {names}: No space left on device\n"
    )
    assert [path.name for path in tmp_path.rglob("*")] == ["figures"]


@pytest.mark.usefixtures("small")
def test_a_failure_is_one_line(run, tmp_path, monkeypatch):
    def fail(_):
        raise kflow.DivergenceError("the flow\ndiverged")

    monkeypatch.setattr(sys.modules["kflow.demos.small"], "run", fail)
    result = run("digits-of-pi", "--output", tmp_path, code=1)
    assert result.stderr == "Error: the flow diverged\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["matplotlib", "jinja2", "markdown_it"])
def test_what_is_missing_is_told_with_the_remedy(missing, run_python):
    done = run_python(
        f"""
        import sys
        sys.modules[{missing!r}] = None
        from kflow.cli import main
        main(["demo", "swiss-roll", "--quick"])
        """,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: a demo's report needs {missing}")
    assert "pip install 'kflow[demo]'" in line


@pytest.mark.slow
def test_the_list_imports_nothing_heavy(run_python):
    done = run_python(
        """
        import sys
        from kflow.cli import main
        main(["demo", "--list"], standalone_mode=False)
        heavy = {"matplotlib", "jinja2", "rich", "scipy", "sklearn"} & set(sys.modules)
        sys.exit(f"imported: {heavy}" if heavy else 0)
        """
    )
    assert "swiss-roll" in done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("place", ["html", "markdown", "json"])
def test_ctrl_c_leaves_no_half_written_files(place, run, tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Report, place, interrupted)
    result = run("digits-of-pi", "--quiet", "--output", tmp_path, code=130)
    assert result.stderr == "Aborted\n"
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    complete = ["results.json", "line.png", "report.md"]
    assert files == set(complete[: {"json": 0, "markdown": 2, "html": 3}[place]])
