from __future__ import annotations

import numpy as np
import pytest

from kflow import SingularKernelError, kernels
from kflow.errors import JitterWarning
from kflow.linear import solvers
from kflow.linear.solvers import (
    Factor,
    LowRank,
    Preconditioner,
    conjugate_gradients,
    factorise,
    low_rank,
)
from kflow.losses import functions as losses

ARD = 1.3 * kernels.Matern52((0.8, 1.5, 2.0)) + 0.1 * kernels.Linear()


@pytest.fixture
def X(rng):
    return rng.random((120, 3))


@pytest.fixture
def Y(rng, X):
    return np.column_stack([np.sin(3 * X[:, 0]), rng.normal(size=len(X))])


def matrix(kernel, X, nugget):
    return kernel(X) + nugget * np.eye(len(X))


# ---- Cholesky ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 120])
def test_factor(X, Y, n):
    X, Y = X[:n], Y[:n]
    factor = Factor(ARD, X, 0.01)
    inverse = np.linalg.inv(matrix(ARD, X, 0.01))
    np.testing.assert_allclose(factor.solve(Y), inverse @ Y, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(factor.inverse_diagonal(), np.diag(inverse), rtol=1e-9)


def test_the_factor_gives_leave_one_out_residuals(X, Y):
    factor = Factor(ARD, X, 0.01)
    diagonal = factor.inverse_diagonal()
    residuals, variances = losses.leave_one_out(matrix(ARD, X, 0.01), Y)
    np.testing.assert_allclose(factor.solve(Y) / diagonal[:, None], residuals, rtol=1e-8)
    np.testing.assert_allclose(1.0 / diagonal, variances, rtol=1e-8)


@pytest.mark.parametrize("n", [0, 1, 2500])
def test_variances(rng, X, n):
    points = rng.random((n, 3))  # more than are worked on at a time
    found = Factor(ARD, X, 0.01).variances(points)
    cross = ARD(points, X)
    expected = ARD.diag(points) - np.einsum(
        "ij,ij->i", cross, np.linalg.solve(matrix(ARD, X, 0.01), cross.T).T
    )
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)


def test_variances_are_not_negative(X):
    kernel = kernels.Gaussian(0.2)
    variances = Factor(kernel, X[:40], 1e-10).variances(X[:40])
    assert (variances >= 0).all()
    assert variances.max() < 1e-8


def test_a_singular_matrix(X):
    twice = np.concatenate([X, X[:1]])
    with pytest.raises(SingularKernelError, match="121 points with nugget=0 is numerically"):
        Factor(ARD, twice, 0.0)
    with pytest.warns(JitterWarning, match="until .* is added to the nugget") as caught:
        factor = factorise(ARD, twice, 0.0)
    assert len(caught) == 1
    assert 0.0 < factor.nugget < 1e-6
    assert np.isfinite(factor.inverse_diagonal()).all()


def test_no_jitter_where_none_is_needed(X):
    assert factorise(ARD, X, 0.01).nugget == 0.01


def test_a_kernel_that_is_not_positive_definite(X):
    kernel = kernels.FunctionKernel(lambda X, Z: 1.0 - X @ Z.T)
    with pytest.raises(SingularKernelError, match="positive definite"):
        factorise(kernel, X, 0.01)


# ---- approximations of low rank ---------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 7, 119, 120, 500])
def test_low_rank(rng, X, rank):
    approximation = low_rank(ARD, X, rank, rng)
    F = approximation.factor
    assert F.shape[1] <= min(rank, len(X))
    left = ARD(X) - F @ F.T
    np.testing.assert_allclose(approximation.remainder, np.diag(left), atol=1e-12)
    # The approximation is one from below, exact in the pivots' rows.
    assert np.linalg.eigvalsh(left).min() > -1e-10
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
    nothing = LowRank(np.empty((120, 0)), np.full(120, 2.0))
    np.testing.assert_allclose(Preconditioner(nothing, 1.0)(Y), Y / 3.0)


# ---- conjugate gradients ----------------------------------------------------------------------


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


def test_blas_is_left_as_it_was(X, Y, blas_threads):
    before = blas_threads()
    factor = solvers.factorise(ARD, X, 0.01)
    factor.solve(Y)
    factor.inverse_diagonal()
    factor.variances(X)
    assert blas_threads() == before
