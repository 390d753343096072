from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from sklearn.base import clone

import kflow
from kflow import (
    kernels,
)
from kflow.estimators.parameters import parameters_from_json, parameters_to_json


def assert_same(first, second, X):
    np.testing.assert_array_equal(first.predict(X), second.predict(X))
    np.testing.assert_array_equal(first.transform(X), second.transform(X))
    np.testing.assert_array_equal(first.interpolant_.coefficients, second.interpolant_.coefficients)


def test_parameters(make):
    model = make(kernel=kernels.Matern32(2.0), nugget={0: 1.0, 5: 0.1})
    assert model.get_params()["kernel"] == kernels.Matern32(2.0)
    copy = clone(model)
    assert copy is not model
    assert copy.get_params() == model.get_params()
    assert model.set_params(n_layers=7, rank=2) is model
    assert (model.n_layers, model.rank, copy.n_layers) == (7, 2, 5)
    with pytest.raises(ValueError, match="Invalid parameter 'layer'"):
        model.set_params(layer=3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"nugget": np.int64(3), "step_size": np.float32(0.01)},
        {"nugget": np.float32(3), "step": np.str_("rms")},
        {"nugget": {0: np.float32(3)}, "n_layers": np.int32(5)},
        {"nugget": {np.int64(0): 3}, "interpolation_nugget": np.float32(1)},
        {"rank": np.int64(3), "random_state": np.int64(0), "batch_size": np.int16(20)},
    ],
    ids=str,
)
def test_numpy_numbers_as_parameters(make, X, y, tmp_path, options):
    model = make(**options).fit(X, y)
    model.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert_same(loaded, model, X)
    assert_same(loaded.fit(X, y), model, X)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.dtype("float64")], ids=str)
def test_dtypes_are_saved_by_name(make, X, y, tmp_path, dtype):
    model = make(dtype=dtype).fit(X, y)
    model.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert loaded.dtype == np.dtype(dtype).name
    assert_same(loaded.fit(X, y), model, X)


def test_what_belongs_to_the_machine_is_not_saved(make, X, y, tmp_path):
    model = make(n_threads=3, callbacks=[lambda _: None], checkpoint=tmp_path / "layers").fit(X, y)
    model.save(tmp_path / "model")
    with zipfile.ZipFile(tmp_path / "model") as archive:
        stored = json.loads(archive.read("model.json"))["settings"]["parameters"]
    assert not {"n_threads", "callbacks", "layers", "checkpoint", "every", "progress"} & set(stored)
    loaded = kflow.load(tmp_path / "model")
    assert (loaded.n_threads, loaded.flow_.n_threads, loaded.layers) == (None, None, "memory")
    assert (tuple(loaded.callbacks), loaded.progress) == ((), False)


def test_functions_are_not_saved(make, X, y, tmp_path):
    model = make(nugget=lambda _: 3.0).fit(X, y)
    model.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert_same(loaded, model, X)
    with pytest.raises(TypeError, match="nugget must be a number"):
        loaded.fit(X, y)
    assert_same(loaded, model, X)


@pytest.mark.parametrize(
    "kind", [kflow.KernelFlowClassifier, kflow.KernelFlowRegressor, kflow.GPRegressor]
)
def test_parameters_are_kept_as_they_are(kind):
    model = kind()
    assert vars(model) == model.get_params(deep=False)
    assert vars(kind(**vars(model))) == vars(model)


def test_as_json_and_back():
    model = kflow.GPRegressor(
        2.0 * kernels.Gaussian(1.0), nugget_bounds=[1e-6, np.float64(2)], callbacks=[print]
    )
    stored = json.loads(json.dumps(parameters_to_json(model, without={"learn"})))
    assert not {"callbacks", "n_threads", "progress", "learn"} & stored.keys()
    again = kflow.GPRegressor(**parameters_from_json(stored))
    assert again.kernel == model.kernel
    assert again.nugget_bounds == (1e-6, 2.0)
    assert (again.learn, again.nugget, again.callbacks) == ("auto", 1e-2, ())


@pytest.mark.parametrize("kernel", ["gaussian", {"kernel": "sigmoid"}])
def test_a_kernel_that_is_none(kernel):
    with pytest.raises((TypeError, ValueError)):
        parameters_from_json({"kernel": kernel})


@pytest.mark.parametrize("kernel", ["gaussian"])
@pytest.mark.parametrize("kind", ["classifier", "process"])
def test_what_is_set_after_fit_makes_no_file_that_cannot_be_read(kind, kernel, rng, tmp_path):
    X = rng.normal(size=(20, 2))
    model = kflow.GPRegressor(learn=None)
    if kind == "classifier":
        model = kflow.KernelFlowClassifier(n_layers=1, metric=None)
    model.fit(X, X[:, 0] > 0)
    others = {"nugget": "large", "step": 3, "batch_size": -1, "scaling": [1], "max_memory": "all"}
    for name, value in others.items():
        if name in model.get_params():
            setattr(model, name, value)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(kflow.load(tmp_path / "model").predict(X), model.predict(X))
    model.kernel = kernel
    with pytest.raises(ValueError, match=r"^kernel=.*cannot be saved"):
        model.save(tmp_path / "other")
    assert not (tmp_path / "other").exists()
