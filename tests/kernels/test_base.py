from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.base import clone

from kflow import kernels
from kflow.kernels import Constant, Gaussian, Linear, Matern32, Periodic, Scaled, Sum


@pytest.fixture
def composite():
    return 2.0 * Gaussian(1.3) + 0.5 * (Linear([2.0, 3.0]) * Periodic(1.1, 3.0)) + 4.0


def test_sums_and_products_are_flat():
    a, b, c = Gaussian(1.0), Linear(2.0), Matern32(3.0)
    assert (a + b + c).kernels == (a, b, c)
    assert (a + (b + c)).kernels == (a, b, c)
    assert (a * b * c).kernels == (a, b, c)
    assert ((a + b) * c).kernels == (Sum((a, b)), c)
    assert (1.0 + a).kernels == (Constant(1.0), a)
    assert a * 2.0 == 2.0 * a == Scaled(a, 2.0)


@pytest.mark.parametrize("other", ["1", None, [1.0], object(), True])
def test_algebra_refuses_strangers(other):
    for operation in (lambda k: k + other, lambda k: k * other, lambda k: other + k):
        with pytest.raises(TypeError):
            operation(Gaussian())


def test_amplitudes_are_positive():
    for amplitude in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="amplitude must be positive"):
            amplitude * Gaussian()
    with pytest.raises(ValueError, match="value must be positive"):
        Gaussian() + 0.0


def test_composites_need_kernels():
    with pytest.raises(ValueError, match="at least two"):
        Sum((Gaussian(),))
    with pytest.raises(TypeError, match=r"one of kflow\.kernels"):
        Sum((Gaussian(), 1.0))
    with pytest.raises(TypeError, match=r"one of kflow\.kernels"):
        Scaled("gaussian")


def test_repr_is_readable(composite):
    assert repr(composite) == (
        "2 * Gaussian(length_scale=1.3) + 0.5 * Linear(length_scale=[2, 3]) * "
        "Periodic(length_scale=1.1, period=3) + Constant(value=4)"
    )
    assert repr((Gaussian() + Linear()) * Linear()) == (
        "(Gaussian(length_scale=1) + Linear(length_scale=1)) * Linear(length_scale=1)"
    )
    fixed = Gaussian(2.0, length_scale_bounds="fixed")
    assert repr(fixed) == "Gaussian(length_scale=2, length_scale_bounds='fixed')"


def test_theta_is_flat_and_logarithmic(composite):
    np.testing.assert_allclose(np.exp(composite.theta), [2, 1.3, 0.5, 2, 3, 1.1, 3, 4])
    assert composite.parameter_names == [
        "k1__amplitude",
        "k1__kernel__length_scale",
        "k2__amplitude",
        "k2__kernel__k1__length_scale[0]",
        "k2__kernel__k1__length_scale[1]",
        "k2__kernel__k2__length_scale",
        "k2__kernel__k2__period",
        "k3__value",
    ]
    assert composite.bounds.shape == (8, 2)
    moved = composite.clone_with_theta(composite.theta + 0.1)
    np.testing.assert_allclose(moved.theta, composite.theta + 0.1)
    assert composite.clone_with_theta(composite.theta).parameter_names == composite.parameter_names
    assert type(moved) is type(composite)


def test_fixed_parameters_are_not_in_theta():
    kernel = Scaled(Gaussian(2.0, length_scale_bounds="fixed"), 3.0) + Linear(
        5.0, length_scale_bounds="fixed"
    )
    np.testing.assert_allclose(np.exp(kernel.theta), [3.0])
    moved = kernel.clone_with_theta(np.log([7.0]))
    assert moved.get_params()["k1__kernel__length_scale"] == 2.0
    np.testing.assert_allclose(moved.get_params()["k1__amplitude"], 7.0)
    assert Gaussian(1.0, length_scale_bounds="fixed").theta.shape == (0,)
    assert Gaussian(1.0, length_scale_bounds="fixed").bounds.shape == (0, 2)


def test_bounds():
    kernel = Gaussian(1.0, length_scale_bounds=(0.5, 2.0))
    np.testing.assert_allclose(np.exp(kernel.bounds), [[0.5, 2.0]])
    for edge in (0.5, 2.0):  # through log and exp
        assert kernel.clone_with_theta(np.log([edge])).length_scale == pytest.approx(edge)
    with pytest.raises(ValueError, match="length_scale leaves its bounds"):
        kernel.clone_with_theta([np.log(2.01)])
    with pytest.raises(ValueError, match="length_scale=3 is outside length_scale_bounds"):
        Gaussian(3.0, length_scale_bounds=(0.5, 2.0))
    with pytest.raises(ValueError, match="swap them"):
        Gaussian(1.0, length_scale_bounds=(2.0, 0.5))
    with pytest.raises(ValueError, match="or 'fixed'"):
        Gaussian(1.0, length_scale_bounds="free")
    with pytest.raises(TypeError, match=r"\(lower, upper\)"):
        Gaussian(1.0, length_scale_bounds=3)
    with pytest.raises(ValueError, match="must be positive"):
        Gaussian(1.0, length_scale_bounds=(0, 1))


