"""What is recorded is what runs: the same function, the same bits, and no wait for the device in it."""

from __future__ import annotations

import gc
import pickle
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch

from kflow.engine import get_engine
from kflow.engine import torch as package
from kflow.engine.torch.engine import TorchEngine
from kflow.engine.torch.repeated import Repeated, recorder_of
from kflow.errors import EngineWarning
from kflow.testing.engines import EngineTests

from .small_flows import small_flow


@contextmanager
def in_place_of_the_processor(engine, monkeypatch):
    """Flows of the device "cpu" are run by an engine, in a context."""
    monkeypatch.setattr(package, "on_device", lambda *_: engine)
    get_engine.cache_clear()
    try:
        yield
    finally:
        get_engine.cache_clear()


@pytest.mark.slow
class TestRecordedEngine(EngineTests):
    """The conformance suite, by recorded functions."""

    @pytest.fixture(autouse=True)
    def _choose(self, recorder):
        self.engine = TorchEngine("cpu", record=recorder)


def product(a, b):
    return (a @ b,)


def test_a_function_that_comes_again_is_recorded_once_for_its_shapes(recorder):
    repeated = Repeated(recorder)
    generator = torch.Generator().manual_seed(0)
    for rows in (3, 3, 5, 3):
        a, b = (torch.randn(s, generator=generator) for s in ((rows, 4), (4, 2)))
        (found,) = repeated("product", product, (a, b))
        torch.testing.assert_close(found, a @ b, rtol=0.0, atol=0.0)
    assert (recorder.n_recorded, recorder.n_runs) == (1, 2)


def test_results_are_overwritten_and_inputs_are_not(recorder):
    repeated = Repeated(recorder)
    a, b = torch.ones(2, 2), torch.eye(2)
    repeated("product", product, (a, b))
    (first,) = repeated("product", product, (a, b))
    (second,) = repeated("product", product, (2.0 * a, b))
    assert first is second
    assert float(second[0, 0]) == 2.0
    assert float(a[0, 0]) == 1.0


def test_not_all_that_was_ever_recorded_is_kept(recorder):
    repeated = Repeated(recorder)
    for rows in (*range(1, 20), 19, 1):
        for _ in range(2):
            repeated("product", product, (torch.ones(rows, 2), torch.eye(2)))
    assert recorder.n_recorded == 20


def test_places_are_read_and_written_where_they_are(recorder):
    def added(place, out, x):
        torch.add(place, x, out=out)
        return (out.sum(),)

    repeated = Repeated(recorder)
    first, second, out = torch.zeros(3), torch.ones(3), torch.empty(3)
    calls = ((first, 0.0), (second, 0.0), (first, 1.0), (first, 2.0), (second, 3.0), (first, 4.0))
    for place, x in calls:
        (total,) = repeated("added", added, (torch.tensor(x),), (place, out))
        assert out.tolist() == (place + x).tolist()
        assert float(total) == 3 * float(place[0] + x)
    assert recorder.n_recorded == 2
    place.fill_(5.0)
    repeated("added", added, (torch.tensor(4.0),), (place, out))
    assert out.tolist() == [9.0] * 3


def test_what_cannot_be_recorded_runs_as_it_is():
    def failing(_):
        raise RuntimeError("operation not permitted when stream is capturing")

    repeated = Repeated(failing)
    a = torch.ones(2, 2)
    repeated("product", product, (a, a))
    with pytest.warns(EngineWarning, match="cannot record the operations of a layer"):
        (found,) = repeated("product", product, (a, a))
    assert float(found[0, 0]) == 2.0
    (found,) = repeated("product", product, (a, a))  # says it once
    assert float(found[0, 0]) == 2.0


def test_only_cuda_records():
    assert recorder_of("cpu") is None
    assert recorder_of("cuda") is not None
    # Points of a flow hold it, and can be pickled.
    assert pickle.loads(pickle.dumps(recorder_of("cuda:1"))) == recorder_of("cuda:1")


class Stream:
    """A queue of CUDA, as far as recording needs it; it remembers what came in it."""

    def __init__(self):
        self.log = []

    def wait_stream(self, other):
        self.log.append(("waits", other))


@pytest.mark.parametrize("on_a_lane", [False, True])
def test_how_cuda_records(monkeypatch, on_a_lane):
    default, lane, in_use = Stream(), Stream(), []
    current = lane if on_a_lane else default

    class Graph:
        def replay(self):
            work()

    @contextmanager
    def use(stream):
        in_use.append(stream)
        yield
        in_use.pop()

    cleared = []

    @contextmanager
    def recording(graph, stream, capture_error_mode):
        assert isinstance(graph, Graph)
        assert not gc.isenabled()
        assert len(cleared) == 1
        assert stream is not default  # which cannot record
        assert capture_error_mode == "thread_local"
        with use(stream):
            stream.log.append("records")
            yield

    def work():
        in_use[-1].log.append("works")
        return (torch.ones(1),)

    for name, fake in {
        "device": lambda _: nullcontext(),
        "current_stream": lambda: in_use[-1],
        "default_stream": lambda: default,
        "Stream": Stream,
        "stream": use,
        "CUDAGraph": Graph,
        "graph": recording,
    }.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    clear = "_cuda_clearCublasWorkspaces"
    monkeypatch.setattr(torch._C, clear, lambda: cleared.append(in_use[-1]), raising=False)
    with use(current):
        again, results = recorder_of("cuda:0")(work)
    assert gc.isenabled()
    assert len(cleared) == 2
    assert float(results[0]) == 1.0
    side = lane if on_a_lane else default.log[-1][1]
    others = [entry for entry in side.log if entry != ("waits", side)]
    waits = [] if on_a_lane else [("waits", default)]
    assert others == [*waits, *["works"] * 3, "records", "works"]
    assert current.log[-1] == ("waits", side)
    with use(current):
        again()
    assert current.log[-1] == "works"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [
        {"nugget": lambda layer: 0.1 + 0.01 * layer},
        {"n_halves": 3, "gradient_cap": 1.2, "step_over": "batch"},
        {"rank": "auto", "shrink_every": 4, "shrink_tolerance": 1e-3},
    ],
)
@pytest.mark.parametrize("precision", ["float64", "mixed"])
def test_flows_have_the_bits_of_flows_that_are_not_recorded(
    cloud, recorder, monkeypatch, dtype, options, precision
):
    X, Y, T = cloud

    def fitted():
        flow = small_flow(n_layers=12, dtype=dtype, precision=precision, **options)
        return flow.fit(X, Y, follow={"test": T})

    plain = fitted()
    with in_place_of_the_processor(TorchEngine("cpu", precision, recorder), monkeypatch):
        recorded = fitted()
        assert recorder.n_recorded < recorder.n_runs
        np.testing.assert_array_equal(recorded.points_, plain.points_)
        np.testing.assert_array_equal(recorded.follow_["test"], plain.follow_["test"])
        np.testing.assert_array_equal(recorded.transform(T), plain.transform(T))


@pytest.mark.parametrize("step_over", ["all", "batch"])
def test_passes_are_recorded_once_however_many_sets_there_are(
    cloud, recorder, monkeypatch, step_over
):
    X, Y, T = cloud
    follow = {f"set {i}": T[10 * i : 10 * i + i] for i in range(20)}
    with in_place_of_the_processor(TorchEngine("cpu", record=recorder), monkeypatch):
        small_flow(n_layers=12, step_over=step_over).fit(X, Y, follow=follow)
    # The batch, and two passes, each from two places; or one, and the tile of the next batch.
    assert recorder.n_recorded <= 5
