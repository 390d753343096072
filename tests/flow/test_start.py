from __future__ import annotations

import json
import logging
import warnings

import numpy as np
import pytest

from kflow import KernelFlow, kernels
from kflow.engine import HOST
from kflow.engine.cpu.engine import CpuEngine
from kflow.errors import EngineWarning
from kflow.flow.start import default_kernel, start
from kflow.testing import MemoryPlace

X = np.random.default_rng(0).normal(size=(60, 3))
Y = np.sign(X[:, 0] * X[:, 1])


def settings(**options):
    options = {"n_layers": 6, "batch_size": 20, "nugget": 0.1, "random_state": 0, **options}
    return KernelFlow(kernels.Gaussian(2.0), **options)


def test_a_state_before_the_first_layer(dtype):
    state = start(settings(dtype=dtype), X, Y, {"test": X[:5]})
    assert (state.n_layers, state.n_points, state.n_features, state.points.rank) == (0, 60, 3, 3)
    positions = state.positions(1)
    np.testing.assert_array_equal(positions.training, X.astype(dtype))
    np.testing.assert_array_equal(positions.followed["test"], X[:5].astype(dtype))
    assert not np.may_share_memory(positions.training, X)
    assert not np.may_share_memory(state.targets, Y)


def test_a_scaling_comes_before_everything(dtype):
    # A rotation there and back errs by a part of the rows: no coordinate is much smaller than those.
    far = X + np.sign(X)
    state = start(settings(rank="auto", dtype=dtype), far, Y, None, scaling=lambda rows: 2.0 * rows)
    restored = state.restored(state.positions(1), "")
    np.testing.assert_allclose(restored, 2.0 * far, rtol=100 * np.finfo(dtype).eps)


def test_the_engine_is_written_down(tmp_path):
    settings(checkpoint=tmp_path, every=2).fit(X, Y)
    header = json.loads((tmp_path / "flow.json").read_text())
    assert header["engine"] == [HOST.name, HOST.build]


def test_another_engine_that_goes_on_is_told(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(CpuEngine, "build", "abacus")
        settings(checkpoint=tmp_path, n_layers=3).fit(X, Y)
    with pytest.warns(EngineWarning, match=r"run by engine cpu \(abacus\), here is cpu"):
        flow = settings(checkpoint=tmp_path).fit(X, Y, resume=True)
    assert flow.n_layers_ == 6
    with warnings.catch_warnings():  # its last layers are of this engine
        warnings.simplefilter("error")
        settings(checkpoint=tmp_path, n_layers=7).fit(X, Y, resume=True)


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match=r"engine must be one of .*'cpu'.*, got 'abacus'"):
        settings(engine="abacus")


def test_a_schedule_that_is_a_function_is_told(tmp_path, caplog):
    def nugget(_):
        return 0.1

    settings(checkpoint=tmp_path, n_layers=2, nugget=nugget).fit(X, Y)
    with caplog.at_level(logging.WARNING, "kflow"):
        settings(checkpoint=tmp_path, nugget=nugget).fit(X, Y, resume=True)
    assert "nugget: functions cannot be compared" in caplog.text


def test_a_place_that_refuses_begins_no_checkpoint(tmp_path):
    class Full:
        def open_points(self, request):
            raise MemoryError(f"{request.n_points} points are too many")

    flow = settings(checkpoint=tmp_path, step_over="batch")
    with pytest.raises(MemoryError, match="60 points are too many"):
        flow.fit(X, Y, client=Full())
    assert not flow.is_fitted
    expected = settings(step_over="batch").fit(X, Y)
    flow.fit(X, Y, client=MemoryPlace())
    np.testing.assert_array_equal(flow.points_, expected.points_)


def test_the_default_kernel(dtype):
    differences = X[:, None] - X
    mean = np.square(differences).sum(axis=2).sum() / (60 * 59)
    kernel = default_kernel(X.astype(dtype))
    assert isinstance(kernel, kernels.Gaussian)
    value = np.exp(-1.5)  # of two points at the root mean squared distance
    near = kernel(np.zeros((1, 1)), np.array([[np.sqrt(mean)]]))
    np.testing.assert_allclose(near, value, rtol=0.1)
    with pytest.raises(ValueError, match="all rows coincide"):
        default_kernel(np.ones((5, 2)))


def test_two_followed_sets_of_one_name_are_refused(rng):
    X = rng.normal(size=(20, 2))
    with pytest.raises(ValueError, match=r"follow has two names that are the same as text"):
        KernelFlow(n_layers=1, batch_size=10).fit(X, X[:, 0], follow={1: X, "1": X + 1})
