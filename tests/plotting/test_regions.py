from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow.plotting import DecisionRegionDisplay
from kflow.presets import FIXED


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    return rng.normal(size=(60, 2)) * 10 + 50 * np.eye(3, 2)[y], np.array(["a", "b", "c"])[y]


@pytest.fixture(scope="module")
def classifier(data):
    return kflow.KernelFlowClassifier(
        **{**FIXED, "n_layers": 8, "batch_size": 30, "random_state": 0}
    ).fit(*data)


def grid(n=4):
    return np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 2, n))


def nodes(display):
    return np.column_stack([display.xx0.ravel(), display.xx1.ravel()])


def test_the_regions_are_where_a_classifier_predicts(classifier, data, ax):
    display = DecisionRegionDisplay.from_estimator(classifier, *data, grid_resolution=15, ax=ax)
    winners = display.classes[display.response.argmax(axis=2)].ravel()
    np.testing.assert_array_equal(winners, classifier.predict(nodes(display)))
    assert ax.get_title() == "n = 8"
    assert len(display.regions_) == 3
    assert len(display.scatters_) == 3
    np.testing.assert_array_equal(display.scatters_[1].get_offsets(), data[0][data[1] == "b"])
    low, high = data[0].min(axis=0), data[0].max(axis=0)
    assert (nodes(display).min(axis=0) < low).all()
    assert (nodes(display).max(axis=0) > high).all()


@pytest.mark.parametrize("n", [0, 5])
def test_the_regions_of_fewer_layers_are_those_of_the_interpolant(n, classifier, data, ax):
    X, y = data
    display = DecisionRegionDisplay.from_estimator(
        classifier, X, y, n_layers=n, grid_resolution=9, ax=ax
    )
    flow, scaling = classifier.flow_, classifier.scaling_
    interpolant = kflow.Interpolant(
        flow.transform(scaling(X), n_layers=n),
        kflow.one_hot(np.unique(y, return_inverse=True)[1]),
        kernel=flow.kernel_,
        nugget=classifier.interpolation_nugget,
    )
    expected = interpolant(flow.transform(scaling(nodes(display)), n_layers=n))
    np.testing.assert_allclose(display.response.reshape(-1, 3), expected, atol=1e-5)


def test_the_regions_of_a_flow(ax, rng):
    X = rng.normal(size=(30, 2))
    y = np.where(X[:, 0] > 0, 1.0, -1.0)
    flow = kflow.KernelFlow(n_layers=3, batch_size=20, nugget=0.1, random_state=0).fit(X, y)
    display = DecisionRegionDisplay.from_estimator(flow, X, y, grid_resolution=10, ax=ax)
    assert display.response.shape == (10, 10, 2)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["-1", "1"]


def test_a_class_that_wins_nowhere_has_no_region(ax):
    xx0, xx1 = grid()
    response = np.stack([xx0 - 0.5, 0.5 - xx0, np.full(xx0.shape, -9.0)], axis=2)
    display = DecisionRegionDisplay(xx0, xx1, response).plot(ax)
    assert len(display.regions_) == 2
    assert len(display.boundaries_) == 2
    assert display.scatters_ == []


def test_a_class_that_wins_everywhere_has_no_boundary(ax):
    xx0, xx1 = grid()
    response = np.stack([np.ones(xx0.shape), np.zeros(xx0.shape)], axis=2)
    display = DecisionRegionDisplay(xx0, xx1, response).plot(ax)
    assert len(display.regions_) == 1
    assert display.boundaries_ == []


def test_ties_everywhere(ax):
    xx0, xx1 = grid()
    DecisionRegionDisplay(xx0, xx1, np.zeros((4, 4, 2))).plot(ax)


def test_wrong_arguments(classifier, data, rng):
    xx0, xx1 = grid()
    response = np.zeros((4, 4, 2))
    with pytest.raises(ValueError, match=r"one shape \(r, s\)"):
        DecisionRegionDisplay(xx0, xx1[:2], response)
    with pytest.raises(ValueError, match=r"response must have shape \(4, 4, n_classes\)"):
        DecisionRegionDisplay(xx0, xx1, response[:, :, 0])
    with pytest.raises(ValueError, match="at least two classes"):
        DecisionRegionDisplay(xx0, xx1, response[:, :, :1])
    with pytest.raises(ValueError, match="labels without points"):
        DecisionRegionDisplay(xx0, xx1, response, labels=[0])
    with pytest.raises(ValueError, match="classes must name 2 classes"):
        DecisionRegionDisplay(xx0, xx1, response, classes=["a"])
    with pytest.raises(ValueError, match="labels has 'z', which is none of the classes"):
        DecisionRegionDisplay(xx0, xx1, response, points=[[0, 0]], labels=["z"], classes=["a", "b"])
    X = rng.normal(size=(20, 3))
    flow = kflow.KernelFlow(n_layers=1, batch_size=10).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="X must have two columns to be drawn, got 3"):
        DecisionRegionDisplay.from_estimator(flow, X, X[:, 0] > 0)
    with pytest.raises(ValueError, match="n_layers must be at most 8"):
        DecisionRegionDisplay.from_estimator(classifier, *data, n_layers=9)
