"""Flows in other precisions, and PyTorch's own settings, which stay as they are."""

from __future__ import annotations

import time
import warnings
from importlib import import_module
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import kflow
from kflow.engine import PRECISIONS, get_engine
from kflow.engine.torch import layers, move
from kflow.engine.torch.batch import decide
from kflow.engine.torch.engine import TorchEngine
from kflow.engine.torch.move import LayerOnDevice, displacement
from kflow.engine.torch.precision import TF32_ROUNDING, Precision, float32_products, takes_tf32
from kflow.errors import PrecisionWarning
from kflow.kernels import Gaussian
from kflow.testing.engines import EngineTests

from .small_flows import small_flow

BENCH = Path(__file__).parents[3] / "bench"


def flow(**options):
    return small_flow(**{"n_layers": 30, "n_halves": 2, **options})


@pytest.mark.slow
class TestMixedEngine(EngineTests):
    """The conformance suite, in mixed precision."""

    engine = TorchEngine("cpu", "mixed+tf32")


def test_names():
    assert [Precision.named(name) for name in PRECISIONS] == [
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    ]


def test_without_a_device():
    with pytest.raises(
        ValueError, match=r"precision='mixed' is a matter of devices.*device='cuda'"
    ):
        flow(device=None, precision="mixed")
    with pytest.raises(ValueError, match="precision must be one of"):
        flow(precision="float16")
    with pytest.raises(ValueError, match="precision='tf32' is a matter of devices"):
        flow(precision="tf32").device = None
    with pytest.raises(ValueError, match="precision='mixed' is a matter of devices"):
        kflow.KernelFlowClassifier(n_layers=2, precision="mixed").fit(np.eye(8), np.arange(8) % 2)


def test_estimators_pass_it_on(cloud, tmp_path):
    X, y = cloud[0], cloud[1].argmax(axis=1)
    model = kflow.KernelFlowClassifier(
        n_layers=3, device="cpu", precision="mixed", random_state=0
    ).fit(X, y)
    assert model.flow_.precision == "mixed"
    assert model.flow_.computing_engine() is get_engine("torch", "cpu", "mixed")
    model.save(tmp_path / "model")
    assert kflow.load(tmp_path / "model").precision == "float64"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mixed_precision_is_as_exact(cloud, dtype):
    X, Y, _ = cloud
    with warnings.catch_warnings():
        warnings.simplefilter("error", PrecisionWarning)
        mixed = flow(precision="mixed", dtype=dtype).fit(X, Y)
    core = flow(device=None, dtype=dtype).fit(X, Y)
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    scale = np.abs(core.points_).max()
    np.testing.assert_allclose(mixed.points_, core.points_, atol=tolerance * scale)
    np.testing.assert_allclose(mixed.history_["rho"], core.history_["rho"], rtol=100 * tolerance)
    np.testing.assert_array_equal(mixed.transform(X), mixed.points_)


def test_float64_takes_over_where_float32_does_not_do(cloud):
    X, Y, _ = cloud
    options = {"kernel": Gaussian(30.0), "dtype": "float64", "nugget": 1e-9, "n_layers": 5}
    with pytest.warns(PrecisionWarning, match="precision: a batch's matrix with nugget") as record:
        mixed = flow(precision="mixed", **options).fit(X, Y)
    assert len(record) == 1
    plain = flow(**options).fit(X, Y)
    np.testing.assert_array_equal(mixed.points_, plain.points_)


def test_points_that_coincide_are_found_in_any_precision(cloud):
    X, Y, _ = cloud
    X[1:] = X[0]
    for precision in PRECISIONS:
        with pytest.raises(kflow.SingularKernelError):
            flow(precision=precision, nugget=0.0).fit(X, Y)


def test_a_resumed_flow_has_the_same_bits(cloud, tmp_path):
    X, Y, _ = cloud
    options = {"precision": "mixed+tf32", "n_layers": 12}
    whole = flow(**options).fit(X, Y)
    flow(**{**options, "n_layers": 5}, checkpoint=tmp_path / "flow", every=4).fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed = flow(**options, checkpoint=tmp_path / "flow", every=4).fit(X, Y, resume=True)
    np.testing.assert_array_equal(resumed.points_, whole.points_)


def test_the_precision_is_part_of_the_engine_s_identity():
    assert "precision" not in get_engine("torch", "cpu").build
    assert get_engine("torch", "cpu", "mixed").build.endswith(", precision mixed")


# ---- PyTorch's settings ---------------------------------------------------------------------------


def settings():
    matmul = torch.backends.cuda.matmul
    return matmul.fp32_precision if hasattr(matmul, "fp32_precision") else matmul.allow_tf32


@pytest.mark.parametrize("chosen", ["highest", "high"])
@pytest.mark.parametrize("tf32", [False, True])
def test_settings_of_the_process_are_restored(chosen, tf32):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(chosen)
    try:
        outside, allowed = settings(), torch.backends.cuda.matmul.allow_tf32
        with float32_products(tf32):
            assert settings() in ("tf32" if tf32 else "ieee", tf32)
        assert settings() == outside
        with pytest.raises(KeyError), float32_products(tf32):
            raise KeyError
        assert settings() == outside
        assert torch.backends.cuda.matmul.allow_tf32 == allowed
        assert torch.get_float32_matmul_precision() == chosen
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(("precision", "within"), [("float64", "ieee"), ("tf32", "tf32")])
def test_points_move_by_the_products_that_were_asked_for(cloud, monkeypatch, precision, within):
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("an older PyTorch")
    X, Y, _ = cloud
    seen, original = set(), move.squared_distances

    def looking(*arguments):
        seen.add(torch.backends.cuda.matmul.fp32_precision)
        return original(*arguments)

    monkeypatch.setattr(move, "squared_distances", looking)
    outside = settings()
    fitted = flow(precision=precision, n_layers=2).fit(X, Y)
    fitted.transform(X[:3])
    assert seen == {within}
    assert settings() == outside


