"""Nothing is looked for in the wrong memory: the engine on a stand-in for a device."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
import torch

import kflow
from kflow.engine import get_engine
from kflow.engine.torch.engine import TorchEngine
from kflow.errors import EngineWarning
from kflow.kernels import Gaussian
from kflow.testing.engines import EngineTests

from .small_flows import small_flow
from .stand_in import DEVICE, OnDevice, StandIn


@pytest.fixture
def device():
    with StandIn() as stand_in:
        get_engine.cache_clear()
        yield stand_in
    get_engine.cache_clear()


@pytest.mark.slow
@pytest.mark.usefixtures("device")
class TestEngineElsewhere(EngineTests):
    """The conformance suite, on the stand-in."""

    @pytest.fixture(autouse=True)
    def _choose(self, device):
        self.engine = TorchEngine(DEVICE, "mixed")
        yield
        assert device.n_operations > 0


def flow(**options):
    return small_flow(**{"n_layers": 6, **options})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_halves": 3, "gradient_cap": 1.0, "step_over": "batch", "precision": "mixed"},
        {"rank": "auto", "shrink_every": 3, "shrink_tolerance": 1e-3},
    ],
)
@pytest.mark.parametrize("tensors", [False, True])
def test_flows(device, cloud, options, tensors):
    X, Y, T = (
        torch.from_numpy(x).to(DEVICE) if tensors and x is not cloud[1] else x for x in cloud
    )
    here = flow(device="cpu", dtype="float64", **options)
    there = flow(device=DEVICE, dtype="float64", **options)
    here.fit(cloud[0], Y, follow={"test": cloud[2]})
    there.fit(X, Y, follow={"test": T})
    for found, expected in (
        (there.points_, here.points_),
        (there.follow_["test"], here.follow_["test"]),
        (there.transform(T), here.transform(cloud[2])),
    ):
        assert isinstance(found, OnDevice) == tensors
        numbers = found.cpu().numpy() if tensors else found
        np.testing.assert_allclose(numbers, expected, rtol=1e-9, atol=1e-9)
    assert device.n_operations > 0


@pytest.mark.parametrize("tensors", [False, True])
@pytest.mark.usefixtures("device")
def test_estimators(cloud, tensors):
    X, T = (torch.from_numpy(x).to(DEVICE) if tensors else x for x in (cloud[0], cloud[2]))
    labels = cloud[1].argmax(axis=1)
    settings = {"n_layers": 5, "random_state": 0, "scaling": "standard", "dtype": "float64"}
    here = kflow.KernelFlowClassifier(device="cpu", **settings).fit(cloud[0], labels)
    there = kflow.KernelFlowClassifier(device=DEVICE, **settings).fit(X, labels)
    found, expected = there.predict_proba(T), here.predict_proba(cloud[2])
    assert isinstance(found, OnDevice) == tensors
    np.testing.assert_allclose(
        found.cpu().numpy() if tensors else found, expected, rtol=1e-6, atol=1e-9
    )


@pytest.mark.usefixtures("device")
def test_interpolants_and_derivatives(cloud):
    X, Y, T = cloud
    u = kflow.Interpolant(X, Y, kernel=Gaussian(2.0), nugget=0.1, device=DEVICE)
    v = kflow.Interpolant(X, Y, kernel=Gaussian(2.0), nugget=0.1)
    np.testing.assert_allclose(u(T), v(T), rtol=1e-9, atol=1e-9)
    here, there = (flow(device=d, dtype="float64").fit(X, Y) for d in ("cpu", DEVICE))
    for name in ("push_forward", "pull_back"):
        found, expected = (getattr(f.linearize(T), name)(np.ones_like(T)) for f in (there, here))
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


# ---- operations that fail ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("step_over", ["all", "batch"])
def test_a_flow_goes_on_after_an_operation_that_failed(device, cloud, step_over):
    """Wherever it fails: the flow is at its last good layer, and has the bits of one where none failed."""
    X, Y, T = cloud

    def begun():
        return flow(n_layers=2, device=DEVICE, step_over=step_over).fit(X, Y, follow={"test": T})

    whole, before = begun(), device.n_operations
    whole.run(3)
    n_operations, n_failed = device.n_operations - before, 0
    for failing in range(0, n_operations, 29):
        broken = begun()
        device.fails_in = failing
        with suppress(RuntimeError):
            broken.run(3)
        n_failed += device.fails_in < 0
        device.fails_in = None
        broken.run(5 - broken.n_layers_)
        np.testing.assert_array_equal(broken.points_, whole.points_)
        np.testing.assert_array_equal(broken.follow_["test"], whole.follow_["test"])
        np.testing.assert_array_equal(broken.history_["step"], whole.history_["step"])
    assert n_failed > 10


@pytest.mark.parametrize("elsewhere", [None, "cpu"])
def test_a_device_that_is_lost(device, cloud, tmp_path, elsewhere):
    """Its points are lost with it. The layers of the checkpoint are not, and give them again."""
    X, Y, _ = cloud
    options = {"n_layers": 8, "every": 1, "dtype": "float64"}
    lost = flow(device=DEVICE, checkpoint=tmp_path / "flow", **options)
    device.is_lost, device.fails_in = True, 1500
    with pytest.raises(RuntimeError, match="the stand-in fails"):
        lost.fit(X, Y)
    n_before = lost.n_layers_
    assert 0 < n_before < 8
    with pytest.raises(RuntimeError, match="the stand-in fails"):
        lost.points_  # noqa: B018
    assert lost.n_layers_ == n_before
    resumed = flow(device=elsewhere, checkpoint=tmp_path / "flow", **options)
    with pytest.warns(EngineWarning):
        resumed.fit(X, Y, resume=True)
    assert resumed.n_layers_ == 8
    there = flow(device="cpu", **options).fit(X, Y)
    np.testing.assert_allclose(resumed.points_, there.points_, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("device")
def test_the_stand_in_finds_what_is_in_the_wrong_memory():
    there, here = torch.ones(3, device=DEVICE), torch.ones(3)
    for mixed in (lambda: there + here, lambda: here @ there, lambda: there[here.bool()]):
        with pytest.raises(AssertionError, match="of two devices"):
            mixed()
    with pytest.raises(RuntimeError, match="numpy"):
        there.numpy()
    assert (there + torch.tensor(1.0)).tolist() == [2.0] * 3
    assert there.cpu().tolist() == [1.0] * 3
    there[1:].copy_(here[1:] * 2.0)
    assert there.tolist() == [1.0, 2.0, 2.0]
