from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from kflow import kernels
from kflow.errors import ModelFileError
from kflow.estimators.gp_posterior import (
    IterativeOptions,
    by_cholesky,
    by_conjugate_gradients,
    chosen_solver,
    drawn_rows,
    posterior_arrays,
    read_posterior,
)
from kflow.storage.model_file import ModelReader, write_model
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


def iterative(X, Y, **changes):
    rng = np.random.default_rng(0)
    return by_conjugate_gradients(KERNEL, NUGGET, X, Y, rng, options(**changes), None)


def solved(X, Y):
    """Return (K + nugget I)^-1 Y, and that matrix, by the slow reference."""
    A = reference.gram(X, kernel=KERNEL) + NUGGET * np.eye(len(X))
    return np.linalg.solve(A, Y), A


def test_cholesky_solves_the_system(X, Y):
    posterior, scale = by_cholesky(KERNEL, NUGGET, X, Y, None)
    coefficients, A = solved(X, Y)
    np.testing.assert_allclose(posterior.coefficients, coefficients, rtol=1e-9)
    squares = coefficients**2 / np.diag(np.linalg.inv(A))[:, None]
    np.testing.assert_allclose(scale, np.sqrt(squares.mean(axis=0)), rtol=1e-9)
    assert posterior.nugget == NUGGET
    assert posterior.variance_rows is None


def test_conjugate_gradients_with_all_rows_are_cholesky(X, Y):
    posterior, scale = iterative(X, Y)
    expected, expected_scale = by_cholesky(KERNEL, NUGGET, X, Y, None)
    np.testing.assert_allclose(posterior.coefficients, expected.coefficients, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(scale, expected_scale, rtol=1e-6)
    assert posterior.n_iterations > 0


def test_conjugate_gradients_hold_rows_out(X, Y):
    posterior, scale = iterative(X, Y, subset_size=20)
    np.testing.assert_allclose(posterior.coefficients, solved(X, Y)[0], rtol=1e-6, atol=1e-8)
    assert len(posterior.variance_rows) == 20
    # The rows held out are those drawn first.
    held = drawn_rows(np.random.default_rng(0), 60, 3)
    assert not np.isin(held, posterior.variance_rows).any()
    kept = np.setdiff1d(np.arange(60), held)
    mean = reference.gram(X[held], X[kept], kernel=KERNEL) @ solved(X[kept], Y[kept])[0]
    subset = X[posterior.variance_rows]
    cross = reference.gram(X[held], subset, kernel=KERNEL)
    reduction = np.einsum("ij,ji->i", cross, solved(subset, cross.T)[0])
    variances = 1.0 - reduction + NUGGET
    expected = np.sqrt(np.mean((Y[held] - mean) ** 2 / variances[:, None], axis=0))
    np.testing.assert_allclose(scale, expected, rtol=1e-6)


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


def test_there_and_back(X, Y, tmp_path):
    posterior, _ = iterative(X, Y, subset_size=20)
    parts = posterior_arrays(posterior.points, posterior.coefficients, posterior.variance_rows)
    write_model(tmp_path / "model", "Some", {}, parts)
    with ModelReader(tmp_path / "model") as reader:
        again = read_posterior(reader, 3, NUGGET, 7)
        with pytest.raises(ModelFileError, match="posterior"):
            read_posterior(reader, 4, NUGGET, 7)
    for name in ("points", "coefficients", "variance_rows"):
        np.testing.assert_array_equal(getattr(again, name), getattr(posterior, name))
    assert (again.nugget, again.n_iterations, again.factor) == (NUGGET, 7, None)
