from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow import kernels
from kflow.testing import slow as reference

FAMILIES = list(kernels.RADIAL.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_length_scale_is_one_by_default_and_becomes_a_float(family):
    assert family().length_scale == 1.0
    assert type(family(np.float32(2)).length_scale) is float
    assert type(family(3).length_scale) is float


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf")])
def test_length_scale_must_be_positive_and_finite(family, value):
    with pytest.raises(ValueError, match="length_scale must be positive and finite"):
        family(value)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("value", ["1", None, True, 1j])
def test_length_scale_must_be_a_number(family, value):
    with pytest.raises(TypeError, match="length_scale must be a number"):
        family(value)


@pytest.mark.parametrize("family", FAMILIES)
def test_length_scales_may_be_one_per_dimension(family):
    kernel = family(np.array([1, 2.5]))
    assert kernel.length_scale == (1.0, 2.5)
    assert kernel == family((1, 2.5))
    with pytest.raises(ValueError, match=r"length_scale\[1\] must be positive"):
        family([1.0, -1.0])
    with pytest.raises(ValueError, match="length_scale must be a number or one number per"):
        family([])
    with pytest.raises(ValueError, match="2 entries in length_scale, but X has 3 columns"):
        kernel(np.zeros((4, 3)))
    with pytest.raises(TypeError, match="radial kernel with one length scale"):
        kflow.KernelFlow(kernel, n_layers=1, batch_size=4, nugget=1.0)


@pytest.mark.parametrize("value", [0, -2, float("inf")])
def test_alpha_must_be_positive(value):
    with pytest.raises(ValueError, match="alpha must be positive"):
        kernels.RationalQuadratic(1.0, alpha=value)
    with pytest.raises(TypeError, match="alpha must be a number"):
        kernels.RationalQuadratic(1.0, alpha=(1.0, 2.0))


def test_base_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        kernels.Kernel()


def test_kernels_of_different_families_differ():
    assert len({family(1.0) for family in FAMILIES}) == len(FAMILIES)


def test_from_dict_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match=r"unknown kernel 'sigmoid'.*gaussian"):
        kernels.from_dict({"kernel": "sigmoid", "length_scale": 1.0})
    with pytest.raises(ValueError, match="unknown kernel None"):
        kernels.from_dict({"length_scale": 1.0})
    with pytest.raises(ValueError, match="beta"):
        kernels.from_dict({"kernel": "gaussian", "length_scale": 1.0, "beta": 2.0})


@pytest.mark.usefixtures("engine")
def test_profile_over_its_whole_range(kernel, dtype):
    r = np.concatenate([[0.0], np.logspace(-4, 3, 300)]).astype(dtype)[:, None]
    values = kflow.gram(r, np.zeros((1, 1), dtype), kernel=kernel)[:, 0]
    expected = reference.kernel_value(kernel, r[:, 0].astype(np.longdouble) ** 2)
    assert values[0] == 1.0
    assert (values >= 0).all()
    assert (np.diff(values) <= 4 * np.finfo(dtype).eps).all()
    # exp turns the rounding of its argument into a relative error; results below the smallest
    # normal number, before the polynomial of the Matern kernels, are 0.
    visible = expected > np.finfo(dtype).tiny * 1e4
    relative = np.abs(values - expected)[visible] / expected[visible]
    assert (relative < (8 - 3 * np.log(expected[visible])) * np.finfo(dtype).eps).all()
    assert (values[~visible] <= 2e4 * np.finfo(dtype).tiny).all()


def test_slope_is_the_derivative_of_the_formula(kernel):
    r2 = np.linspace(0.1, 9, 50).astype(np.longdouble)
    h = np.longdouble(1e-5)
    difference = (
        reference.kernel_value(kernel, r2 + h) - reference.kernel_value(kernel, r2 - h)
    ) / (2 * h)
    np.testing.assert_allclose(reference.kernel_slope(kernel, r2), difference, rtol=1e-7)


def test_kernel_matrices_are_positive_definite(kernel, rng):
    matrix = kflow.gram(rng.normal(size=(60, 5)), kernel=kernel)
    np.testing.assert_array_equal(np.diag(matrix), 1.0)
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-13)
    assert np.linalg.eigvalsh(matrix).min() > 0


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("alpha", [1e-3, 0.5, 1e2, 1e4, 1e8, 1e15])
@pytest.mark.parametrize("d", [3, 9])
def test_rational_quadratic_with_any_alpha(alpha, d, dtype, rng):
    # 1 + r^2 / (2 alpha l^2) rounds to 1 long before the kernel is a Gaussian.
    X = rng.normal(size=(40, d)).astype(dtype)
    kernel = kernels.RationalQuadratic(1.5 * np.sqrt(d), alpha=alpha)
    expected = reference.gram(X.astype(np.longdouble), kernel=kernel)
    np.testing.assert_allclose(
        kflow.gram(X, kernel=kernel), expected, rtol=0, atol=20 * np.finfo(dtype).eps
    )
    loss, gradient = kflow.rho_gradient(X, X[:, 0], np.arange(20), kernel=kernel, nugget=0.1)
    want = reference.rho_gradient(
        X.astype(np.longdouble), X[:, 0], np.arange(20), kernel=kernel, nugget=0.1
    )
    assert loss == pytest.approx(float(want[0]), rel=1e-10)
    np.testing.assert_allclose(gradient, want[1], rtol=0, atol=1e-10 * float(np.abs(want[1]).max()))


def test_rational_quadratic_tends_to_the_gaussian(rng):
    x = rng.normal(size=(20, 3))
    np.testing.assert_allclose(
        kflow.gram(x, kernel=kernels.RationalQuadratic(1.5, alpha=1e7)),
        kflow.gram(x, kernel=kernels.Gaussian(1.5)),
        rtol=1e-5,
    )


def test_the_table_has_the_families_that_it_had():
    # Tests of every family take them from the table: a row that is lost would be missed nowhere.
    names = [family.__name__ for family in kernels.RADIAL.values()]
    assert set(names) >= {
        "Gaussian",
        "Laplacian",
        "Matern32",
        "Matern52",
        "RationalQuadratic",
        "InverseMultiquadric",
        "Cauchy",
        "Wendland",
    }
    assert len({family.family for family in kernels.RADIAL.values()}) == len(names)


def test_curvature_of_kernels(kernel):
    slope = reference.kernel_slope(kernel, [0.0])[0]
    if isinstance(kernel, kernels.Laplacian):
        assert kernel.curvature == np.inf
    else:
        assert kernel.curvature == pytest.approx(-2.0 * slope)
        unit = {
            "gaussian": 1.0,
            "matern32": 3.0,
            "matern52": 5.0 / 3.0,
            "rational_quadratic": 1.0,
            "inverse_multiquadric": 1.0,
            "cauchy": 2.0,
        }
        if kernel.family in unit:
            expected = unit[kernel.family] / kernel.length_scale**2
            assert kernel.curvature == pytest.approx(expected)


def test_curvature_of_compact_and_anisotropic_kernels():
    for dimension in (1, 3, 6):
        kernel = kernels.Wendland(1.7, dimension=dimension)
        slope = reference.kernel_slope(kernel, [0.0])[0]
        assert kernel.curvature == pytest.approx(-2.0 * slope)
        q = dimension // 2 + 2
        assert kernel.curvature == pytest.approx((q + 1) * (q + 2) / 1.7**2)
    assert kernels.Gaussian((2.0, 0.5)).curvature == 4.0
