from __future__ import annotations

import copy
import pickle
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import kflow
from kflow import KernelFlow, kernels
from kflow.engine.cpu.moving_points import CpuMovingPoints
from kflow.flow import layer_by_layer
from kflow.flow.start import default_kernel
from kflow.layers.positions import Positions
from kflow.testing import slow as reference

KERNEL = kernels.Matern52(2.0)
STEPS = {"relative": 0.1, "rms": 0.05, "absolute": 0.2, "fixed": 0.5}
EPS = {"float32": np.finfo(np.float32).eps, "float64": np.finfo(np.float64).eps}


def make_data(rng, n=60, d=3, n_classes=3):
    labels = rng.integers(n_classes, size=n)
    labels[:n_classes] = np.arange(n_classes)
    X = rng.normal(size=(n, d)) + 2 * rng.normal(size=(n_classes, d))[labels]
    return X, kflow.one_hot(labels), labels


def make_flow(kernel=KERNEL, **options):
    settings = {"n_layers": 6, "batch_size": 30, "dtype": "float64", "random_state": 3}
    return KernelFlow(kernel, **{**settings, **options})


def assert_equal_flows(first, second):
    assert first.n_layers_ == second.n_layers_
    np.testing.assert_array_equal(first.points_, second.points_)
    for name in ("rho", "step", "class_distance_ratio", "nugget"):
        np.testing.assert_array_equal(first.history_[name], second.history_[name])


def assert_consistent(flow, X):
    """The number of layers, the history and the stored layers describe the points."""
    assert {len(values) for values in flow.history_.values()} == {flow.n_layers_}
    assert len(flow.state_.store) == flow.n_layers_
    scale = np.abs(flow.points_).max()
    tolerance = 1000 * EPS[flow.dtype] * scale * max(flow.n_layers_, 1)
    np.testing.assert_allclose(flow.transform(X), flow.points_, rtol=0, atol=tolerance)


# ---- against the reference --------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("cap", [0.5, 1.0, 2.0])
def test_gradient_cap(cap, dtype, rng):
    X, Y, _ = make_data(rng)
    flow = make_flow(gradient_cap=cap, n_halves=2, dtype=dtype).fit(X, Y)
    expected = reference.flow(
        X.astype(dtype),
        Y,
        kernel=KERNEL,
        n_layers=6,
        batch_size=30,
        rng=np.random.default_rng(3),
        n_halves=2,
        gradient_cap=cap,
    )
    tolerance = 1e-10 if dtype == np.float64 else 2e-4
    np.testing.assert_allclose(flow.points_, expected.points, rtol=0, atol=tolerance)
    free = make_flow(n_halves=2, dtype=dtype).fit(X, Y)
    assert np.abs(flow.points_ - free.points_).max() > 10 * tolerance


def test_gradient_cap_as_a_schedule(rng, tmp_path):
    X, Y, _ = make_data(rng)
    flow = make_flow(gradient_cap={0: 1.0, 2: np.inf}).fit(X, Y)
    expected = make_flow(gradient_cap=1.0, n_layers=2).fit(X, Y)
    expected.gradient_cap = np.inf
    expected.run(4)
    np.testing.assert_array_equal(flow.points_, expected.points_)
    flow.save(tmp_path / "flow.kflow")
    assert kflow.load(tmp_path / "flow.kflow").gradient_cap == {"0": 1.0, "2": np.inf}


@pytest.mark.parametrize("cap", [0.0, -1.0, np.nan, None, "2", True])
def test_bad_gradient_cap(cap):
    with pytest.raises((TypeError, ValueError), match="gradient_cap"):
        make_flow(gradient_cap=cap)


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 8])
@pytest.mark.parametrize("n_halves", [1, 2, 3])
@pytest.mark.parametrize("step", STEPS)
def test_against_the_reference(step, n_halves, d, dtype, rng):
    X, Y, labels = make_data(rng, d=d)
    X = X.astype(dtype)
    test = rng.normal(size=(17, d)).astype(dtype)
    flow = make_flow(
        step=step, step_size=STEPS[step], n_halves=n_halves, dtype=dtype, nugget=0.05
    ).fit(X, Y, follow={"test": test})
    expected = reference.flow(
        X,
        Y,
        kernel=KERNEL,
        n_layers=6,
        batch_size=30,
        rng=np.random.default_rng(3),
        nugget=0.05,
        step=step,
        step_size=STEPS[step],
        n_halves=n_halves,
        labels=labels,
        follow={"test": test},
    )
    tolerance = 1e-10 if dtype == np.float64 else 2e-4
    assert flow.points_.dtype == flow.follow_["test"].dtype == dtype
    np.testing.assert_allclose(flow.points_, expected.points, rtol=0, atol=tolerance)
    np.testing.assert_allclose(flow.follow_["test"], expected.follow["test"], atol=tolerance)
    np.testing.assert_allclose(flow.transform(test), expected.follow["test"], atol=tolerance)
    np.testing.assert_allclose(flow.history_["rho"], expected.rho, rtol=10 * tolerance)
    np.testing.assert_allclose(flow.history_["step"], expected.step, rtol=100 * tolerance)
    np.testing.assert_allclose(
        flow.history_["class_distance_ratio"], expected.class_distance_ratio, rtol=10 * tolerance
    )
    for (z, c, step), (z_expected, c_expected) in zip(
        flow.state_.store, expected.layers, strict=True
    ):
        np.testing.assert_allclose(z, z_expected, rtol=0, atol=tolerance)
        np.testing.assert_allclose(c * step, c_expected, rtol=0, atol=20 * tolerance)
    # It went somewhere.
    assert np.abs(flow.points_ - X).max() > 1e-2


def test_every_kernel(kernel, rng):
    X, Y, _ = make_data(rng)
    flow = make_flow(kernel, n_layers=3).fit(X, Y)
    expected = reference.flow(
        X, Y, kernel=kernel, n_layers=3, batch_size=30, rng=np.random.default_rng(3)
    )
    np.testing.assert_allclose(flow.points_, expected.points, rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("d", [2, 8])
def test_every_build(d, dtype, rng):
    X, Y, _ = make_data(rng, n=300, d=d)
    flow = make_flow(n_layers=3, dtype=dtype, n_halves=2, batch_size=100).fit(X, Y)
    expected = reference.flow(
        X.astype(dtype),
        Y,
        kernel=KERNEL,
        n_layers=3,
        batch_size=100,
        rng=np.random.default_rng(3),
        n_halves=2,
    )
    tolerance = 1e-10 if dtype == np.float64 else 2e-4
    np.testing.assert_allclose(flow.points_, expected.points, rtol=0, atol=tolerance)


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.99])
def test_coarse_fraction(fraction, rng):
    X, Y, _ = make_data(rng)
    flow = make_flow(coarse_fraction=fraction, n_halves=2, n_layers=3).fit(X, Y)
    expected = reference.flow(
        X,
        Y,
        kernel=KERNEL,
        n_layers=3,
        batch_size=30,
        rng=np.random.default_rng(3),
        coarse_fraction=fraction,
        n_halves=2,
    )
    np.testing.assert_allclose(flow.points_, expected.points, rtol=0, atol=1e-10)
    np.testing.assert_allclose(flow.history_["rho"], expected.rho, rtol=1e-10)


