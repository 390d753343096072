from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from kflow.torch import KernelFlowRegularizer, KernelLoss, RhoLoss

LABELS = torch.arange(16) % 3


@pytest.fixture
def model():
    torch.manual_seed(0)
    convolution = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    return nn.Sequential(convolution, nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 3))


@pytest.fixture
def images():
    return torch.randn(16, 1, 6, 6, generator=torch.Generator().manual_seed(2))


def test_it_is_the_weighted_sum_of_the_losses(model, images):
    regularizer = KernelFlowRegularizer(
        model, ["0.1", model[3]], weight=[0.5, 2.0], loss=RhoLoss(random_state=0)
    )
    assert regularizer.layers == ("0.1", "3")
    output = model(images)
    value = regularizer(LABELS)
    convolution = model[0](images)
    first = RhoLoss(random_state=0)(convolution, LABELS)
    second = RhoLoss(random_state=0)(model[:4](images), LABELS)
    torch.testing.assert_close(value, 0.5 * first + 2.0 * second)
    torch.testing.assert_close(regularizer.values["3"], second.detach())
    (nn.functional.cross_entropy(output, LABELS) + value).backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())


def test_only_layers_below_get_a_gradient(model, images):
    regularizer = KernelFlowRegularizer(model, ["0"])
    model(images)
    regularizer(LABELS).backward()
    assert model[0][0].weight.grad is not None
    assert model[4].weight.grad is None


def test_the_model_stays_as_it_was(model, images):
    before = model(images)
    names = set(model.state_dict())
    regularizer = KernelFlowRegularizer(model, ["3"])
    assert torch.equal(model(images), before)
    assert set(model.state_dict()) == names
    assert list(regularizer.parameters()) == []
    regularizer.detach()
    assert not model[3]._forward_hooks
    with pytest.raises(RuntimeError, match="attach"):
        regularizer(LABELS)


def test_outputs_count_once_and_in_training_only(model, images):
    regularizer = KernelFlowRegularizer(model, ["3"])
    with pytest.raises(RuntimeError, match="before the regularizer"):
        regularizer(LABELS)
    model(images)
    regularizer(LABELS)
    with pytest.raises(RuntimeError, match="before the regularizer"):
        regularizer(LABELS)
    model.eval()(images)
    with pytest.raises(RuntimeError, match="training mode"):
        regularizer(LABELS)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_the_model_do_not_disturb(model, images, duplicate):
    regularizer = KernelFlowRegularizer(model, ["3"], loss=RhoLoss(random_state=0))
    other = duplicate(model)
    expected = RhoLoss(random_state=0)(other[:4](images), LABELS)
    model(images)
    other(torch.zeros_like(images))
    torch.testing.assert_close(regularizer(LABELS), expected)
    other(images)
    with pytest.raises(RuntimeError):
        regularizer(LABELS)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_the_regularizer_can_be_attached(model, images, duplicate):
    regularizer = KernelFlowRegularizer(model, ["3"], loss=RhoLoss(random_state=0))
    other_model, other = copy.deepcopy(model), duplicate(regularizer)
    model(images)
    with pytest.raises(RuntimeError, match="attach"):
        other(LABELS)
    other.attach(other_model)
    other_model(images)
    torch.testing.assert_close(other(LABELS), regularizer(LABELS))
    assert len(model[3]._forward_hooks) == 1


def test_state_and_learned_kernels(model):
    loss = KernelLoss("e2", learn_kernel=True, random_state=0)
    regularizer = KernelFlowRegularizer(model, ["0", "3"], loss=loss)
    assert len(list(regularizer.parameters())) == 2
    other = KernelFlowRegularizer(copy.deepcopy(model), ["0", "3"], loss=KernelLoss("e2"))
    state = regularizer.state_dict()
    other.load_state_dict(state)
    assert state.keys() == other.state_dict().keys()


def test_training_lowers_it(model, images):
    regularizer = KernelFlowRegularizer(model, ["0", "3"], loss=RhoLoss(random_state=0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        model(images)
        value = regularizer(LABELS)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert sum(values[-5:]) < sum(values[:5])


@pytest.mark.slow
# Dynamo looks at the gradients of everything that a graph hands to the next one.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiled_steps(model, images):
    regularizer = KernelFlowRegularizer(model, ["3"], loss=RhoLoss(random_state=0))
    expected = nn.functional.cross_entropy(model(images), LABELS) + regularizer(LABELS)
    regularizer = KernelFlowRegularizer(model, ["3"], loss=RhoLoss(random_state=0))

    def step(x, y):
        return nn.functional.cross_entropy(model(x), y) + regularizer(y)

    compiled = torch.compile(step, backend="aot_eager")
    value = compiled(images, LABELS)
    torch.testing.assert_close(value, expected)
    value.backward()
    assert bool(model[0][0].weight.grad.isfinite().all())
    compiled(images, LABELS).backward()


def test_autocast(model, images):
    regularizer = KernelFlowRegularizer(model, ["3"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nn.functional.cross_entropy(model(images), LABELS) + regularizer(LABELS)
    loss.backward()
    assert bool(model[0][0].weight.grad.isfinite().all())


def test_refusals(model, images):
    cases = [
        (TypeError, "model", lambda: KernelFlowRegularizer("model", ["3"])),
        (ValueError, "no layer", lambda: KernelFlowRegularizer(model, ["7"])),
        (ValueError, "no layer", lambda: KernelFlowRegularizer(model, [nn.ReLU()])),
        (TypeError, "list", lambda: KernelFlowRegularizer(model, "3")),
        (ValueError, "at least one", lambda: KernelFlowRegularizer(model, [])),
        (ValueError, "twice", lambda: KernelFlowRegularizer(model, ["3", model[3]])),
        (ValueError, "weight", lambda: KernelFlowRegularizer(model, ["3"], weight=-1.0)),
        (ValueError, "weight", lambda: KernelFlowRegularizer(model, ["3"], weight=[1.0, 2.0])),
        (TypeError, "loss", lambda: KernelFlowRegularizer(model, ["3"], loss=nn.MSELoss())),
    ]
    for kind, text, call in cases:
        with pytest.raises(kind, match=text):
            call()
    recurrent = nn.Sequential(nn.LSTM(6, 4))
    regularizer = KernelFlowRegularizer(recurrent, ["0"])
    recurrent(images[:, 0])
    with pytest.raises(TypeError, match="no tensor"):
        regularizer(LABELS)
    with pytest.raises(ValueError, match="no layer"):
        KernelFlowRegularizer(model, ["3"]).attach(nn.Linear(2, 2))
