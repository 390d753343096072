from __future__ import annotations

import threading

import numpy as np
import pytest

import kflow
from kflow._base.workers import Workers
from kflow.compression import compress


@pytest.fixture(params=[0, 1, 3])
def room(request, monkeypatch):
    """How many threads the system still starts."""
    started = []
    start = threading.Thread.start

    def limited(thread):
        if len(started) >= request.param:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    return request.param


@pytest.mark.usefixtures("room")
def test_every_call_is_made_once_and_results_are_in_order():
    made = []
    with Workers(4) as workers:
        results = list(workers.map(lambda number: made.append(number) or 2 * number, range(50)))
    assert results == list(range(0, 100, 2))
    assert sorted(made) == list(range(50))
    assert len(workers._threads) == 0


def test_threads_are_used_and_end(room):
    with Workers(4) as workers:
        names = set(workers.map(lambda _: threading.current_thread(), range(20)))
    assert len(names) <= max(room, 1)
    assert not any(thread.is_alive() for thread in names - {threading.main_thread()})


@pytest.mark.usefixtures("room")
def test_errors_are_raised_where_the_result_is_asked_for():
    with Workers(2) as workers:
        future = workers.submit(lambda: 1 / 0)
        assert workers.submit(int, "7").result() == 7
        with pytest.raises(ZeroDivisionError):
            future.result()
        with pytest.raises(ZeroDivisionError):
            list(workers.map(lambda number: 1 // number, [1, 0]))


def test_a_call_that_is_not_asked_for_is_waited_for():
    done = []
    with Workers(2) as workers:
        workers.submit(lambda: done.append(1))
    assert done == [1]


@pytest.mark.usefixtures("room")
def test_what_is_learned_without_threads_is_the_same(tmp_path, rng):
    X = rng.normal(size=(60, 3))
    y = (X[:, 0] > 0).astype(int)
    images = rng.random((12, 8, 8))

    def results(n_threads, folder):
        model = kflow.KernelFlowClassifier(n_layers=3, random_state=0, n_threads=n_threads)
        encoder = kflow.features.ImageEncoder(J=1, n_components=3, n_threads=n_threads)
        flow = kflow.KernelFlow(
            n_layers=3,
            batch_size=20,
            random_state=0,
            step_over="batch",
            checkpoint=folder,
            memory_budget=2e6,
            n_threads=n_threads,
        )
        flow.fit(X, y)
        return (
            model.fit(X, y).predict_proba(X),
            encoder.fit(images).transform(images),
            flow.points_,
            compress(flow, X, n_layers=1, random_state=0).estimator.transform(X),
        )

    for one, other in zip(results(1, tmp_path / "1"), results(3, tmp_path / "3"), strict=True):
        np.testing.assert_array_equal(one, other)
