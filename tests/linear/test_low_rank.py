from __future__ import annotations

import numpy as np
import pytest

from kflow import kernels
from kflow.linear.low_rank import LowRank, Preconditioner, low_rank

ARD = 1.3 * kernels.Matern52((0.8, 1.5, 2.0)) + 0.1 * kernels.Linear()


@pytest.mark.parametrize("rank", [1, 7, 119, 120, 500])
def test_low_rank(rng, X, rank):
    approximation = low_rank(ARD, X, rank, rng)
    F = approximation.factor
    assert F.shape[1] <= min(rank, len(X))
    left = ARD(X) - F @ F.T
    np.testing.assert_allclose(approximation.remainder, np.diag(left), atol=1e-12)
    # The approximation is one from below, exact in the pivots' rows.
    assert np.linalg.eigvalsh(left).min() > -1e-10
    assert len(set(approximation.pivots)) == F.shape[1]
    np.testing.assert_allclose(left[approximation.pivots], 0.0, atol=1e-10)
    if rank >= len(X):
        np.testing.assert_allclose(left, 0.0, atol=1e-10)


def test_a_larger_rank_is_better(rng):
    X = rng.random((400, 2))
    kernel = kernels.Matern32(0.5)
    left = [low_rank(kernel, X, rank, rng).remainder.mean() for rank in (5, 50, 250)]
    assert left[0] > 5 * left[1] > 25 * left[2]


def test_low_rank_ends_at_its_tolerance(rng, X):
    smooth = kernels.Gaussian(2.0)
    approximation = low_rank(smooth, np.tile(X, (5, 1)), 600, rng, tolerance=1e-6)
    assert approximation.factor.shape[1] <= 200
    assert approximation.remainder.mean() <= 1e-6


@pytest.mark.parametrize("kernel", [kernels.Linear(), kernels.Constant(2.0)])
def test_low_rank_ends_at_the_rank(rng, X, kernel):
    X[5] = 0.0  # where the linear kernel is 0
    approximation = low_rank(kernel, X, 100, rng)
    assert approximation.factor.shape[1] <= 3
    np.testing.assert_allclose(approximation.factor @ approximation.factor.T, kernel(X), atol=1e-12)


def test_low_rank_of_duplicates(rng, X):
    twice = np.concatenate([X[:30], X[:30], X[:30]])
    approximation = low_rank(ARD, twice, 90, rng)
    assert approximation.factor.shape[1] <= 30
    np.testing.assert_allclose(approximation.factor @ approximation.factor.T, ARD(twice), atol=1e-9)


def test_low_rank_of_some_rows(rng, X):
    approximation = low_rank(ARD, X, 20, rng)
    rows = np.array([3, 8, 99])
    some = approximation[rows]
    np.testing.assert_array_equal(some.factor, approximation.factor[rows])
    np.testing.assert_array_equal(some.remainder, approximation.remainder[rows])


@pytest.mark.parametrize("nugget", [0.0, 1e-8, 0.1])
@pytest.mark.parametrize("rank", [1, 20, 120])
def test_preconditioner(rng, X, Y, rank, nugget):
    approximation = low_rank(ARD, X, rank, rng)
    F, shift = approximation.factor, nugget + approximation.remainder.mean()
    P = F @ F.T + max(shift, 1e-13) * np.eye(len(X))
    found = Preconditioner(approximation, nugget)(Y)
    assert np.isfinite(found).all()
    if shift > 1e-10:
        np.testing.assert_allclose(P @ found, Y, rtol=1e-5, atol=1e-5)


def test_preconditioner_of_nothing(Y):
    nothing = LowRank(np.empty((120, 0)), np.full(120, 2.0), np.empty(0, np.intp))
    np.testing.assert_allclose(Preconditioner(nothing, 1.0)(Y), Y / 3.0)


def test_an_approximation_with_weights(rng, X):
    roots = np.exp(rng.normal(size=len(X)))
    approximation = low_rank(ARD, X, 20, rng)
    scaled = approximation.scaled(roots)
    wanted = np.outer(roots, roots) * (approximation.factor @ approximation.factor.T)
    np.testing.assert_allclose(scaled.factor @ scaled.factor.T, wanted, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(scaled.remainder, roots**2 * approximation.remainder)