def test_schedules(rng):
    X, Y, _ = make_data(rng)
    nugget = {0: 0.01, 3: 1.0}
    flow = make_flow(
        nugget=nugget,
        step={0: "relative", 2: "rms"},
        step_size=lambda layer: 0.1 / (1 + layer),
    ).fit(X, Y)
    expected = reference.flow(
        X,
        Y,
        kernel=KERNEL,
        n_layers=6,
        batch_size=30,
        rng=np.random.default_rng(3),
        nugget=lambda layer: 0.01 if layer < 3 else 1.0,
        step=lambda layer: "relative" if layer < 2 else "rms",
        step_size=lambda layer: 0.1 / (1 + layer),
    )
    np.testing.assert_allclose(flow.points_, expected.points, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(flow.history_["nugget"], [0.01] * 3 + [1.0] * 3)


def test_a_point_at_the_origin_does_not_stop_the_relative_step(rng):
    X, Y, _ = make_data(rng)
    X[5] = 0.0
    flow = make_flow(n_layers=2).fit(X, Y)
    assert (flow.history_["step"] > 0).all()
    expected = reference.flow(
        X, Y, kernel=KERNEL, n_layers=2, batch_size=30, rng=np.random.default_rng(3)
    )
    np.testing.assert_allclose(flow.points_, expected.points, rtol=0, atol=1e-10)


def test_relative_step_moves_no_point_by_more_than_its_share(rng):
    X, Y, _ = make_data(rng)
    flow = make_flow(n_layers=1, step_size=0.1).fit(X, Y)
    share = np.linalg.norm(flow.points_ - X, axis=1) / np.linalg.norm(X, axis=1)
    assert share.max() == pytest.approx(0.1, rel=1e-9)


def test_a_small_step_lowers_rho(kernel, rng):
    X, Y, _ = make_data(rng)
    flow = make_flow(kernel, n_layers=1, batch_size=60, step="absolute", step_size=1e-3).fit(X, Y)
    batch, subsets = reference.draw(np.random.default_rng(3), 60, 60, 0.5, 1)
    before, after = (
        kflow.rho(points, Y, batch[subsets[0]], kernel=kernel, nugget=0.01)
        for points in (X, flow.points_)
    )
    assert before == pytest.approx(flow.history_["rho"][0], rel=1e-12)
    assert after < before


def test_rho_falls_along_the_flow(rng):
    angle = np.pi * rng.uniform(0.5, 3, 200)
    sign = np.repeat([-1.0, 1.0], 100)
    X = (sign * angle * [np.cos(angle), np.sin(angle)]).T / 3
    flow = make_flow(
        kernels.Gaussian(1.0),
        n_layers=300,
        batch_size=100,
        nugget=1.0,
        step="rms",
        step_size=0.02,
    ).fit(X, sign)
    rho = flow.history_["rho"]
    assert rho[-20:].mean() < 0.7 * rho[:20].mean()


def test_classes_gather(rng):
    labels = np.arange(200) % 4
    X = 1.2 * rng.normal(size=(4, 10))[labels] + rng.normal(size=(200, 10))
    flow = make_flow(
        None, n_layers=100, batch_size=100, nugget=1.0, step="rms", step_size=0.02
    ).fit(X, kflow.one_hot(labels))
    for name in ("rho", "class_distance_ratio"):
        values = flow.history_[name]
        assert values[-20:].mean() < 0.5 * values[:20].mean()


# ---- edges ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("n", "batch_size", "d"), [(4, 4, 1), (4, 4, 3), (60, 60, 2), (60, 4, 1)])
@pytest.mark.parametrize("n_halves", [1, 3])
def test_small_flows(n, batch_size, d, n_halves, dtype, rng):
    X = rng.normal(size=(n, d)).astype(dtype)
    Y = rng.normal(size=n)
    flow = make_flow(batch_size=batch_size, dtype=dtype, n_halves=n_halves).fit(X, Y)
    expected = reference.flow(
        X,
        Y,
        kernel=KERNEL,
        n_layers=6,
        batch_size=batch_size,
        rng=np.random.default_rng(3),
        n_halves=n_halves,
    )
    tolerance = 1e-8 if dtype == np.float64 else 5e-3
    np.testing.assert_allclose(flow.points_, expected.points, rtol=0, atol=tolerance)
    assert_consistent(flow, X)


def test_no_layers(rng):
    X, Y, _ = make_data(rng)
    flow = make_flow(n_layers=0).fit(X, Y)
    assert flow.n_layers_ == 0
    assert flow.history_["rho"].shape == (0,)
    np.testing.assert_array_equal(flow.points_, X)
    np.testing.assert_array_equal(flow.transform(X), X)
    flow.run(0)
    flow.run(1)
    assert flow.n_layers_ == 1


def test_transform_of_nothing(rng):
    X, Y, _ = make_data(rng)
    flow = make_flow().fit(X, Y, follow={"none": np.zeros((0, 3))})
    assert flow.transform(np.zeros((0, 3))).shape == (0, 3)
    assert flow.follow_["none"].shape == (0, 3)


def test_targets_of_one_column_or_more(rng):
    X, _, labels = make_data(rng, n_classes=2)
    one = make_flow().fit(X, labels)
    np.testing.assert_array_equal(one.points_, make_flow().fit(X, labels[:, None]).points_)
    assert one.targets_.shape == (60, 1)
    # Two classes have a distance ratio whatever their code; numbers have none.
    assert np.isfinite(one.history_["class_distance_ratio"]).all()
    regression = make_flow().fit(X, rng.normal(size=(60, 2)))
    assert np.isnan(regression.history_["class_distance_ratio"]).all()


def test_default_kernel(rng):
    X, Y, _ = make_data(rng)
    flow = make_flow(None).fit(X, Y)
    pairs = ((X[:, None] - X[None]) ** 2).sum(axis=2)
    msd = pairs.sum() / (60 * 59)
    assert flow.kernel is None
    assert isinstance(flow.kernel_, kernels.Gaussian)
    value = kflow.gram(np.zeros((1, 1)), np.array([[np.sqrt(msd)]]), kernel=flow.kernel_)
    assert value[0, 0] == pytest.approx(np.exp(-1.5))
    assert default_kernel(X + 1e6).length_scale == pytest.approx(flow.kernel_.length_scale)


# ---- the same again ---------------------------------------------------------------------------


def test_random_state(rng):
    X, Y, _ = make_data(rng)
    first = make_flow(random_state=7).fit(X, Y)
    for state in (7, np.random.SeedSequence(7), np.random.default_rng(7)):
        assert_equal_flows(make_flow(random_state=state).fit(X, Y), first)
    assert_equal_flows(first.fit(X, Y), make_flow(random_state=7).fit(X, Y))
    assert (make_flow(random_state=8).fit(X, Y).points_ != first.points_).any()
    unseeded = [make_flow(random_state=None).fit(X, Y).points_ for _ in range(2)]
    assert (unseeded[0] != unseeded[1]).any()


def test_a_generator_goes_on_where_it_was(rng):
    X, Y, _ = make_data(rng)
    shared = np.random.default_rng(7)
    first = make_flow(random_state=shared).fit(X, Y)
    second = make_flow(random_state=shared).fit(X, Y)
    assert (first.points_ != second.points_).any()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("d", [3, 9])
def test_runs_add_up(d, dtype, rng):
    X, Y, _ = make_data(rng, d=d)
    test = rng.normal(size=(9, d))
    whole = make_flow(n_layers=7, dtype=dtype).fit(X, Y, follow={"test": test})
    parts = make_flow(n_layers=2, dtype=dtype).fit(X, Y, follow={"test": test})
    parts.run(4).run(0).run(1)
    assert_equal_flows(parts, whole)
    # Looking settles the points, which must not change them.
    looked = make_flow(n_layers=0, dtype=dtype).fit(X, Y, follow={"test": test})
    for number in range(7):
        looked.run(1)
        if number % 2:
            _ = looked.points_
        else:
            _ = looked.follow_
            looked.transform(test)
    assert_equal_flows(looked, whole)
    np.testing.assert_array_equal(looked.follow_["test"], whole.follow_["test"])
    np.testing.assert_array_equal(looked.transform(test), whole.transform(test))


@pytest.mark.parametrize("d", [2, 9])
def test_points_follow_and_transform_agree(d, dtype, rng):
    X, Y, _ = make_data(rng, d=d)
    flow = make_flow(n_layers=20, dtype=dtype).fit(X, Y, follow={"self": X, "half": X[::2]})
    tolerance = 1e-11 if dtype == np.float64 else 1e-4
    for name, rows in (("self", slice(None)), ("half", slice(None, None, 2))):
        np.testing.assert_allclose(flow.follow_[name], flow.points_[rows], rtol=0, atol=tolerance)
    assert_consistent(flow, X)


def test_follow_has_no_influence(rng):
    X, Y, _ = make_data(rng)
    alone = make_flow().fit(X, Y)
    followed = make_flow().fit(X, Y, follow={"far": 100 * rng.normal(size=(40, 3))})
    assert_equal_flows(followed, alone)


def test_rotating_the_data_rotates_the_flow(rng):
    X, Y, _ = make_data(rng)
    Q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    straight, turned = make_flow().fit(X, Y), make_flow().fit(X @ Q, Y)
    np.testing.assert_allclose(turned.points_, straight.points_ @ Q, rtol=0, atol=1e-10)


# ---- results ----------------------------------------------------------------------------------


def test_history(rng):
    X, Y, _ = make_data(rng)
    history = make_flow(nugget=0.25).fit(X, Y).history_
    assert set(history) == {"rho", "step", "seconds", "class_distance_ratio", "nugget", "rank"}
    for values in history.values():
        assert values.shape == (6,)
        assert values.dtype == np.float64
    assert ((history["rho"] >= 0) & (history["rho"] <= 1)).all()
    assert (history["step"] > 0).all()
    assert (history["seconds"] >= 0).all()
    assert (history["nugget"] == 0.25).all()
    assert (history["rank"] == 3).all()


def test_results_are_copies(rng):
    X, Y, _ = make_data(rng)
    flow = make_flow().fit(X, Y, follow={"test": X})
    points = flow.points_
    points[:] = np.nan
    flow.follow_["test"][:] = np.nan
    flow.targets_[:] = np.nan
    flow.history_["rho"][:] = np.nan
    twin = make_flow().fit(X, Y, follow={"test": X})
    assert_equal_flows(flow.run(1), twin.run(1))
    np.testing.assert_array_equal(flow.follow_["test"], twin.follow_["test"])


def test_arguments_are_not_modified(dtype, rng):
    X, Y, _ = make_data(rng)
    X, test = X.astype(dtype), rng.normal(size=(9, 3)).astype(dtype)
    arrays = [X, Y, test]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    flow = make_flow(dtype=dtype).fit(X, Y, follow={"test": test})
    flow.transform(test)
    flow.run(2)
    for array, copied in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copied)
    assert not np.may_share_memory(flow.transform(X), X)


