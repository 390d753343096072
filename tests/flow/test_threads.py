"""One flow that several threads read, run and copy."""

from __future__ import annotations

import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import kflow
from kflow import KernelFlow, kernels
from kflow.engine.cpu import _core
from kflow.layers.block import Block
from kflow.storage import folder_layers


def make(rng, n_layers=3, **options):
    X = rng.normal(size=(60, 4))
    settings = {"n_layers": n_layers, "batch_size": 20, "random_state": 0, **options}
    return KernelFlow(kernels.Gaussian(2.0), **settings), X, X[:, 0] > 0


def together(n, action):
    """Return the results of an action that n threads begin at one time."""
    barrier = threading.Barrier(n)

    def act(_):
        barrier.wait()
        return action()

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(act, range(n)))


@pytest.mark.parametrize("name", ["points_", "reduced_points_", "follow_", "reduced_follow_"])
def test_a_pending_step_is_added_once_however_many_threads_read(name, rng, monkeypatch):
    flow, X, y = make(rng, n_layers=2)
    flow.fit(X, y, follow={"same": X})
    settle = _core.settle

    def slow_settle(*arguments):
        time.sleep(0.02)  # others may come in between
        settle(*arguments)

    monkeypatch.setattr(_core, "settle", slow_settle)
    results = together(4, lambda: getattr(flow, name))
    expected = flow.transform(X)
    for result in results:
        points = result["same"] if "follow" in name else result
        np.testing.assert_array_equal(points, expected)


def test_readers_see_a_running_flow_between_two_layers(rng):
    flow, X, y = make(rng, n_layers=0, rank="auto", shrink_every=5, shrink_tolerance=0.05)
    expected, other = {}, make(rng, n_layers=0, rank="auto", shrink_every=5, shrink_tolerance=0.05)
    note = lambda flow: expected.setdefault(flow.n_layers_, flow.points_) is None  # noqa: E731
    other[0].fit(X, y)
    other[0].callbacks = [note]
    note(other[0])
    other[0].run(40)
    flow.fit(X, y)
    known = {points.tobytes() for points in expected.values()}
    done = threading.Event()

    def read():
        seen = 0
        while not done.is_set() or not seen:
            assert flow.points_.tobytes() in known
            lengths = {len(values) for values in flow.history_.values()}
            assert len(lengths) == 1
            seen += 1
        return seen

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        flow.run(40)
        done.set()
        assert all(reader.result() for reader in readers)
    np.testing.assert_array_equal(flow.points_, other[0].points_)


def test_a_running_flow_refuses_to_run_elsewhere(rng, tmp_path):
    flow, X, y = make(rng)
    entered, leave = threading.Event(), threading.Event()

    def wait(_):
        entered.set()
        assert leave.wait(30)

    flow.callbacks = [wait]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(flow.fit, X, y)
        assert entered.wait(30)
        for action in (
            lambda: flow.run(1),
            flow.finish,
            flow.rest,
            lambda: flow.start(X, y),
            lambda: flow.fit(X, y),
            lambda: pickle.dumps(flow),
        ):
            with pytest.raises(RuntimeError, match="is running"):
                action()
        assert flow.n_layers_ == 1  # reading is no running
        flow.save(tmp_path / "flow.kflow")
        assert kflow.load(tmp_path / "flow.kflow").n_layers_ == 1
        leave.set()
        running.result()
    assert flow.n_layers_ == 3
    assert flow.run(1).n_layers_ == 4


def test_a_callback_may_copy_its_flow_but_not_run_it(rng):
    flow, X, y = make(rng)
    copies = []

    def callback(running):
        copies.append(pickle.loads(pickle.dumps(KernelFlow.__copy__(running))))
        with pytest.raises(RuntimeError, match="is running"):
            running.run(1)

    flow.callbacks = [callback]
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(KernelFlow, "__getstate__", _without_callbacks(KernelFlow.__getstate__))
        flow.fit(X, y)
    assert [copied.n_layers_ for copied in copies] == [1, 2, 3]
    np.testing.assert_array_equal(copies[0].run(2).points_, flow.points_)


def _without_callbacks(getstate):
    return lambda flow: {**getstate(flow), "callbacks": ()}


def test_threads_read_the_layers_of_a_folder(rng, tmp_path, monkeypatch):
    flow, X, y = make(rng, n_layers=12, checkpoint=tmp_path / "c", every=2)
    expected = flow.fit(X, y).transform(X)
    read_block = folder_layers.read_block
    n_read = []

    def slow_read(path: Path, flow_id: str) -> Block:
        time.sleep(0.002)
        n_read.append(path)
        return read_block(path, flow_id)

    monkeypatch.setattr(folder_layers, "read_block", slow_read)
    for result in together(4, lambda: [flow.transform(X) for _ in range(3)]):
        for points in result:
            np.testing.assert_array_equal(points, expected)
    assert n_read
