"""Interpolants on PyTorch's CPU device, next to those of the compiled core."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from kflow import kernels
from kflow.engine import get_engine
from kflow.errors import SingularKernelError, StorageError
from kflow.linear.interpolant import Interpolant

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

KERNELS = [
    kernels.Gaussian(2.0),
    kernels.Laplacian(2.0),
    kernels.Matern32((1.0, 2.0, 3.0)),
    kernels.Wendland(6.0, dimension=3),
    kernels.Periodic(2.0, 3.0),
    kernels.Polynomial(1.0, 0.5, 2),
    2.0 * kernels.RationalQuadratic(1.2, alpha=0.7) * kernels.Linear(2.0) + 0.3,
    kernels.OnColumns(kernels.Cauchy(1.0), (0, 2)) + kernels.Matern52(2.0),
]


def tolerance(dtype, kernel):
    # Distances are differences of squares: near a centre they have half the digits, as a kink shows.
    kinked = "Laplacian" in repr(kernel)
    if dtype == "float32":
        return 1e-3 if kinked else 2e-5
    return 1e-6 if kinked else 1e-11


@pytest.fixture
def data(rng):
    X = rng.normal(size=(70, 3))
    return X, rng.normal(size=(70, 2)), rng.normal(size=(600, 3))


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_it_agrees_with_the_compiled_core(data, dtype, kernel):
    Z, Y, T = data
    Z, T = Z.astype(dtype), T.astype(dtype)
    weights = np.linspace(0.5, 2.0, 70)
    core, device = (
        Interpolant(Z, Y, kernel=kernel, nugget=0.1, sample_weight=weights, device=name)
        for name in (None, "cpu")
    )
    atol = tolerance(dtype, kernel)
    scale = np.abs(core.coefficients).sum(axis=0).max()
    assert device.coefficients.dtype == device(T).dtype == dtype
    np.testing.assert_allclose(
        device.coefficients, core.coefficients, rtol=0, atol=10 * atol * scale
    )
    np.testing.assert_allclose(device(T), core(T), rtol=0, atol=atol * scale)
    assert device(T[:0]).shape == (0, 2)


def test_gradients_agree_with_the_compiled_core(data, dtype):
    Z, Y, T = (array.astype(dtype) for array in data)
    A = np.ones((600, 2), dtype)
    for kernel in (kernels.Gaussian(2.0), kernels.Matern52(2.0), kernels.Laplacian(2.0)):
        core, device = (
            Interpolant(Z, Y, kernel=kernel, nugget=0.1, device=name) for name in (None, "cpu")
        )
        expected = core.pull_back(T, A)
        atol = tolerance(dtype, kernel) * np.abs(core.coefficients).sum()
        np.testing.assert_allclose(device.pull_back(T, A), expected, rtol=0, atol=atol)


def test_values_without_a_nugget(data, dtype):
    Z, Y, _ = data
    u = Interpolant(Z.astype(dtype), Y, kernel=kernels.Laplacian(1.0), nugget=0.0, device="cpu")
    np.testing.assert_allclose(u(u.centres), Y, atol=1e-3 if dtype == "float32" else 1e-6)


def test_one_point_in_one_dimension():
    u = Interpolant([[0.5]], [2.0], kernel=kernels.Matern52(1.0), nugget=1.0, device="cpu")
    np.testing.assert_allclose(u([[0.5], [90.0]]), [[1.0], [0.0]], atol=1e-12)


def test_length_scales_beyond_float32(data):
    Z, Y, T = data
    Z, T = 1e-25 * Z.astype("float32"), 1e-25 * T.astype("float32")
    core, device = (
        Interpolant(Z, Y, kernel=kernels.Gaussian(2e-25), nugget=0.1, device=name)
        for name in (None, "cpu")
    )
    np.testing.assert_allclose(device(T), core(T), atol=1e-4)


def test_users_functions(data):
    Z, Y, T = data

    def product(X, W):
        return (X @ W.T) ** 2 + 1.0

    kernel = kernels.FunctionKernel(product) + kernels.Gaussian(1.0)
    core, device = (
        Interpolant(Z, Y, kernel=kernel, nugget=0.1, device=name) for name in (None, "cpu")
    )
    np.testing.assert_allclose(device(T), core(T), atol=1e-9)


def test_known_coefficients_and_pickles(data):
    Z, Y, T = data
    u = Interpolant(Z, Y, kernel=KERNELS[0], nugget=0.1, device="cpu")
    again = Interpolant.from_coefficients(
        u.centres, u.coefficients, kernel=u.kernel, nugget=u.nugget, device="cpu"
    )
    for other in (again, pickle.loads(pickle.dumps(u))):
        assert other.device == "cpu"
        np.testing.assert_array_equal(other(T), u(T))


def test_duplicates_without_a_nugget(data):
    Z, _, _ = data
    twice = np.concatenate([Z, Z[:1]])
    with pytest.raises(SingularKernelError, match="71 interpolation points with nugget=0"):
        Interpolant(twice, np.zeros(71), kernel=KERNELS[0], nugget=0.0, device="cpu")


def test_devices_that_are_none(data):
    Z, Y, _ = data
    for device, error, message in (
        (3, TypeError, "device must be the name of a device or None, got 3"),
        ("abacus", ValueError, "device must be the name of a device of PyTorch"),
        ("cuda:99", ImportError, "device='cuda:99' cannot be used by PyTorch"),
    ):
        with pytest.raises(error, match=message):
            Interpolant(Z, Y, kernel=KERNELS[0], nugget=0.1, device=device)
        with pytest.raises(error, match=message):
            Interpolant.from_coefficients(Z, Y, kernel=KERNELS[0], nugget=0.1, device=device)


def test_too_little_memory_is_told(data, monkeypatch):
    Z, Y, _ = data

    def fail(_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.linalg, "cholesky_ex", fail)
    with pytest.raises(StorageError, match="a kernel matrix of 70 points and its factor"):
        Interpolant(Z, Y, kernel=KERNELS[0], nugget=0.1, device="cpu")


def test_given_arrays_stay_as_they_are(data):
    Z, Y, T = data
    kept = [array.copy() for array in (Z, Y, T)]
    for array in (Z, Y, T):
        array.setflags(write=False)
    Interpolant(Z, Y, kernel=KERNELS[0], nugget=0.1, device="cpu")(T)
    for array, before in zip((Z, Y, T), kept, strict=True):
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize(("m", "d", "q"), [(32, 8, 8), (33, 9, 3), (1, 1, 1)])
def test_a_row_does_not_depend_on_the_others(rng, dtype, m, d, q):
    X, Z, C, A = (
        rng.normal(size=shape).astype(dtype) for shape in ((700, d), (m, d), (m, q), (700, q))
    )
    engine, profile = get_engine("torch", "cpu"), kernels.Gaussian(2.0).profile
    rows = [5, 300, 699]
    every, some = np.empty((700, q), dtype), np.empty((3, q), dtype)
    engine.apply(X, Z, C, profile, 1.0, None, every, 1)
    engine.apply(X[rows], Z, C, profile, 1.0, None, some, 1)
    np.testing.assert_array_equal(some, every[rows])
    slopes, some_slopes = np.empty((700, d), dtype), np.empty((3, d), dtype)
    engine.pull_back(X, Z, C, profile, A, slopes, 1)
    engine.pull_back(X[rows], Z, C, profile, A[rows], some_slopes, 1)
    np.testing.assert_array_equal(some_slopes, slopes[rows])
