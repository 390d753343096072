from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

import kflow
from kflow.kernels import Gaussian, Linear, Matern52, OnColumns, from_dict


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_the_kernel_of_the_columns(rng, dtype):
    X, Z = rng.normal(size=(9, 4)).astype(dtype), rng.normal(size=(5, 4)).astype(dtype)
    kernel = Matern52([1.0, 2.0])
    chosen = OnColumns(kernel, [3, 1])
    assert_array_equal(chosen(X, Z), kernel(X[:, [3, 1]], Z[:, [3, 1]]))
    assert_array_equal(chosen.diag(X), kernel.diag(X[:, [3, 1]]))
    assert chosen(X, Z).dtype == dtype


def test_other_columns_have_no_gradient(rng):
    X, G = rng.normal(size=(9, 4)), np.ones((9, 9))
    _, gradient = OnColumns(Gaussian(1.3), [2]).contract(X, G, points=True)
    assert_array_equal(gradient[:, [0, 1, 3]], 0.0)
    assert gradient[:, 2].any()


def test_columns_within_columns_count_these(rng):
    X = rng.normal(size=(9, 4))
    nested = OnColumns(OnColumns(Gaussian(1.3), [1]), [0, 3])
    assert_allclose(nested(X), Gaussian(1.3)(X[:, [3]]), rtol=1e-12)


def test_parameters_are_those_of_the_kernel():
    kernel = OnColumns(2.0 * Gaussian([1.0, 3.0]), [0, 2])
    assert kernel.parameter_names == [
        "kernel__amplitude",
        "kernel__kernel__length_scale[0]",
        "kernel__kernel__length_scale[1]",
    ]
    changed = kernel.clone_with_theta(np.zeros(3))
    assert changed == OnColumns(1.0 * Gaussian([1.0, 1.0]), [0, 2])
    assert clone(kernel) is kernel
    assert kernel.with_params(columns=[1, 2]).columns == (1, 2)


def test_files_hold_the_columns(tmp_path, rng):
    X, y = rng.normal(size=(40, 3)), rng.normal(size=40)
    kernel = OnColumns(Gaussian(), [0]) + OnColumns(Linear(), np.array([2, 1]))
    assert from_dict(json.loads(json.dumps(kernel.to_dict()))) == kernel
    model = kflow.GPRegressor(kernel, learn="e2", random_state=0).fit(X, y)
    model.save(tmp_path / "model.kflow")
    loaded = kflow.load(tmp_path / "model.kflow")
    assert loaded.kernel_ == model.kernel_
    assert_array_equal(loaded.predict(X), model.predict(X))


def test_what_cannot_be_columns_is_refused():
    for columns in ([], [0, 0], [-1]):
        with pytest.raises(ValueError, match="columns"):
            OnColumns(Gaussian(), columns)
    for columns in ("01", 1, [0.5], [True]):
        with pytest.raises(TypeError, match="columns"):
            OnColumns(Gaussian(), columns)
    with pytest.raises(TypeError, match=r"one of kflow\.kernels"):
        OnColumns("gaussian", [0])


def test_points_without_the_columns_are_refused(rng):
    with pytest.raises(ValueError, match="reads column 3, but X has 3 columns"):
        OnColumns(Gaussian(), [3])(rng.normal(size=(4, 3)))
    with pytest.raises(ValueError, match="3 entries in length_scale"):
        OnColumns(Gaussian([1.0, 1.0, 1.0]), [0, 1])(rng.normal(size=(4, 3)))


def test_damaged_descriptions_are_refused():
    described = OnColumns(Gaussian(), [0]).to_dict()
    for change in ({"columns": "x"}, {"columns": [0.5]}, {"of": 1}, {"more": 1}):
        with pytest.raises((ValueError, TypeError)):
            from_dict({**described, **change})


def test_no_flow_takes_it(rng):
    with pytest.raises(TypeError, match="radial"):
        kflow.KernelFlow(OnColumns(Gaussian(), [0]), n_layers=1).fit(
            rng.normal(size=(20, 2)), np.arange(20) % 2
        )
