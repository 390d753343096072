from __future__ import annotations

import numpy as np
import pytest
import torch

import kflow
import kflow.torch
from kflow import kernels, losses
from kflow.testing.loss_tests import LossProblem

KERNELS = [kernels.Gaussian(1.3), kernels.Matern52(1.5), 0.5 * kernels.Cauchy() + kernels.Linear()]


def problem(rng, name, n=8, n_halves=2):
    p = LossProblem.random(n, 2, n_halves)
    return rng.normal(size=(n, 3)), p.Y, p.subsets_for(losses.LOSSES[name])


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_values_are_those_of_kernel_matrices(name, kernel, rng):
    X, Y, subsets = problem(rng, name)
    value = getattr(kflow.torch, name)(
        torch.tensor(X), torch.tensor(Y), *subsets, kernel=kernel, nugget=0.1
    )
    expected = losses.LOSSES[name].function(kernel(X) + 0.1 * np.eye(len(X)), Y, *subsets)[0]
    assert value.item() == pytest.approx(expected, rel=1e-10, abs=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(losses.LOSSES))
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_gradients_by_everything(name, kernel, rng):
    X, Y, subsets = problem(rng, name, n=6)
    module = kflow.torch.KernelModule(kernel)
    nugget = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    x, y = torch.tensor(X, requires_grad=True), torch.tensor(Y, requires_grad=True)

    def value(x, y, nugget, theta):
        K = kflow.torch.gram(x, kernel=kernel, theta=theta)
        return getattr(kflow.torch, name)(x, y, *subsets, kernel=lambda _: K, nugget=nugget)

    theta = module.theta
    if name == "mmd":  # of points alone
        assert torch.autograd.gradcheck(lambda x, t: value(x, y, nugget, t), (x, theta))
        return
    assert torch.autograd.gradcheck(value, (x, y, nugget, theta))
    direct = getattr(kflow.torch, name)(x, y, *subsets, kernel=module, nugget=nugget)
    direct.backward()
    by_chain = torch.autograd.grad(value(x, y, nugget, theta), (x, y, nugget, theta))
    for one, other in zip((x, y, nugget, theta), by_chain, strict=True):
        torch.testing.assert_close(one.grad, other)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rho", "e2", "kfold", "nlml"])
def test_second_derivatives(name, rng):
    X, Y, subsets = problem(rng, name, n=5)
    kernel = KERNELS[1]
    arguments = torch.tensor(X), torch.tensor(Y), torch.tensor(kernel.theta), torch.tensor(0.2)

    def value(x, y, theta, nugget):
        K = kflow.torch.gram(x, kernel=kernel, theta=theta)
        return getattr(kflow.torch, name)(x, y, *subsets, kernel=lambda _: K, nugget=nugget)

    arguments = tuple(a.double().requires_grad_() for a in arguments)
    assert torch.autograd.gradgradcheck(value, arguments, rtol=1e-2, atol=1e-4)


def test_the_gradient_is_that_of_the_flow(rng):
    X, Y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    x, coarse = torch.tensor(X, requires_grad=True), np.arange(10)
    kernel = kernels.Gaussian(1.5)
    kflow.torch.rho(x, torch.tensor(Y), coarse, kernel=kernel, nugget=0.01).backward()
    value, gradient = kflow.rho_gradient(X, Y, coarse, kernel=kernel, nugget=0.01)
    # The flow's gradient points where rho falls, or rises: only its direction is compared.
    scale = float((x.grad * torch.tensor(gradient)).sum() / np.square(gradient).sum())
    np.testing.assert_allclose(x.grad, scale * gradient, rtol=1e-8, atol=1e-12)
    assert abs(scale) == pytest.approx(1.0)
    assert 0 <= value <= 1


@pytest.mark.parametrize("kernel", [kernels.Laplacian(), kernels.Matern32(), kernels.Gaussian()])
def test_duplicates_with_a_nugget(kernel, rng):
    X = np.repeat(rng.normal(size=(4, 2)), 2, axis=0)
    x = torch.tensor(X, dtype=torch.float32, requires_grad=True)
    y = torch.tensor(rng.normal(size=8))
    value = kflow.torch.rho(x, y, np.arange(4), kernel=kernel, nugget=1e-3)
    value.backward()
    assert value.dtype == torch.float32
    assert bool(x.grad.isfinite().all())
    with pytest.raises(kflow.SingularKernelError, match="nugget"):
        kflow.torch.rho(x, y, np.arange(4), kernel=kernel)


def test_deep_kernels():
    net = torch.nn.Linear(3, 2)
    x, y = torch.randn(10, 3), torch.randn(10)

    def kernel(points):
        return kflow.torch.gram(net(points), kernel=kernels.Gaussian())

    kflow.torch.e2(x, y, range(5), kernel=kernel, nugget=0.1).backward()
    assert bool(net.weight.grad.abs().sum() > 0)


def test_refusals():
    x, y, k = torch.zeros(4, 2), torch.ones(4), kernels.Gaussian()
    cases = [
        (TypeError, "kernel", lambda: kflow.torch.rho(x, y, [0], kernel="gaussian")),
        (ValueError, "shape", lambda: kflow.torch.rho(x, y, [0], kernel=lambda X: X)),
        (ValueError, "nugget", lambda: kflow.torch.rho(x, y, [0], kernel=k, nugget=-1.0)),
        (ValueError, "nugget", lambda: kflow.torch.rho(x, y, [0], kernel=k, nugget=y)),
    ]
    for kind, text, call in cases:
        with pytest.raises(kind, match=text):
            call()