def test_changing_the_arguments_afterwards_changes_nothing(dtype, rng):
    X, Y, _ = make_data(rng)
    X = X.astype(dtype)
    twin = make_flow(dtype=dtype).fit(X.copy(), Y.copy(), follow={"test": X.copy()}).run(2)
    test = X.copy()
    flow = make_flow(dtype=dtype).fit(X, Y, follow={"test": test})
    X[:] = Y[:] = test[:] = 0
    assert_equal_flows(flow.run(2), twin)
    np.testing.assert_array_equal(flow.follow_["test"], twin.follow_["test"])


@pytest.mark.parametrize("how", ["pickle", "deepcopy", "copy"])
@pytest.mark.parametrize("look", [False, True])
def test_copies_of_a_flow(how, look, rng):
    X, Y, _ = make_data(rng)
    flow = make_flow().fit(X, Y, follow={"test": X[:5]})
    twin = make_flow().fit(X, Y, follow={"test": X[:5]})
    if look:
        _ = flow.points_
    duplicate = {
        "pickle": lambda: pickle.loads(pickle.dumps(flow)),
        "deepcopy": lambda: copy.deepcopy(flow),
        "copy": lambda: copy.copy(flow),
    }[how]()
    assert_equal_flows(duplicate, twin)
    # Each goes on by itself, as if there were no other.
    flow.run(2)
    duplicate.run(2)
    twin.run(2)
    assert_equal_flows(flow, twin)
    assert_equal_flows(duplicate, twin)
    np.testing.assert_array_equal(duplicate.transform(X), twin.transform(X))
    np.testing.assert_array_equal(duplicate.follow_["test"], twin.follow_["test"])


