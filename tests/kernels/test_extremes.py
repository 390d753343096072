"""Points and length scales near the limits of a dtype: right, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow import KernelFlow, kernels

SIZES = {
    "float32": [1e-45, 1e-38, 1e-22, 2e-19, 1e-18, 1e-10, 1.0, 1e10, 1e16, 1e18, 1e20, 1e38],
    "float64": [5e-324, 1e-300, 1e-170, 1e-150, 1.0, 1e150, 1e153, 1e155, 1e300],
}


def scaled(kernel, factor):
    return kernel.with_params(length_scale=kernel.length_scale * factor)


@pytest.mark.parametrize("d", [2, 12])  # by differences, and by products
def test_kernel_matrices_are_right_or_refused(kernel, dtype, d, rng):
    X = rng.normal(size=(9, d))
    C = rng.normal(size=(9, d))
    n_right = 0
    for point_size in SIZES[dtype.name]:
        for ratio in (1e-3, 1.0, 1e3):
            x = (X * point_size).astype(dtype)
            # The reference is in the units of the length scale, where nothing overflows.
            length = kernel.length_scale * point_size * ratio
            if not (0 < length < np.inf and np.isfinite(x).all() and x.any()):
                continue
            exact = x.astype(np.longdouble) / np.longdouble(length) * kernel.length_scale
            expected = kflow.gram(exact.astype(np.float64), kernel=kernel)
            try:
                actual = scaled(kernel, point_size * ratio)
                matrix = kflow.gram(x, kernel=actual)
                moved = kflow.move(x, x, np.asarray(C * point_size, dtype), kernel=actual)
            except ValueError as error:
                if not str(error).startswith(("X contains", "length_scale must be between")):
                    raise
                continue
            n_right += 1
            tolerance = 2e-5 if dtype == np.float32 else 1e-9
            np.testing.assert_allclose(matrix, expected, rtol=0, atol=tolerance)
            if point_size < 1e8 * np.finfo(dtype).tiny:  # too few digits to be compared
                continue
            np.testing.assert_allclose(
                (moved - x) / point_size, expected @ C, rtol=0, atol=50 * tolerance
            )
    assert n_right >= (20 if dtype == np.float32 else 6)


@pytest.mark.parametrize("name", ["X", "Z"])
def test_what_overflows_is_named(name, dtype):
    arrays = {"X": np.ones((3, 2), dtype), "Z": np.ones((4, 2), dtype)}
    arrays[name][1, 1] = np.finfo(dtype).max / 2
    with pytest.raises(
        ValueError, match=rf"^{name} contains values too large for {dtype}.*scale {name}"
    ):
        kflow.gram(arrays["X"], arrays["Z"], kernel=kernels.Gaussian(1.0))


@pytest.mark.filterwarnings("ignore::kflow.errors.StandstillWarning")
@pytest.mark.parametrize("length", [1e-30, 1e30])
def test_a_flow_names_a_length_scale_that_its_dtype_has_no_square_of(length, rng):
    X, kernel = rng.normal(size=(20, 3)), kernels.Gaussian(length)
    flow = KernelFlow(kernel, n_layers=1, batch_size=10, nugget=0.1)
    with pytest.raises(ValueError, match=r"length_scale=.* float32.* pass float64"):
        flow.fit(X, X[:, 0])
    assert flow.n_layers_ == 0
    flow = KernelFlow(kernel, n_layers=1, batch_size=10, nugget=0.1, dtype="float64")
    assert np.isfinite(flow.fit(X, X[:, 0]).points_).all()


def test_sums_of_extreme_kernels_are_right(rng):
    X = rng.normal(size=(9, 2)).astype(np.float32)
    for size in (1e-25, 1e16):
        x = (X * np.float32(size)).astype(np.float32)
        ratio = 1e4 if size > 1 else 1.0
        kernel = kernels.Gaussian(size * ratio) + 2.0 * kernels.Matern32(size)
        plain = kernels.Gaussian(ratio) + 2.0 * kernels.Matern32(1.0)
        expected = kflow.gram(x.astype(np.float64) / size, kernel=plain)
        np.testing.assert_allclose(kflow.gram(x, kernel=kernel), expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(
            kernel.apply(x, x, X), expected @ X.astype(np.float64), rtol=0, atol=1e-4
        )


def test_what_an_array_for_the_result_held_before_does_not_matter(rng):
    X = (rng.normal(size=(5, 2)) * 1e-25).astype("float32")
    kernel = kernels.Gaussian(2e-25)
    out = np.full((5, 5), 0x7FA00000, np.uint32).view(np.float32)  # numbers that no cast accepts
    np.testing.assert_array_equal(kernel(X, out=out), kernel(X))
