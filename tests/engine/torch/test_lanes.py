"""Work on lanes beside each other is ordered where it must be, and memory is kept for those who use it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kflow.engine.interface import Layer, LayerOptions
from kflow.engine.torch.device_arithmetic import DeviceArithmetic
from kflow.engine.torch.engine import TorchEngine
from kflow.engine.torch.lanes import Lane
from kflow.engine.torch.precision import Precision
from kflow.engine.torch.resident import ResidentPoints
from kflow.engine.torch.streamed import StreamedPoints
from kflow.engine.torch.transfers import start_host_copy
from kflow.kernels import Gaussian

from .races import Watch
from .small_flows import small_batch

PROFILE = Gaussian(3.0).profile


def run(kind, watch, monkeypatch, over_batch, record=None):
    """A flow with everything that may happen between layers, on watched lanes; its points."""
    monkeypatch.setattr(Lane, "new", watch.new)
    monkeypatch.setattr(Lane, "current", watch.current)
    rng = np.random.default_rng(0)
    sets = [rng.normal(size=(n, 6)) for n in (700, 300)]
    Y = rng.normal(size=(700, 2))
    options = LayerOptions(0.1, "rms", 0.05, float("inf"), over_batch)
    arithmetic = DeviceArithmetic("cpu", Precision.named("float64"), record)
    with watch:
        points = kind([x.copy() for x in sets], 1, PROFILE, 0, arithmetic)
        for number in range(12):
            layer, _ = points.layer(number, small_batch(700, number), Y, None, options, 1)
            if number == 3:  # the layer does not count
                points.layer(number, small_batch(700, 50), Y, None, options, 1)
            if number in (5, 6):
                points.settle(number + 1, 1)
                points.training_rows(np.arange(5))
            if number == 7:
                points.settle(8, 1)
                points.rest()
        points.settle(12, 1)
        points.through([layer], 1)
        for number in (13, 14):
            points.layer(number, small_batch(700, number), Y, None, options, 1)
        points.settle(15, 1)
        return points.to_host()


@pytest.mark.parametrize("over_batch", [False, True])
@pytest.mark.parametrize("kind", [ResidentPoints, StreamedPoints])
def test_nothing_races(kind, over_batch, monkeypatch, recorder):
    for record in (None, recorder):
        watch = Watch()
        run(kind, watch, monkeypatch, over_batch, record)
        assert watch.n_lanes >= 2
        assert watch.races == []


@pytest.mark.parametrize("over_batch", [False, True])
def test_memory_is_kept_for_other_lanes(over_batch, monkeypatch):
    watch = Watch()
    run(ResidentPoints, watch, monkeypatch, over_batch)
    assert watch.borrowed
    assert watch.borrowed <= watch.kept


@pytest.mark.parametrize("over_batch", [False, True])
@pytest.mark.parametrize("kind", [ResidentPoints, StreamedPoints])
def test_what_is_not_ordered_is_found(kind, over_batch, monkeypatch):
    """The watch itself: lanes that do not wait for each other race."""
    watch = Watch(obeys=False)
    run(kind, watch, monkeypatch, over_batch)
    assert watch.races


def test_the_next_batch_does_not_wait_for_all_points(monkeypatch):
    """With steps over batches, points move through a layer beside the algebra of the next batch."""
    watch = Watch()
    monkeypatch.setattr(Lane, "new", watch.new)
    monkeypatch.setattr(Lane, "current", watch.current)
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(700, 6)), rng.normal(size=(700, 2))
    options = LayerOptions(0.1, "rms", 0.05, float("inf"), True)
    arithmetic = DeviceArithmetic("cpu", Precision.named("float64"), None)
    with watch:
        points = ResidentPoints([X], 0, PROFILE, 0, arithmetic)
        done = []  # on the lane of all points, after each layer
        for number in range(6):
            points.layer(number, small_batch(700, number), Y, None, options, 1)
            done.append(points._moving.clock[points._moving.name])
            if (
                number >= 2
            ):  # the batch has waited for the pass before the last, and for no later one
                assert points._leading.clock[points._moving.name] == done[number - 2]
    assert watch.races == []


def test_arrays_of_the_host_wait_for_their_lane(monkeypatch):
    watch = Watch()
    monkeypatch.setattr(Lane, "current", watch.current)
    lane = watch.new("cpu")
    with watch, lane.context():
        fetched = start_host_copy(torch.ones(3) + 1.0)
        assert lane.name not in watch.host
        assert fetched().tolist() == [2.0] * 3
    assert watch.host[lane.name] == lane.clock[lane.name]


@pytest.mark.parametrize("alone", [False, True])
def test_calls_of_an_engine_come_one_after_the_other(alone, monkeypatch, recorder):
    """They use what is recorded, and may come from lanes that do not wait for each other."""
    watch = Watch()
    monkeypatch.setattr(Lane, "current", watch.current)
    rng = np.random.default_rng(0)
    layer = Layer(rng.normal(size=(40, 6)), rng.normal(size=(40, 6)), 0.1)
    options = LayerOptions(0.1, "rms", 0.05, float("inf"), True)
    engine = TorchEngine("cpu", record=recorder)
    with watch:
        for number in range(4):
            with watch.new("cpu").context():
                if alone:
                    z, y = rng.normal(size=(40, 6)), rng.normal(size=(40, 2))
                    runner = engine.batch_runner(0, PROFILE)
                    runner.layer(z, small_batch(40, number), y, None, options, 1)
                else:
                    engine.replay(rng.normal(size=(300, 6)), [layer], PROFILE, 1)
    assert recorder.n_runs > 0
    assert watch.races == []