def test_copies_of_a_flow_before_fit(rng):
    X, Y, _ = make_data(rng)
    flow = pickle.loads(pickle.dumps(make_flow()))
    assert_equal_flows(copy.deepcopy(flow).fit(X, Y), make_flow().fit(X, Y))


# ---- in a subspace ----------------------------------------------------------------------------


def make_low_rank_data(rng, n=60, d=12, rank=4, dtype="float64"):
    X, Y, labels = make_data(rng, n=n, d=rank)
    onto = np.linalg.qr(rng.normal(size=(d, rank)))[0].T if d > rank else np.eye(d)
    return (X @ onto).astype(dtype), Y, labels


SHAPES = {
    "rank below d": {"n": 60, "d": 12, "rank": 4},
    "low rank": {"n": 60, "d": 40, "rank": 3},
    "N below d": {"n": 30, "d": 40, "rank": 40},
    "full rank": {"n": 60, "d": 8, "rank": 8},
    "one dimension": {"n": 60, "d": 1, "rank": 1},
    "a line": {"n": 60, "d": 9, "rank": 1},
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("step", ["relative", "rms"])
def test_the_flow_in_the_span_of_the_data_is_the_same_flow(shape, step, dtype, rng):
    X, Y, _ = make_low_rank_data(rng, **SHAPES[shape], dtype=dtype)
    n, d = X.shape
    test = rng.normal(size=(17, d)).astype(dtype)  # outside the span too
    options = {"dtype": dtype, "step": step, "step_size": STEPS[step], "nugget": 0.1}
    full = make_flow(**options).fit(X, Y, follow={"inside": X[:7]})
    flow = make_flow(rank="auto", **options).fit(X, Y, follow={"inside": X[:7], "test": test})
    rank = min(SHAPES[shape]["rank"], n)
    assert flow.rank_ == rank
    assert flow.n_features_in_ == d
    assert flow.energy_dropped_ < 1e-11
    assert (flow.history_["rank"] == rank).all()
    tolerance = {"rtol": 0, "atol": 1e-9 if dtype == np.float64 else 1e-3}
    for name in ("rho", "step", "class_distance_ratio"):
        np.testing.assert_allclose(flow.history_[name], full.history_[name], rtol=tolerance["atol"])
    assert flow.points_.dtype == flow.reduced_points_.dtype == dtype
    np.testing.assert_allclose(flow.points_, full.points_, **tolerance)
    np.testing.assert_allclose(flow.follow_["inside"], full.follow_["inside"], **tolerance)
    np.testing.assert_allclose(flow.transform(X), flow.points_, **tolerance)
    np.testing.assert_allclose(flow.transform(test), full.transform(test), **tolerance)
    assert np.abs(full.points_ - X).max() > 1e-2 or shape == "one dimension"

    reduced = flow.transform(test, reduced=True)
    assert reduced.shape == (17, rank + 1)
    assert reduced.dtype == dtype
    np.testing.assert_allclose(flow.reduced_follow_["test"], reduced, **tolerance)
    np.testing.assert_allclose(flow.transform(X, reduced=True), flow.reduced_points_, **tolerance)
    np.testing.assert_allclose(
        kflow.gram(reduced, flow.reduced_points_, kernel=KERNEL),
        kflow.gram(full.transform(test), full.points_, kernel=KERNEL),
        **tolerance,
    )
    # What was followed outside the span has lost what does not move.
    basis = flow.state_.subspace.basis
    outside = test - test @ basis @ basis.T
    np.testing.assert_allclose(
        flow.follow_["test"] + outside, flow.transform(test), rtol=0, atol=2e-5
    )


def test_without_a_rank_the_reduced_points_are_the_points(rng):
    X, Y, _ = make_data(rng)
    flow = make_flow().fit(X, Y, follow={"test": X[:5]})
    np.testing.assert_array_equal(flow.reduced_points_, flow.points_)
    np.testing.assert_array_equal(flow.reduced_follow_["test"], flow.follow_["test"])
    np.testing.assert_array_equal(flow.transform(X, reduced=True), flow.transform(X))
    assert flow.rank_ == 3
    assert flow.energy_dropped_ == 0.0
    flow.reduced_points_[:] = np.nan
    assert np.isfinite(flow.reduced_points_).all()


def assert_matches(flow, expected, test, tolerance=1e-8):
    np.testing.assert_allclose(flow.points_, expected.points, rtol=0, atol=tolerance)
    np.testing.assert_allclose(flow.transform(test), expected.follow["test"], atol=tolerance)
    np.testing.assert_allclose(flow.history_["rho"], expected.rho, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(flow.history_["rank"], expected.rank)
    # Coordinates are arbitrary, distances are not.
    distances, wanted = (
        kflow.gram(points, kernel=KERNEL)
        for points in (flow.reduced_points_, expected.reduced_points)
    )
    np.testing.assert_allclose(distances, wanted, rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [1, 3, 6])
@pytest.mark.parametrize("step", STEPS)
def test_a_truncated_flow_against_the_reference(step, rank, dtype, rng):
    X, Y, _ = make_data(rng, d=8)
    X, test = X.astype(dtype), rng.normal(size=(17, 8)).astype(dtype)
    options = {"step": step, "step_size": STEPS[step], "nugget": 0.1}
    flow = make_flow(rank=rank, dtype=dtype, **options).fit(X, Y)
    expected = reference.flow(
        X,
        Y,
        kernel=KERNEL,
        n_layers=6,
        batch_size=30,
        rng=np.random.default_rng(3),
        follow={"test": test},
        rank=rank,
        **options,
    )
    assert_matches(flow, expected, test, 1e-8 if dtype == np.float64 else 1e-3)
    energies = np.linalg.svd(X.astype(np.float64), compute_uv=False) ** 2
    assert flow.energy_dropped_ == pytest.approx(energies[rank:].sum() / energies.sum(), rel=1e-5)


def test_truncation_of_nothing_is_exact(rng):
    X, Y, _ = make_low_rank_data(rng)
    exact = make_flow(rank="auto").fit(X, Y)
    for rank in (4, 1e-9):
        flow = make_flow(rank=rank).fit(X, Y)
        assert flow.rank_ == 4
        assert flow.energy_dropped_ < 1e-15
        np.testing.assert_allclose(flow.points_, exact.points_, rtol=0, atol=1e-10)
    some = make_flow(rank=0.2).fit(X, Y)
    assert some.rank_ < 4
    assert 1e-9 < some.energy_dropped_ <= 0.2


def test_the_default_kernel_is_that_of_the_data(rng):
    X, Y, _ = make_data(rng, d=8)
    full = make_flow(None).fit(X, Y)
    for rank in ("auto", 2):
        assert make_flow(None, rank=rank).fit(X, Y).kernel_ == full.kernel_


def test_zeros_and_duplicates_in_a_subspace(dtype, rng):
    X, Y, _ = make_low_rank_data(rng, dtype=dtype)
    X[3] = X[40] = 0
    X[50:] = X[7]
    options = {"dtype": dtype, "nugget": 0.5, "batch_size": 60}
    flow, full = make_flow(rank="auto", **options).fit(X, Y), make_flow(**options).fit(X, Y)
    tolerance = 1e-9 if dtype == np.float64 else 1e-3
    np.testing.assert_allclose(flow.points_, full.points_, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("n", "d"), [(4, 1), (4, 9), (30, 3)])
def test_small_flows_in_a_subspace(n, d, dtype, rng):
    X, Y = rng.normal(size=(n, d)).astype(dtype), rng.normal(size=n)
    options = {"batch_size": n, "dtype": dtype, "nugget": 0.1, "n_halves": 3}
    full = make_flow(**options).fit(X, Y)
    settings = {**options, "rank": "auto", "shrink_every": 1, "shrink_tolerance": 1e-12}
    flow = make_flow(**settings).fit(X, Y, follow={"none": X[:0]})
    assert flow.rank_ == min(n, d)
    tolerance = 1e-9 if dtype == np.float64 else 5e-3
    np.testing.assert_allclose(flow.points_, full.points_, rtol=0, atol=tolerance)
    assert flow.follow_["none"].shape == flow.transform(X[:0]).shape == (0, d)
    assert flow.reduced_follow_["none"].shape == (0, flow.rank_ + 1)
    flow.shrink_tolerance = 1e9
    flow.run(2)
    assert flow.rank_ == 1
    assert flow.transform(X[:0]).shape == (0, d)
    assert flow.transform(X[:0], reduced=True).shape == (0, 2)
    np.testing.assert_allclose(flow.transform(X), flow.points_, rtol=0, atol=tolerance)


# ---- a rank that falls ------------------------------------------------------------------------


SHRINKING = {
    "rank": "auto",
    "shrink_every": 4,
    "shrink_tolerance": 0.02,
    "n_layers": 30,
    "step": "rms",
    "step_size": 0.04,
    "nugget": 1.0,
    "kernel": kernels.Gaussian(3.0),
}


def make_clouds(rng, dtype="float64"):
    """Three clouds in eight dimensions that a flow soon brings into a plane."""
    labels = np.arange(90) % 3
    X = 2 * rng.normal(size=(3, 8))[labels] + 0.4 * rng.normal(size=(90, 8))
    return X.astype(dtype), kflow.one_hot(labels)


def test_shrinking_against_the_reference(dtype, rng):
    X, Y = make_clouds(rng, dtype)
    test = rng.normal(size=(17, 8)).astype(dtype)
    settings = {**SHRINKING, "n_layers": 10, "shrink_tolerance": 0.05}
    flow = make_flow(dtype=dtype, **settings).fit(X, Y, follow={"test": test})
    settings.update(rank=8, batch_size=30, rng=np.random.default_rng(3), follow={"test": test})
    expected = reference.flow(X, Y, **settings)
    assert 1 <= flow.rank_ < 8
    tolerance = 1e-8 if dtype == np.float64 else 2e-3
    assert_matches(flow, expected, test, tolerance)
    np.testing.assert_allclose(flow.follow_["test"], expected.follow["test"], atol=tolerance)


def test_the_rank_falls_as_classes_collapse(dtype, rng):
    X, Y = make_clouds(rng, dtype)
    test = rng.normal(size=(17, 8)).astype(dtype)
    flow = make_flow(dtype=dtype, **SHRINKING).fit(X, Y, follow={"test": test})
    ranks = flow.history_["rank"]
    assert (ranks[:4] == 8).all()
    assert (np.diff(ranks) <= 0).all()
    assert 1 <= flow.rank_ <= 3
    falls = 1 + np.flatnonzero(np.diff(ranks))
    assert (falls % 4 == 0).all()
    tolerance = {"rtol": 0, "atol": 1e-10 if dtype == np.float64 else 1e-3}
    np.testing.assert_allclose(flow.transform(X), flow.points_, **tolerance)
    np.testing.assert_allclose(flow.transform(X, reduced=True), flow.reduced_points_, **tolerance)
    np.testing.assert_allclose(flow.transform(test), flow.follow_["test"], **tolerance)
    np.testing.assert_allclose(
        flow.transform(test, reduced=True), flow.reduced_follow_["test"], **tolerance
    )
    assert flow.points_.shape == X.shape
    # Distances in the reduced coordinates are nearly those of the points.
    msd = ((flow.points_[:, None] - flow.points_[None]) ** 2).sum(axis=2)
    reduced = flow.reduced_points_
    close = ((reduced[:, None] - reduced[None]) ** 2).sum(axis=2)
    assert np.abs(msd - close).mean() < len(falls) * 0.02 * msd.mean()


def test_a_tiny_tolerance_shrinks_nothing(rng):
    X, Y = make_clouds(rng)
    flow = make_flow(**{**SHRINKING, "shrink_tolerance": 1e-12}).fit(X, Y)
    never = make_flow(**{**SHRINKING, "shrink_every": 0}).fit(X, Y)
    assert_equal_flows(flow, never)
    np.testing.assert_array_equal(flow.transform(X), never.transform(X))


def test_a_large_tolerance_keeps_one_direction(rng):
    X, Y = make_clouds(rng)
    flow = make_flow(**{**SHRINKING, "shrink_tolerance": 1e6}).fit(X, Y)
    assert flow.rank_ == 1
    assert flow.reduced_points_.shape == (90, 2)
    np.testing.assert_allclose(flow.transform(X), flow.points_, rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["memory", "none", "folder"])
def test_shrinking_runs_add_up(where, dtype, rng, tmp_path):
    X, Y = make_clouds(rng, dtype)
    whole = make_flow(dtype=dtype, **SHRINKING).fit(X, Y, follow={"test": X[:9]})
    settings = {**SHRINKING, "n_layers": 3, "dtype": dtype}
    settings |= {"checkpoint": tmp_path} if where == "folder" else {"layers": where}
    parts = make_flow(**settings).fit(X, Y, follow={"test": X[:9]})
    parts.run(1).run(0)  # up to where directions are dropped
    _ = parts.points_
    parts.run(4).run(5)
    _ = parts.reduced_follow_
    parts.run(17)
    assert_equal_flows(parts, whole)
    np.testing.assert_array_equal(parts.follow_["test"], whole.follow_["test"])
    np.testing.assert_array_equal(parts.reduced_points_, whole.reduced_points_)
    np.testing.assert_array_equal(parts.history_["rank"], whole.history_["rank"])
    if where != "none":
        np.testing.assert_array_equal(parts.transform(X), whole.transform(X))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["pickle", "deepcopy"])
@pytest.mark.parametrize("n_layers", [4, 13, 30])
def test_copies_of_a_shrinking_flow(how, n_layers, rng):
    X, Y = make_clouds(rng)
    flow = make_flow(**{**SHRINKING, "n_layers": n_layers}).fit(X, Y, follow={"test": X[:5]})
    twin = make_flow(**SHRINKING).fit(X, Y, follow={"test": X[:5]}).run(4)
    duplicate = pickle.loads(pickle.dumps(flow)) if how == "pickle" else copy.deepcopy(flow)
    assert_equal_flows(duplicate, flow)
    assert_equal_flows(flow.run(34 - n_layers), twin)
    assert_equal_flows(duplicate.run(34 - n_layers), twin)
    np.testing.assert_array_equal(duplicate.transform(X), twin.transform(X))


def test_threads_do_not_matter_in_a_subspace(rng):
    X, Y = make_clouds(rng)
    X, Y = np.tile(X, (20, 1)) + 0.1 * rng.normal(size=(1800, 8)), np.tile(Y, (20, 1))
    one, many = (make_flow(**SHRINKING, n_threads=n_threads).fit(X, Y) for n_threads in (1, 3))
    assert one.rank_ < 8
    assert_equal_flows(one, many)
    np.testing.assert_array_equal(one.transform(X), many.transform(X))


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["settling", "reducing", "drawing", "storing"])
def test_an_interrupted_layer_where_the_rank_falls(moment, rng, monkeypatch):
    X, Y = make_clouds(rng)
    twin = make_flow(**SHRINKING).fit(X, Y, follow={"test": X[:5]})
    before = np.flatnonzero(np.diff(twin.history_["rank"]))[0] + 1  # the layer that falls
    flow = make_flow(**{**SHRINKING, "n_layers": int(before)}).fit(X, Y, follow={"test": X[:5]})

    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    target = {
        "settling": (CpuMovingPoints, "settle"),
        "reducing": (Positions, "reduced_by"),
        "drawing": (layer_by_layer, "draw_batch"),
        "storing": (flow.state_.store, "put"),
    }[moment]
    for _ in range(1 if moment == "settling" else 2):  # looking at the points settles them
        with monkeypatch.context() as patch:
            patch.setattr(*target, interrupt)
            with pytest.raises(KeyboardInterrupt):
                flow.run(1)
        assert flow.n_layers_ == before
        np.testing.assert_allclose(flow.points_, flow.transform(X), rtol=0, atol=1e-10)
        np.testing.assert_allclose(
            flow.reduced_points_, flow.transform(X, reduced=True), rtol=0, atol=1e-10
        )
        assert len(flow.state_.reductions) == (moment in ("drawing", "storing"))
    # A copy made just then goes on as well.
    duplicate = pickle.loads(pickle.dumps(flow))
    for each in (flow, duplicate):
        assert_equal_flows(each.run(30 - int(before)), twin)
        np.testing.assert_array_equal(each.transform(X), twin.transform(X))
        np.testing.assert_array_equal(each.follow_["test"], twin.follow_["test"])


