from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import kflow

ROOT = Path(__file__).parents[2]

STATE = """
import ctypes, gc, json, locale, signal, sys, threading, warnings
import numpy as np
from threadpoolctl import ThreadpoolController

def state():
    libm = ctypes.CDLL(None)
    tiny = np.float32(1e-45), np.float64(5e-324)
    return {
        "subnormals": [float(x * x.dtype.type(1)) for x in tiny] + [5e-324 / 1.0],
        "rounding": libm.fegetround(),
        "rounded": [1.0 + 2.0**-53, 1.0 - 2.0**-54, 1e16 + 1.0],
        "filters": [repr(f) for f in warnings.filters],
        "numpy errors": np.geterr(),
        "print options": repr(np.get_printoptions()),
        "locale": locale.setlocale(locale.LC_ALL),
        "interrupt": repr(signal.getsignal(signal.SIGINT)),
        "threads": threading.active_count(),
        "gc": gc.isenabled(),
        "path": sys.path,
        "blas": {library["filepath"]: library["num_threads"]
                 for library in ThreadpoolController().info() if library["user_api"] == "blas"},
    }
"""

WORK = """
rng = np.random.default_rng(0)
X = rng.normal(size=(400, 9))
kernel = kflow.kernels.Gaussian(3.0)
kflow.gram(X, kernel=kernel, n_threads=2)
flow = kflow.KernelFlow(kernel, n_layers=2, batch_size=100, n_threads=2).fit(X, X[:, 0])
flow.transform(X)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "heavy",
    ["sklearn", "matplotlib", "rich", "click", "scipy.linalg", "pandas", "joblib", "kflow.testing"],
)
def test_import_stays_light(run_python, heavy):
    done = run_python("import kflow, json, sys; print(json.dumps(list(sys.modules)))")
    assert heavy not in json.loads(done.stdout)


@pytest.mark.slow
def test_import_reads_nothing_but_itself(run_python):
    run_python(STATE + "before = state()\nimport kflow\nassert state() == before")


@pytest.mark.slow
def test_work_leaves_the_process_as_it_was(run_python):
    run_python(
        STATE
        + "import kflow\nbefore = state()\n"
        + WORK
        + "after = state()\nassert after == before, (after, before)"
    )


@pytest.mark.slow
def test_worker_threads_keep_subnormals_and_rounding(run_python):
    run_python(
        STATE
        + "import kflow\nbefore = state()\n"
        + WORK
        + """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(1) as pool:
    after = pool.submit(state).result()
for name in ("subnormals", "rounding", "rounded"):
    assert after[name] == before[name], name
"""
    )


@pytest.mark.slow
def test_import_prints_nothing(run_python):
    done = run_python("import kflow")
    assert (done.stdout, done.stderr) == ("", "")


def test_public_names():
    for name in kflow.__all__:
        assert getattr(kflow, name) is not None
    assert {*kflow.__all__} <= {*dir(kflow)}
    others = {*dir(kflow)} - {*kflow.__all__}
    assert {getattr(kflow, name).__name__ for name in others} == {f"kflow.{n}" for n in others}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = kflow.nothing


@pytest.mark.slow
@pytest.mark.parametrize("level", kflow.build_config()["simd_levels"])
def test_simd_level_from_the_environment(run_python, level):
    done = run_python(
        "import kflow; print(kflow.build_config()['simd_level'])", KFLOW_SIMD_LEVEL=level
    )
    assert done.stdout.strip() == level


@pytest.mark.slow
def test_the_best_level_is_the_default(run_python):
    for environment in ({}, {"KFLOW_SIMD_LEVEL": ""}):
        done = run_python("import kflow; print(kflow.build_config()['simd_level'])", **environment)
        assert done.stdout.strip() == kflow.build_config()["simd_levels"][-1]


@pytest.mark.slow
def test_bad_simd_level_is_reported_at_import(run_python):
    done = run_python("import kflow", check=False, KFLOW_SIMD_LEVEL="sse9")
    assert done.returncode == 1
    assert "'sse9' is not available here; KFLOW_SIMD_LEVEL can be one of: baseline" in done.stderr


@pytest.mark.slow
def test_work_needs_no_scipy(run_python):
    run_python(
        "import sys, numpy as np, kflow\n" + WORK + "\nassert 'scipy' not in sys.modules",
    )


def test_build_config(monkeypatch):
    monkeypatch.setenv("KFLOW_NUM_THREADS", "2")
    config = kflow.build_config()
    assert config["version"] == kflow.__version__
    assert config["simd_level"] in config["simd_levels"]
    assert config["parallel"] in ("openmp", "serial")
    assert config["n_threads"] == 2
    assert config["environment"]["KFLOW_NUM_THREADS"] == "2"
    json.dumps(config)


@pytest.mark.skipif(not (ROOT / "kflow" / "__init__.py").exists(), reason="without the sources")
def test_the_folder_of_sources_says_what_to_do(clean_environment):
    if list((ROOT / "kflow" / "engine" / "cpu").glob("_core*.so")):
        pytest.skip("the extension lies in the folder of sources")
    environment = {k: v for k, v in clean_environment.items() if k != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, "-c", "import kflow"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=60,
        check=False,
    )
    assert "the compiled part of kflow is not in" in done.stderr
    assert "pip install" in done.stderr


def test_public_modules_are_there_without_an_import():
    names = dir(kflow)
    assert {"plotting", "datasets", "analysis", "stopping", "KernelFlow", "learn_kernel"} <= {
        *names
    }
    assert names == sorted(names)
    for name in names:
        assert getattr(kflow, name) is not None


@pytest.mark.parametrize("module", ["numpy.dtypes", "numpy.lib.stride_tricks", "kflow.persistence"])
def test_interrupted_import_ends_whole(run_python, module):
    done = run_python(f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)

class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
try:
    import kflow
except KeyboardInterrupt:
    print("interrupted")
del sys.meta_path[0]
import kflow
print(kflow.gram([[0.0], [1.0]], kernel=kflow.kernels.Gaussian(1.0)).shape)
""")
    assert done.stdout.splitlines() == ["interrupted", "(2, 2)"]
