from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from kflow.learning.batches import (
    BatchSource,
    draw_folds,
    draw_halves,
    nearest_pairs,
    neighbour_rows,
    uniform_rows,
)

BOTH = [uniform_rows, neighbour_rows]


def sizes():
    return [(1, 1), (2, 1), (2, 2), (3, 2), (7, 7), (50, 1), (50, 3), (50, 20), (50, 49), (50, 50)]


# ---- rows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize(("n", "size"), sizes())
@pytest.mark.parametrize("d", [1, 3])
def test_rows_are_distinct_and_as_many_as_wanted(make, n, size, d, rng):
    draw = make(rng.normal(size=(n, d)), size)
    for _ in range(20):
        rows = draw(rng)
        assert rows.dtype == np.intp
        assert rows.shape == (size,)
        assert len(set(rows.tolist())) == size
        assert rows.min() >= 0
        assert rows.max() < n


@pytest.mark.parametrize("make", BOTH)
def test_rows_repeat_with_the_generator(make, rng):
    draw = make(rng.normal(size=(60, 2)), 20)
    first, same, other = (draw(np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(np.sort(first), np.sort(other))


@pytest.mark.parametrize("make", BOTH)
def test_every_row_has_its_turn(make, rng):
    draw = make(rng.normal(size=(40, 2)), 10)
    counts = np.bincount(np.concatenate([draw(rng) for _ in range(400)]), minlength=40)
    assert counts.min() > 20


def test_all_rows_come_in_order(rng):
    np.testing.assert_array_equal(uniform_rows(np.zeros((5, 1)), 5)(rng), np.arange(5))


def test_neighbours_are_half_of_a_batch(rng):
    X = rng.uniform(size=(2000, 2))
    X /= X.std(axis=0)
    rows = neighbour_rows(X, 200)(rng)
    # Ten centres with ten neighbours each, the centre first, unless two of them share some.
    nearest = np.argsort(cdist(X[rows], X), axis=1)[:, :10]
    is_group = [set(group) <= set(rows.tolist()) for group in nearest]
    assert sum(is_group) >= 10
    assert not any(is_group[110:])


def test_neighbours_are_so_in_inputs_of_unit_variance(rng):
    X = rng.normal(size=(300, 2))
    for scale in ([1e6, 1e-3], [1e-6, 1e3]):
        rows = neighbour_rows(X * scale, 50)(np.random.default_rng(3))
        np.testing.assert_array_equal(rows, neighbour_rows(X, 50)(np.random.default_rng(3)))


def test_neighbours_of_duplicates_and_constant_columns(rng):
    X = np.column_stack([rng.integers(3, size=60).astype(float), np.full(60, 7.0)])
    rows = neighbour_rows(X, 40)(rng)
    assert len(set(rows.tolist())) == 40


# ---- subsets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3, 10, 11])
@pytest.mark.parametrize("n_halves", [1, 2, 5])
def test_halves_come_in_complementary_pairs(size, n_halves, rng):
    halves = draw_halves(rng, size, n_halves)
    assert halves.shape == (n_halves, size // 2)
    assert halves.dtype == np.intp
    for half in halves:
        assert len(set(half.tolist())) == size // 2
    for first, second in zip(halves[0::2], halves[1::2], strict=False):  # the last may be alone
        assert not set(first.tolist()) & set(second.tolist())


def test_halves_differ(rng):
    halves = draw_halves(rng, 20, 6)
    assert len({frozenset(half.tolist()) for half in halves}) == 6


@pytest.mark.parametrize(("size", "n_folds"), [(10, 5), (11, 5), (5, 5), (7, 2)])
def test_folds_are_of_one_size(size, n_folds, rng):
    folds = draw_folds(rng, size, n_folds)
    assert folds.dtype == np.intp
    counts = np.bincount(folds)
    assert len(counts) == n_folds
    assert counts.max() - counts.min() <= 1
    assert not np.array_equal(folds, draw_folds(rng, size, n_folds)) or size <= 5


def obvious_pairs(X, Y, half):
    rows = [i for i in range(len(X)) if i not in set(half.tolist())]
    for i in rows:
        others = [j for j in rows if not np.array_equal(Y[i], Y[j])]
        if others:
            yield i, min(others, key=lambda j: ((X[i] - X[j]) ** 2).sum())


@pytest.mark.parametrize(("size", "d", "m"), [(4, 1, 1), (25, 3, 2), (30, 2, 1)])
def test_pairs_are_nearest_neighbours_outside_the_half(size, d, m, rng):
    X, Y = rng.normal(size=(size, d)), rng.normal(size=(size, m))
    halves = draw_halves(rng, size, 3)
    pairs = nearest_pairs(X, Y, halves)
    assert pairs.shape == (3, size - size // 2, 2)
    assert pairs.dtype == np.intp
    for half, found in zip(halves, pairs, strict=True):
        assert [tuple(pair) for pair in found] == list(obvious_pairs(X, Y, half))


def test_pairs_have_different_targets(rng):
    X, Y = rng.normal(size=(30, 2)), rng.integers(3, size=(30, 1)).astype(float)
    halves = draw_halves(rng, 30, 2)
    for half, found in zip(halves, nearest_pairs(X, Y, halves), strict=True):
        assert [tuple(pair) for pair in found] == list(obvious_pairs(X, Y, half))


def test_rows_without_a_partner_are_left_out_of_all_halves():
    X, Y = np.arange(6.0)[:, None], np.array([[1.0], [1.0], [1.0], [2.0], [2.0], [3.0]])
    halves = np.array([[3, 4, 5], [0, 1, 2]])
    with pytest.raises(ValueError, match="pass a larger batch_size"):
        nearest_pairs(X, Y, halves)
    pairs = nearest_pairs(X, Y, np.array([[0, 1, 4], [0, 1, 5]]))
    assert pairs.shape == (2, 3, 2)


def test_coinciding_points_are_a_pair():
    X, Y = np.zeros((4, 1)), np.arange(4.0)[:, None]
    np.testing.assert_array_equal(nearest_pairs(X, Y, np.array([[0, 1]])), [[[2, 3], [3, 2]]])


# ---- batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subsets", "shapes"),
    [
        ((), []),
        (("halves",), [(4, 5)]),
        (("folds",), [(10,)]),
        (("halves", "pairs"), [(4, 5), (4, 5, 2)]),
    ],
)
def test_a_step_draws_what_the_loss_takes(subsets, shapes, rng):
    X, Y = rng.normal(size=(40, 2)), rng.normal(size=(40, 1))
    source = BatchSource(X, Y, uniform_rows(X, 10), subsets, n_batches=3, n_halves=4, n_folds=5)
    batches = source(rng)
    assert len(batches) == 3
    assert not np.array_equal(batches[0].rows, batches[1].rows)
    for batch in batches:
        assert len(set(batch.rows.tolist())) == 10
        assert [subset.shape for subset in batch.subsets] == shapes