def test_divergence_of_a_shrinking_flow(rng):
    X, Y = make_clouds(rng)
    settings = {**SHRINKING, "step": "fixed", "nugget": 1.0}
    flow = make_flow(**{**settings, "step_size": {0: 0.5, 8: 1e30}})
    with pytest.raises(kflow.DivergenceError, match="layer 8"):
        flow.fit(X, Y)
    assert flow.n_layers_ == 8
    np.testing.assert_allclose(flow.points_, flow.transform(X), rtol=0, atol=1e-10)
    flow.step_size = 0.5
    whole = make_flow(**{**settings, "step_size": 0.5, "n_layers": 12}).fit(X, Y)
    assert_equal_flows(flow.run(4), whole)


# ---- callbacks, interruption, errors -----------------------------------------------------------


def test_callbacks(rng):
    X, Y, _ = make_data(rng)
    seen = []

    def note(flow):
        seen.append((flow.n_layers_, flow.history_["rho"][-1], flow.points_.copy()))

    def stop(flow):
        return flow.n_layers_ == 4

    flow = make_flow(callbacks=[stop, note]).fit(X, Y)
    assert [layers for layers, _, _ in seen] == [1, 2, 3, 4]
    assert flow.n_layers_ == 4
    np.testing.assert_array_equal(seen[-1][2], flow.points_)
    np.testing.assert_array_equal([rho for _, rho, _ in seen], flow.history_["rho"])
    assert_equal_flows(flow.run(2), make_flow().fit(X, Y))


