from __future__ import annotations

import numpy as np
import pytest

from kflow import kernels
from kflow.linear.conjugate_gradients import conjugate_gradients
from kflow.linear.factor import Factor
from kflow.linear.low_rank import Preconditioner, low_rank

ARD = 1.3 * kernels.Matern52((0.8, 1.5, 2.0)) + 0.1 * kernels.Linear()


def matrix(kernel, X, nugget):
    return kernel(X) + nugget * np.eye(len(X))


class Product:
    """Products with a matrix, counted."""

    def __init__(self, A):
        self.A, self.columns = A, []

    def __call__(self, V):
        self.columns.append(V.shape[1])
        return self.A @ V


def same(R):
    return R


@pytest.fixture
def A(X):
    return matrix(ARD, X, 0.1)


def test_conjugate_gradients(A, Y):
    solution = conjugate_gradients(Product(A), Y, preconditioner=same, tolerance=1e-10)
    np.testing.assert_allclose(solution.coefficients, np.linalg.solve(A, Y), rtol=1e-6, atol=1e-8)
    true = np.linalg.norm(Y - A @ solution.coefficients, axis=0) / np.linalg.norm(Y, axis=0)
    np.testing.assert_allclose(solution.residuals, true, rtol=1e-3)
    assert (true <= 1e-10).all()


def test_columns_do_not_depend_on_each_other(A, Y):
    both = conjugate_gradients(Product(A), Y, preconditioner=same, tolerance=1e-12)
    for j in range(2):
        alone = conjugate_gradients(Product(A), Y[:, [j]], preconditioner=same, tolerance=1e-12)
        np.testing.assert_allclose(
            both.coefficients[:, [j]], alone.coefficients, rtol=1e-6, atol=1e-9
        )


def test_columns_of_very_different_size(A, Y):
    columns = np.column_stack([np.zeros(len(Y)), 1e-8 * Y[:, 0], 1e8 * Y[:, 1]])
    solution = conjugate_gradients(Product(A), columns, preconditioner=same, tolerance=1e-12)
    expected = np.linalg.solve(A, columns)
    np.testing.assert_allclose(solution.coefficients[:, 1], expected[:, 1], rtol=1e-6, atol=1e-16)
    np.testing.assert_allclose(solution.coefficients[:, 2], expected[:, 2], rtol=1e-6, atol=1.0)


def test_solved_columns_are_left_alone(A, Y):
    eigenvector = np.linalg.eigh(A)[1][:, :1]
    product = Product(A)
    solution = conjugate_gradients(product, np.hstack([eigenvector, Y]), preconditioner=same)
    assert product.columns[0] == 3
    assert 2 in product.columns
    np.testing.assert_allclose(A @ solution.coefficients[:, :1], eigenvector, atol=1e-9)


def test_zero_targets(A, Y):
    Y[:, 0] = 0.0
    solution = conjugate_gradients(Product(A), Y, preconditioner=same, start=np.ones_like(Y))
    assert not solution.coefficients[:, 0].any()
    assert solution.residuals[0] == 0.0
    product = Product(A)
    solution = conjugate_gradients(product, np.zeros((120, 1)), preconditioner=same)
    assert solution.n_iterations == 0
    assert product.columns == []


def test_a_start_that_is_near(A, Y):
    whole = conjugate_gradients(Product(A), Y, preconditioner=same, tolerance=1e-8)
    near = whole.coefficients * (1.0 + 1e-6)
    again = conjugate_gradients(Product(A), Y, preconditioner=same, tolerance=1e-8, start=near)
    assert again.n_iterations < whole.n_iterations
    there = conjugate_gradients(
        Product(A), Y, preconditioner=same, tolerance=1e-7, start=whole.coefficients
    )
    assert there.n_iterations == 0
    np.testing.assert_array_equal(there.coefficients, whole.coefficients)


@pytest.mark.parametrize("limit", [1, 3])
def test_at_most_so_many_iterations(A, Y, limit):
    solution = conjugate_gradients(
        Product(A), Y, preconditioner=same, tolerance=1e-12, max_iterations=limit
    )
    assert solution.n_iterations == limit
    assert (solution.residuals > 1e-12).all()
    true = np.linalg.norm(Y - A @ solution.coefficients, axis=0) / np.linalg.norm(Y, axis=0)
    np.testing.assert_allclose(solution.residuals, true)


def test_a_tolerance_below_rounding_errors(A, Y):
    solution = conjugate_gradients(Product(A), Y, preconditioner=same, tolerance=1e-300)
    assert solution.n_iterations < 500
    assert (solution.residuals < 1e-12).all()


def test_an_indefinite_matrix_ends(Y):
    solution = conjugate_gradients(Product(-np.eye(len(Y))), Y, preconditioner=same)
    np.testing.assert_array_equal(solution.coefficients, 0.0)
    np.testing.assert_allclose(solution.residuals, 1.0)


def test_an_exact_preconditioner_takes_one_iteration(A, Y):
    inverse = np.linalg.inv(A)
    solution = conjugate_gradients(Product(A), Y, preconditioner=lambda R: inverse @ R)
    assert solution.n_iterations == 1


def test_preconditioning_saves_iterations(rng, X, Y):
    nugget = 1e-4
    product = Product(matrix(ARD, X, nugget))
    plain = conjugate_gradients(product, Y, preconditioner=same)
    counts = [
        conjugate_gradients(
            product, Y, preconditioner=Preconditioner(low_rank(ARD, X, rank, rng), nugget)
        ).n_iterations
        for rank in (10, 40, 120)
    ]
    assert plain.n_iterations > 2 * counts[0] > 4 * counts[1]
    assert counts[2] <= 2


def test_conjugate_gradients_agree_with_the_factor(rng, X, Y):
    nugget = 1e-3
    preconditioner = Preconditioner(low_rank(ARD, X, 30, rng), nugget)
    solution = conjugate_gradients(
        lambda V: ARD.apply(X, X, V) + nugget * V,
        Y,
        preconditioner=preconditioner,
        tolerance=1e-10,
    )
    expected = Factor(ARD, X, nugget).solve(Y)
    np.testing.assert_allclose(solution.coefficients, expected, rtol=1e-5, atol=1e-6)


def test_threads_do_not_matter(X, Y):
    def everything(n_threads):
        rng = np.random.default_rng(0)
        approximation = low_rank(ARD, X, 30, rng, n_threads=n_threads)
        solution = conjugate_gradients(
            lambda V: ARD.apply(X, X, V, n_threads=n_threads) + 0.01 * V,
            Y,
            preconditioner=Preconditioner(approximation, 0.01),
        )
        factor = Factor(ARD, X, 0.01, n_threads=n_threads)
        return solution.coefficients, factor.solve(Y), factor.variances(X[:9] + 0.1)

    for one, two in zip(everything(1), everything(2), strict=True):
        np.testing.assert_array_equal(one, two)
