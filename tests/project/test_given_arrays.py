"""Arrays that a user passes: they stay as they are, and what is kept of them is a copy.

Each case fits or makes something and says what it answers. The answer must not change when the arrays
that were given change afterwards, and no answer may change an array that it was given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kflow
from kflow import kernels
from kflow.analysis import class_margins
from kflow.evaluation import ErrorCurve
from kflow.linear.interpolant import Interpolant
from kflow.timeseries import Forecaster

KERNEL = kernels.Gaussian(2.0)
PLAIN = {
    "metric": None,
    "n_layers": 2,
    "batch_size": 10,
    "nugget": 0.1,
    "interpolation_nugget": 0.1,
}

Answer = Callable[[], Any]


def flow_of(given, **options):
    settings = {"n_layers": 2, "batch_size": 10, "random_state": 0, **options}
    X, y = given["X"], given["y"]
    flow = kflow.KernelFlow(KERNEL, **settings).fit(X, y, {"test": given["T"]})
    return lambda: [flow.points_, flow.follow_["test"], flow.targets_, flow.transform(given["T0"])]


def estimator_of(kind, **options):
    def case(given):
        model = kind(KERNEL, **PLAIN, scaling=None, random_state=0, **options)
        model.fit(given["X"], given["y"] > 0, sample_weight=given["w"])
        return lambda: [model.predict(given["T0"]), model.interpolant_.targets()]

    return case


def process_of(**options):
    def case(given):
        model = kflow.GPRegressor(KERNEL, scaling=None, learn=None, random_state=0, **options)
        model.fit(given["X"], given["y"], sample_weight=given["w"])
        model.add_rows(given["X"][:2] + 0.1, given["y"][:2], sample_weight=given["w"][:2])
        return lambda: list(model.predict(given["T0"], return_std=True))

    return case


def of_view(given):
    """A kernel whose functions return parts of their arguments."""
    kernel = kernels.FunctionKernel(lambda X, Z: X @ Z.T, diagonal=lambda X: X[:, 0])
    model = kflow.GPRegressor(kernel, scaling=None, learn=None, nugget=1.0).fit(
        given["X"], given["y"]
    )
    return lambda: list(model.predict(given["T0"], return_std=True))


def emulator(given):
    model = kflow.Emulator(n_steps=2, random_state=0).fit(given["X"], given["y"])
    return lambda: [*model.predict(given["T0"], return_std=True), model.jacobian(given["T0"])]


def forecaster(given):
    model = Forecaster(KERNEL, learn=None, delay=2, nugget=1e-3)
    model.fit(given["series"], given["times"])
    times = given["times0"][-1] + np.arange(1.0, 4.0)
    return lambda: [model.predict(3, times=times), model.sample(3, times=times, n_samples=2)]


def interpolant(given):
    made = Interpolant(given["X"], given["y"], kernel=KERNEL, nugget=0.1, sample_weight=given["w"])
    return lambda: [made(given["T0"]), made.targets(), made.pull_back(given["T0"], given["a0"])]


def interpolant_of_coefficients(given):
    made = Interpolant.from_coefficients(
        given["X"], given["y"][:, None], kernel=KERNEL, nugget=0.1, sample_weight=given["w"]
    )
    return lambda: [made(given["T0"]), made.targets()]


def labels_of_callbacks(given):
    labels, rng = given["labels"], np.random.default_rng(0)
    curve = ErrorCurve(labels, labels, nugget=0.1, every=1, rng=rng, n_interpolation=[4])
    X, y = given["X"].copy(), given["y"].copy()

    def answer():
        curve._rng = np.random.default_rng(0)
        settings = {"n_layers": 1, "batch_size": 10, "random_state": 0, "callbacks": [curve]}
        kflow.KernelFlow(KERNEL, **settings).fit(X, y, {"test": X})
        return [curve.errors[4][-1]]

    return answer


def schedule(given):
    sizes = given["sizes"]
    flow = kflow.KernelFlow(KERNEL, n_layers=2, batch_size=10, random_state=0, step_size=sizes)
    X, y = given["X"].copy(), given["y"].copy()
    return lambda: flow.fit(X, y).points_


def margins_of(given):
    model = kflow.KernelFlowClassifier(KERNEL, **PLAIN, random_state=0)
    X = given["X"].copy()
    model.fit(X, given["labels"].copy())
    result = class_margins(model, X, given["labels"])
    return lambda: [result.labels]


CASES = {
    "flow": flow_of,
    "flow in double": lambda given: flow_of(given, dtype="float64"),
    "flow in a subspace": lambda given: flow_of(given, rank="auto"),
    "classifier": estimator_of(kflow.KernelFlowClassifier),
    "regressor": estimator_of(kflow.KernelFlowRegressor),
    "process": process_of(),
    "process by conjugate gradients": process_of(solver="cg"),
    "process of a subset": process_of(solver="subset"),
    "process of views": of_view,
    "emulator": emulator,
    "forecaster": forecaster,
    "interpolant": interpolant,
    "interpolant of coefficients": interpolant_of_coefficients,
    "schedule": schedule,
    "labels of callbacks": labels_of_callbacks,
    "margins": margins_of,
}


@pytest.fixture
def given(rng):
    X = rng.normal(size=(40, 3)) + 1.0
    return {
        "X": X,
        "y": X[:, 0] - 1.0,
        "T": X[:5] + 0.5,
        "T0": np.abs(X[:6]) + 0.25,
        "a0": rng.normal(size=(6, 1)),
        "w": rng.uniform(0.5, 2.0, size=40),
        "labels": np.arange(40) % 2,
        "series": rng.normal(size=(40, 2)).cumsum(axis=0),
        "times": (times := np.arange(40.0) + 0.1 * rng.random(40)),
        "times0": times.copy(),
        "sizes": {0: 0.1, 1: 0.05},
    }


@pytest.mark.parametrize("name", CASES)
def test_what_is_kept_is_a_copy(name, given):
    before = {key: np.copy(value) for key, value in given.items() if key != "sizes"}
    answer = CASES[name](given)
    first = answer()
    again = answer()
    for key, value in before.items():
        np.testing.assert_array_equal(given[key], value, err_msg=f"{name} changed {key}")
    for key in before:
        if not key.endswith("0"):
            given[key][:] = 7
    given["sizes"][1] = 0.5
    for expected in (again, answer()):
        for one, other in zip(first, expected, strict=True):
            np.testing.assert_array_equal(one, other)