def test_an_error_in_a_callback_leaves_the_flow_as_it_is(rng):
    X, Y, _ = make_data(rng)

    def fail(flow):
        if flow.n_layers_ == 3:
            raise KeyError("mine")

    flow = make_flow(callbacks=[fail])
    with pytest.raises(KeyError, match="mine"):
        flow.fit(X, Y)
    assert flow.n_layers_ == 3
    flow.callbacks = ()
    assert_equal_flows(flow.run(3), make_flow().fit(X, Y))


def test_progress(rng, capsys):
    X, Y, _ = make_data(rng)
    assert_equal_flows(make_flow(progress=True).fit(X, Y), make_flow().fit(X, Y))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "6/6" in captured.err


def test_interrupt_in_a_callback_ends_the_run_at_the_layer(rng):
    X, Y, _ = make_data(rng)

    def interrupt(flow):
        if flow.n_layers_ == 3:
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    flow = make_flow(callbacks=[interrupt])
    with pytest.raises(KeyboardInterrupt):
        flow.fit(X, Y)
    assert signal.getsignal(signal.SIGINT) is handler
    assert flow.n_layers_ == 3
    assert_consistent(flow, X)
    flow.callbacks = ()
    assert_equal_flows(flow.run(3), make_flow().fit(X, Y))


def test_somebody_elses_interrupt_handler_is_left_alone(rng):
    X, Y, _ = make_data(rng)
    calls = []
    before = signal.signal(signal.SIGINT, lambda *_: calls.append(1))
    try:
        flow = make_flow(callbacks=[lambda _: signal.raise_signal(signal.SIGINT)]).fit(X, Y)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(calls) == flow.n_layers_ == 6


def test_a_flow_in_another_thread(rng):
    X, Y, _ = make_data(rng)
    flow = make_flow()
    thread = threading.Thread(target=flow.fit, args=(X, Y))
    thread.start()
    thread.join()
    assert_equal_flows(flow, make_flow().fit(X, Y))


