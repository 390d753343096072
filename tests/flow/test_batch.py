from __future__ import annotations

import numpy as np
import pytest

from kflow import KernelFlow
from kflow.flow.batch import draw_batch, due_reduction, falls_before, sample_rows


@pytest.mark.parametrize("n_halves", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("size", "fraction", "n_coarse"), [(10, 0.5, 5), (11, 0.3, 3), (4, 0.01, 1)]
)
def test_a_batch(size, fraction, n_coarse, n_halves):
    settings = KernelFlow(n_layers=1, batch_size=size, coarse_fraction=fraction, n_halves=n_halves)
    batch = draw_batch(np.random.default_rng(0), 30, settings)
    assert batch.n_coarse == n_coarse
    assert len(set(batch.rows.tolist())) == size
    assert set(batch.rows.tolist()) <= set(range(30))
    assert batch.halves.shape == (n_halves - 1, n_coarse)
    for half in batch.halves:
        assert len(set(half.tolist())) == n_coarse
        assert set(half.tolist()) <= set(range(size))


def test_halves_come_in_complementary_pairs():
    settings = KernelFlow(n_layers=1, batch_size=10, n_halves=4)
    batch = draw_batch(np.random.default_rng(0), 30, settings)
    pairs = [(np.arange(5), batch.halves[0]), (batch.halves[1], batch.halves[2])]
    for one, other in pairs:
        assert sorted([*one, *other]) == list(range(10))


def test_when_the_rank_may_fall():
    settings = KernelFlow(n_layers=1, rank="auto", shrink_every=3)
    assert [layer for layer in range(10) if falls_before(layer, settings)] == [3, 6, 9]
    settings = KernelFlow(n_layers=1)
    assert not any(falls_before(layer, settings) for layer in range(10))


def test_the_sample_of_a_reduction():
    np.testing.assert_array_equal(sample_rows(100, 3), np.arange(100))
    one, same, other = sample_rows(10**5, 3), sample_rows(10**5, 3), sample_rows(10**5, 6)
    assert len(set(one.tolist())) == len(one) == 8192
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_reduction_drops_what_does_not_matter(dtype, rng):
    settings = KernelFlow(n_layers=1, rank="auto", shrink_every=3, shrink_tolerance=1e-3)
    points = (rng.normal(size=(50, 4)) * [1.0, 1.0, 1e-4, 0.1]).astype(dtype)  # the last is fixed
    assert due_reduction(2, settings, lambda: pytest.fail("nobody looks")) is None
    reduction = due_reduction(3, settings, lambda: points)
    assert (reduction.layer, reduction.kept) == (3, 2)
