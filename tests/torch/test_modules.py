from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch

import kflow
from kflow import kernels, losses
from kflow.learning.batches import draw_halves
from kflow.torch import KernelLoss, KernelModule, RhoLoss

LABELS = torch.arange(12) % 3


def features(*shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(*shape, generator=generator, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
@pytest.mark.parametrize("scale", ["median", "rms", "none"])
def test_every_loss_trains_features_of_any_shape(name, scale):
    criterion = KernelLoss(name, scale=scale, n_classes=3, random_state=0)
    x = features(12, 2, 3, 4)
    value = criterion(x, None if name == "mmd" else LABELS)
    assert value.dtype == torch.float32
    assert value.shape == ()
    value.backward()
    assert bool(x.grad.isfinite().all())
    assert bool(x.grad.any())


def test_the_value_is_that_of_the_function():
    x = features(12, 4, dtype=torch.float64)
    criterion = RhoLoss(kernel=kernels.Matern52(2.0), scale="none", nugget=0.1, random_state=3)
    halves = draw_halves(np.random.default_rng(3), 12, 2)
    Y = torch.nn.functional.one_hot(LABELS).double()
    expected = kflow.torch.rho(x, Y, halves, kernel=kernels.Matern52(2.0), nugget=0.1)
    torch.testing.assert_close(criterion(x, LABELS), expected)
    again = RhoLoss(kernel=kernels.Matern52(2.0), scale="none", nugget=0.1, random_state=3)
    torch.testing.assert_close(again(x, Y), expected)


@pytest.mark.parametrize("scale", ["median", "rms"])
def test_the_unit_of_the_features_does_not_matter(scale):
    x = features(12, 4, dtype=torch.float64)
    values = []
    for factor in (1e-6, 1.0, 1e6):
        values.append(RhoLoss(scale=scale, random_state=0)(factor * x, LABELS).detach())
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(values[2], values[1])


def test_rms_takes_the_gain_out_of_growing():
    x = features(12, 4, dtype=torch.float64)
    RhoLoss(scale="rms", random_state=0)(x, LABELS).backward()
    centred = x.detach() - x.detach().mean(0)
    assert abs(float((x.grad * centred).sum())) < 1e-12


@pytest.mark.parametrize("name", ["e2", "loo", "kfold"])
def test_normalized_losses_do_not_depend_on_the_scale_of_targets(name):
    x, y = features(12, 4, dtype=torch.float64), torch.randn(12, 2, dtype=torch.float64)
    values = [KernelLoss(name, random_state=0)(x, s * y).detach() for s in (1.0, 1e3)]
    torch.testing.assert_close(*values)
    raw = KernelLoss(name, normalize=False, random_state=0)(x, y).detach()
    torch.testing.assert_close(raw / y.square().sum(), values[0])


@pytest.mark.parametrize("scale", ["median", "rms"])
@pytest.mark.parametrize("level", [0.0, 1.0, 0.1, 1e6 / 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [11, 12])
def test_features_that_are_all_the_same(scale, level, dtype, n):
    # The mean of eleven equal numbers is not the number.
    x = torch.full((n, 4), level, dtype=dtype, requires_grad=True)
    for kernel in (kernels.Gaussian(), kernels.Laplacian()):
        value = RhoLoss(kernel=kernel, scale=scale, random_state=0)(x, LABELS[:n])
        value.backward()
        assert bool(x.grad.isfinite().all())
        assert float(x.grad.abs().max()) < 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_most_features_coincide(seed):
    """As those of units that few inputs activate: their median distance is rounding."""
    generator = torch.Generator().manual_seed(seed)
    normal = {"generator": generator, "dtype": torch.float64}
    x = 0.2 + 0.1 * torch.randn(8, **normal).expand(100, 8).clone()
    x[:20] += 1e-3 * torch.randn(20, 8, **normal)
    x.requires_grad_()
    labels = torch.arange(100) % 3
    value = RhoLoss(random_state=0)(x, labels)
    value.backward()
    assert bool(x.grad.isfinite().all())
    by_mean = RhoLoss(random_state=0, scale="rms")(x, labels)
    torch.testing.assert_close(value, by_mean, rtol=1e-6, atol=0.0)


def test_targets_of_other_kinds():
    x = features(12, 4)
    values = {
        RhoLoss(random_state=0)(x, targets).item()
        for targets in (LABELS, LABELS.int(), torch.nn.functional.one_hot(LABELS).float())
    }
    assert len(values) == 1
    assert RhoLoss()(x, LABELS > 0) >= 0
    assert RhoLoss()(x, torch.randn(12, 2, 2)) >= 0
    assert RhoLoss()(x, torch.randn(12)) >= 0
    assert RhoLoss(n_classes=3, random_state=0)(x, LABELS).item() in values


def test_parameters_that_are_learned():
    criterion = RhoLoss(learn_kernel=True, learn_nugget=True, random_state=0)
    assert {name for name, _ in criterion.named_parameters()} == {"kernel.theta", "log_nugget"}
    before = [p.detach().clone() for p in criterion.parameters()]
    optimizer = torch.optim.Adam(criterion.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        criterion(features(12, 4), LABELS).backward()
        optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, criterion.parameters(), strict=True))
    assert list(RhoLoss().parameters()) == []


def test_a_module_as_kernel():
    module = KernelModule(kernels.Cauchy())
    assert RhoLoss(kernel=module).kernel is module

    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(4, 3)

        def forward(self, x):
            return self.inner(x) @ self.inner(x).T

    criterion = RhoLoss(kernel=Linear(), random_state=0)
    criterion(features(12, 4), LABELS).backward()
    assert criterion.kernel.inner.weight.grad is not None


def test_state_is_saved_and_resumed():
    x = features(12, 4)
    criterion = RhoLoss(learn_kernel=True, random_state=0)
    criterion(x, LABELS)
    file = io.BytesIO()
    torch.save(criterion.state_dict(), file)
    file.seek(0)
    expected = criterion(x, LABELS)
    other = RhoLoss(learn_kernel=True, random_state=7)
    other.load_state_dict(torch.load(file, weights_only=True))
    torch.testing.assert_close(other(x, LABELS), expected)


def test_copies_draw_the_same():
    x, criterion = features(12, 4), RhoLoss(random_state=0)
    other = copy.deepcopy(criterion)
    assert criterion(x, LABELS) == other(x, LABELS)


@pytest.mark.parametrize("name", ["rho", "e2", "kfold"])
def test_autocast_does_not_reach_the_algebra(name):
    x = features(12, 4)
    plain = KernelLoss(name, random_state=0)(x, LABELS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = KernelLoss(name, random_state=0)(x, LABELS)
    assert inside == plain
    half = features(12, 4).detach().bfloat16().requires_grad_()
    value = KernelLoss(name, random_state=0)(half, LABELS)
    assert value.dtype == torch.float32
    value.backward()
    assert half.grad.dtype == torch.bfloat16


def test_dtypes_of_the_module_are_harmless():
    criterion = RhoLoss(learn_kernel=True, random_state=0).half()
    assert bool(criterion(features(12, 4), LABELS).isfinite())


def test_refusals():
    x = features(12, 4)
    cases = [
        (ValueError, "loss", lambda: KernelLoss("mse")),
        (ValueError, "scale", lambda: RhoLoss(scale="mean")),
        (ValueError, "nugget", lambda: RhoLoss(nugget=0.0)),
        (TypeError, "kernel", lambda: RhoLoss(kernel="gaussian")),
        (ValueError, "learn_kernel", lambda: RhoLoss(kernel=torch.nn.ReLU(), learn_kernel=True)),
        (TypeError, "features", lambda: RhoLoss()(x.long(), LABELS)),
        (TypeError, "features", lambda: RhoLoss()(np.zeros((4, 4)), LABELS)),
        (ValueError, "drop_last", lambda: RhoLoss()(x[:1], LABELS[:1])),
        (ValueError, "drop_last", lambda: KernelLoss("kfold")(x[:4], LABELS[:4])),
        (TypeError, "targets", lambda: RhoLoss()(x)),
        (ValueError, "targets", lambda: RhoLoss()(x, LABELS[:5])),
        (ValueError, "labels", lambda: RhoLoss()(x, LABELS[:, None])),
        (ValueError, "n_classes", lambda: KernelLoss("nlml")(x, LABELS)),
        (ValueError, "learning rate", lambda: RhoLoss()(x * torch.nan, LABELS)),
    ]
    for kind, text, call in cases:
        with pytest.raises(kind, match=text):
            call()


def test_text():
    assert "loss='rho', scale='median', nugget=0.01" in repr(RhoLoss())
