"""Arrays of other libraries in this process's memory; tests/engine/torch has those on a device."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

import kflow
from kflow.engine import HOST
from kflow.estimators.device_input import picked_labels, returned, validated_fit, validated_points
from kflow.estimators.validation import in_memory

X = np.random.default_rng(0).normal(size=(40, 3))
Y = (X[:, 0] > 0).astype(int)


class Foreign:
    """An array of another library, which NumPy can read."""

    device = "cpu"

    def __init__(self, array, kind=1):
        self.array, self.kind = array, kind

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.kind, 0

    def __array__(self, dtype=None, copy=None):
        return self.array


ESTIMATORS = [
    kflow.KernelFlowClassifier(n_layers=2, random_state=0),
    kflow.KernelFlowRegressor(n_layers=2, random_state=0),
    kflow.GPRegressor(random_state=0),
    kflow.GradientMetric(),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
def test_what_is_in_memory_is_read(estimator):
    expected = clone(estimator).fit(X, Y)
    found = clone(estimator).fit(Foreign(X), Foreign(Y))
    name = "predict" if hasattr(expected, "predict") else "transform"
    result = getattr(found, name)(Foreign(X))
    assert isinstance(result, np.ndarray)
    np.testing.assert_array_equal(result, getattr(expected, name)(X))


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
def test_what_is_elsewhere_is_named(estimator):
    with pytest.raises(TypeError, match=r"^X is on the device cpu"):
        clone(estimator).fit(Foreign(X, kind=2), Y)
    with pytest.raises(TypeError, match=r"^y is on the device cpu"):
        clone(estimator).fit(X, Foreign(Y, kind=2))


def test_points_and_targets_as_scikit_learn_validates_them():
    estimator = kflow.KernelFlowClassifier()
    points, labels = validated_fit(estimator, Foreign(X), Foreign(Y), HOST, fewest=4)
    np.testing.assert_array_equal(points, X)
    np.testing.assert_array_equal(labels, Y)
    assert estimator.n_features_in_ == 3
    assert validated_points(estimator, X.astype(np.float32), HOST).dtype == np.float32
    with pytest.raises(ValueError, match=r"minimum of 41"):
        validated_fit(estimator, X, Y, HOST, fewest=41)
    with pytest.raises(ValueError, match=r"features"):
        validated_points(estimator, X[:, :2], HOST)


def test_results_of_arrays_in_memory_are_numpys():
    assert returned(X, X) is X
    assert returned(X, Foreign(X)) is X
    classes = np.array(["a", "b"])
    np.testing.assert_array_equal(picked_labels(classes, np.array([1, 0])), ["b", "a"])


def test_in_memory():
    for value in (X, [[1.0]], None, "text"):
        assert in_memory(value, "X") is value
    assert in_memory(Foreign(X), "X") is X
    with pytest.raises(ValueError, match=r"^X has masked entries"):
        in_memory(np.ma.masked_less(X, 0.0), "X")
