from __future__ import annotations

import numpy as np
import pytest

from kflow import kernels
from kflow.estimators.selection.folds import (
    N_FOLDS,
    Fold,
    Rows,
    folds_of,
    proportional_rows,
    scale_of,
)


@pytest.fixture
def rows(rng):
    X = rng.normal(size=(50, 3))
    return Rows(X, np.column_stack([X[:, 0], np.arange(50.0)]))


def naive_predictions(fold, kernel, nugget):
    X, weights = fold.kept.points, fold.kept.weights
    K = kernel(X) + np.diag(np.full(len(X), nugget) / (1.0 if weights is None else weights))
    return kernel(fold.left_out.points, X) @ np.linalg.solve(K, fold.kept.targets)


def test_each_row_is_left_out_once(rows, rng):
    folds = folds_of(rows, None, rng)
    assert len(folds) == N_FOLDS
    left_out = np.concatenate([fold.left_out.targets[:, 1] for fold in folds])
    assert sorted(left_out) == list(range(50))
    for fold in folds:
        both = np.concatenate([fold.kept.targets[:, 1], fold.left_out.targets[:, 1]])
        assert sorted(both) == list(range(50))
        np.testing.assert_array_equal(fold.kept.points[:, 0], fold.kept.targets[:, 0])


def test_each_fold_has_its_share_of_each_class(rng):
    codes = np.repeat([0, 1, 2], [30, 12, 8])
    rows = Rows(rng.normal(size=(50, 2)), np.eye(3)[codes], np.arange(1.0, 51.0))
    for fold in folds_of(rows, codes, rng):
        counts = fold.left_out.targets.sum(axis=0)
        np.testing.assert_allclose(counts, np.array([30, 12, 8]) / N_FOLDS, atol=1)
        assert len(fold.left_out.weights) == len(fold.left_out.points)


@pytest.mark.parametrize("weighted", [False, True])
def test_predictions_of_ridge_regression(rows, rng, weighted):
    weights = rng.uniform(0.5, 2.0, 50) if weighted else None
    fold = folds_of(Rows(rows.points, rows.targets, weights), None, rng)[0]
    for kernel in (kernels.Gaussian(1.3), kernels.Laplacian(2.0), kernels.Gaussian(1.3)):
        for nugget in (0.1, 3.0):
            found = fold.predictions(kernel, nugget)
            np.testing.assert_allclose(found, naive_predictions(fold, kernel, nugget), rtol=1e-9)


def test_a_singular_matrix_has_no_predictions():
    rows = Rows(np.zeros((3, 1)), np.ones((3, 1)))
    assert Fold(rows, rows).predictions(kernels.Gaussian(1.0), 0.0) is None


def test_moved_points_keep_their_targets_and_weights(rows):
    fold = Fold(rows[np.arange(40)], rows[np.arange(40, 50)])
    moved = fold.moved(2.0 * fold.kept.points, fold.left_out.points + 1.0)
    np.testing.assert_array_equal(moved.kept.targets, fold.kept.targets)
    np.testing.assert_array_equal(moved.left_out.points, rows.points[40:] + 1.0)


def test_the_spread_of_points(rng):
    X = rng.normal(size=(30, 2))
    differences = X[:, None] - X[None]
    squares = (differences**2).sum(axis=2)
    assert scale_of(X) == pytest.approx(np.sqrt(squares.sum() / (30 * 29) / 2.0))


def test_proportional_rows(rng):
    codes = np.repeat([0, 1, 2], [700, 290, 10])
    rows = proportional_rows(1000, 100, codes[rng.permutation(1000)], rng)
    assert len(set(rows)) == 100
    assert (np.diff(rows) > 0).all()
    order = rng.permutation(1000)
    drawn = codes[order][proportional_rows(1000, 100, codes[order], rng)]
    np.testing.assert_allclose(np.bincount(drawn), [70, 29, 1], atol=1)
    np.testing.assert_array_equal(proportional_rows(5, 10, None, rng), np.arange(5))
    assert len(proportional_rows(1000, 999, None, rng)) == 999