# ---- TF32 -------------------------------------------------------------------------------------


def test_what_tf32_changes_is_told_where_it_is_much(cloud, monkeypatch):
    X, Y, _ = cloud
    with warnings.catch_warnings():
        warnings.simplefilter("error", PrecisionWarning)
        # A processor has no TF32.
        flow(precision="tf32", nugget=0.05, n_layers=5, dtype="float32").fit(X, Y)
        monkeypatch.setattr(layers, "takes_tf32", lambda _: True)
        flow(precision="tf32", nugget=1.0, n_layers=5, dtype="float32").fit(X, Y)
        flow(precision="tf32", nugget=0.05, n_layers=5, dtype="float64").fit(X, Y)
        flow(precision="float64", nugget=0.05, n_layers=5, dtype="float32").fit(X, Y)
    with pytest.warns(PrecisionWarning, match=r"changes displacements by about \d\d%") as record:
        flow(precision="tf32", nugget=0.05, n_layers=5, dtype="float32").fit(X, Y)
    assert len(record) == 1


@pytest.mark.parametrize(
    ("kind", "hip", "capability", "expected"),
    [
        ("cpu", None, (9, 0), False),
        ("cuda", None, (7, 5), False),
        ("cuda", None, (8, 0), True),
        ("cuda", "6.2", (9, 0), False),
    ],
)
def test_devices_with_tf32(monkeypatch, kind, hip, capability, expected):
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert takes_tf32(torch.device(kind)) == expected


@pytest.mark.skipif(not BENCH.is_dir(), reason="the benchmarks are not here")
@pytest.mark.parametrize("nugget", [10.0, 1.0, 0.1, 1e-3])
def test_what_is_told_of_tf32_is_what_it_does(cloud, monkeypatch, nugget):
    monkeypatch.syspath_prepend(BENCH)
    cores = import_module("tf32").AsTensorCores
    profile, Z, Y = Gaussian(3.0).profile, *map(torch.from_numpy, (cloud[0][:200], cloud[1][:200]))
    Z = Z.float()
    decision = decide(
        Z,
        Y,
        None,
        torch.arange(100)[None],
        torch.tensor([nugget, torch.inf], dtype=torch.float64),
        profile=profile,
        n_moving=Z.shape[1],
        capped=False,
        mixed=False,
        tf32=True,
    )
    K = Gaussian(3.0)(Z.double().numpy())
    C = decision.coefficients.double().numpy()
    terms, sums = np.square(K) @ np.square(C).sum(axis=1), np.square(K @ C).sum()
    told = float(decision.measured[2])
    np.testing.assert_allclose(told, np.sqrt(terms.sum() / sums), rtol=1e-3)

    exact = displacement(profile, LayerOnDevice(*(x.double() for x in decision.layer)), Z.double())
    with cores(), float32_products(tf32=True):
        found = displacement(profile, decision.layer, Z).double()
    error = float((found - exact).norm() / exact.norm())
    assert error / 2 < told * TF32_ROUNDING < error * 8


class Choice:
    """PyTorch's own choice for products of float32, whatever it is called."""

    def __init__(self):
        self.where = torch.backends.cuda.matmul
        is_new = hasattr(self.where, "fp32_precision")
        self.name = "fp32_precision" if is_new else "allow_tf32"
        self.exact, self.tf32 = ("ieee", "tf32") if is_new else (False, True)

    def get(self):
        return getattr(self.where, self.name)

    def set(self, value):
        setattr(self.where, self.name, value)


@pytest.fixture
def choice():
    found = Choice()
    before = found.get()
    yield found
    found.set(before)


def test_threads_that_choose_at_once(choice):
    """Neither takes the other's choice for what was before."""
    choice.set(choice.tf32)
    inside, seen = Event(), []

    def first():
        with float32_products(tf32=False):
            inside.set()
            time.sleep(0.05)
            seen.append(choice.get())

    def second():
        inside.wait()
        with float32_products(tf32=False):
            time.sleep(0.1)
            seen.append(choice.get())

    threads = [Thread(target=function) for function in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [choice.exact, choice.exact]
    assert choice.get() == choice.tf32


@pytest.mark.parametrize("tf32", [True, False])
def test_kernel_matrices_do_not_follow_the_choice_for_networks(cloud, choice, tf32):
    """Distances are differences of squares, which TF32 would leave few digits."""
    choice.set(choice.tf32 if tf32 else choice.exact)
    seen = set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
            if operation.overloadpacket.__name__ in ("mm", "addmm", "bmm", "baddbmm"):
                seen.add(choice.get())
            return operation(*arguments, **(keywords or {}))

    X, Y, T = (x.astype(np.float32) for x in cloud)
    for kernel in (Gaussian(2.0), Gaussian(2.0) + Gaussian(1.0) * Gaussian(3.0)):
        with Watch():
            kflow.Interpolant(X, Y, kernel=kernel, nugget=0.1, device="cpu")(T)
    engine, gradients = get_engine("torch", "cpu"), np.empty_like(T)
    with Watch():
        engine.pull_back(T, X, X, Gaussian(2.0).profile, T, gradients, 1)
    assert seen == {choice.exact}
    assert choice.get() == (choice.tf32 if tf32 else choice.exact)