INTERRUPTED = """
import sys
import numpy as np, kflow

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(500, 8)), rng.normal(size=500)
flow = kflow.KernelFlow(kflow.kernels.Gaussian(3.0), n_layers=10**5, batch_size=100,
                        random_state=0, dtype="float64")
said = []
def say(flow):
    if not said:
        said.append(True)
        print("running", flush=True)
flow.callbacks = (say,)
try:
    flow.fit(X, Y)
except KeyboardInterrupt:
    pass
else:
    sys.exit("was not interrupted")
n = flow.n_layers_
assert 0 < n < 10**5
assert {len(v) for v in flow.history_.values()} == {n}
assert len(flow.state_.store) == n
twin = kflow.KernelFlow(flow.kernel, n_layers=n, batch_size=100, random_state=0, dtype="float64")
twin.fit(X, Y)
np.testing.assert_array_equal(flow.points_, twin.points_)
np.testing.assert_array_equal(flow.run(2).points_, twin.run(2).points_)
np.testing.assert_array_equal(flow.transform(X[:5]), twin.transform(X[:5]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent there")
def test_interrupt_from_outside(clean_environment):
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment,
    )
    try:
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, errors


@pytest.mark.usefixtures("engine")
def test_divergence_keeps_the_last_good_layer(dtype, rng):
    X, Y, _ = make_data(rng)
    sizes = {0: 0.5, 3: 1e30}
    flow = make_flow(step="fixed", step_size=sizes, dtype=dtype)
    with pytest.raises(kflow.DivergenceError, match=r"diverged in layer 3.*smaller step_size"):
        flow.fit(X, Y)
    twin = make_flow(step="fixed", step_size=0.5, dtype=dtype, n_layers=3).fit(X, Y)
    assert_equal_flows(flow, twin)
    assert_consistent(flow, X)
    with pytest.raises(kflow.DivergenceError):
        flow.run(1)
    assert_equal_flows(flow, twin)
    flow.step_size = 0.5
    assert_equal_flows(flow.run(3), twin.run(3))
    assert_consistent(flow, X)
    assert issubclass(kflow.DivergenceError, ArithmeticError)


@pytest.mark.filterwarnings("ignore::kflow.errors.StandstillWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_is_finite_in_the_precision_of_the_points(dtype, rng):
    X = 50 * rng.normal(size=(200, 10))
    settings = {"batch_size": 50, "nugget": 0.1, "step": "rms", "step_size": 0.01}
    flow = make_flow(kernels.Matern32(1.0), step_over="batch", dtype=dtype, **settings)
    if (
        dtype == "float32"
    ):  # the coefficients are 0 there, and the step is beyond the largest number
        with pytest.raises(
            kflow.DivergenceError, match=r"layer 0: the step .* larger length scale"
        ):
            flow.fit(X, np.sign(X[:, 0]))
        np.testing.assert_array_equal(flow.points_, X.astype(dtype))
    else:
        flow.fit(X, np.sign(X[:, 0]))
    assert np.isfinite(flow.points_).all()
    assert np.isfinite(flow.history_["step"]).all()


def test_duplicates_without_nugget_are_named(rng):
    X, Y, _ = make_data(rng)
    X[41] = X[17]
    # Not far enough from singular to be refused, not near enough to be noticed elsewhere.
    flow = make_flow(nugget=0.0, batch_size=60)
    with pytest.raises(kflow.SingularKernelError, match="rows 17 and 41 of X coincide"):
        flow.fit(X, Y)
    assert flow.n_layers_ == 0
    np.testing.assert_array_equal(flow.points_, X)
    flow.nugget = 0.1
    flow.run(2)
    assert_equal_flows(flow, make_flow(nugget=0.1, batch_size=60, n_layers=2).fit(X, Y))


def test_a_singular_layer_keeps_the_last_good_one(rng):
    X, Y, _ = make_data(rng)
    X[41] = X[17]
    flow = make_flow(nugget={0: 0.1, 2: 0.0}, batch_size=60)
    with pytest.raises(kflow.SingularKernelError, match="rows 17 and 41 of X coincide"):
        flow.fit(X, Y)
    twin = make_flow(nugget=0.1, batch_size=60, n_layers=2).fit(X, Y)
    assert_equal_flows(flow, twin)
    flow.nugget = 0.1
    assert_equal_flows(flow.run(2), twin.run(2))


# ---- bad arguments ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"kernel": "gaussian"}, TypeError, "kernel must be one of"),
        ({"n_layers": -1}, ValueError, "n_layers must be at least 0"),
        ({"n_layers": 1.5}, TypeError, "n_layers must be a whole number"),
        ({"n_layers": True}, TypeError, "n_layers must be a whole number"),
        ({"batch_size": 3}, ValueError, "batch_size must be at least 4"),
        ({"batch_size": "all"}, TypeError, "batch_size must be a whole number"),
        ({"coarse_fraction": 0}, ValueError, "coarse_fraction must be positive"),
        ({"coarse_fraction": 1}, ValueError, "coarse_fraction must be below 1"),
        ({"coarse_fraction": None}, TypeError, "coarse_fraction must be a number"),
        ({"nugget": -0.1}, ValueError, "nugget must be finite and not negative"),
        ({"nugget": "small"}, TypeError, "nugget must be a number"),
        ({"nugget": {1: 0.1}}, ValueError, "nugget as a schedule"),
        ({"step": "newton"}, ValueError, "step must be one of"),
        ({"step": 0.1}, ValueError, "step must be one of"),
        ({"step_size": 0}, ValueError, "step_size must be positive"),
        ({"step_size": np.nan}, ValueError, "step_size must be positive"),
        ({"step_size": None}, TypeError, "step_size must be a number"),
        ({"n_halves": 0}, ValueError, "n_halves must be at least 1"),
        ({"rank": 0}, ValueError, "rank must be at least 1"),
        ({"rank": 4}, ValueError, "rank must lie between 1 and the 3 features of X, got 4"),
        ({"rank": 0.0}, ValueError, "rank as a part of the sum of squares must lie in"),
        ({"rank": 1.0}, ValueError, "rank as a part of the sum of squares must lie in"),
        ({"rank": np.float32("nan")}, ValueError, "rank as a part of the sum of squares"),
        ({"rank": "all"}, TypeError, "rank must be None, 'auto', a whole number"),
        ({"rank": True}, TypeError, "rank must be None"),
        ({"rank": [2]}, TypeError, "rank must be None"),
        ({"shrink_every": -1}, ValueError, "shrink_every must be at least 0"),
        ({"shrink_every": 2.0}, TypeError, "shrink_every must be a whole number"),
        ({"shrink_every": 5}, ValueError, "shrink_every=5 needs a rank"),
        ({"shrink_tolerance": 0}, ValueError, "shrink_tolerance must be positive"),
        ({"shrink_tolerance": "no"}, TypeError, "shrink_tolerance must be a number"),
        ({"dtype": "float16"}, ValueError, "dtype must be 'float32' or 'float64'"),
        ({"dtype": "number"}, ValueError, "dtype must be"),
        ({"dtype": int}, ValueError, "dtype must be"),
        ({"n_threads": 0}, ValueError, "n_threads must be a positive whole number"),
        ({"callbacks": [1]}, TypeError, "callbacks must be a list"),
        ({"callbacks": print}, TypeError, "callbacks must be"),
        ({"random_state": "seed"}, (TypeError, ValueError), "random_state"),
        ({"random_state": -1}, ValueError, "random_state"),
        ({"layers": 3}, ValueError, "layers must be 'memory' or 'none'"),
    ],
    ids=str,
)
def test_bad_settings(options, error, text, rng):
    X, Y, _ = make_data(rng)
    with pytest.raises(error, match=text):
        make_flow(**options).fit(X, Y)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"X": np.ones(60)}, ValueError, r"X must have two dimensions.*X\.reshape"),
        ({"X": np.ones((0, 3))}, ValueError, "X is empty"),
        ({"X": np.full((60, 3), np.nan)}, ValueError, "X contains NaN"),
        ({"X": np.full((60, 3), "a")}, TypeError, "X must hold real numbers"),
        ({"X": np.ones((29, 3)), "Y": np.arange(29)}, ValueError, "batch_size=30 exceeds the 29"),
        ({"Y": np.ones(59)}, ValueError, "Y must have 60 rows"),
        ({"Y": np.ones(60)}, ValueError, "Y has one class or value only"),
        ({"Y": np.full(60, "a")}, TypeError, r"Y must hold real numbers.*one_hot"),
        ({"Y": [np.inf] * 60}, ValueError, "Y contains NaN"),
        ({"Y": np.ones((60, 0))}, ValueError, "Y is empty"),
        ({"follow": {"test": np.ones((2, 4))}}, ValueError, r"follow\['test'\] must have 3 col"),
        ({"follow": {"test": [[np.nan] * 3]}}, ValueError, r"follow\['test'\] contains NaN"),
        ({"follow": {"": np.ones((2, 3))}}, ValueError, "follow: '' is the name"),
        ({"follow": np.ones((2, 3))}, TypeError, "follow must map names to arrays"),
    ],
    ids=lambda value: str(list(value)) if isinstance(value, dict) else "",
)
def test_bad_data(arguments, error, text, rng):
    X, Y, _ = make_data(rng)
    flow = make_flow()
    with pytest.raises(error, match=text):
        flow.fit(**{"X": X, "Y": Y, **arguments})
    # A flow that ran before is not touched.
    flow.fit(X, Y)
    with pytest.raises(error, match=text):
        flow.fit(**{"X": X, "Y": Y, **arguments})
    assert_equal_flows(flow, make_flow().fit(X, Y))


def test_coinciding_points_have_no_default_kernel():
    with pytest.raises(ValueError, match="X: all rows coincide"):
        make_flow(None).fit(np.ones((60, 2)), np.arange(60))


def test_a_refused_fit_makes_no_folder(rng, tmp_path):
    X, Y, _ = make_data(rng)
    flow = make_flow(checkpoint=tmp_path / "layers", random_state=-1)
    with pytest.raises(ValueError, match="random_state"):
        flow.fit(X, Y)
    assert not (tmp_path / "layers").exists()


def test_nothing_before_fit():
    flow = make_flow()
    for use in (
        lambda: flow.points_,
        lambda: flow.follow_,
        lambda: flow.reduced_points_,
        lambda: flow.reduced_follow_,
        lambda: flow.rank_,
        lambda: flow.energy_dropped_,
        lambda: flow.history_,
        lambda: flow.targets_,
        lambda: flow.n_layers_,
        lambda: flow.run(1),
        lambda: flow.transform([[1.0]]),
        lambda: flow.save("nowhere"),
    ):
        with pytest.raises(ValueError, match="call fit first"):
            use()


def test_bad_calls_after_fit(rng):
    X, Y, _ = make_data(rng)
    flow = make_flow().fit(X, Y)
    with pytest.raises(ValueError, match="X must have 3 columns"):
        flow.transform(np.ones((2, 4)))
    with pytest.raises(ValueError, match="X contains NaN"):
        flow.transform([[np.nan, 0, 0]])
    with pytest.raises(ValueError, match="n must be at least 0"):
        flow.run(-1)
    with pytest.raises(TypeError, match="n must be a whole number"):
        flow.run(1.0)
    assert flow.n_layers_ == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"rank": "auto", "shrink_every": 3, "shrink_tolerance": 1e-3}], ids=str
)
def test_an_exception_at_any_moment_leaves_a_consistent_flow(run_python, options):
    # A handler that raises is called as soon as the core returns, before Python's next line.
    run_python(
        f"options = {options}\n"
        """
