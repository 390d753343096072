"""Points that pass through a device in tiles arrive at the bits of those that stay there."""

from __future__ import annotations

import numpy as np
import pytest

from kflow.engine.interface import LayerOptions
from kflow.engine.torch import engine as engine_module
from kflow.engine.torch.device_arithmetic import DeviceArithmetic
from kflow.engine.torch.engine import TorchEngine
from kflow.engine.torch.memory import resident_bytes, streamed_bytes
from kflow.engine.torch.precision import Precision
from kflow.engine.torch.resident import ResidentPoints
from kflow.engine.torch.streamed import StreamedPoints
from kflow.errors import FlowWarning, StorageError
from kflow.kernels import Gaussian
from kflow.testing.engines import EngineTests

from .small_flows import small_batch, small_flow

ARITHMETIC = DeviceArithmetic("cpu", Precision.named("float64"), None)
PROFILE = Gaussian(3.0).profile
OPTIONS = LayerOptions(0.1, "rms", 0.05, float("inf"), False)


class StreamingEngine(TorchEngine):
    """Points never stay on the device."""

    def moving_points(self, sets, n_fixed, profile, n_layers):
        return StreamedPoints(sets, n_fixed, profile, n_layers, ARITHMETIC)


@pytest.mark.slow
class TestStreamingEngine(EngineTests):
    """The conformance suite, with points that pass through the device."""

    engine = StreamingEngine("cpu")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("over_batch", [False, True])
@pytest.mark.parametrize("sizes", [(700, 300), (256, 0), (257, 1), (512,), (40, 600)])
def test_bits_are_those_of_points_that_stay(dtype, over_batch, sizes):
    rng = np.random.default_rng(0)
    sets = [rng.normal(size=(n, 6)).astype(dtype) for n in sizes]
    Y, options = rng.normal(size=(sizes[0], 2)), OPTIONS._replace(over_batch=over_batch)
    pair = [
        kind([x.copy() for x in sets], 1, PROFILE, 0, ARITHMETIC)
        for kind in (ResidentPoints, StreamedPoints)
    ]
    for number in range(20):  # more than wait at a time
        results = [
            p.layer(number, small_batch(sizes[0], number), Y, None, options, 1) for p in pair
        ]
        (first, report), (second, again) = results
        np.testing.assert_array_equal(first.centres, second.centres)
        np.testing.assert_array_equal(first.coefficients, second.coefficients)
        assert report[:2] == again[:2]
        if number == 12:
            for points in pair:
                points.settle(number + 1, 1)
    for points in pair:
        points.settle(20, 1)
        assert points.n_layers == 20
    for x, y in zip(*(points.to_host() for points in pair), strict=True):
        np.testing.assert_array_equal(x, y)


def test_an_interruption_leaves_points_and_layers_together(monkeypatch):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(700, 4)), rng.normal(size=(700, 1))
    points = StreamedPoints([X.copy()], 0, PROFILE, 0, ARITHMETIC)
    whole = StreamedPoints([X.copy()], 0, PROFILE, 0, ARITHMETIC)
    for each in (points, whole):
        each.layer(0, small_batch(700, 0), Y, None, OPTIONS, 1)
    tile, calls = StreamedPoints._tile, []

    def interrupted(self, x, waiting):
        calls.append(len(x))
        if len(calls) == 3:  # the batch, then tiles
            raise KeyboardInterrupt
        return tile(self, x, waiting)

    monkeypatch.setattr(StreamedPoints, "_tile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        points.layer(1, small_batch(700, 1), Y, None, OPTIONS, 1)
    monkeypatch.setattr(StreamedPoints, "_tile", tile)
    assert points.n_layers == 0
    np.testing.assert_array_equal(points.to_host()[0], X)
    for each in (points, whole):
        each.layer(1, small_batch(700, 1), Y, None, OPTIONS, 1)
        each.settle(2, 1)
    np.testing.assert_array_equal(points.to_host()[0], whole.to_host()[0])


# ---- when ---------------------------------------------------------------------------------------


def test_what_stays_takes_more_than_what_passes():
    sets = [np.zeros((1000, 6), np.float32)]
    assert streamed_bytes(sets, "cpu") < resident_bytes(sets, "cpu")
    engine = TorchEngine("cpu", memory_limit=resident_bytes(sets, "cpu"))
    assert isinstance(engine.moving_points(sets, 0, PROFILE, 0), ResidentPoints)


def test_it_is_told_before_the_run():
    sets = [np.zeros((1000, 6), np.float32)]
    engine = TorchEngine("cpu", memory_limit=streamed_bytes(sets, "cpu"))
    with pytest.warns(FlowWarning, match="GB to stay there. They stay in this process's memory"):
        points = engine.moving_points(sets, 0, PROFILE, 0)
    assert isinstance(points, StreamedPoints)
    engine = TorchEngine("cpu", memory_limit=streamed_bytes(sets, "cpu") - 1)
    with pytest.raises(StorageError, match="to pass through it in tiles, there: pass a rank"):
        engine.moving_points(sets, 0, PROFILE, 0)


@pytest.mark.parametrize(
    "options",
    [
        {"n_layers": 12},
        {"n_layers": 25, "step_over": "batch"},
        {"n_layers": 12, "rank": "auto", "shrink_every": 4, "shrink_tolerance": 1e-3},
        {"n_layers": 12, "precision": "mixed"},
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_flows(cloud, monkeypatch, options, dtype):
    X, Y, T = np.repeat(cloud[0], 2, axis=0), np.repeat(cloud[1], 2, axis=0), cloud[2]
    X += 0.1 * np.random.default_rng(1).normal(size=X.shape)

    def fitted():
        return small_flow(dtype=dtype, **options).fit(X, Y, follow={"test": T})

    resident = fitted()
    sets = [x.astype(dtype) for x in (np.zeros((len(X), 6)), np.zeros((len(T), 6)))]
    monkeypatch.setattr(engine_module, "free_bytes", lambda _: streamed_bytes(sets, "cpu") + 40_000)
    with pytest.warns(FlowWarning, match="pass through the device"):
        streamed = fitted()
    np.testing.assert_array_equal(streamed.points_, resident.points_)
    np.testing.assert_array_equal(streamed.follow_["test"], resident.follow_["test"])
    np.testing.assert_array_equal(streamed.transform(T), resident.transform(T))
