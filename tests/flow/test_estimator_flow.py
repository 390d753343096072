from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import kflow
from kflow.flow.estimator_flow import as_layers, estimator_flow
from kflow.layers.replay import layer_count
from kflow.presets import FIXED


@pytest.fixture
def X(rng):
    return rng.normal(size=(40, 3)) * [1, 2, 3] + 5


@pytest.fixture
def y(X):
    return (X[:, 0] > 5).astype(int)


def fitted_flow(X, y, **settings):
    return kflow.KernelFlow(n_layers=6, batch_size=20, random_state=0, **settings).fit(X, y)


def test_a_flow_is_its_own(X, y):
    flow = fitted_flow(X, y, nugget={0: 0.5, 3: 0.25})
    source = estimator_flow(flow)
    assert source.flow is flow
    assert source.nugget == 0.25
    np.testing.assert_array_equal(source.scaled(X), X)


def test_a_flow_without_layers_has_the_nugget_of_the_first(X, y):
    flow = kflow.KernelFlow(n_layers=0, batch_size=20, nugget={0: 0.5, 3: 0.25}).fit(X, y)
    assert estimator_flow(flow).nugget == 0.5


@pytest.mark.parametrize("scaling", ["standard", "unit", None])
def test_a_classifier_is_its_flow_of_scaled_points(scaling, X, y):
    classifier = kflow.KernelFlowClassifier(
        **{**FIXED, "n_layers": 5, "scaling": scaling, "random_state": 0}
    ).fit(X, y)
    source = estimator_flow(classifier)
    assert source.flow is classifier.flow_
    assert source.nugget == classifier.interpolation_nugget
    moved = source.flow.transform(source.scaled(X))
    np.testing.assert_allclose(moved, classifier.transform(X), rtol=1e-5, atol=1e-5)


def test_columns_of_a_table_have_names(X, y):
    table = pd.DataFrame(X, columns=list("abc"))
    source = estimator_flow(
        kflow.KernelFlowClassifier(**{**FIXED, "n_layers": 2, "random_state": 0}).fit(table, y)
    )
    np.testing.assert_array_equal(source.scaled(table), source.scaled(X))
    with pytest.raises(ValueError, match="feature names"):
        source.scaled(table[["b", "a", "c"]])


def test_points_are_checked_by_name(X, y):
    source = estimator_flow(fitted_flow(X, y))
    with pytest.raises(ValueError, match="X_test must have 3 columns"):
        source.scaled(X[:, :2], "X_test")


def test_what_was_not_fitted_is_refused():
    with pytest.raises(ValueError, match="call fit first"):
        estimator_flow(kflow.KernelFlow(n_layers=1))
    with pytest.raises(NotFittedError, match="call fit first"):
        estimator_flow(kflow.KernelFlowClassifier())


def test_other_estimators_are_refused(X, y):
    with pytest.raises(TypeError, match="got StandardScaler"):
        estimator_flow(StandardScaler())
    pipeline = make_pipeline(
        StandardScaler(), kflow.KernelFlowClassifier(**{**FIXED, "n_layers": 1})
    ).fit(X, y)
    with pytest.raises(TypeError, match="pass its last step"):
        estimator_flow(pipeline)


def test_layers(X, y):
    flow = fitted_flow(X, y)
    assert layer_count(None, flow.n_layers_) == 6
    assert as_layers(None, flow, 3) == (0, 3, 6)
    assert as_layers(None, flow, 100) == tuple(range(7))
    assert as_layers(np.array([0, 6]), flow, 3) == (0, 6)
    with pytest.raises(ValueError, match="n_layers must be at most 6"):
        layer_count(7, flow.n_layers_)
    for bad, message in (([], "increasing"), ([3, 3], "increasing"), ([3, 1], "must not decrease")):
        with pytest.raises(ValueError, match=message):
            as_layers(bad, flow, 3)
    for bad in (3, [0.5]):
        with pytest.raises(TypeError, match="layers must be a sequence of whole numbers"):
            as_layers(bad, flow, 3)
