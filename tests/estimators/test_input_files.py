from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow.data.scaling import Preprocessing
from kflow.errors import ModelFileError
from kflow.estimators.input_files import input_arrays, read_inputs
from kflow.storage.model_file import ModelReader, write_model


@pytest.fixture
def stored(rng, tmp_path):
    """Return a function that writes the inputs of an estimator, changed, and reads them back."""
    model = kflow.GPRegressor()
    model.scaling_ = Preprocessing.fit(rng.normal(size=(20, 2)), "standard")
    model.feature_names_in_ = np.array(["length", "width"], dtype=object)

    def read(n_features=2, **changes):
        arrays = {**dict(input_arrays(model)), **changes}
        kept = {name: array for name, array in arrays.items() if array is not None}
        write_model(tmp_path / "model", "Some", {}, kept.items())
        again = kflow.GPRegressor()
        with ModelReader(tmp_path / "model") as reader:
            read_inputs(reader, again, n_features)
        return model, again

    return read


def test_there_and_back(stored, rng):
    model, again = stored()
    X = rng.normal(size=(5, 2))
    np.testing.assert_array_equal(again.scaling_(X), model.scaling_(X))
    assert again.feature_names_in_.tolist() == ["length", "width"]
    assert again.feature_names_in_.dtype == object
    assert again.n_features_in_ == 2


def test_without_names(stored):
    assert not hasattr(stored(feature_names=None)[1], "feature_names_in_")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preprocessing_unit": None}, "preprocessing"),
        ({"preprocessing_mean": np.zeros(3)}, "preprocessing"),
        ({"preprocessing_scale": np.zeros(2)}, "preprocessing"),
        ({"feature_names": np.array(["one"])}, "feature names"),
        ({"feature_names": np.zeros(2)}, "feature names"),
        ({"n_features": 3}, "preprocessing"),
    ],
    ids=str,
)
def test_damage(stored, change, message):
    with pytest.raises(ModelFileError, match=message):
        stored(**change)
