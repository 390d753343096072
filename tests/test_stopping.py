from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

import kflow
from kflow.evaluation import interpolation_errors
from kflow.stopping import CollapseStopping, hold_out

# ---- the hold-out -----------------------------------------------------------------------------


@pytest.mark.parametrize(("fraction", "n_held"), [(0.1, [4, 1, 1]), (0.5, [20, 5, 2])])
def test_the_same_part_of_every_class_is_held_out(fraction, n_held, rng):
    labels = rng.permutation(np.repeat(["plain", "first", "second"], [40, 10, 4]))
    kept, held = hold_out(labels, fraction, np.random.default_rng(1))
    assert sorted([*kept, *held]) == list(range(54))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held) > 0).all()
    assert [(labels[held] == label).sum() for label in ("plain", "first", "second")] == n_held
    again = hold_out(labels, fraction, np.random.default_rng(1))
    np.testing.assert_array_equal(held, again[1])
    assert not np.array_equal(held, hold_out(labels, fraction, np.random.default_rng(2))[1])


@pytest.mark.parametrize("fraction", [0, 1, 1.0, -0.1, 2, math.nan, math.inf])
def test_the_fraction_lies_between_0_and_1(fraction, rng):
    with pytest.raises(ValueError, match="validation_fraction must"):
        hold_out(np.arange(40) % 2, fraction, rng)


@pytest.mark.parametrize("fraction", ["0.1", None, True])
def test_the_fraction_is_a_number(fraction, rng):
    with pytest.raises(TypeError, match="validation_fraction must be a number"):
        hold_out(np.arange(40) % 2, fraction, rng)


@pytest.mark.parametrize(("n", "fraction"), [(1, 0.1), (2, 0.1), (10, 0.9)])
def test_every_class_keeps_two_rows(n, fraction, rng):
    labels = np.repeat([0, 7], [40, n])
    with pytest.raises(ValueError, match=rf"{n} rows of class .*7.* pass more rows of that class"):
        hold_out(labels, fraction, rng)


# ---- the decision -----------------------------------------------------------------------------


def clouds(n, rng, dtype=np.float64, spread=0.6):
    labels = np.arange(n) % 3
    points = spread * rng.normal(size=(n, 4)) + 1.5 * np.eye(3, 4)[labels]
    return points.astype(dtype), np.array(["a", "b", "c"])[labels]


class GivenErrors(CollapseStopping):
    """A callback that is told the errors, from the most and the fewest points."""

    def __init__(self, most, fewest, *arguments, **options):
        super().__init__(*arguments, **options)
        self.pairs = zip(most, fewest, strict=True)

    def evaluate(self, flow):
        return next(self.pairs)


def decide(most, fewest, *, n=300, every=1, **options):
    """Return a callback that saw these errors, from the most and the fewest points."""
    callback = GivenErrors(
        most,
        fewest,
        np.arange(60) % 3,
        np.arange(n) % 3,
        nugget=0.1,
        every=every,
        rng=np.random.default_rng(0),
        **options,
    )
    ends = [
        callback(SimpleNamespace(n_layers_=layer))
        for layer in range(1, max(len(most), (len(most) - 1) * every) + 1)
        if callback.stopped_at is None
    ]
    assert any(ends) == (callback.stopped_at is not None)
    assert not any(ends[:-1])
    return callback


def test_it_stops_when_the_errors_have_met_twice():
    most = [0.1] * 6
    assert decide(most, [0.6, 0.3, 0.1, 0.1, 0.1, 0.1]).stopped_at == 4
    assert decide(most, [0.6, 0.1, 0.3, 0.1, 0.09, 0.1]).stopped_at == 5
    assert decide(most, [0.6, 0.1, 0.3, 0.1, 0.2, 0.1]).stopped_at is None
    fewest = [0.6, 0.1, 0.3, 0.1, 0.1, 0.1]
    assert decide(most, fewest, confirmations=1).stopped_at == 2
    assert decide(most, fewest, confirmations=3).stopped_at == 6
    # Data that is separable from the start needs no flow.
    assert decide([0.0] * 6, [0.0] * 6).stopped_at == 2


