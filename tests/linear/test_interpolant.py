from __future__ import annotations

import warnings

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import kflow
from kflow import kernels
from kflow.engine import HOST
from kflow.errors import PrecisionWarning
from kflow.linear.interpolant import Interpolant, balanced_subset
from kflow.testing import slow as reference

KERNEL = kernels.Matern52(2.0)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("d", [2, 9])
@pytest.mark.parametrize("q", [1, 3, 8])
def test_against_the_reference(d, q, kernel, dtype, rng):
    Z, X = (rng.normal(size=(n, d)).astype(dtype) for n in (40, 55))
    Y = rng.normal(size=(40, q))
    got = Interpolant(Z, Y, kernel=kernel, nugget=1e-2)(X)
    matrix = reference.gram(Z, kernel=kernel) + 1e-2 * np.eye(40)
    expected = reference.gram(X, Z, kernel=kernel) @ reference.solve(matrix, Y)
    assert got.dtype == dtype
    assert got.shape == (55, q)
    scale = np.abs(reference.solve(matrix, Y)).sum(axis=0).max()
    # 1e-6: what rounding points and coefficients to float32 costs.
    tolerance = 1e-6 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.usefixtures("blas_threads")
def test_does_not_depend_on_the_threads_of_blas(rng):
    Z, Y = rng.normal(size=(700, 9)), rng.normal(size=(700, 10))

    def coefficients(n_threads):
        with threadpool_limits(n_threads, user_api="blas"):
            return Interpolant(Z, Y, kernel=KERNEL, nugget=1e-2).coefficients

    np.testing.assert_array_equal(coefficients(1), coefficients(2))


def test_interpolates_without_a_nugget(rng):
    Z, Y = rng.normal(size=(30, 3)), rng.normal(size=30)
    u = Interpolant(Z, Y, kernel=kernels.Laplacian(1.0), nugget=0.0)
    np.testing.assert_allclose(u(Z)[:, 0], Y, atol=1e-10)


def test_few_points_and_none_to_predict():
    u = Interpolant([[0.0, 0.0]], [2.0], kernel=KERNEL, nugget=1.0)
    np.testing.assert_allclose(u([[0.0, 0.0], [50.0, 0.0]]), [[1.0], [0.0]], atol=1e-12)
    assert u(np.zeros((0, 2))).shape == (0, 1)


def test_changing_the_data_afterwards_changes_nothing(rng):
    Z, Y = rng.normal(size=(30, 3)), rng.normal(size=(30, 2))
    u = Interpolant(Z, Y, kernel=KERNEL, nugget=0.1)
    before = u(np.ones((1, 3)))
    Z += 1
    Y += 1
    np.testing.assert_array_equal(u(np.ones((1, 3))), before)


def test_singular_matrix(rng):
    with pytest.raises(kflow.SingularKernelError, match="30 interpolation points"):
        Interpolant(np.zeros((30, 2)), rng.normal(size=30), kernel=KERNEL, nugget=0.0)


def test_bad_arguments():
    Z, Y = np.zeros((3, 2)), np.zeros(3)
    with pytest.raises(ValueError, match="Y must have 3 rows"):
        Interpolant(Z, np.zeros(4), kernel=KERNEL, nugget=0.1)
    with pytest.raises(ValueError, match="Z is empty"):
        Interpolant(np.zeros((0, 2)), np.zeros(0), kernel=KERNEL, nugget=0.1)
    with pytest.raises(TypeError, match="kernel must be"):
        Interpolant(Z, Y, kernel="gaussian", nugget=0.1)
    with pytest.raises(ValueError, match="nugget must be"):
        Interpolant(Z, Y, kernel=KERNEL, nugget=-1.0)
    with pytest.raises(ValueError, match="n_threads must be"):
        Interpolant(Z, Y, kernel=KERNEL, nugget=1.0, n_threads=0)
    u = Interpolant(Z, Y, kernel=KERNEL, nugget=1.0)
    with pytest.raises(ValueError, match="X must have 2 columns"):
        u(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="X contains NaN"):
        u([[np.nan, 0.0]])


# ---- balanced_subset --------------------------------------------------------------------------


@pytest.mark.parametrize("n_points", [3, 10, 11, 12, 30])
def test_balanced_subset(n_points, rng):
    labels = rng.permutation(np.repeat(["a", "b", "c"], [10, 40, 25]))
    rows = balanced_subset(labels, n_points, rng)
    assert len(np.unique(rows)) == len(rows) == n_points
    _, counts = np.unique(labels[rows], return_counts=True)
    assert len(counts) == 3
    assert counts.max() - counts.min() == (n_points % 3 > 0)


