"""The benchmark of graphics processors, in small on PyTorch's CPU device."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from kflow.engine.torch.precision import float32_products  # noqa: E402 (needs PyTorch)

BENCH = Path(__file__).parents[3] / "bench"

# What the benchmark calls of EigenPro, for this test: kernel ridge regression in one step.
KERNELS = """
import torch

def gaussian(a, b, bandwidth):
    return torch.exp(-torch.cdist(a, b) ** 2 / (2 * bandwidth**2))
"""
MODELS = """
import torch

class KernelModel:
    def __init__(self, kernel_fn, centers, y_dim, device="cuda"):
        self.kernel, self.centers, self.y_dim = kernel_fn, centers, y_dim

    def fit(self, x_train, y_train, epochs=1, mem_gb=1, run_epoch_eval=True):
        assert y_train.shape == (len(x_train), self.y_dim) and not run_epoch_eval
        matrix = self.kernel(x_train, x_train) + 10.0 / epochs * torch.eye(len(x_train))
        self.weight = torch.linalg.solve(matrix, y_train)

    def forward(self, samples):
        return self.kernel(samples, self.centers) @ self.weight
"""


@pytest.mark.slow
def test_it_runs_in_small(run_benchmark):
    printed, report = run_benchmark("gpu", "--small --device cpu --recipes")
    assert report["difference"] < 1e-9
    assert report["same_bits"]
    (row,) = report["rows"]
    assert all(row[name] > 0.0 for name in row if name != "jax_ms")
    if find_spec("jax") is None:
        assert row["jax_ms"] is None
        assert "JAX is left out: it is not installed" in printed
    else:
        assert row["jax_ms"] > 0.0
    assert [flow["dataset"] for flow in report["flows"]] == ["digits"] * 2
    assert [flow["precision"] for flow in report["flows"]] == ["float64", "tf32"]
    assert "EigenPro is left out: --eigenpro names no folder" in printed
    assert {reached["by"] for reached in report["accuracy"]} == {"kflow"}
    assert all(reached["error"] < 0.1 for reached in report["accuracy"])
    assert report["recipes"] == []  # there are no data for them


@pytest.mark.slow
def test_a_folder_of_eigenpro(run_benchmark, tmp_path):
    options = "--small --device cpu --eigenpro"
    printed, _ = run_benchmark("gpu", f"{options} {tmp_path}")
    assert f"EigenPro is left out: {tmp_path} has no eigenpro2/models.py" in printed
    package = tmp_path / "eigenpro2"
    package.mkdir()
    for name, text in (("__init__", ""), ("kernels", KERNELS), ("models", MODELS)):
        (package / f"{name}.py").write_text(text)
    printed, report = run_benchmark("gpu", f"{options} {tmp_path}")
    assert "EigenPro is left out" not in printed
    reached = [row for row in report["accuracy"] if row["by"] == "EigenPro"]
    assert [row["what"] for row in reached] == ["1 epoch", "2 epochs"]
    assert all(row["error"] < 0.1 and row["seconds"] > 0.0 for row in reached)


@pytest.mark.slow
def test_what_takes_time_in_small(run_benchmark):
    printed, report = run_benchmark("gpu", "--small --device cpu --profile")
    assert "(N, N_f, d) = (2000, 60, 20), step_over='batch'" in printed
    for profile in report["profiles"]:
        microseconds, times, names = zip(*profile["operations"], strict=True)
        assert "aten::addmm" in names
        assert list(microseconds) == sorted(microseconds, reverse=True)
        assert min(times) > 0


@pytest.mark.slow
def test_precisions_in_small(run_benchmark):
    _, report = run_benchmark("gpu", "--small --device cpu --precision")
    assert [row["precision"] for row in report["errors"]][:3] == ["core", "float64", "tf32"]
    assert all(row["error"] < 0.1 for row in report["errors"])
    rows = report["precisions"]
    mixed = [row for row in rows if row["precision"] == "mixed" and row["nugget"] >= 1e-2]
    assert {row["dtype"] for row in mixed} == {"float32", "float64"}
    assert all(row["points"] < 1e-4 for row in mixed)
    assert all(row["points"] < 1e-9 for row in mixed if row["dtype"] == "float64")
    tf32 = [row for row in rows if row["precision"] == "tf32" and row["nugget"] >= 1e-2]
    assert all(1e-6 < row["points"] < 1e-2 for row in tf32)
    assert {row["dtype"] for row in tf32} == {"float32"}


@pytest.mark.skipif(not BENCH.is_dir(), reason="the benchmarks are not here")
def test_products_of_tensor_cores(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    tf32 = import_module("tf32")
    rounded, mode = tf32.rounded, tf32.AsTensorCores
    exact = torch.tensor([1.0, 1.0 + 2**-10, 1.0 + 2**-11, 1.0 + 2**-12, -3.0, 0.0, torch.inf])
    expected = [1.0, 1.0 + 2**-10, 1.0 + 2**-10, 1.0, -3.0, 0.0, torch.inf]
    assert rounded(exact).tolist() == expected
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(5, 5, generator=generator) for _ in range(2))
    with mode() as cores:
        with float32_products(tf32=False):
            assert torch.equal(a @ b, a.mm(b))
        with float32_products(tf32=True):
            product = a @ b
            assert torch.equal(a.double() @ b.double(), a.double().mm(b.double()))
    assert cores.n_products == 1
    assert torch.equal(product, rounded(a) @ rounded(b))
