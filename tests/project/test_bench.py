"""The benchmarks run, and find their results right; what they measure is nobody's test."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"

LIMIT = "--n 300 --batch 50 --d 2 20 --seconds 0.001 --side 64"
LAYER = "--n 300 --batch 50 --d 20 --repeats 1 --small-layers 3 --side 64"
SIDE_BY_SIDE = "--n 300 --batch 50 --d 20 --small 20 --repeats 1 --no-compile"
SCALING = "--n 300 600 --batch 30 60 --d 2 20 --fixed 300 50 10 200 --seconds 0.001"
CLUSTER = "--n 600 --batch 30 --d 4 --n-layers 6 --every 2 --shards 4 --repeats 1"


def positive(rows, *names):
    return all(row[name] > 0 for row in rows for name in names)


@pytest.mark.slow
def test_limit(run_benchmark):
    options = f"{LIMIT} --dtype float32 float64 --kernel gaussian rational_quadratic --products"
    printed, report = run_benchmark("limit", options)
    rows = report["rows"]
    cases = {(row["d"], row["dtype"], row["kernel"]) for row in rows}
    assert len(rows) == len(cases) == 8
    assert positive(rows, "gemm_gflops", "exp_ns", "profile_ns", "move_s", "fraction", "products")
    assert len(printed.splitlines()) == 1 + len(rows)
    assert not report["skipped"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "reason"), [("--n 1000000000000", "needs"), ("--longest 0", "would take")]
)
def test_limit_says_what_it_leaves_out(run_benchmark, options, reason):
    printed, report = run_benchmark("limit", f"{LIMIT} {options}")
    assert not report["rows"]
    assert all(reason in case["reason"] for case in report["skipped"])
    assert printed.count("left out") == len(report["skipped"]) == 2


@pytest.mark.slow
def test_layer(run_benchmark):
    _, report = run_benchmark("layer", LAYER)
    assert positive(report["rows"], "layer_s", "move_s", "layer_over_move")
    assert report["small"]["layers_per_second"] > 0
    assert report["threads"][0]["layer_speed_up"] == 1
    assert positive(report["threads"], "move_speed_up")
    assert positive(report["left_behind"], "product_s", "ratio")


@pytest.mark.slow
def test_other_runtimes(run_benchmark):
    _, report = run_benchmark("other_runtimes", "--packages numpy --repeats 1 --processes 1")
    assert [row["timed"] for row in report["rows"]] == ["kflow", "numpy"]
    assert positive(report["rows"], "before", "ratio")


@pytest.mark.slow
def test_side_by_side(run_benchmark):
    printed, report = run_benchmark("side_by_side", SIDE_BY_SIDE)
    installed = ["kflow", "NumPy"]
    for name, package in (("PyTorch", "torch"), ("JAX", "jax")):
        if find_spec(package):
            installed.append(name)
        else:
            assert f"{name} is left out" in printed
    large = [row["by"] for row in report["rows"] if row["N"] == 300]
    small = [row["by"] for row in report["rows"] if row["N"] == 20]
    assert large == installed
    assert small == [*installed, "Python loops"]
    assert positive(report["rows"], "layer_s", "ratio")


@pytest.mark.slow
def test_cluster(run_benchmark):
    pytest.importorskip("distributed")
    printed, report = run_benchmark("cluster", f"{CLUSTER} --cost-batch 30 --cost-d 2 4 --tasks 20")
    rows = report["rows"]
    assert [(row["workers"], row["killed"]) for row in rows] == [(1, False), (2, False), (2, True)]
    assert positive(rows[:2], "point_layers_per_s", "ratio", "leader_s", "place_s")
    assert "one of them was killed" in printed
    assert [(row["N_f"], row["d"]) for row in report["costs"]] == [(30, 2), (30, 4)]
    assert positive(report["costs"], "block_bytes", "move_s")
    assert positive([report["overheads"]], "broadcast_s", "task_s")
    assert positive(report["parts"], "ms")
    assert report["derived"]["every"] >= 1


@pytest.mark.slow
def test_scaling_and_pictures(run_benchmark, tmp_path):
    pytest.importorskip("matplotlib")
    _, report = run_benchmark("scaling", SCALING)
    assert [row["axis"] for row in report["rows"]] == ["N", "N", "N_f", "N_f", "d", "d"]
    assert set(report["exponents"]) == {"N", "N_f", "d"}
    run_benchmark("limit", LIMIT)
    files = ["--limit", tmp_path / "limit.json", "--scaling", tmp_path / "scaling.json"]
    command = [sys.executable, BENCH / "plot.py", *files, "--output", tmp_path]
    subprocess.run(command, check=True)
    for name in ("roofline.png", "scaling.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_tuning(run_benchmark):
    options = '--dataset digits --n-layers 3 --every 2 --set \'{"batch_size":50,"gradient_cap":Infinity}\''
    _, report = run_benchmark("tuning", options)
    assert {row["layers"] for row in report["rows"]} == {2, 3}
    assert all(0 <= row["average"] <= row["max"] <= 1 for row in report["rows"])


@pytest.mark.slow
def test_scattering(run_benchmark):
    _, report = run_benchmark("scattering", "--n 20 --repeats 1")
    assert {row["padding"] for row in report["rows"]} == {"zero", "reflect"}


def test_accuracy(run_benchmark):
    _, report = run_benchmark("accuracy", "--dataset digits --n-layers 2")
    (row,) = report["rows"]
    assert row["dataset"] == "digits"
    assert row["seconds"] > 0
    assert row["peak_over_budget"] == pytest.approx(row["peak_bytes"] / row["budget_bytes"])
    assert row["budget_bytes"] == 1.5 * 1797 * 64 * 4 + 300e6
    assert [error["n_interpolation"] for error in row["errors"]] == [600, 60, 10]


@pytest.mark.slow
def test_compression(run_benchmark):
    _, report = run_benchmark("compression", "--quick --repeats 1")
    original, *rows = report["rows"]
    assert original["layers"] == 60
    assert all(row["bytes_float32"] < original["bytes_float32"] / 10 for row in rows)
    assert all(row["test_error"] < original["test_error"] + 0.03 for row in rows)
    assert positive(rows, "position_error", "transform_s", "compress_s")


@pytest.mark.slow
def test_compression_of_images(run_benchmark):
    _, report = run_benchmark("compression", "--quick --scattering --repeats 1")
    original, *rows = report["rows"]
    assert all(row["bytes_of_file"] < original["bytes_of_file"] / 5 for row in rows)
    assert all(row["test_error"] < original["test_error"] + 0.03 for row in rows)


def test_image_features(run_benchmark):
    _, report = run_benchmark("image_features", "--quick")
    assert [row["n_features"] for row in report["rows"]] == [225, 353]
    assert all(row["error"] < 0.1 for row in report["rows"])


@pytest.mark.slow
def test_learning_step(run_benchmark):
    printed, report = run_benchmark("learning_step", "--preset smoke --repeats 1")
    (result,) = report["results"]
    assert positive([result], "floor", "own_floor", "over_floor", "over_own_floor")
    for name, package in (("PyTorch", "torch"), ("GPyTorch", "gpytorch")):
        assert (name in result["steps"]) == (find_spec(package) is not None)
        assert name in result["steps"] or f"{name} is left out" in printed
    assert max(result["differences"].values()) < 1e-6


@pytest.mark.slow
def test_chaos(run_benchmark, tmp_path):
    pytest.importorskip("matplotlib")
    pictures, learners = tmp_path / "pictures", "none rho nlml scikit-learn sparse-e2"
    printed, report = run_benchmark(
        "chaos", f"--preset smallest --system logistic --learner {learners} --pictures {pictures}"
    )
    rows = report["rows"]
    assert len(printed.splitlines()) == 1 + len(rows) == 9
    assert positive(rows, "seconds", "one_step")
    assert {row["kernel"] for row in rows} == {"single", "sum", "sparse"}
    for name in ("attractor-logistic", "forecast-logistic", "valid-times"):
        assert (pictures / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_regression(run_benchmark):
    options = "--n 60 --seeds 2 --data diabetes borehole --loss e2 --restarts 0"
    printed, report = run_benchmark("regression", f"{options} --set '{{\"n_steps\":3}}'")
    assert len(report["rows"]) == 2 * len(report["means"]) == 8
    assert len(printed.splitlines()) == 1 + len(report["means"])
    assert [mean["by"] for mean in report["means"]] == ["kflow e2", "scikit-learn, 0 restarts"] * 2
    assert positive(report["rows"], "rmse", "inside", "seconds")


@pytest.mark.slow
def test_model_selection(run_benchmark):
    options = "--n 20 --seeds 2 --data loud plane --loss auto e2"
    printed, report = run_benchmark("model_selection", options)
    means, ratios = report["means"], report["ratios"]
    assert [mean["loss"] for mean in means] == ["auto", "e2"] * 2
    assert positive(means, "rmse", "rmse_error", "worst", "seconds")
    assert [row["noise"] for row in ratios] == [True, True, False, False]
    assert min(row["ratio"] for row in ratios) >= 1.0
    assert len(printed.splitlines()) == 3 + len(means) + len(ratios)


@pytest.mark.slow
def test_emulators(run_benchmark):
    options = "--simulators borehole --n 40 --seeds 2 --methods kflow kflow-e2 sklearn"
    printed, report = run_benchmark("emulators", options)
    assert len(printed.splitlines()) == 1 + 3
    assert [row["method"] for row in report["rows"]] == 2 * ["kflow", "kflow-e2", "sklearn"]
    assert positive(report["rows"], "median", "all", "inside", "fit_seconds", "us_mean", "us_std")


@pytest.mark.slow
def test_wide_emulator(run_benchmark):
    options = "--n 300 --inputs 6 --outputs 50 --inducing 100"
    printed, report = run_benchmark("wide_emulator", options)
    assert len(printed.splitlines()) == 1 + 2
    assert [row["directions"] for row in report["rows"]] == ["5", "all"]
    assert positive(report["rows"], "median", "promised", "seconds", "us", "memory")


@pytest.mark.slow
def test_forecast_intervals(run_benchmark):
    options = "--system logistic --seeds 1 --starts 4 --members 10"
    printed, report = run_benchmark("forecast_intervals", options)
    assert len(printed.splitlines()) == 1 + 2
    assert [row["calibrated"] for row in report["rows"]] == ["no", "yes"]
    assert positive(report["rows"], "factor", "error_1", "spread_40", "seconds")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("dysts") is None, reason="dysts is not installed")
def test_forecasts(run_benchmark):
    options = "--systems Lorenz --settings coarse --candidates 3 --train 300 --starts 2"
    _, report = run_benchmark("forecasts", options)
    assert len(report["rows"]) == len(report["summary"]) == 6
    assert positive(report["rows"], "valid_75")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("dysts") is None, reason="dysts is not installed")
def test_attractors(run_benchmark):
    _, report = run_benchmark("attractors", "--systems Lorenz --train 300 --test 2000 --runs 2")
    assert [row["method"] for row in report["rows"]] == ["defaults", "stay_near", "chosen"]
    assert positive(report["rows"], "valid", "seconds")


@pytest.mark.slow
def test_kill_and_resume(run_benchmark):
    printed, report = run_benchmark(
        "kill_and_resume", '--cycles 1 --fit "--dataset digits --n-layers 30 --every 5 --n-draws 1"'
    )
    assert report["n_layers"] == 30
    assert len(report["rows"]) == 1
    assert sum(report["found"].values()) == report["kills"]
    assert "no difference" in printed


@pytest.mark.slow
def test_generalisation(run_benchmark):
    printed, report = run_benchmark("generalisation", "tables --seeds 1 --max-rows 60")
    assert [row["set"] for row in report["rows"]] == ["wine", "diabetes"]
    assert positive(report["rows"], "unflowed", "flow", "metric", "both", "seconds")
    assert all(side in printed for side in ("flow: ratio", "metric: ratio", "both: ratio"))
    options = "images --n 200 --held-out 100 --rank 10 --batch 50 --n-layers 0 3"
    _, report = run_benchmark("generalisation", options)
    assert [(row["map"], row["layers"]) for row in report["rows"]] == [
        (name, layers) for name in ("none", "metric") for layers in (0, 3)
    ]
    assert all(0 <= row["train"] <= row["error"] < 0.5 for row in report["rows"])


@pytest.mark.slow
def test_levers(run_benchmark):
    options = (
        """--n 200 --held-out 100 --rank 10 --n-layers 0 2 --set '{"batch": 50, "from": 100}'"""
    )
    _, report = run_benchmark("levers", options)
    rows = report["rows"]
    assert len({row["lever"] for row in rows}) == len(rows) / 2 == 10
    assert all(0 <= row["all"] < 0.5 for row in rows)
    assert len({row["all"] for row in rows if row["layers"] == 0}) == 1


@pytest.mark.slow
def test_tables(run_benchmark, tmp_path):
    options = f"--quick --sets iris diabetes --results {tmp_path / 'results.json'}"
    printed, report = run_benchmark("tables", options)
    assert list(report["runs"]) == ["iris", "diabetes"]
    assert {(row["task"], row["part"]) for row in report["reports"]} == {
        ("classification", "B"),
        ("regression", "A"),
    }
    for row in report["reports"]:
        assert not any(method["failed"] for method in row["methods"].values())
    assert "kflow, no flow" in printed


@pytest.mark.slow
def test_table_sizes(run_benchmark):
    printed, report = run_benchmark("table_sizes", "--n 60")
    assert [(row["n"], row["method"]) for row in report["rows"]] == [(60, "kflow"), (60, "SVC")]
    assert positive(report["rows"], "fit_s", "predict_us", "error")
    assert "predict us" in printed


@pytest.mark.slow
def test_full_size(run_benchmark):
    printed, report = run_benchmark("full_size", "--dataset digits --held-out 300")
    assert {"unflowed", "mean"} <= {row["side"].split()[0] for row in report["rows"]}
    assert all(row["error"] < 0.05 for row in report["rows"])
    assert "residual" in printed


@pytest.mark.slow
def test_rho(run_benchmark):
    printed, report = run_benchmark("rho", "--quick")
    assert [row["changed"] for row in report["rows"]] == ["no flow", "as above"]
    assert positive(report["rows"], "first", "last", "ten", "all")
    assert len(printed.splitlines()) == 4


@pytest.mark.slow
def test_embeddings(run_benchmark, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "embeddings.png"
    _, report = run_benchmark("embeddings", f"--n 220 --n-layers 3 --picture {picture}")
    assert {"PCA", "NCA", "kernel flow"} <= {row["method"] for row in report["rows"]}
    assert all(0 < row["mean"] < 1 for row in report["rows"])
    assert picture.read_bytes().startswith(b"\x89PNG")