@pytest.mark.parametrize(
    ("error", "n", "tolerance"),
    [
        (0.1, 300, 0.01),  # 0.017 is the standard error
        (0.1, 3000, math.sqrt(301 * 2701) / 3002 / math.sqrt(3000)),
        (0.0, 3000, math.sqrt(1 * 3001) / 3002 / math.sqrt(3000)),
    ],
)
def test_the_default_tolerance_is_a_standard_error(error, n, tolerance):
    for fewest, met in ((error + 0.99 * tolerance, True), (error + 1.01 * tolerance, False)):
        callback = decide([error] * 3, [fewest] * 3, n=n)
        assert (callback.stopped_at is not None) == met


def test_tolerance():
    assert decide([0.1] * 3, [0.14] * 3, tolerance=0.05).stopped_at == 2
    assert decide([0.1] * 3, [0.11] * 3, tolerance=0).stopped_at is None
    assert decide([0.1] * 3, [0.1] * 3, tolerance=0).stopped_at == 2


@pytest.mark.parametrize(("error", "n"), [(2 / 3, 300), (0.63, 300), (0.3, 6)])
def test_errors_that_a_guess_may_have_stop_nothing(error, n):
    assert decide([error] * 5, [error] * 5, n=n).stopped_at is None


@pytest.mark.parametrize("pair", [(math.nan, 0.1), (0.1, math.nan), (math.nan, math.nan)])
def test_a_singular_matrix_stops_nothing(pair):
    most, fewest = pair
    assert decide([most] * 5, [fewest] * 5).stopped_at is None
    interrupted = decide([0.1, most, 0.1, 0.1], [0.1, fewest, 0.1, 0.1])
    assert interrupted.stopped_at == 4


def test_it_evaluates_the_first_layer_and_every_few():
    callback = decide([0.1] * 4, [0.5] * 4, every=5)
    assert callback.layers == [1, 5, 10, 15]
    assert callback.errors == {60: [0.1] * 4, 3: [0.5] * 4}


# ---- with a flow ------------------------------------------------------------------------------


def run(callback, data, validation, follow="validation", **options):
    points, labels = data
    flow = kflow.KernelFlow(
        **{
            "n_layers": 120,
            "batch_size": 40,
            "nugget": 3.0,
            "step": "rms",
            "step_size": 0.05,
            "dtype": points.dtype,
            "random_state": 0,
            "callbacks": [] if callback is None else [callback],
            **options,
        }
    )
    return flow.fit(points, kflow.one_hot(labels), follow={follow: validation[0]})


def make(data, validation, **options):
    return CollapseStopping(
        data[1],
        validation[1],
        **{"nugget": 0.1, "every": 5, "rng": np.random.default_rng(3), **options},
    )


@pytest.mark.slow
def test_a_flow_that_collapses_stops_with_the_layers_it_has(rng, dtype):
    data, validation = clouds(150, rng, dtype), clouds(60, rng, dtype)
    callback = make(data, validation)
    stopped = run(callback, data, validation)
    n = callback.stopped_at
    assert stopped.n_layers_ == n == callback.layers[-1]
    assert 5 < n < 120
    assert callback.errors[3][0] > callback.errors[150][0] + 0.05
    whole = run(None, data, validation, n_layers=n)
    np.testing.assert_array_equal(stopped.points_, whole.points_)
    np.testing.assert_array_equal(stopped.history_["rho"], whole.history_["rho"])
    again = make(data, validation)
    run(again, data, validation)
    assert (again.layers, again.errors, again.stopped_at) == (callback.layers, callback.errors, n)
    # Whoever wants more layers gets them.
    assert stopped.run(20).n_layers_ == n + 20
    assert callback.layers[-1] == callback.stopped_at == n


