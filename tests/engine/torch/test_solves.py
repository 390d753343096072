"""Solutions of positive definite systems, exact and refined, against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import solve_triangular

from kflow.engine.torch.solves import factorised


def system(m, nugget, n=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, 3))
    r2 = np.square(X[:, None] - X[None]).sum(axis=2)
    A = np.exp(-0.5 * r2) + nugget * np.eye(m)
    return A, rng.normal(size=(m, n))


def solved(A, B, nugget, mixed):
    least = torch.tensor(A.shape[-1] * (1.0 + nugget), dtype=torch.float64)
    several = A.ndim == 3
    A, B = (torch.from_numpy(x if several else x[None]) for x in (A, B))
    factored = factorised(A, least, mixed)
    X, refined = factored.solve(B)
    return factored, (X if several else X[0], refined)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("m", [1, 2, 30, 200])
@pytest.mark.parametrize("nugget", [1.0, 0.1])
def test_solutions(m, nugget, mixed):
    A, B = system(m, nugget)
    factored, (X, refined) = solved(A, B, nugget, mixed)
    assert not factored.failed
    assert refined
    np.testing.assert_allclose(X.numpy(), np.linalg.solve(A, B), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mixed", [False, True])
def test_several_matrices_at_once(mixed):
    pairs = [system(40, 0.5, seed=seed) for seed in range(3)]
    A, B = (np.stack(x) for x in zip(*pairs, strict=True))
    factored, (X, refined) = solved(A, B, 0.5, mixed)
    assert not factored.failed
    assert refined
    np.testing.assert_allclose(X.numpy(), np.linalg.solve(A, B), rtol=1e-9, atol=1e-12)


def test_what_float32_cannot_do_is_found_out():
    A, B = system(300, 1e-9)
    factored, (_, refined) = solved(A, B, 1e-9, mixed=True)
    assert factored.failed or not refined
    factored, (_, refined) = solved(A, B, 1e-9, mixed=False)
    assert not factored.failed
    assert refined


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize(
    "spoil", [lambda A: A * np.nan, lambda A: A - 2.0 * np.eye(len(A)), np.ones_like]
)
def test_what_is_no_positive_definite_matrix(mixed, spoil):
    A, B = system(30, 0.0)
    factored, _ = solved(spoil(A), B, 0.0, mixed)
    assert factored.failed


def test_columns_of_zeros_are_solved():
    A, B = system(30, 1.0)
    _, (X, refined) = solved(A, np.zeros_like(B), 1.0, mixed=True)
    assert refined
    assert not X.any()


@pytest.mark.parametrize("mixed", [False, True])
def test_the_corner_is_a_matrix_of_its_own(mixed):
    A, B = system(90, 0.5)
    factored, _ = solved(A, B, 0.5, mixed)
    X, refined = factored.corner(33).solve(torch.from_numpy(B[None, :33]))
    assert refined
    np.testing.assert_allclose(X[0], np.linalg.solve(A[:33, :33], B[:33]), rtol=1e-9, atol=1e-12)


def test_residuals_are_those_of_substitution():
    """Also where the matrix is badly conditioned: products with the inverse alone leave ten times as much."""
    A, B = system(1000, 1e-9)
    _, (X, _) = solved(A, B, 1e-9, mixed=False)
    L = np.linalg.cholesky(A)
    expected = solve_triangular(L.T, solve_triangular(L, B, lower=True), lower=False)

    def residual(x):
        return np.abs(A @ x - B).max() / (np.linalg.norm(A, np.inf) * np.abs(x).max())

    assert residual(X.numpy()) < 3.0 * residual(expected)