def test_balanced_subset_reaches_every_row_and_class():
    labels = np.repeat([0, 1], [4, 4])
    rng = np.random.default_rng(0)
    draws = [balanced_subset(labels, 3, rng) for _ in range(100)]
    assert set(np.concatenate(draws)) == set(range(8))
    # The odd row goes to either class.
    assert {int(labels[rows].sum()) for rows in draws} == {1, 2}


def test_balanced_subset_is_reproducible():
    labels = np.arange(50) % 5
    first, second = (balanced_subset(labels, 20, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_balanced_subset_errors(rng):
    labels = np.repeat(["many", "rare"], [50, 2])
    with pytest.raises(ValueError, match=r"'rare'.* has 2 points .* needs 5 .* at most 4"):
        balanced_subset(labels, 10, rng)
    with pytest.raises(ValueError, match="less than one point for each of 2 classes"):
        balanced_subset(labels, 1, rng)


@pytest.mark.parametrize("seed", range(5))
def test_a_duplicate_without_a_nugget_is_singular_for_every_kernel(kernel, seed):
    Z = np.random.default_rng(seed).normal(size=(50, 3))
    Z[7] = Z[31]
    with pytest.raises(kflow.SingularKernelError, match="numerically singular"):
        Interpolant(Z, np.arange(50.0), kernel=kernel, nugget=0.0)


def test_pull_back_is_the_gradient(kernel, rng):
    Z, Y, X = rng.normal(size=(30, 3)), rng.normal(size=(30, 4)), rng.normal(size=(6, 3))
    u = kflow.Interpolant(Z, Y, kernel=kernel, nugget=0.1)
    A, h = rng.normal(size=(6, 4)), 1e-6
    expected = np.empty((6, 3))
    for k in range(3):
        e = h * np.eye(3)[k]
        expected[:, k] = np.einsum("ij,ij->i", A, (u(X + e) - u(X - e)) / (2 * h))
    np.testing.assert_allclose(u.pull_back(X, A), expected, rtol=1e-6, atol=1e-7)


def test_pull_back_refuses_what_does_not_fit(rng):
    Z, Y = rng.normal(size=(5, 2)), rng.normal(size=(5, 3))
    u = kflow.Interpolant(Z, Y, kernel=kflow.kernels.Gaussian(1.0), nugget=0.1)
    with pytest.raises(ValueError, match="A"):
        u.pull_back(Z, Y[:, :2])
    other = kflow.Interpolant(Z, Y, kernel=kflow.kernels.Linear(), nugget=0.1)
    with pytest.raises(TypeError, match="kernel"):
        other.pull_back(Z, Y)


def test_a_weight_of_two_is_a_point_twice(rng):
    Z, Y, X = rng.normal(size=(20, 3)), rng.normal(size=(20, 2)), rng.normal(size=(9, 3))
    weights = rng.integers(1, 4, 20)
    kernel = kernels.Gaussian(1.0)
    weighted = Interpolant(Z, Y, kernel=kernel, nugget=0.3, sample_weight=weights)
    twice = Interpolant(
        Z.repeat(weights, axis=0), Y.repeat(weights, axis=0), kernel=kernel, nugget=0.3
    )
    np.testing.assert_allclose(weighted(X), twice(X), rtol=1e-9)


@pytest.mark.parametrize("weights", [[1.0, 0.0], [1.0, -1.0], [1.0], [1.0, np.inf]])
def test_weights_that_are_none(weights):
    with pytest.raises(ValueError, match="sample_weight"):
        Interpolant(
            np.eye(2), [0, 1], kernel=kernels.Gaussian(1.0), nugget=0.1, sample_weight=weights
        )


def test_few_digits_are_told(rng):
    X = rng.normal(size=(200, 2))
    y = np.sin(X[:, 0])
    for dtype, nugget in (("float32", 1e-10), ("float32", 1e-2), ("float64", 1e-10)):
        Z = X.astype(dtype)
        few = dtype == "float32" and nugget < 1e-5
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            u = Interpolant(Z, y, kernel=kernels.Gaussian(1.0), nugget=nugget)
        assert [warning.category for warning in caught] == [PrecisionWarning] * few
        error = np.abs(
            u(Z) - Interpolant(Z.astype(float), y, kernel=u.kernel, nugget=nugget)(X)
        ).max()
        assert (error > 1e-3) == few


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_engine_computes_the_same_values(rng, dtype):
    Z, Y, X = (rng.normal(size=shape).astype(dtype) for shape in ((30, 3), (30, 2), (7, 3)))
    u = kflow.Interpolant(Z, Y, kernel=kernels.Gaussian(1.5), nugget=0.1)
    np.testing.assert_array_equal(u.by_engine(X, HOST), u(X))
    assert u.by_engine(X[:0], HOST).shape == (0, 2)
