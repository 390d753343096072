from __future__ import annotations

import numpy as np
import pytest
import torch

import kflow
from kflow import losses
from kflow.testing import SLOW_LOSSES
from kflow.testing import slow as reference
from kflow.testing.loss_tests import LossProblem
from kflow.torch import losses as differentiable

ALL = sorted(losses.LOSSES)


def of_tensors(name, p, K=None, Y=None):
    K = torch.tensor(p.K) if K is None else K
    Y = torch.tensor(p.Y) if Y is None else Y
    return differentiable.LOSSES[name](K, Y, *p.subsets_for(losses.LOSSES[name]))


def test_every_loss_is_here():
    assert differentiable.LOSSES.keys() == losses.LOSSES.keys()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("n", "m", "n_halves"), [(12, 1, 1), (13, 3, 2), (20, 2, 5)])
def test_values_and_gradients_are_those_of_the_core_and_of_the_slow_twins(name, n, m, n_halves):
    p = LossProblem.random(n, m, n_halves)
    K = torch.tensor(p.K, requires_grad=True)
    value = of_tensors(name, p, K)
    value.backward()
    subsets = p.subsets_for(losses.LOSSES[name])
    expected, G = losses.LOSSES[name].function(p.K, p.Y, *subsets)
    assert value.item() == pytest.approx(expected, rel=1e-11, abs=1e-13)
    assert value.item() == pytest.approx(float(SLOW_LOSSES[name](p.K, p.Y, *subsets)), rel=1e-9)
    np.testing.assert_allclose(K.grad, G, rtol=0, atol=1e-10 * np.abs(G).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_first_and_second_derivatives(name):
    p = LossProblem.random(6, 2, 2)
    K, Y = (torch.tensor(array, requires_grad=True) for array in (p.K, p.Y))
    arguments = (K, Y) if losses.LOSSES[name].uses_targets else (K,)

    def value(K, Y=Y):
        return of_tensors(name, p, K, Y)

    assert torch.autograd.gradcheck(value, arguments)
    if name != "mmd":  # which is linear
        assert torch.autograd.gradgradcheck(value, arguments, rtol=1e-2)


def test_leave_one_out():
    p = LossProblem.random(9, 2, 1)
    residuals, variances = differentiable.leave_one_out(torch.tensor(p.K), torch.tensor(p.Y))
    expected = reference.leave_one_out(p.K, p.Y)
    np.testing.assert_allclose(residuals, np.asarray(expected[0], float), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(variances, np.asarray(expected[1], float), rtol=1e-9)
    one = differentiable.leave_one_out(torch.tensor(p.K), torch.tensor(p.Y[:, 0]))[0]
    assert one.shape == (9,)


@pytest.mark.parametrize("name", ["rho", "lyapunov"])
@pytest.mark.parametrize("scale", [1e-170, 1e150, 1e300])
def test_the_scale_of_the_targets_does_not_matter(name, scale):
    p = LossProblem.random(12, 2, 2)
    K = torch.tensor(p.K, requires_grad=True)
    value = of_tensors(name, p, K, torch.tensor(p.Y * scale))
    value.backward()
    assert value.item() == pytest.approx(of_tensors(name, p).item(), rel=1e-12)
    assert bool(K.grad.isfinite().all())


def test_targets_of_zero():
    p = LossProblem.random(8, 1, 2)
    K = torch.tensor(p.K, requires_grad=True)
    Y = torch.zeros(8, dtype=torch.float64, requires_grad=True)
    value = differentiable.rho(K, Y, p.halves)
    value.backward()
    assert value.item() == 0.0
    assert not K.grad.any()
    assert not Y.grad.any()


def test_float32_is_computed_in_float64():
    p = LossProblem.random(12, 2, 2)
    K, Y = torch.tensor(p.K, dtype=torch.float32), torch.tensor(p.Y, dtype=torch.float32)
    value = differentiable.rho(K, Y, p.halves)
    expected = losses.rho(K.numpy(), Y.numpy(), p.halves)[0]
    assert value.dtype == torch.float32
    assert value.item() == np.float32(expected)


def test_halves_may_be_tensors_and_do_not_change():
    p = LossProblem.random(8, 1, 1)
    half = torch.tensor(p.halves[0])
    K, Y = torch.tensor(p.K), torch.tensor(p.Y)
    assert differentiable.rho(K, Y, half) == differentiable.rho(K, Y, p.halves[0])
    assert torch.equal(half, torch.tensor(p.halves[0]))


def test_singular_matrices():
    K, Y = torch.ones(3, 3), torch.ones(3)
    for loss in ("rho", "loo", "nlml"):
        arguments = [[0]] if loss == "rho" else []
        with pytest.raises(kflow.SingularKernelError, match="nugget"):
            differentiable.LOSSES[loss](K, Y, *arguments)
    with pytest.raises(ValueError, match="NaN"):
        differentiable.nlml(K * torch.nan, Y)


def test_refusals():
    K, Y = torch.eye(4), torch.ones(4)
    rho = differentiable.rho
    cases = [
        (TypeError, "K must", lambda: rho(np.eye(4), Y, [0])),
        (ValueError, "square", lambda: rho(K[:3], Y, [0])),
        (TypeError, "one_hot", lambda: rho(K, torch.arange(4), [0])),
        (ValueError, "Y must", lambda: rho(K, Y[:3], [0])),
        (ValueError, "outside", lambda: rho(K, Y, [4])),
        (ValueError, "twice", lambda: rho(K, Y, [1, 1])),
        (TypeError, "halves", lambda: rho(K, Y, [0.5])),
        (ValueError, "folds", lambda: differentiable.kfold(K, Y, [0, 0, 0, 0])),
        (ValueError, "equal", lambda: differentiable.lyapunov(K, Y, [0], [[1, 2]])),
        (ValueError, "at least 2", lambda: differentiable.mmd(K, None, [0])),
    ]
    for kind, text, call in cases:
        with pytest.raises(kind, match=text):
            call()
