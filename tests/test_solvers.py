"""Cholesky factors, and conjugate gradients where no matrix fits."""

from __future__ import annotations

import numpy as np
import pytest

from kflow import SingularKernelError
from kflow.errors import JitterWarning
from kflow.kernels import FunctionKernel, Gaussian, Linear, Matern32, Matern52
from kflow.solvers import (
    Factor,
    Preconditioner,
    conjugate_gradients,
    factorise,
    low_rank,
)

KERNEL = 1.5 * Matern52([1.0, 2.0, 3.0]) + 0.2 * Linear(2.0)
NUGGET = 0.01


@pytest.fixture
def X(rng):
    return rng.normal(size=(150, 3))


@pytest.fixture
def Y(rng):
    return rng.normal(size=(150, 2))


@pytest.fixture
def A(X):
    return KERNEL(X) + NUGGET * np.eye(len(X))


# ---- factors ----------------------------------------------------------------------------------


def test_factor_solves(X, Y, A):
    factor = Factor(KERNEL, X, NUGGET)
    np.testing.assert_allclose(factor.solve(Y), np.linalg.solve(A, Y), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        factor.inverse_diagonal(), np.diag(np.linalg.inv(A)), rtol=1e-10, atol=1e-10
    )


def test_variances(X, A, rng):
    points = rng.normal(size=(20, 3))
    cross = KERNEL(points, X)
    expected = KERNEL.diag(points) - np.einsum("ij,ji->i", cross, np.linalg.solve(A, cross.T))
    got = Factor(KERNEL, X, NUGGET).variances(points)
    np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-10)
    # Rounding errors must not make a variance negative.
    assert (Factor(Gaussian(5.0), X, 1e-9).variances(X) >= 0).all()


def test_factorise_adds_what_is_needed_and_says_so(X):
    twice = np.concatenate([X, X])
    with pytest.raises(SingularKernelError, match="larger nugget or remove duplicates"):
        Factor(KERNEL, twice, 0.0)
    with pytest.warns(JitterWarning, match="is added to the nugget"):
        factor = factorise(KERNEL, twice, 0.0)
    assert 0.0 < factor.nugget < 1e-8
    assert factorise(KERNEL, X, NUGGET).nugget == NUGGET


def test_factorise_gives_up(X):
    no_kernel = FunctionKernel(lambda X, Z: -(X @ Z.T))
    with pytest.raises(SingularKernelError, match="pass a kernel that is positive definite"):
        factorise(no_kernel, X, 0.0)


def test_one_point():
    factor = factorise(Gaussian(), np.zeros((1, 2)), 1.0)
    np.testing.assert_allclose(factor.solve(np.ones((1, 1))), [[0.5]])
    np.testing.assert_allclose(factor.inverse_diagonal(), [0.5])


# ---- low rank ---------------------------------------------------------------------------------


def test_low_rank_lies_below_and_ends_at_the_matrix(X, rng):
    K = KERNEL(X)
    for rank in (1, 20, 100):
        approximation = low_rank(KERNEL, X, rank, rng)
        F = approximation.factor
        assert F.shape[1] <= rank
        assert np.linalg.eigvalsh(K - F @ F.T).min() > -1e-10
        np.testing.assert_allclose(
            approximation.remainder, np.diag(K - F @ F.T), rtol=1e-8, atol=1e-10
        )
    whole = low_rank(KERNEL, X, 150, rng)
    np.testing.assert_allclose(whole.factor @ whole.factor.T, K, atol=1e-8)


def test_low_rank_stops_where_nothing_is_left(X, rng):
    approximation = low_rank(Linear(1.0), X, 50, rng)
    assert approximation.factor.shape[1] == 3
    assert low_rank(Gaussian(1.0), np.zeros((40, 2)), 30, rng).factor.shape[1] == 1
    rough = low_rank(KERNEL, X, 150, rng, tolerance=0.5)
    assert rough.remainder.mean() <= 0.5
    assert rough.factor.shape[1] < 150


def test_preconditioner_is_the_inverse(X, Y, rng):
    approximation = low_rank(KERNEL, X, 30, rng)
    P = approximation.factor @ approximation.factor.T
    P += (NUGGET + approximation.remainder.mean()) * np.eye(len(X))
    got = Preconditioner(approximation, NUGGET)(Y)
    np.testing.assert_allclose(got, np.linalg.solve(P, Y), rtol=1e-7, atol=1e-8)


# ---- conjugate gradients ----------------------------------------------------------------------


def same(R):
    return R.copy()


def test_conjugate_gradients_solve(A, Y, X, rng):
    expected = np.linalg.solve(A, Y)
    preconditioner = Preconditioner(low_rank(KERNEL, X, 60, rng), NUGGET)
    plain = conjugate_gradients(lambda V: A @ V, Y, preconditioner=same, tolerance=1e-10)
    fast = conjugate_gradients(lambda V: A @ V, Y, preconditioner=preconditioner, tolerance=1e-10)
    for solution in (plain, fast):
        np.testing.assert_allclose(solution.coefficients, expected, rtol=1e-6, atol=1e-7)
        assert (solution.residuals <= 1e-10).all()
    assert fast.n_iterations < 0.5 * plain.n_iterations


def test_a_good_start_saves_iterations(A, Y):
    expected = np.linalg.solve(A, Y)
    cold = conjugate_gradients(lambda V: A @ V, Y, preconditioner=same)
    warm = conjugate_gradients(lambda V: A @ V, Y, preconditioner=same, start=expected * 1.0001)
    assert warm.n_iterations < cold.n_iterations
    done = conjugate_gradients(lambda V: A @ V, Y, preconditioner=same, start=expected)
    assert done.n_iterations == 0


def test_columns_of_zeros_and_of_very_different_size(A, Y):
    columns = np.column_stack([np.zeros(len(Y)), 1e-8 * Y[:, 0], 1e8 * Y[:, 1]])
    solution = conjugate_gradients(lambda V: A @ V, columns, preconditioner=same, tolerance=1e-9)
    np.testing.assert_array_equal(solution.coefficients[:, 0], 0.0)
    expected = np.linalg.solve(A, columns)
    np.testing.assert_allclose(solution.coefficients[:, 1], expected[:, 1], rtol=1e-4, atol=1e-13)
    np.testing.assert_allclose(solution.coefficients[:, 2], expected[:, 2], rtol=1e-4, atol=1e3)


def test_iterations_end(A, Y):
    few = conjugate_gradients(lambda V: A @ V, Y, preconditioner=same, max_iterations=3)
    assert few.n_iterations == 3
    assert (few.residuals > 1e-6).all()
    true = np.linalg.norm(A @ few.coefficients - Y, axis=0) / np.linalg.norm(Y, axis=0)
    np.testing.assert_allclose(few.residuals, true)
    # A tolerance that rounding errors cannot reach must not keep it going for ever.
    endless = conjugate_gradients(
        lambda V: A @ V, Y, preconditioner=same, tolerance=1e-30, max_iterations=10**6
    )
    assert endless.residuals.max() < 1e-10


def test_matrix_free_product(X, Y, rng):
    kernel = Matern32(1.0)

    def product(V):
        return kernel.apply(X, X, V) + NUGGET * V

    solution = conjugate_gradients(
        product, Y, preconditioner=Preconditioner(low_rank(kernel, X, 100, rng), NUGGET)
    )
    expected = np.linalg.solve(kernel(X) + NUGGET * np.eye(len(X)), Y)
    np.testing.assert_allclose(solution.coefficients, expected, rtol=1e-3, atol=1e-4)
