from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import kflow
from kflow import KernelFlow, kernels
from kflow.flow.settings import FlowSettings, setting_names

VALUES = {
    "kernel": (kernels.Matern32(2.0), kernels.Linear()),
    "n_layers": (7, -1),
    "batch_size": (20, 3),
    "coarse_fraction": (0.25, 1.0),
    "nugget": ({0: 0.1, 5: 1.0}, -1.0),
    "step": ("rms", "far"),
    "step_size": (0.2, 0.0),
    "step_over": ("batch", "some"),
    "gradient_cap": (2.0, -1.0),
    "n_halves": (2, 0),
    "rank": ("auto", "some"),
    "shrink_every": (3, -1),
    "shrink_tolerance": (0.1, 0.0),
    "dtype": ("float64", "float16"),
    "random_state": (3, None),
    "n_threads": (2, 0),
    "layers": ("none", "disk"),
    "checkpoint": ("folder", ""),
    "every": (5, 0),
    "memory_budget": (10**9, -1),
    "callbacks": ((print,), 3),
    "progress": (True, None),
    "engine": ("cpu", "abacus"),
    "device": (None, 3),
    "precision": ("float64", "float16"),
}
# What a flow is made of.
FIXED = {
    "kernel",
    "batch_size",
    "step_over",
    "rank",
    "dtype",
    "random_state",
    "layers",
    "checkpoint",
    "memory_budget",
    "engine",
    "device",
    "precision",
}


def some_flow(**options):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    options = {"n_layers": 3, "batch_size": 20, "rank": "auto", "random_state": 0, **options}
    return KernelFlow(kernels.Gaussian(2.0), **options).fit(X, X[:, 0] > 0)


def test_the_names_are_those_of_the_flow():
    assert set(setting_names()) == VALUES.keys()
    assert tuple(inspect.signature(KernelFlow).parameters) == setting_names()


@pytest.mark.parametrize("name", sorted(VALUES))
def test_each_is_checked_when_the_flow_is_made_and_when_it_is_set(name):
    good, bad = VALUES[name]
    options = {"n_layers": 3, "rank": "auto"}
    flow = KernelFlow(**{**options, name: good})
    assert getattr(flow, name) == good
    other = KernelFlow(**options)
    setattr(other, name, good)
    assert getattr(other, name) == good
    if name in ("random_state", "progress"):  # anything goes
        return
    with pytest.raises((TypeError, ValueError), match=name):
        KernelFlow(**{**options, name: bad})
    with pytest.raises((TypeError, ValueError), match=name):
        setattr(other, name, bad)
    assert getattr(other, name) == good


@pytest.mark.parametrize("name", sorted(VALUES))
def test_a_flow_that_has_begun_stays_what_it_is_made_of(name):
    flow = some_flow()
    before = getattr(flow, name)
    if name in FIXED:
        with pytest.raises(AttributeError, match=f"{name} cannot change once the flow has begun"):
            setattr(flow, name, VALUES[name][0])
        assert getattr(flow, name) is before
    else:
        setattr(flow, name, VALUES[name][0])
        assert getattr(flow, name) == VALUES[name][0]


def test_what_is_no_setting_cannot_be_set():
    flow = some_flow()
    with pytest.raises(AttributeError, match="has no setting 'nuget': did you mean nugget"):
        flow.nuget = 1.0
    with pytest.raises(AttributeError, match="history_ is no setting and cannot be set"):
        flow.history_ = {}
    with pytest.raises(AttributeError, match="fit is no setting"):
        flow.fit = None


def test_shrinking_needs_a_rank_in_any_order():
    with pytest.raises(ValueError, match="shrink_every=4 needs a rank"):
        KernelFlow(n_layers=3, shrink_every=4)
    flow = KernelFlow(n_layers=3, rank=2, shrink_every=4)
    with pytest.raises(ValueError, match="shrink_every=4 needs a rank"):
        flow.rank = None
    flow.shrink_every = 0
    flow.rank = None
    with pytest.raises(ValueError, match="shrink_every=4 needs a rank"):
        flow.shrink_every = 4


def test_stored_settings_come_back():
    flow = KernelFlow(n_layers=3, **{name: VALUES[name][0] for name in ("nugget", "step", "rank")})
    again = KernelFlow(n_layers=3, **FlowSettings.stored(flow.to_dict()))
    assert again.to_dict() == flow.to_dict()


def test_a_function_as_schedule_must_be_set_again():
    flow = KernelFlow(n_layers=3, nugget=lambda layer: 1.0 + layer)
    assert flow.to_dict()["nugget"] is None
    again = KernelFlow(n_layers=3, **FlowSettings.stored(flow.to_dict()))
    with pytest.raises(ValueError, match=r"set flow\.nugget"):
        again.layer_options()(0)
    again.nugget = 2.0
    assert again.layer_options()(0).nugget == 2.0


def test_the_options_of_a_layer():
    flow = KernelFlow(n_layers=3, nugget={0: 1.0, 2: 3.0}, step_over="batch")
    options = flow.layer_options()
    assert [options(layer).nugget for layer in range(4)] == [1.0, 1.0, 3.0, 3.0]
    assert options(0).over_batch
    flow.nugget = lambda _: "much"
    with pytest.raises(TypeError, match="nugget at layer 5"):
        flow.layer_options()(5)


def test_a_copy_keeps_the_settings():
    flow = some_flow()
    again = pickle.loads(pickle.dumps(flow))
    for name in VALUES:
        if name not in ("kernel", "random_state"):
            assert getattr(again, name) == getattr(flow, name)
    with pytest.raises(AttributeError, match="batch_size cannot change"):
        again.batch_size = 30
    assert kflow.KernelFlow(n_layers=2).batch_size == 600


def test_parameters_as_scikit_learn_has_them():
    flow = KernelFlow(kernels.Gaussian(2.0), n_layers=3, batch_size=8)
    assert flow.get_params(deep=False).keys() == set(setting_names())
    assert flow.get_params()["kernel__length_scale"] == 2.0
    assert flow.set_params(n_layers=4, kernel__length_scale=3.0) is flow
    assert (flow.n_layers, flow.kernel) == (4, kernels.Gaussian(3.0))
    with pytest.raises(ValueError, match=r"no setting 'n_layer': did you mean n_layers\?"):
        flow.set_params(n_layer=3)
    with pytest.raises(ValueError, match="there is no kernel"):
        KernelFlow(n_layers=3).set_params(kernel__length_scale=3.0)


def test_a_clone_has_the_settings_and_no_points():
    X = np.random.default_rng(0).normal(size=(20, 2))
    settings = {"batch_size": 8, "nugget": {0: 0.1, 2: 0.2}, "random_state": 0, "dtype": "float64"}
    flow = KernelFlow(n_layers=3, **settings).fit(X, X[:, 0])
    other = clone(flow)
    assert not other.is_fitted
    assert other.get_params() == flow.get_params()
    np.testing.assert_array_equal(other.fit(X, X[:, 0]).points_, flow.points_)


@pytest.mark.parametrize("name", ["points_", "kernel_", "n_features_in_", "history_", "n_layers_"])
def test_results_before_fit(name):
    flow = KernelFlow(n_layers=3)
    with pytest.raises(NotFittedError, match="call fit first"):
        getattr(flow, name)
    assert not hasattr(flow, name)
