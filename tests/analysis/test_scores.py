from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import kflow
from kflow.analysis import linearize, unflowed
from kflow.features import Augmentation, ImageEncoder
from kflow.presets import FIXED

FLOW = {**FIXED, "n_layers": 12, "nugget": 0.3, "step_size": 0.05, "interpolation_nugget": 0.1}


def flow_of(**settings):
    return kflow.KernelFlowClassifier(**{**FLOW, **settings}, random_state=0)


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return data.images[:400], data.target[:400]


@pytest.fixture(scope="module")
def pipeline(digits):
    flow = flow_of(scaling=None, dtype="float64")
    encoder = ImageEncoder(J=1, n_components=20)
    return kflow.make_image_pipeline(flow, encoder=encoder).fit(*digits)


def in_double(pipeline, X):
    """Return the scores with all steps in float64; the encoder rounds to float32."""
    encoder, classifier = pipeline.encoder, pipeline.estimator
    features = encoder.scattering_.transform(X.astype(np.float64))
    repeats = features.shape[1] // len(encoder.mean_)
    standardised = (features - encoder.mean_.repeat(repeats)) / encoder.scale_.repeat(repeats)
    unit = standardised / np.linalg.norm(standardised, axis=1, keepdims=True)
    return classifier.decision_function(unit @ encoder.components_)


def slope(scores, X, along, weights, h):
    """Return the derivative of weighted scores in a direction for each point, by differences."""
    ahead, behind = scores(X + h * along), scores(X - h * along)
    return (weights * (ahead - behind)).sum(axis=1) / (2.0 * h)


def test_from_scores_down_to_pixels(pipeline, digits, rng):
    X = digits[0][:25] + rng.random((25, 8, 8))  # no modulus is zero
    along, weights = rng.normal(size=(25, 8, 8)), rng.normal(size=(25, 10))
    near = linearize(pipeline, X)
    np.testing.assert_allclose(near.values, pipeline.decision_function(X), atol=1e-9)
    np.testing.assert_allclose(near.values, in_double(pipeline, X), atol=1e-4)
    expected = slope(lambda x: in_double(pipeline, x), X, along, weights, 1e-5)
    gradients = near.pull_back(weights)
    assert gradients.shape == (25, 64)
    got = (gradients * along.reshape(25, -1)).sum(axis=1)
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("scaling", [None, "standard", "unit"])
@pytest.mark.parametrize("metric", [None, kflow.GradientMetric()])
def test_through_every_scaling(scaling, metric, rng):
    X = rng.normal(size=(120, 4)) * [1.0, 2.0, 0.5, 4.0] + 3.0
    y = np.where(X[:, 0] > 3.0, "b", np.where(X[:, 3] > 3.0, "c", "a"))
    classifier = flow_of(scaling=scaling, metric=metric, dtype="float64").fit(X, y)
    near = linearize(classifier, X[:30])
    assert near.classes.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(near.values, classifier.decision_function(X[:30]), atol=1e-12)
    along, weights = rng.normal(size=(30, 4)), rng.normal(size=(30, 3))
    expected = slope(classifier.decision_function, X[:30], along, weights, 1e-5)
    got = (near.pull_back(weights) * along).sum(axis=1)
    np.testing.assert_allclose(got, expected, atol=1e-7 * np.abs(expected).max())
    plus, minus = np.zeros(30, np.intp), np.full(30, 2)
    difference = np.tile([1.0, 0.0, -1.0], (30, 1))
    np.testing.assert_array_equal(near.gradient(plus, minus), near.pull_back(difference))
    np.testing.assert_array_equal(near.pull_back([1, 0, -1]), near.pull_back(difference))


def test_images_of_zeros_have_no_gradient(pipeline):
    near = linearize(pipeline, np.zeros((2, 8, 8)))
    assert np.isfinite(near.pull_back(np.ones((2, 10)))).all()
    X = np.eye(4).repeat(5, axis=0)
    classifier = flow_of(scaling="unit").fit(X, np.arange(20) // 5)
    assert np.isfinite(linearize(classifier, np.zeros((1, 4))).pull_back(np.ones((1, 4)))).all()


def test_refusals(pipeline, digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"X must have shape \(n, 8, 8\) or \(n, 64\)"):
        linearize(pipeline, X[:, :7])
    with pytest.raises(ValueError, match="A must have 10 columns"):
        linearize(pipeline, X[:2]).pull_back(np.ones((2, 3)))
    with pytest.raises(
        TypeError, match="classifier must be a KernelFlowClassifier, got KernelFlow"
    ):
        linearize(pipeline.estimator.flow_, X)
    other = kflow.make_image_pipeline(LogisticRegression(), encoder=pipeline.encoder).fit(X, y)
    with pytest.raises(TypeError, match="the estimator of the pipeline must be a KernelFlowClass"):
        linearize(other, X)


def test_pipelines_with_copies(digits):
    X, y = digits
    model = kflow.make_image_pipeline(
        flow_of(scaling=None),
        encoder=ImageEncoder(J=1, n_components=20),
        augmentation=Augmentation(2, shift=1),
        n_views=2,
    ).fit(X[:150], y[:150])
    with pytest.raises(ValueError, match="averages over 2 views"):
        linearize(model, X[:3])
    model.set_params(n_views=1)
    np.testing.assert_allclose(linearize(model, X[:3]).values, model.decision_function(X[:3]))
    before = unflowed(model, X[:150], y[:150])
    assert before.estimator.flow_.n_layers_ == 0
    with pytest.raises(ValueError, match="fitted on other data"):
        unflowed(model, X[:100], y[:100])
