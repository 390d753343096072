"""What examples/embedding builds against the installed package and the CMake package."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples" / "embedding"


@pytest.mark.slow
@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="without the examples")
@pytest.mark.skipif(shutil.which("cmake") is None, reason="without CMake")
@pytest.mark.skipif(importlib.util.find_spec("Cython") is None, reason="without Cython")
@pytest.mark.skipif(importlib.util.find_spec("pybind11") is None, reason="without pybind11")
def test_compiled_projects_get_the_results_of_python(tmp_path):
    import pybind11

    environment = {**os.environ, "PYTHONSAFEPATH": "1"}

    def run(*command):
        done = subprocess.run(
            list(map(str, command)), cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    package, build = tmp_path / "package", tmp_path / "build"
    run("cmake", "--preset", "default")
    run("cmake", "--build", "--preset", "default")
    run("cmake", "--install", "build/default", "--component", "package", "--prefix", package)
    run(
        *("cmake", "-S", EXAMPLES, "-B", build, "-G", "Ninja", "-D", "CMAKE_BUILD_TYPE=Release"),
        *("-D", f"Python_EXECUTABLE={sys.executable}"),
        *("-D", f"CMAKE_PREFIX_PATH={package};{pybind11.get_cmake_dir()}"),
    )
    run("cmake", "--build", build)
    options = shlex.split(os.environ.get("KFLOW_EMBEDDING", ""))  # what `./dev embedding` was given
    print(run(sys.executable, EXAMPLES / "compare.py", build, *options))
