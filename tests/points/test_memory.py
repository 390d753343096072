from __future__ import annotations

import pickle

import numpy as np

from kflow.engine import HOST
from kflow.engine.interface import FlowBatch, LayerOptions, Profile
from kflow.layers.block import Block, LayerRecord
from kflow.layers.motion import Motion
from kflow.layers.positions import Positions
from kflow.layers.rank_reduction import RankReduction
from kflow.points.memory import MemoryPoints

MOTION = Motion(HOST, Profile("gaussian", 2.0), 1)
OPTIONS = LayerOptions(0.1, "rms", 0.1, np.inf, over_batch=False)
RECORD = LayerRecord(0.5, 0.1, 0.0, np.nan, 0.1, 3)


def some_points(rng, dtype, n_fixed=1):
    sets = {
        "": rng.normal(size=(30, 4)).astype(dtype),
        "test": rng.normal(size=(7, 4)).astype(dtype),
    }
    first = {name: points.copy() for name, points in sets.items()}
    return MemoryPoints(Positions.before_layers(sets), n_fixed, 0, MOTION), first


def run_layer(points, number, rng):
    batch = FlowBatch(rng.choice(30, 8, replace=False), np.empty((0, 4), np.intp), 4)
    return points.layer(number, batch, np.ones((30, 1)) * batch.rows[0], None, OPTIONS, 1)[0]


def turn(rng, layer, kept, size=3):
    return RankReduction(layer, np.linalg.qr(rng.normal(size=(size, size)))[0], kept)


def test_what_is_known_without_looking_at_points(rng, dtype):
    points, _ = some_points(rng, dtype)
    assert (points.rank, points.n_fixed, tuple(points.after(0, 1).sets)) == (3, 1, ("", "test"))
    assert points.n_bytes == 37 * 4 * np.dtype(dtype).itemsize
    assert points.reductions == {}


def test_layers_move_all_sets_and_their_replay_agrees(rng, dtype):
    points, first = some_points(rng, dtype)
    layers = [run_layer(points, number, rng) for number in range(3)]
    after = points.after(3, 1)
    for name, values in first.items():
        for layer in layers:
            MOTION.through(values, [layer])
        np.testing.assert_array_equal(after.sets[name], values)
        np.testing.assert_array_equal(after.sets[name][:, 3], first[name][:, 3])


def test_a_layer_that_does_not_count_is_forgotten(rng, dtype):
    points, first = some_points(rng, dtype)
    run_layer(points, 0, rng)
    np.testing.assert_array_equal(points.after(0, 1).training, first[""])
    layer = run_layer(points, 0, rng)
    MOTION.through(first[""], [layer])
    np.testing.assert_array_equal(points.after(1, 1).training, first[""])


def test_through_a_block_once(rng, dtype):
    points, first = some_points(rng, dtype)
    other, _ = some_points(np.random.default_rng(5), dtype)
    layers = tuple(run_layer(other, number, rng) for number in range(2))
    block = Block(0, layers, None, (RECORD, RECORD))
    for _ in range(2):  # a block that comes again has been seen
        points.through(block, 1)
        after = points.after(2, 1)
        assert not np.array_equal(after.training, first[""])
        expected = Positions.before_layers({k: v.copy() for k, v in first.items()})
        expected = expected.through(block, MOTION)
        np.testing.assert_array_equal(after.training, expected.training)


def test_a_reduction_keeps_what_it_drops(rng):
    points, first = some_points(rng, "float64")
    reduction = turn(rng, 0, 2)
    points.reduce(reduction, 1)
    assert points.rank == 2
    assert points.reductions == {0: reduction}
    after = points.after(0, 1)
    assert after.training.shape == (30, 3)
    np.testing.assert_allclose(after.first_coordinates(""), first[""][:, :3], atol=1e-14)
    np.testing.assert_allclose(
        np.linalg.norm(after.training, axis=1), np.linalg.norm(first[""], axis=1)
    )


def test_resting_changes_nothing(rng, dtype):
    points, _ = some_points(rng, dtype)
    run_layer(points, 0, rng)
    before = points.after(1, 1).training.copy()
    points.rest(1, 1)
    np.testing.assert_array_equal(points.after(1, 1).training, before)
    run_layer(points, 1, rng)


def test_a_copy_goes_on(rng, dtype):
    points, _ = some_points(rng, dtype)
    run_layer(points, 0, rng)
    points.after(1, 1)
    again = pickle.loads(pickle.dumps(points))
    state = rng.bit_generator.state
    one = run_layer(points, 1, rng)
    rng.bit_generator.state = state
    other = run_layer(again, 1, rng)
    np.testing.assert_array_equal(one.coefficients, other.coefficients)
    np.testing.assert_array_equal(points.after(2, 1).training, again.after(2, 1).training)
