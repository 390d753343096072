from __future__ import annotations

import numpy as np
import pytest

from kflow import KernelFlowClassifier, KernelFlowRegressor, kernels
from kflow.estimators.flow_parameters import flow_of_parameters
from kflow.flow.settings import setting_names
from kflow.presets import FIXED

# Every parameter that is a setting of a flow, and none at its default.
OTHERS = {
    "kernel": kernels.Matern32(2.0),
    "n_layers": 7,
    "batch_size": 30,
    "coarse_fraction": 0.3,
    "nugget": {0: 1.0, 5: 0.1},
    "step": "fixed",
    "step_size": 0.5,
    "step_over": "batch",
    "gradient_cap": 4.0,
    "n_halves": 4,
    "rank": "auto",
    "shrink_every": 3,
    "shrink_tolerance": 0.01,
    "dtype": "float32",
    "n_threads": 1,
    "layers": "none",
    "checkpoint": "folder",
    "every": 5,
    "callbacks": (print,),
    "progress": True,
}


@pytest.mark.parametrize("kind", [KernelFlowClassifier, KernelFlowRegressor])
def test_a_flow_has_the_settings_of_the_parameters(kind):
    # Another device or precision than the default needs PyTorch: tests/engine/torch has it.
    shared = set(setting_names()) & set(kind().get_params())
    assert OTHERS.keys() == shared - {"random_state", "device", "precision"}
    assert not any(getattr(kind(), name) == value for name, value in OTHERS.items())
    seed = np.random.SeedSequence(3)
    flow = flow_of_parameters(kind(**OTHERS), 1000, seed)
    assert {name: getattr(flow, name) for name in OTHERS} == OTHERS
    assert flow.random_state is seed
    assert not flow.is_fitted


def test_the_batch_is_no_larger_than_the_data():
    classifier = KernelFlowClassifier(**{**FIXED, "batch_size": 50})
    assert flow_of_parameters(classifier, 20, None).batch_size == 20
    with pytest.raises(TypeError, match="batch_size must be a whole number"):
        flow_of_parameters(classifier.set_params(batch_size=None), 20, None)


def test_what_is_auto_is_replaced():
    chosen = {"kernel": kernels.Matern32(2.0), "n_layers": 10, "nugget": 0.5}
    flow = flow_of_parameters(KernelFlowClassifier(), 100, None, **chosen)
    assert {name: getattr(flow, name) for name in chosen} == chosen
    assert flow.batch_size == 50
    assert flow_of_parameters(KernelFlowClassifier(), 5, None, **chosen).batch_size == 4
    assert flow_of_parameters(KernelFlowClassifier(), 10**6, None, **chosen).batch_size == 600


@pytest.mark.parametrize("kind", [KernelFlowClassifier, KernelFlowRegressor])
def test_the_docstring_has_every_parameter_in_the_order_of_the_signature(kind):
    lines = [line.strip() for line in kind.__doc__.splitlines() if " : " in line]
    documented = [name for line in lines for name in line.split(" : ")[0].split(", ")]
    wanted = [name for name in kind.__init__.__annotations__ if name != "return"]
    assert [name for name in documented if name in wanted] == wanted
