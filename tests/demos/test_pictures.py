from __future__ import annotations

import numpy as np
import pytest

from kflow.datasets import Dataset
from kflow.demos.pictures import as_pictures, class_names, has_colours


def of(name, shape):
    X, y = np.zeros((3, int(np.prod(shape)))), np.arange(3)
    return Dataset(name, X, y, X, y, "classification", shape)


@pytest.mark.parametrize(("shape", "coloured"), [((4, 5), False), ((4, 5, 3), True)])
def test_shapes(shape, coloured):
    data = of("digits", shape)
    assert has_colours(data) is coloured
    assert as_pictures(data, data.X_test[:2]).shape == (2, *shape)


def test_names():
    labels = np.array([0, 9])
    assert class_names(of("fashion-mnist", (2, 2)), labels) == ["T-shirt", "ankle boot"]
    assert class_names(of("mnist", (2, 2)), labels) == ["0", "9"]
    assert class_names(of("cifar-10", (2, 2, 3)), np.array(["cat"])) == ["cat"]