import signal
import numpy as np
import kflow

class Alarm(Exception):
    pass

def ring(*_):
    raise Alarm

signal.signal(signal.SIGALRM, ring)
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(3000, 20)), rng.normal(size=3000)
X *= np.linspace(0.1, 1, 20)
flow = kflow.KernelFlow(
    kflow.kernels.Gaussian(5.0), n_layers=1, batch_size=100, nugget=0.1, random_state=0,
    dtype="float64", step="rms", step_size=0.03, **options,
).fit(X, Y)
rung = 0
for i in range(40):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.002 + 0.0007 * i)
        flow.run(1000)
    except Alarm:
        rung += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if i % 3 == 0:
        _ = flow.points_
assert rung == 40
flow.run(100)  # a slow machine may not have come as far as the first smaller rank
np.testing.assert_allclose(flow.points_, flow.transform(X), atol=1e-9)
np.testing.assert_allclose(flow.reduced_points_, flow.transform(X, reduced=True), atol=1e-9)
assert all(len(values) == flow.n_layers_ for values in flow.history_.values())
assert not options or flow.rank_ < 20
"""
    )


@pytest.mark.parametrize("rank", [None, 2])
def test_kernels_of_few_dimensions(rank, rng):
    X, Y = rng.normal(size=(30, 3)), rng.normal(size=30)
    settings = {"n_layers": 2, "batch_size": 10, "nugget": 0.1, "random_state": 0, "rank": rank}
    flow = kflow.KernelFlow(kernels.Wendland(4.0), **settings).fit(X, Y)
    assert np.isfinite(flow.points_).all()
    with pytest.raises(ValueError, match="at most 2 dimensions, but X has 3 columns"):
        kflow.KernelFlow(kernels.Wendland(4.0, dimension=2), **settings).fit(X, Y)
