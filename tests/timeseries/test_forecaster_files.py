from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

import kflow
from kflow.errors import ModelFileError
from kflow.kernels import Gaussian, Matern52
from kflow.timeseries import Forecaster, lorenz63


@pytest.fixture(scope="module")
def data():
    times = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.1, 120))
    return lorenz63(times=times), times, np.sin(times)


def fitted(data, kind):
    series, times, controls = data
    if kind == "numbers":
        return Forecaster(delay=3, nugget=1e-4, learn=None).fit(series[:, 0])
    if kind == "irregular":
        forecaster = Forecaster(
            Matern52(2.0), delay=2, increments=True, nugget=1e-4, n_interpolation=80, random_state=1
        )
        return forecaster.fit(series, times, controls=controls)
    return Forecaster(
        Gaussian(3.0), nugget=1e-4, scaling=None, learn=None, learn_options={"n_steps": 3}
    ).fit([series[:60], series[60:]])


@pytest.mark.parametrize("kind", ["numbers", "irregular", "several"])
def test_a_file_forecasts_as_the_model_did(data, tmp_path, kind):
    series, times, controls = data
    forecaster = fitted(data, kind)
    forecaster.spread_factor_ = 1.5
    forecaster.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert isinstance(loaded, Forecaster)
    assert loaded.spread_factor_ == 1.5
    assert loaded.kernel_ == forecaster.kernel_
    assert loaded.nugget_ == forecaster.nugget_
    for name in ("delay", "nugget", "increments", "scaling", "n_interpolation"):
        assert getattr(loaded, name) == getattr(forecaster, name)
    options = {}
    if kind == "irregular":
        options = {"times": times[-1] + np.arange(1.0, 6.0) / 20.0, "controls": controls[:5]}
    np.testing.assert_array_equal(loaded.predict(5, **options), forecaster.predict(5, **options))
    np.testing.assert_array_equal(loaded.sample(5, **options), forecaster.sample(5, **options))
    known = [series[:, 0] if kind == "numbers" else series]
    if kind == "irregular":
        options, known = {"controls": controls}, [series, times]
    np.testing.assert_array_equal(
        loaded.one_step(*known, **options), forecaster.one_step(*known, **options)
    )
    loaded.save(tmp_path / "again")
    assert members_of(tmp_path / "again") == members_of(tmp_path / "model")


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def as_npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rows", np.zeros((5, 5))),
        ("rows", np.full((78, 10), np.nan)),
        ("coefficients", np.zeros((3, 3))),
        ("region", np.zeros((3, 3))),
        ("scale", np.zeros((2, 3))),
        ("target_scale", np.zeros((2, 2))),
        ("control_scale", np.ones((2, 7))),
        ("end", np.zeros((9, 3))),
        ("end", np.zeros((2, 4))),
        ("end_times", np.array([2.0, 1.0])),
        ("end_times", np.array([1.0])),
    ],
)
def test_damaged_arrays_are_refused(data, tmp_path, name, value):
    path = tmp_path / "model"
    fitted(data, "irregular").save(path)
    members = members_of(path)
    members[f"{name}.npy"] = as_npy(value)
    rewrite(path, members)
    with pytest.raises(ModelFileError):
        kflow.load(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("delay", 0),
        ("delay", 3),
        ("increments", "yes"),
        ("gap_unit", -1.0),
        ("gap_unit", None),
        ("n_controls", 5),
        ("spread_factor", 0.0),
        ("is_flat", True),
        ("kernel", {}),
        ("nugget", -1.0),
        ("parameters", {"no such": 1}),
        ("parameters", {"stay_near": "yes"}),
    ],
)
def test_damaged_settings_are_refused(data, tmp_path, name, value):
    path = tmp_path / "model"
    fitted(data, "irregular").save(path)
    members = members_of(path)
    header = json.loads(members.pop("model.json"))
    header["settings"][name] = value
    rewrite(path, {**members, "model.json": json.dumps(header)})
    with pytest.raises(ModelFileError):
        kflow.load(path)


def test_what_is_not_fitted_is_not_saved(tmp_path):
    with pytest.raises(NotFittedError):
        Forecaster().save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_loss_that_is_a_function(data, tmp_path):
    forecaster = Forecaster(Gaussian(3.0), nugget=1e-3, learn=None).fit(data[0])
    forecaster.set_params(learn=np.linalg.norm)
    forecaster.save(tmp_path / "model")
    assert kflow.load(tmp_path / "model").learn == "e2"


def test_staying_near_is_kept(data, tmp_path):
    forecaster = Forecaster(delay=3, nugget=1e-2, learn=None, stay_near=True).fit(data[0][:, 0])
    forecaster.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert loaded.stay_near is True
    np.testing.assert_array_equal(loaded.predict(60), forecaster.predict(60))
