from __future__ import annotations

import numpy as np
import pytest

from kflow.errors import ModelFileError
from kflow.estimators.target_scaling import TargetScaling, read_outputs
from kflow.storage.model_file import ModelReader, write_model


@pytest.fixture
def Y(rng):
    return rng.normal(size=(50, 3)) * [1, 10, 0] + [5, 0, 2]


def test_columns_have_mean_zero_and_variance_one(Y):
    scaling = TargetScaling.fit(Y)
    scaled = scaling(Y)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(scaled.std(axis=0), [1, 1, 0])
    np.testing.assert_allclose(scaling.undone(scaled), Y, atol=1e-13)
    assert not scaling.one_dimensional


def test_one_dimension_stays_one(Y):
    scaling = TargetScaling.fit(Y[:, 0])
    assert scaling(Y[:, 0]).shape == (50, 1)
    np.testing.assert_allclose(scaling.undone(scaling(Y[:, 0])), Y[:, 0])
    assert scaling.in_shape_of_y(np.ones((4, 1))).shape == (4,)
    assert TargetScaling.fit(Y[:, :1]).undone(np.ones((4, 1))).shape == (4, 1)


def test_targets_too_large_to_be_scaled():
    with pytest.raises(ValueError, match="y has values too large"):
        TargetScaling.fit(np.array([1e200, -1e200, 0.0]))


def test_one_dimension_is_one_output():
    with pytest.raises(ValueError, match="several outputs"):
        TargetScaling(np.zeros(2), np.ones(2), one_dimensional=True)


def test_outputs_of_a_file(tmp_path):
    arrays = {
        "right": np.array([1.0, 2.0]),
        "short": np.ones(1),
        "column": np.ones((2, 1)),
        "text": np.array(["a", "b"]),
        "infinite": np.array([1.0, np.inf]),
    }
    write_model(tmp_path / "model", "Some", {}, arrays.items())
    with ModelReader(tmp_path / "model") as reader:
        np.testing.assert_array_equal(read_outputs(reader, "right", 2), [1.0, 2.0])
        for name in ("short", "column", "text", "infinite", "missing"):
            with pytest.raises(ModelFileError, match=name):
                read_outputs(reader, name, 2)
