from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow._base.short_repr import ShortRepr, brief, facts_html
from kflow.analysis import adversarial_distance
from kflow.plotting import LossDisplay

X = np.random.default_rng(0).normal(size=(40, 2))
FLOW = kflow.KernelFlow(n_layers=3, batch_size=20, random_state=0).fit(X, X[:, 0])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros((3, 2)), "<float64 array of shape (3, 2)>"),
        (np.float32(0.123456), "0.1235"),
        ({0: 0.1, 800: 1.0}, "{0: 0.1, 800: 1}"),
        ({"loss": np.zeros(3)}, "<loss>"),
        (list(range(9)), "<list of 9>"),
        ((1, 2.5), "(1, 2.5)"),
        ("a", "'a'"),
        ("a" * 100, "<str>"),
    ],
)
def test_values_are_short(value, text):
    assert brief(value) == text


def test_public_attributes_are_shown():
    class Thing(ShortRepr):
        def __init__(self):
            self.a, self._b, self.c_ = 1, 2, 3

    assert repr(Thing()) == "Thing(a=1)"


def test_html_is_escaped_and_has_no_colours_of_its_own():
    html = facts_html("T", {"a<b": "x & y"})
    assert "a&lt;b" in html
    assert "x &amp; y" in html
    assert "#" not in html


@pytest.mark.parametrize(
    ("thing", "start"),
    [
        (FLOW, "KernelFlow(n_layers=3, batch_size=20, random_state=0, n_layers_=3, n_points=40"),
        (FLOW.state_, "FlowState(kernel=Gaussian"),
        (FLOW.linearize(X), "Linearization(points=<"),
        (
            kflow.Interpolant(X, X[:, 0], kernel=kflow.kernels.Gaussian(2.0), nugget=0.1),
            "Interpolant(kernel=Gaussian(length_scale=2), nugget=0.1, n_points=40, n_features=2",
        ),
        (
            kflow.learn_kernel(kflow.kernels.Gaussian(1.0), X, X[:, 0], n_steps=2),
            "LearnedKernel(kernel=Gaussian(",
        ),
        (kflow.datasets.load_dataset("digits"), "Dataset(name='digits', X_train=<float32"),
        (LossDisplay([0, 1], [0.5, 0.4]), "LossDisplay(layers=<"),
    ],
)
def test_objects_are_short(thing, start):
    text = repr(thing)
    assert text.startswith(start)
    assert len(text) < 600
    assert "\n" not in text
    assert type(thing).__name__ in thing._repr_html_()


def test_an_analysis_shows_its_summary():
    classifier = kflow.KernelFlowClassifier(
        kernel=kflow.kernels.Gaussian(1.0), n_layers=1, batch_size=20, nugget=0.1, metric=None
    ).fit(X, X[:, 0] > 0)
    text = repr(adversarial_distance(classifier, X, max_points=5))
    assert text.startswith("AdversarialDistances(n_points=5, ")
    assert len(text) < 300