def test_a_flow_that_does_not_move_runs_through(rng):
    data, validation = clouds(150, rng), clouds(60, rng)
    callback = make(data, validation, every=10)
    flow = run(callback, data, validation, step="fixed", step_size=1e-9, n_layers=60)
    assert flow.n_layers_ == 60
    assert callback.stopped_at is None
    assert callback.layers == [1, 10, 20, 30, 40, 50, 60]


@pytest.mark.slow
def test_classes_that_cannot_be_learned_run_through(rng):
    data = clouds(150, rng)
    # Each point of the hold-out has every label once: the error is that of a guess.
    points = np.repeat(clouds(60, rng)[0], 3, axis=0)
    validation = points, np.array(["a", "b", "c"])[np.arange(180) % 3]
    callback = make(data, validation)
    assert run(callback, data, validation).n_layers_ == 120
    assert callback.stopped_at is None
    assert callback.errors[150] == pytest.approx([2 / 3] * len(callback.layers))


def test_the_errors_are_those_of_the_interpolants(rng):
    data, validation = clouds(150, rng), clouds(60, rng)
    callback = make(data, validation, every=1, n_interpolation=90, n_draws=4, follow="held")
    flow = run(callback, data, validation, "held", n_layers=1, kernel=kflow.kernels.Gaussian(1.0))
    draws = np.random.default_rng(3)
    expected = {
        size: interpolation_errors(
            flow.points_,
            data[1],
            flow.follow_["held"],
            validation[1],
            kernel=flow.kernel_,
            nugget=0.1,
            rng=draws,
            n_interpolation=(size,),
            n_draws=n_draws,
        )[0].average
        for size, n_draws in ((90, 1), (3, 4))
    }
    assert {size: errors[0] for size, errors in callback.errors.items()} == expected


def test_a_singular_kernel_runs_through(rng):
    points, labels = clouds(60, rng)
    data = np.repeat(points, 2, axis=0), np.repeat(labels, 2)
    validation = clouds(60, rng)
    callback = make(data, validation, nugget=0.0, n_interpolation=6000)
    flow = run(callback, data, validation, n_layers=40)
    assert flow.n_layers_ == 40
    assert np.isnan(callback.errors[120]).all()
    assert callback.stopped_at is None


# ---- arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [(5,), (5, 1)])
def test_there_must_be_something_to_compare(counts, rng):
    labels = np.repeat(np.arange(len(counts)), counts)
    with pytest.raises(ValueError, match="labels must hold two classes or more"):
        CollapseStopping(labels, labels, nugget=0.1, every=1, rng=rng)


@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        ({"nugget": -1.0}, ValueError, "nugget must be finite and not negative"),
        ({"every": 0}, ValueError, "every must be at least 1"),
        ({"tolerance": "1 %"}, TypeError, "tolerance must be a number"),
        ({"tolerance": math.nan}, ValueError, "tolerance must be finite"),
        ({"n_interpolation": 3}, ValueError, "n_interpolation must be at least 6"),
        ({"n_draws": 0}, ValueError, "n_draws must be at least 1"),
        ({"confirmations": 1.5}, TypeError, "confirmations must be a whole number"),
    ],
    ids=str,
)
def test_bad_arguments(option, error, message, rng):
    data = clouds(30, rng)
    with pytest.raises(error, match=message):
        make(data, data, **option)
    with pytest.raises(ValueError, match="validation_labels is empty"):
        make(data, (data[0][:0], data[1][:0]))


def test_labels_and_points_must_fit(rng):
    data, validation = clouds(90, rng), clouds(30, rng)
    with pytest.raises(ValueError, match=r"must follow the 30 .* follow=\{'validation': \.\.\.\}"):
        run(make(data, validation), data, validation, "test")
    with pytest.raises(ValueError, match="must follow the 90 points of validation_labels"):
        run(make(data, data), data, validation)
    with pytest.raises(ValueError, match="labels has 30 rows, the flow 90 points"):
        run(make(validation, validation), data, validation)
