from __future__ import annotations

import copy
import inspect
import pickle

import pytest

import kflow
from kflow.timeseries import Forecaster


@pytest.mark.parametrize(
    "cls",
    [
        kflow.KernelFlow,
        kflow.KernelFlowClassifier,
        kflow.KernelFlowRegressor,
        kflow.GPRegressor,
        kflow.StackedGPRegressor,
        kflow.GradientMetric,
        kflow.TableEncoder,
        kflow.Interpolant,
        kflow.kernels.Gaussian,
        Forecaster,
    ],
)
def test_an_unknown_parameter_is_refused_by_the_class_that_was_called(cls):
    with pytest.raises(TypeError, match=f"^{cls.__name__} has no parameter 'colour': it has "):
        cls(colour="red")


def test_signatures_are_those_of_init_and_instances_keep_theirs():
    assert next(iter(inspect.signature(kflow.kernels.Gaussian).parameters)) == "length_scale"
    kernel = kflow.kernels.Gaussian(1.0)
    assert inspect.signature(kernel) == inspect.signature(kernel.__call__)


def test_the_most_similar_parameter_is_named():
    with pytest.raises(TypeError, match=r"KernelFlowRegressor .*'n_layer': did you mean n_layers"):
        kflow.KernelFlowRegressor(n_layer=3)


def test_a_missing_parameter_names_no_private_class():
    with pytest.raises(TypeError, match=r"^KernelFlow.__init__\(\) missing .*'n_layers'"):
        kflow.KernelFlow()


def test_copies_and_pickles_are_made_without_parameters():
    flow = kflow.KernelFlow(n_layers=3)
    assert copy.deepcopy(flow).n_layers == pickle.loads(pickle.dumps(flow)).n_layers == 3
