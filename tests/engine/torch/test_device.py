"""Flows on PyTorch's CPU device: the same results and the same files as those of the compiled core."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import kflow
from kflow.engine import get_engine
from kflow.errors import DivergenceError, EngineWarning, StorageError
from kflow.kernels import (
    Cauchy,
    Gaussian,
    InverseMultiquadric,
    Laplacian,
    Matern32,
    Matern52,
    RationalQuadratic,
    Wendland,
)

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

SETTINGS = {
    "n_layers": 50,
    "batch_size": 40,
    "nugget": 0.1,
    "step": "rms",
    "step_size": 0.02,
    "n_halves": 2,
    "random_state": 0,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 6))
    return X, kflow.one_hot((X[:, 0] * X[:, 1] > 0).astype(int)), rng.normal(size=(20, 6))


def flow(**settings):
    return kflow.KernelFlow(settings.pop("kernel", Gaussian(3.0)), **{**SETTINGS, **settings})


def pair(data, **settings):
    """The same flow by the compiled core and on the device."""
    X, Y, T = data
    return [
        flow(device=device, **settings).fit(X, Y, follow={"test": T}) for device in (None, "cpu")
    ]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-4)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rank": "auto", "shrink_every": 10, "shrink_tolerance": 1e-3},
        {"step": {0: "relative", 10: "absolute"}, "gradient_cap": 1.0},
        {"step_over": "batch", "nugget": {0: 1.0, 20: 0.1}},
    ],
)
def test_a_flow_agrees_with_the_compiled_core(data, dtype, tolerance, options):
    core, device = pair(data, dtype=dtype, **options)
    scale = np.abs(core.points_).max()
    np.testing.assert_allclose(device.points_, core.points_, atol=tolerance * scale)
    np.testing.assert_allclose(device.follow_["test"], core.follow_["test"], atol=tolerance * scale)
    for name in ("rho", "step", "class_distance_ratio"):
        found, expected = device.history_[name], core.history_[name]
        np.testing.assert_allclose(found, expected, rtol=100 * tolerance)


@pytest.mark.parametrize(
    "kernel",
    [
        Laplacian(3.0),
        Matern32(3.0),
        Matern52(3.0),
        RationalQuadratic(3.0, alpha=0.7),
        InverseMultiquadric(3.0),
        Cauchy(3.0),
        Wendland(9.0, dimension=6),
    ],
    ids=lambda kernel: type(kernel).__name__,
)
def test_all_kernels(data, kernel):
    core, device = pair(data, kernel=kernel, n_layers=5, dtype="float64")
    # Distances are differences of squares: near a centre they have half the digits, as a kink shows.
    atol = 1e-6 if isinstance(kernel, Laplacian) else 1e-9
    np.testing.assert_allclose(device.points_, core.points_, rtol=1e-9, atol=atol)


def test_what_was_run_is_what_is_replayed(data):
    X, Y, T = data
    for dtype in ("float32", "float64"):
        device = flow(device="cpu", n_layers=10, dtype=dtype).fit(X, Y, follow={"test": T})
        np.testing.assert_array_equal(device.transform(X), device.points_)
        np.testing.assert_array_equal(device.transform(T[3:4]), device.follow_["test"][3:4])


def test_files_are_the_same(data, tmp_path):
    X, Y, T = data
    device = flow(device="cpu", n_layers=10, dtype="float64").fit(X, Y)
    device.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert loaded.device is None
    np.testing.assert_allclose(loaded.transform(T), device.transform(T), rtol=1e-12, atol=1e-12)
    core = flow(n_layers=10, dtype="float64").fit(X, Y)
    core.save(tmp_path / "core")
    elsewhere = kflow.load(tmp_path / "core")
    assert "PyTorch" in device.computing_engine().build
    np.testing.assert_array_equal(elsewhere.transform(T), core.transform(T))
    np.testing.assert_allclose(core.transform(T), device.transform(T), rtol=1e-9, atol=1e-9)


def test_a_checkpoint_goes_on_by_the_compiled_core(data, tmp_path, monkeypatch):
    X, Y, _ = data
    whole = flow(n_layers=20, dtype="float64").fit(X, Y)
    broken = flow(device="cpu", n_layers=20, dtype="float64", checkpoint=tmp_path / "flow", every=4)
    engine = get_engine("torch", "cpu")
    original = engine.moving_points

    class Lost(RuntimeError):
        """What PyTorch raises when a device is gone."""

    def failing(*arguments):
        points = original(*arguments)
        run = points.layer

        def layer(number, *rest):
            if number == 10:
                raise Lost("CUDA error: device is lost")
            return run(number, *rest)

        points.layer = layer
        return points

    monkeypatch.setattr(engine, "moving_points", failing)
    with pytest.raises(Lost):
        broken.fit(X, Y)
    assert broken.n_layers_ == 10
    assert np.isfinite(broken.points_).all()
    resumed = flow(n_layers=20, dtype="float64", checkpoint=tmp_path / "flow", every=4)
    with pytest.warns(EngineWarning, match="run by engine torch"):
        resumed.fit(X, Y, resume=True)
    np.testing.assert_allclose(resumed.points_, whole.points_, rtol=1e-9, atol=1e-9)


def test_estimators(data, tmp_path):
    X, _, T = data
    y = (X[:, 0] > 0).astype(int)
    options = {"n_layers": 10, "random_state": 0}
    core = kflow.KernelFlowClassifier(**options).fit(X, y)
    device = kflow.KernelFlowClassifier(device="cpu", **options).fit(X, y)
    np.testing.assert_allclose(device.predict_proba(T), core.predict_proba(T), atol=1e-6)
    device.save(tmp_path / "model")
    assert kflow.load(tmp_path / "model").device is None
    regressor = kflow.KernelFlowRegressor(device="cpu", **options).fit(X, X[:, 0])
    assert regressor.flow_.device == "cpu"


def test_derivatives(data):
    T = data[2]
    core, device = pair(data, n_layers=5, dtype="float64")
    first, second = core.linearize(T[:3]), device.linearize(T[:3])
    rng = np.random.default_rng(1)
    V, W = rng.normal(size=(2, 3, 6))
    np.testing.assert_allclose(second.push_forward(V), first.push_forward(V), rtol=1e-8)
    np.testing.assert_allclose(second.pull_back(W), first.pull_back(W), rtol=1e-8)


def test_divergence_leaves_the_last_good_layer(data):
    X, Y, _ = data
    diverging = flow(
        device="cpu", n_layers=5, step={0: "rms", 3: "fixed"}, step_size={0: 0.02, 3: 1e9}
    )
    with pytest.raises(DivergenceError):
        diverging.fit(X, Y)
    assert diverging.n_layers_ == 3
    assert np.isfinite(diverging.points_).all()


def test_points_can_be_pickled(data):
    X = data[0]
    points = get_engine("torch", "cpu").moving_points([X.copy()], 0, Gaussian(3.0).profile, 0)
    again = pickle.loads(pickle.dumps(points))
    np.testing.assert_array_equal(again.to_host()[0], X)


def test_devices_that_are_none():
    with pytest.raises(ValueError, match="device must be the name of a device of PyTorch"):
        flow(device="abacus")
    with pytest.raises(TypeError, match="device must be the name"):
        flow(device=3)
    if not torch.cuda.is_available():
        with pytest.raises(ImportError, match="device='cuda' cannot be used by PyTorch"):
            flow(device="cuda")
    with pytest.raises(ValueError, match="engine='cpu' knows no devices"):
        get_engine("cpu", "cuda")


def test_too_little_memory_is_told_before_the_run(data, monkeypatch):
    from kflow.engine.torch import engine

    X, Y, _ = data
    monkeypatch.setattr(engine, "free_bytes", lambda _: 1000.0)
    with pytest.raises(StorageError, match="there: pass a rank"):
        flow(device="cpu").fit(X, Y)


def test_the_device_is_settled_when_a_flow_begins(data):
    X, Y, _ = data
    begun = flow(device="cpu", n_layers=1).fit(X, Y)
    with pytest.raises(AttributeError, match="device cannot change"):
        begun.device = None


def test_given_arrays_stay_as_they_are(data):
    X, Y, _ = data
    before = X.copy()
    X.setflags(write=False)
    fitted = flow(device="cpu", n_layers=3, dtype="float64").fit(X, Y)
    points = fitted.points_
    points[...] = 0.0
    assert np.abs(fitted.points_).max() > 0.0
    np.testing.assert_array_equal(X, before)
