from __future__ import annotations

import subprocess
import sys

import pytest

import kflow


def test_version_and_help(run):
    assert kflow.__version__ in run("--version").stdout
    assert all(command in run("--help").stdout for command in ("fit", "predict", "info"))
    for command in ("fit", "predict", "info"):
        assert "Usage" in run(command, "--help").stdout


@pytest.mark.slow
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


@pytest.mark.slow
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
