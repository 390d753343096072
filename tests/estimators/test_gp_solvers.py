from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from kflow import kernels
from kflow.estimators.gp_solvers import (
    IterativeOptions,
    ScaledRows,
    by_cholesky,
    by_conjugate_gradients,
    chosen_solver,
    drawn_rows,
    solved_again,
)
from kflow.linear.sparse_variance import SparseVariance
from kflow.testing import slow as reference

KERNEL = kernels.Gaussian(1.5)
NUGGET = 0.1


@pytest.fixture
def X(rng):
    return rng.normal(size=(60, 3))


@pytest.fixture
def Y(rng, X):
    return np.column_stack([np.sin(X[:, 0]), rng.normal(size=60)])


def options(**changes):
    return IterativeOptions(
        **{
            "subset_size": 60,
            "max_memory": 2.0**20,
            "tolerance": 1e-10,
            "max_iterations": 500,
            **changes,
        }
    )


def iterative(X, Y, weights=None, **changes):
    rng = np.random.default_rng(0)
    data = ScaledRows(X, Y, weights)
    return by_conjugate_gradients(KERNEL, NUGGET, data, rng, options(**changes), None)


def solved(X, Y, weights=None):
    """Return (K + nugget W^-1)^-1 Y, and that matrix, by the slow reference."""
    nuggets = np.full(len(X), NUGGET) if weights is None else NUGGET / weights
    A = reference.gram(X, kernel=KERNEL) + np.diag(nuggets)
    return np.linalg.solve(A, Y), A


@pytest.fixture(params=[False, True], ids=["alike", "weighted"])
def weights(request, rng):
    return np.exp(rng.normal(size=60)) if request.param else None


def test_cholesky_solves_the_system(X, Y, weights):
    posterior, scale = by_cholesky(KERNEL, NUGGET, ScaledRows(X, Y, weights), None)
    coefficients, A = solved(X, Y, weights)
    np.testing.assert_allclose(posterior.coefficients, coefficients, rtol=1e-9)
    squares = coefficients**2 / np.diag(np.linalg.inv(A))[:, None]
    np.testing.assert_allclose(scale, np.sqrt(squares.mean(axis=0)), rtol=1e-9)
    assert posterior.nugget == NUGGET
    assert posterior.variance_rows is None


def test_conjugate_gradients_with_all_rows_are_cholesky(X, Y, weights):
    posterior, scale = iterative(X, Y, weights)
    expected, expected_scale = by_cholesky(KERNEL, NUGGET, ScaledRows(X, Y, weights), None)
    np.testing.assert_allclose(posterior.coefficients, expected.coefficients, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(scale, expected_scale, rtol=1e-6)
    assert posterior.n_iterations > 0


def test_conjugate_gradients_hold_rows_out(X, Y, weights):
    posterior, scale = iterative(X, Y, weights, subset_size=20)
    expected = solved(X, Y, weights)[0]
    np.testing.assert_allclose(posterior.coefficients, expected, rtol=1e-6, atol=1e-8)
    assert posterior.variance_rows is None
    # The rows held out are those drawn first.
    held = drawn_rows(np.random.default_rng(0), 60, 3)
    kept = np.setdiff1d(np.arange(60), held)

    def of(rows):
        return None if weights is None else weights[rows]

    mean = reference.gram(X[held], X[kept], kernel=KERNEL) @ solved(X[kept], Y[kept], of(kept))[0]
    pivots = np.searchsorted(kept, np.setdiff1d(posterior.pivots, held))
    known = SparseVariance(KERNEL, X[kept], pivots, NUGGET, weights=of(kept))
    variances = known.variances(X[held]) + NUGGET / (1.0 if weights is None else weights[held])
    expected = np.sqrt(np.mean((Y[held] - mean) ** 2 / variances[:, None], axis=0))
    np.testing.assert_allclose(scale, expected, rtol=1e-6)
    # The pivots tell nearly all: the variance is that given all rows.
    exact = by_cholesky(KERNEL, NUGGET, ScaledRows(X, Y, weights), None)[0]
    ratio = posterior.variances(X + 0.1, None) / exact.variances(X + 0.1, None)
    np.testing.assert_allclose(ratio, 1.0, atol=0.3)


def test_the_only_pivot_may_be_held_out(X, Y):
    found = [
        by_conjugate_gradients(
            KERNEL,
            NUGGET,
            ScaledRows(X, Y),
            np.random.default_rng(seed),
            options(subset_size=20, max_memory=1.0),
            None,
        )[0]
        for seed in range(40)
    ]
    assert all(len(posterior.pivots) == 1 for posterior in found)
    assert all((posterior.variances(X, None) > 0.0).all() for posterior in found)


def test_nothing_but_noise(X, Y):
    data = ScaledRows(X, Y)
    rng = np.random.default_rng(0)
    posterior, scale = by_conjugate_gradients(KERNEL, 1e4, data, rng, options(subset_size=20), None)
    assert len(posterior.pivots) == 1
    np.testing.assert_allclose(posterior.variances(X, None), 1.0, rtol=0.01)
    assert np.isfinite(scale).all()


def test_weights_of_very_different_size(X, Y):
    weights = np.logspace(-6, 6, 60)
    posterior, _ = iterative(X, Y, weights, tolerance=1e-11)
    expected, _ = solved(X, Y, weights)
    inside = reference.gram(X, kernel=KERNEL)
    np.testing.assert_allclose(inside @ posterior.coefficients, inside @ expected, atol=1e-6)


def test_further_rows_are_solved_from_where_the_others_were(X, Y, weights):
    first = None if weights is None else weights[:55]
    posterior, _ = iterative(X[:55], Y[:55], first, subset_size=20)
    more = posterior.with_rows(X[55:], Y[55:], None if weights is None else weights[55:])
    assert not more.coefficients[55:].any()
    again = solved_again(more, np.random.default_rng(0), options(), None)
    np.testing.assert_allclose(again.coefficients, solved(X, Y, weights)[0], rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(again.pivots, posterior.pivots)
    assert 0 < again.n_iterations < 60


def test_conjugate_gradients_that_end_early_warn(X, Y):
    with pytest.warns(ConvergenceWarning, match="after 1 iterations with a residual of"):
        iterative(X, Y, max_iterations=1, max_memory=1.0)


def test_drawn_rows_ascend(rng):
    rows = drawn_rows(rng, 100, 10)
    assert len(rows) == 10
    assert (np.diff(rows) > 0).all()
    assert drawn_rows(rng, 5, 10).tolist() == [0, 1, 2, 3, 4]


def test_the_solver_follows_the_memory():
    assert chosen_solver("auto", 10, 800.0) == "cholesky"
    assert chosen_solver("auto", 10, 799.0) == "cg"
    assert chosen_solver("subset", 10, 1.0) == "subset"
    with pytest.raises(ValueError, match="solver must be one of"):
        chosen_solver("qr", 10, 1.0)
