from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import kflow
from kflow import kernels
from kflow.torch import KernelModule, gram

ALL = [
    kernels.Gaussian(1.3),
    kernels.Laplacian(1.1),
    kernels.Matern32(1.7),
    kernels.Matern52(2.1),
    kernels.RationalQuadratic(1.2, alpha=0.7),
    kernels.InverseMultiquadric(1.4),
    kernels.Cauchy(1.6),
    kernels.Wendland(3.0),
    kernels.Gaussian((0.7, 1.9, 1.1)),
    kernels.Matern32((0.7, 1.9, 1.1)),
    kernels.Linear(1.3),
    kernels.Linear((0.7, 1.9, 1.1)),
    kernels.Polynomial(1.3, offset=0.4, degree=3),
    kernels.Periodic(0.9, period=1.7),
    kernels.Periodic((0.9, 1.1, 0.8), period=(1.7, 2.3, 3.1)),
    2.0 * kernels.Gaussian(1.5) + kernels.Linear() * kernels.Periodic(period=7.0) + 0.3,
]
SMOOTH = [k for k in ALL if not isinstance(k, (kernels.Laplacian, kernels.Wendland))]


def names(kernel):
    return repr(kernel)[:40]


def test_no_radial_kernel_is_forgotten():
    assert set(kernels.RADIAL.values()) <= {type(kernel) for kernel in ALL}