def test_bounds_of_each_dimension():
    bounds = [(0.5, 2.0), (3.0, 3.0)]
    kernel = Gaussian([1.0, 3.0], length_scale_bounds=bounds)
    np.testing.assert_allclose(np.exp(kernel.bounds), bounds)
    assert kernels.from_dict(json.loads(json.dumps(kernel.to_dict()))) == kernel
    changed = kernel.clone_with_theta(np.log([2.0, 3.0]))
    np.testing.assert_allclose(changed.length_scale, [2.0, 3.0])
    assert changed.length_scale_bounds == kernel.length_scale_bounds
    with pytest.raises(ValueError, match=r"length_scale\[0\] leaves its bounds"):
        kernel.clone_with_theta(np.log([2.5, 3.0]))


def test_bounds_of_each_dimension_must_fit():
    with pytest.raises(ValueError, match="holds 3 pairs for 2 numbers"):
        Gaussian([1.0, 1.0], length_scale_bounds=[(0.5, 2.0)] * 3)
    with pytest.raises(ValueError, match="holds 1 pairs for one number"):
        Gaussian(1.0, length_scale_bounds=[(0.5, 2.0)])
    with pytest.raises(ValueError, match=r"length_scale_bounds\[1\] must be \(lower, upper\)"):
        Gaussian([1.0, 1.0], length_scale_bounds=[(0.5, 2.0), (2.0, 0.5)])
    with pytest.raises(TypeError, match="length_scale_bounds"):
        Gaussian([1.0, 1.0], length_scale_bounds=[(0.5, 2.0), 1.0])
    with pytest.raises(ValueError, match="outside length_scale_bounds"):
        Gaussian([1.0, 3.0], length_scale_bounds=[(0.5, 2.0), (0.5, 2.0)])


def test_default_bounds_yield_to_the_value():
    np.testing.assert_allclose(np.exp(Gaussian(1e-9).bounds), [[1e-14, 1e5]])
    np.testing.assert_allclose(np.exp(Gaussian([1.0, 1e9]).bounds), [[1e-5, 1e14]] * 2)
    # They do not move with the value.
    kernel = Gaussian(1e7)
    moved = kernel.clone_with_theta([np.log(1e3)])
    np.testing.assert_allclose(moved.bounds, kernel.bounds)
    assert moved.clone_with_theta(kernel.theta).length_scale == pytest.approx(1e7)


def test_numbers_that_have_no_squares_are_refused():
    for value in (1e-200, 1e200):
        with pytest.raises(ValueError, match="between 1e-150 and 1e150"):
            Gaussian(value)


def test_numpy_leaves_the_algebra_to_kernels():
    assert np.float64(2.0) * Gaussian() == 2.0 * Gaussian()
    for operation in (lambda k: np.array([1.0, 2.0]) * k, lambda k: k + np.bool_(True)):
        with pytest.raises(TypeError):
            operation(Gaussian())


@pytest.mark.parametrize("theta", [[], [0.0, 0.0], [float("nan")], 0.0])
def test_clone_refuses_a_wrong_theta(theta):
    with pytest.raises(ValueError, match="theta"):
        Gaussian().clone_with_theta(theta)


def test_parameters_by_name(composite):
    params = composite.get_params()
    assert params["k1__kernel__length_scale"] == 1.3
    assert set(composite.get_params(deep=False)) == {"kernels"}
    changed = composite.with_params(k1__kernel__length_scale=9.0, k3__value=1.0)
    assert changed.get_params()["k1__kernel__length_scale"] == 9.0
    assert changed.get_params()["k3__value"] == 1.0
    assert composite.get_params()["k3__value"] == 4.0
    with pytest.raises(ValueError, match="has no parameter 'beta'"):
        composite.with_params(beta=1.0)
    with pytest.raises(ValueError, match="has no parameter 'beta'"):
        composite.with_params(k1__beta=1.0)


def test_json_round_trip(composite):
    kernel = composite + Gaussian(0.1, length_scale_bounds=(0.01, 1.0))
    kernel = kernel * kernels.RationalQuadratic(2.0, 3.0, alpha_bounds="fixed")
    assert kernels.from_dict(json.loads(json.dumps(kernel.to_dict()))) == kernel


@pytest.mark.parametrize(
    "data",
    [
        {"kernel": "sum"},
        {"kernel": "sum", "kernels": [{"kernel": "gaussian"}]},
        {"kernel": "scaled", "of": {"kernel": "unknown"}},
        {"kernel": "sum", "kernels": 3},
        {"kernel": "function"},
    ],
)
def test_from_dict_refuses_what_is_damaged(data):
    with pytest.raises(ValueError, match=r"kernel"):
        kernels.from_dict(data)


def test_scikit_learn_clones_share_a_value(composite):
    assert clone(composite) is composite


def test_kernels_cannot_be_changed(composite):
    for kernel, name in ((composite, "kernels"), (2.0 * Gaussian(), "amplitude")):
        with pytest.raises(AttributeError):
            setattr(kernel, name, 1.0)
