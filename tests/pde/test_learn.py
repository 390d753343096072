from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kflow import losses, pde

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def learned():
    x, u, a = pde.example_problem(64, random_state=0)
    return pde.learn_conductivity(x, u, n_steps=200, truth=a, random_state=0)


@pytest.mark.slow
def test_learning_finds_the_conductivity(learned):
    history, errors = learned.history, learned.errors
    assert learned.rho < 0.05 * history["rho"][0]
    assert errors["log_error"] < 0.7 * history["log_error"][0]
    assert errors["weighted_log_error"] < 0.4 * history["weighted_log_error"][0]
    assert errors["l2_error"] < 0.7 * history["l2_error"][0]


def test_learning_lowers_the_error_of_interpolation(learned, rng):
    x, u, _ = pde.example_problem(64, random_state=0)
    halves = np.array([rng.permutation(64)[:32] for _ in range(20)])
    before, after = (
        losses.e2(kernel(x[:, None]), u, halves, gradient=False)[0]
        for kernel in (pde.greens_kernel(1), learned.kernel)
    )
    assert after < 0.1**2 * before


def test_history_and_result(learned):
    shapes = {name: values.shape for name, values in learned.history.items()}
    assert shapes == {
        "rho": (200,),
        "weights": (200, 2, 16),
        "nugget": (200,),
        "log_error": (200,),
        "weighted_log_error": (200,),
        "l2_error": (200,),
    }
    assert not learned.history["weights"][0].any()
    assert learned.history["log_error"][0] == pytest.approx(0.7)
    assert learned.nugget != learned.history["nugget"][0] == pytest.approx(0.01)
    t = np.arange(256).reshape(2, 128) / 256
    b = learned.conductivity(t)
    assert b.shape == t.shape
    assert np.log(b).mean() == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(
        b, np.exp(pde.log_conductivity(t, *learned.kernel.theta.reshape(2, 16))), rtol=1e-14
    )


def test_learning_without_nugget_and_truth():
    x, u, _ = pde.example_problem(32, random_state=1)
    result = pde.learn_conductivity(
        x[:, None], u, n_modes=3, nugget=0, learn_nugget=False, n_steps=20, random_state=0
    )
    assert result.nugget == 0
    assert result.errors == {}
    assert set(result.history) == {"rho", "weights", "nugget"}
    assert result.history["weights"].shape == (20, 2, 3)
    assert result.rho < result.history["rho"][0]


@pytest.mark.slow
def test_several_solutions_determine_it_better(learned):
    x, u, a = pde.example_problem(64, n_solutions=2, random_state=0)
    np.testing.assert_array_equal(u[:, 0], pde.example_problem(64, random_state=0)[1])
    several = pde.learn_conductivity(x, u, n_steps=200, truth=a, random_state=0)
    assert several.errors["log_error"] < learned.errors["log_error"]


def test_units_of_u_do_not_matter():
    x, u, _ = pde.example_problem(16, random_state=1)
    one, other = (
        pde.learn_conductivity(x, scale * u, n_steps=10, random_state=0) for scale in (1.0, 1e6)
    )
    np.testing.assert_allclose(one.kernel.theta, other.kernel.theta, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "nesterov", "sgd", "lbfgs"])
def test_optimizers(optimizer):
    x, u, _ = pde.example_problem(32, random_state=1)
    result = pde.learn_conductivity(x, u, optimizer=optimizer, n_steps=20, random_state=0)
    assert result.rho < 0.8 * result.history["rho"][0]


def test_same_result_on_every_run_and_thread_count():
    x, u, _ = pde.example_problem(40, random_state=1)
    results = [
        pde.learn_conductivity(x, u, n_steps=5, random_state=7, n_threads=n) for n in (1, 2, 1)
    ]
    for result in results[1:]:
        np.testing.assert_array_equal(result.kernel.theta, results[0].kernel.theta)


def test_callbacks_end_learning():
    x, u, _ = pde.example_problem(16, random_state=1)
    result = pde.learn_conductivity(x, u, callbacks=[lambda state: state.step == 3])
    assert len(result.history["rho"]) == 4


X = np.array([0.1, 0.3, 0.6, 0.9])
U = np.array([1.0, 2.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": X - 0.1}, ValueError, "x must lie strictly between 0 and 1"),
        ({"x": X + 0.1}, ValueError, "x must lie strictly between 0 and 1"),
        ({"x": 10 * X}, ValueError, r"scale other intervals to \[0, 1\]"),
        ({"x": [0.1, 0.3, 0.3, 0.9]}, ValueError, "x has the point 0.3 twice"),
        ({"x": [0.1, 0.3, np.nan, 0.9]}, ValueError, "x contains NaN"),
        ({"x": np.array([X, X]).T}, ValueError, "x must have 1 columns"),
        ({"x": X[:3], "u": U[:3]}, ValueError, "x must have at least 4 points, got 3"),
        ({"x": ["a", "b", "c", "d"]}, TypeError, "x must hold real numbers"),
        ({"u": U[:3]}, ValueError, "u must have 4 rows"),
        ({"u": np.zeros(4)}, ValueError, "u is zero everywhere"),
        ({"u": [1, 2, np.inf, 1]}, ValueError, "u contains NaN or infinity"),
        ({"n_modes": 0}, ValueError, "n_modes must be at least 1"),
        ({"nugget": -1}, ValueError, "nugget"),
        ({"nugget": 0}, ValueError, "learn_nugget=False"),
        ({"optimizer": "newton"}, ValueError, "optimizer must be one of"),
        ({"n_steps": 0}, ValueError, "n_steps must be at least 1"),
        ({"random_state": "x"}, TypeError, "random_state"),
        ({"truth": 1.0}, TypeError, "truth must be a function"),
        ({"truth": np.sum}, ValueError, "truth must return an array of shape"),
        ({"truth": np.negative}, ValueError, "truth must return positive"),
    ],
)
def test_learning_refuses(changes, error, message):
    arguments = {"x": X, "u": U, "n_steps": 2, **changes}
    with pytest.raises(error, match=message):
        pde.learn_conductivity(**arguments)


@pytest.mark.slow
@pytest.mark.skipif(not BENCH.is_dir(), reason="the benchmarks are not here")
def test_benchmark_and_its_picture(tmp_path):
    pytest.importorskip("matplotlib")
    files = ["--json", str(tmp_path / "pde.json"), "--picture", str(tmp_path / "pde.png")]
    options = "--points 16 --solutions 1 --noise 1e-3 --problems 1 --steps 12 --losses"
    command = [sys.executable, str(BENCH / "pde.py"), *options.split(), *files]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [*command, "--picture-points", "16"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "pde.json").read_text())
    assert [row["noise"] for row in report["rows"]] == [0, 1e-3]
    assert len(report["picture"]["rho"]) == 12
    assert {row["loss"] for row in report["losses"]} == {"rho", "kfold", "e2", "loo", "nlml"}
    assert (tmp_path / "pde.png").read_bytes().startswith(b"\x89PNG")
