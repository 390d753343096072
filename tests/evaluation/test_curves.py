from __future__ import annotations

import json

import numpy as np
import pytest

import kflow
from kflow.evaluation import ErrorCurve, ErrorWindow
from kflow.evaluation.curves import errors_from_state, errors_to_state


@pytest.fixture
def clouds(rng):
    """Three overlapping clouds: 90 training and 60 test points, with text labels."""

    def draw(n):
        labels = np.arange(n) % 3
        points = rng.normal(size=(n, 4)) + 1.5 * np.eye(3, 4)[labels]
        return points, np.array(["a", "b", "c"])[labels]

    return *draw(90), *draw(60)


def test_the_curve_follows_a_flow(clouds):
    points, labels, test_points, test_labels = clouds
    curve = ErrorCurve(
        labels,
        test_labels,
        nugget=0.1,
        every=3,
        rng=np.random.default_rng(0),
        n_interpolation=(90, 3),
    )
    flow = kflow.KernelFlow(
        None, n_layers=7, batch_size=30, nugget=0.1, random_state=0, callbacks=[curve]
    )
    flow.fit(points, kflow.one_hot(labels), follow={"test": test_points})
    assert curve.layers == [1, 3, 6]
    assert {size: len(errors) for size, errors in curve.errors.items()} == {90: 3, 3: 3}
    assert all(0 < error < 1 for errors in curve.errors.values() for error in errors)


class Exhausted(np.random.Generator):
    """A generator that runs out of memory after so many draws of interpolation points."""

    def __init__(self, n_draws):
        super().__init__(np.random.PCG64(0))
        self.left = n_draws

    def permutation(self, *arguments):
        if self.left == 0:
            raise MemoryError
        self.left -= 1
        return super().permutation(*arguments)


def test_the_curve_stays_whole_when_memory_runs_out(clouds):
    points, labels, test_points, test_labels = clouds
    # Three draws for each of two numbers of points: the last one fails after the third layer.
    rng = Exhausted(3 * 2 * 3 - 1)
    curve = ErrorCurve(labels, test_labels, nugget=0.1, every=1, rng=rng)
    flow = kflow.KernelFlow(None, n_layers=7, batch_size=30, nugget=0.1, callbacks=[curve])
    with pytest.raises(MemoryError):
        flow.fit(points, kflow.one_hot(labels), follow={"test": test_points})
    assert curve.layers == [1, 2]
    assert {size: len(errors) for size, errors in curve.errors.items()} == {60: 2, 10: 2}


def test_the_curve_survives_a_singular_matrix(clouds):
    points, labels, test_points, test_labels = clouds
    points = np.repeat(points[:45], 2, axis=0)
    labels = np.repeat(labels[:45], 2)
    curve = ErrorCurve(
        labels,
        test_labels,
        nugget=0.0,
        every=1,
        rng=np.random.default_rng(0),
        n_interpolation=(90,),
    )
    flow = kflow.KernelFlow(None, n_layers=2, batch_size=30, nugget=0.1, callbacks=[curve])
    flow.fit(points, kflow.one_hot(labels), follow={"test": test_points})
    assert np.isnan(curve.errors[90]).all()


def test_the_window_takes_the_layers_it_is_told(clouds):
    points, labels, test_points, test_labels = clouds
    window = ErrorWindow(
        labels,
        test_labels,
        nugget=0.1,
        first=5,
        last=7,
        rng=np.random.default_rng(0),
        n_interpolation=(90, 3),
    )
    assert window.summary() == []
    flow = kflow.KernelFlow(
        None, n_layers=9, batch_size=30, nugget=0.1, random_state=0, callbacks=[window]
    )
    flow.fit(points, kflow.one_hot(labels), follow={"test": test_points})
    assert {size: len(errors) for size, errors in window.errors.items()} == {90: 3, 3: 3}
    many, few = window.summary()
    assert (many.n_interpolation, few.n_interpolation) == (90, 3)
    assert few.min < few.average < few.max
    assert few.average == pytest.approx(np.mean(window.errors[3]))
    assert few.std == pytest.approx(np.std(window.errors[3]))


def test_a_curve_goes_on_from_its_state(clouds):
    points, labels, test_points, test_labels = clouds

    def curve(**options):
        return ErrorCurve(
            labels,
            test_labels,
            **{"nugget": 0.1, "every": 2, "n_interpolation": (90, 3), **options},
            rng=np.random.default_rng(0),
        )

    def follow(n_layers, callback):
        flow = kflow.KernelFlow(n_layers=n_layers, batch_size=30, random_state=0)
        flow.callbacks = [callback]
        return flow.fit(points, kflow.one_hot(labels), follow={"test": test_points})

    whole, first, second = curve(), curve(), curve()
    follow(8, whole)
    flow = follow(5, first)
    state = json.loads(json.dumps(first.to_state()))
    second.from_state(state)
    flow.callbacks = [second]
    flow.run(3)
    assert (second.layers, second.errors) == (whole.layers, whole.errors)
    for options, message in (({"every": 3}, "every=3"), ({"n_interpolation": (60,)}, "n_interpol")):
        with pytest.raises(ValueError, match=message):
            curve(**options).from_state(state)


def test_errors_are_json_without_nan():
    errors = {60: [0.5, float("nan")], 3: []}
    state = json.loads(json.dumps(errors_to_state(errors), allow_nan=False))
    again = errors_from_state(state, errors)
    assert again[3] == []
    np.testing.assert_array_equal(again[60], errors[60])