@pytest.mark.parametrize("kernel", ALL, ids=names)
def test_values_are_those_of_the_compiled_core(kernel, rng):
    X, Z = rng.normal(size=(9, 3)), rng.normal(size=(7, 3))
    X[4] = X[2]
    for other in (None, Z):
        tensor = None if other is None else torch.tensor(other)
        value = gram(torch.tensor(X), tensor, kernel=kernel)
        np.testing.assert_allclose(value, kernel(X, other), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kernel", ALL, ids=names)
def test_theta_is_that_of_the_kernel(kernel, rng):
    X = rng.normal(size=(6, 3))
    theta = kernel.theta + 0.1 * rng.normal(size=len(kernel.theta))
    value = gram(torch.tensor(X), kernel=kernel, theta=torch.tensor(theta))
    np.testing.assert_allclose(value, kernel.clone_with_theta(theta)(X), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kernel", ALL, ids=names)
def test_gradients_are_those_of_the_compiled_core(kernel, rng):
    X, G = rng.normal(size=(8, 3)), rng.normal(size=(8, 8))
    x = torch.tensor(X, requires_grad=True)
    theta = torch.tensor(kernel.theta, requires_grad=True)
    (gram(x, kernel=kernel, theta=theta) * torch.tensor(G + G.T) / 2).sum().backward()
    by_theta, by_points = kernel.contract(X, G, points=True)
    np.testing.assert_allclose(theta.grad, by_theta, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(x.grad, by_points, rtol=1e-9, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ALL, ids=names)
def test_first_and_second_derivatives_at_distinct_points(kernel, rng):
    x, z = (torch.tensor(rng.normal(size=(n, 3)), requires_grad=True) for n in (4, 3))
    theta = torch.tensor(kernel.theta, requires_grad=True)

    def value(*arguments):
        return gram(*arguments[:2], kernel=kernel, theta=arguments[2])

    assert torch.autograd.gradcheck(value, (x, z, theta))
    assert torch.autograd.gradgradcheck(value, (x, z, theta))


@pytest.mark.slow
@pytest.mark.parametrize("kernel", SMOOTH, ids=names)
def test_first_and_second_derivatives_at_coinciding_points(kernel, rng):
    X = rng.normal(size=(4, 3))
    X[2] = X[0]
    x = torch.tensor(X, requires_grad=True)

    def value(points):
        return gram(points, points[:3] + 0.0, kernel=kernel)

    assert torch.autograd.gradcheck(value, (x,), atol=1e-4)
    # Where the kernel has a third derivative that jumps, finite differences are of first order.
    assert torch.autograd.gradgradcheck(value, (x,), atol=1e-4)


@pytest.mark.parametrize("kernel", ALL, ids=names)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_derivatives_of_duplicates_are_finite(kernel, dtype, rng):
    X = rng.normal(size=(5, 3))
    X[3] = X[1]
    x = torch.tensor(X, dtype=dtype, requires_grad=True)
    theta = torch.tensor(kernel.theta, requires_grad=True)
    K = gram(x, kernel=kernel, theta=theta)
    assert K.dtype == dtype
    first = torch.autograd.grad((K**2).sum(), (x, theta), create_graph=True)
    assert all(bool(g.isfinite().all()) for g in first)
    second = torch.autograd.grad(sum((g**2).sum() for g in first), (x, theta))
    assert all(bool(g.isfinite().all()) for g in second)


def test_batches_of_points_by_vmap(rng):
    x = torch.tensor(rng.normal(size=(3, 5, 2)))
    kernel = kernels.Matern32(1.2)
    together = torch.func.vmap(lambda points: gram(points, kernel=kernel))(x)
    torch.testing.assert_close(together, torch.stack([gram(p, kernel=kernel) for p in x]))


def test_points_far_from_the_origin(rng):
    X = rng.normal(size=(6, 3))
    for kernel in (kernels.Gaussian(1.0), kernels.Laplacian(1.0)):
        near, far = (gram(torch.tensor(x), kernel=kernel) for x in (X, X + 2.0**20))
        torch.testing.assert_close(near, far, rtol=1e-8, atol=1e-8)


def test_half_precision_comes_out_as_float32():
    x = torch.randn(4, 2, dtype=torch.bfloat16)
    assert gram(x, kernel=kernels.Gaussian()).dtype == torch.float32


def test_fixed_parameters_are_not_learned(rng):
    kernel = kernels.RationalQuadratic(1.2, alpha=0.7, length_scale_bounds="fixed")
    module = KernelModule(kernel)
    assert module.theta.shape == (1,)
    X = rng.normal(size=(4, 2))
    np.testing.assert_allclose(module(torch.tensor(X)).detach(), kernel(X), rtol=1e-13)


def test_a_module_learns_and_comes_back_as_a_kernel(rng):
    X, Y = rng.normal(size=(30, 2)), rng.normal(size=(30, 1))
    module = KernelModule(1.0 * kernels.Gaussian(5.0, length_scale_bounds=(0.5, 6.0)))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    for _ in range(5):
        optimizer.zero_grad()
        loss = kflow.torch.nlml(torch.tensor(X), torch.tensor(Y), kernel=module, nugget=0.1)
        loss.backward()
        optimizer.step()
    kernel = module.to_kernel()
    assert kernel.kernel.length_scale < 5.0
    np.testing.assert_allclose(kernel(X), module(torch.tensor(X)).detach(), rtol=1e-12)
    with torch.no_grad():
        module.theta += 100.0
    assert module.to_kernel().kernel.length_scale == pytest.approx(6.0)


def test_state_and_copies_of_a_module():
    module = KernelModule(kernels.Gaussian(3.0), learn=False)
    assert list(module.parameters()) == []
    other = KernelModule(kernels.Gaussian(1.0))
    other.load_state_dict(module.state_dict())
    assert other.to_kernel().length_scale == pytest.approx(3.0)
    assert copy.deepcopy(other).to_kernel() == other.to_kernel()
    assert "Gaussian" in repr(other)
    assert module.to(torch.float32)(torch.zeros(2, 2, dtype=torch.float64)).dtype == torch.float64


def test_refusals():
    x = torch.zeros(3, 2)
    function = kernels.FunctionKernel(lambda X, Z: X @ Z.T)
    cases = [
        (TypeError, "tensor", lambda: gram(np.zeros((3, 2)), kernel=kernels.Gaussian())),
        (TypeError, "floating", lambda: gram(x.long(), kernel=kernels.Gaussian())),
        (ValueError, r"\(n, d\)", lambda: gram(x[0], kernel=kernels.Gaussian())),
        (ValueError, "columns", lambda: gram(x, x[:, :1], kernel=kernels.Gaussian())),
        (ValueError, "length_scale", lambda: gram(x, kernel=kernels.Gaussian((1.0, 1.0, 1.0)))),
        (ValueError, "theta", lambda: gram(x, kernel=kernels.Gaussian(), theta=torch.zeros(2))),
        (TypeError, "kernel", lambda: gram(x, kernel="gaussian")),
        (TypeError, "FunctionKernel", lambda: gram(x, kernel=function)),
        (ValueError, "dimensions", lambda: gram(torch.zeros(3, 9), kernel=kernels.Wendland())),
        (TypeError, "learn", lambda: KernelModule(kernels.Gaussian(), learn=1)),
    ]
    for kind, text, call in cases:
        with pytest.raises(kind, match=text):
            call()
