from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from kflow import (
    DivergenceError,
    SingularKernelError,
)
from kflow.estimators.earlier_fit import restored_on_failure


def assert_same(first, second, X):
    np.testing.assert_array_equal(first.predict(X), second.predict(X))
    np.testing.assert_array_equal(first.transform(X), second.transform(X))
    np.testing.assert_array_equal(first.interpolant_.coefficients, second.interpolant_.coefficients)


class Fitted:
    def __init__(self):
        self.flow_ = "old"
        self.shape_ = (3, 4)


def fail(model, error, unless_new=None, **attributes):
    """Set attributes of a fitted model in a fit that then fails."""
    with restored_on_failure(model, unless_new=unless_new):
        vars(model).update(attributes)
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_attributes_come_back(error):
    model = Fitted()
    with pytest.raises(error):
        fail(model, error, flow_="new", scale_=1)
    assert vars(model) == {"flow_": "old", "shape_": (3, 4)}


def test_a_new_fit_is_kept():
    model = Fitted()
    with pytest.raises(ValueError, match="early"):
        fail(model, ValueError("early"), "flow_", shape_=None)
    assert vars(model) == {"flow_": "old", "shape_": (3, 4)}
    with pytest.raises(ValueError, match="late"):
        fail(model, ValueError("late"), "flow_", flow_="new", shape_=None)
    assert vars(model) == {"flow_": "new", "shape_": None}


def fail_at(layer, error):
    def callback(flow):
        if flow.n_layers_ == layer:
            raise error

    return callback


def test_divergence_leaves_the_last_good_layer(make, X, y):
    wild = {"step": "fixed", "step_size": lambda layer: 1e-3 if layer < 3 else 1e30}
    model = make(**wild)
    with pytest.raises(DivergenceError, match="layer 3"):
        model.fit(X, y)
    assert model.flow_.n_layers_ == 3
    good = make(step="fixed", step_size=1e-3, n_layers=3).fit(X, y)
    assert_same(model, good, X)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("callback")], ids=repr)
def test_an_interrupted_fit_is_usable(make, X, y, error):
    model = make(callbacks=[fail_at(2, error)])
    with pytest.raises(type(error)):
        model.fit(X, y)
    assert_same(model, make(n_layers=2).fit(X, y), X)


def other_data(X, y):
    """As many classes or targets and features as the usual data has not."""
    if y.dtype.kind == "U":
        return X[:, :3], np.where(X[:, 0] > 0, "new", "other")
    return X[:, :3], X[:, :2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "error"),
    [
        ({"rank": 4}, ValueError),
        ({"scaling": "minmax"}, ValueError),
        ({"nugget": -1.0}, ValueError),
        ({"kernel": "gaussian"}, TypeError),
        ({"n_interpolation": 81}, ValueError),
        ({"follow": {"test": np.ones((2, 4))}}, ValueError),
        ({"follow": {"": np.ones((2, 3))}}, ValueError),
        ({"random_state": "seed"}, ValueError),
    ],
    ids=str,
)
def test_a_failed_refit_leaves_the_earlier_fit_whole(make, X, y, option, error):
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = make().fit(frame, y)
    before = pickle.loads(pickle.dumps(model))
    options = dict(option)
    follow = options.pop("follow", None)
    model.set_params(**options)
    with pytest.raises(error):
        model.fit(*other_data(X, y), follow=follow)
    assert model.n_features_in_ == 4
    assert model.feature_names_in_.tolist() == list("abcd")
    assert_same(model, before, frame)
    assert {name for name in vars(model) if name.endswith("_")} == {
        name for name in vars(before) if name.endswith("_")
    }


def test_a_failed_first_fit_leaves_nothing(make, X, y):
    model = make(nugget=-1.0)
    with pytest.raises(ValueError, match="nugget"):
        model.fit(X, y)
    assert [name for name in vars(model) if name.endswith("_") or name.startswith("_")] == []
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_a_refit_that_fails_later_replaces_all(make, X, y):
    model = make().fit(X, y)
    model.set_params(callbacks=[fail_at(2, RuntimeError("callback"))])
    data = other_data(X, y)
    with pytest.raises(RuntimeError, match="callback"):
        model.fit(*data)
    assert_same(model, make(n_layers=2).fit(*data), data[0])
    assert model.n_features_in_ == 3
    assert np.isfinite(model.score(*data))


def twice(X, y):
    """Rows that come twice: singular without a nugget."""
    return np.concatenate([X, X]), np.concatenate([y, y])


def test_a_singular_interpolant(make, X, y):
    model = make().fit(X, y)
    model.set_params(interpolation_nugget=0.0)
    with pytest.raises(SingularKernelError, match="interpolation points"):
        model.fit(*twice(X, y))
    # The flow is what took the time.
    assert model.flow_.n_layers_ == 5
    assert len(model.flow_.points_) == 160
    with pytest.raises(NotFittedError):
        model.predict(X)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DivergenceError("callback")], ids=repr)
def test_a_singular_interpolant_does_not_hide_the_flows_error(make, X, y, error):
    model = make(interpolation_nugget=0.0, callbacks=[fail_at(2, error)])
    with pytest.raises(type(error)) as caught:
        model.fit(*twice(X, y))
    assert caught.value is error
    assert model.flow_.n_layers_ == 2
    with pytest.raises(NotFittedError):
        model.predict(X)
