"""What is refused says which argument it is, and what to pass instead."""

from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow import KernelFlow, kernels
from kflow.estimators.validation import seed_of
from kflow.timeseries import Forecaster

X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.sign(X[:, 0])
MASKED = np.ma.array(X, mask=X > 1.0)
ARRAY = np.array(["rms", "all"])


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("callbacks", None, "a list of functions of the flow, got None"),
        ("n_threads", float("inf"), "a positive whole number, got inf"),
        ("n_threads", np.array([1, 2]), r"a positive whole number, got \[1, 2\]$"),
        ("batch_size", np.array([10]), r"a whole number, got \[10\]$"),
        ("rank", np.array([2]), r"a whole number, got \[2\]$"),
        (
            "step",
            ARRAY,
            r"one of \('relative', 'rms', 'absolute', 'fixed'\), got \['rms', 'all'\]$",
        ),
        ("step_over", ARRAY, r"one of \('all', 'batch'\), got \['rms', 'all'\]$"),
        ("engine", ARRAY, r"one of \('cpu', 'torch'\), got \['rms', 'all'\]$"),
        ("progress", ARRAY, r"True or False, got \['rms', 'all'\]$"),
        ("n_halves", 10**9, "at most 10000, got 1000000000"),
    ],
)
def test_settings_of_a_flow(name, value, text):
    with pytest.raises((TypeError, ValueError), match=f"^{name} must be {text}"):
        KernelFlow(**{"n_layers": 1, name: value})


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("batches", [1], r"one of \('uniform', 'neighbours'\), got \[1\]"),
        ("optimizer", ["adam"], "one of .* got"),
        ("n_halves", 10**9, "at most 10000"),
        ("callbacks", None, "a list of functions of a LearningState, got None"),
    ],
)
def test_arguments_of_learning(name, value, text):
    with pytest.raises((TypeError, ValueError), match=f"^{name} must be {text}"):
        kflow.learn_kernel(kernels.Gaussian(), X, X[:, 0], **{name: value})


@pytest.mark.parametrize(
    "fit",
    [
        lambda: kflow.KernelFlowClassifier(n_layers=1).fit(MASKED, Y),
        lambda: kflow.KernelFlowRegressor(n_layers=1).fit(MASKED, X[:, 0]),
        lambda: kflow.GPRegressor(learn=None).fit(MASKED, X[:, 0]),
        lambda: kflow.GPRegressor(learn=None).fit(X, MASKED[:, 0]),
        lambda: kflow.GPRegressor(learn=None).fit(X, X[:, 0]).predict(MASKED),
        lambda: kflow.GradientMetric().fit(MASKED, Y),
        lambda: kflow.one_hot(np.ma.array([1, 2, 3], mask=[0, 1, 0])),
        lambda: KernelFlow(n_layers=1, batch_size=10).fit(MASKED, Y),
    ],
)
def test_masked_entries(fit):
    with pytest.raises(ValueError, match=r"(X|y|labels) has masked entries: remove or impute"):
        fit()


def test_a_name_is_told_as_text():
    with pytest.raises(ValueError, match=r"^follow\['0'\] must have 3 columns"):
        KernelFlow(n_layers=1, batch_size=10).fit(X, Y, {np.int64(0): X[:, :2]})


def test_targets_that_are_constant():
    with pytest.raises(ValueError, match=r"^y is constant"):
        kflow.KernelFlowRegressor(n_layers=1).fit(X, np.ones(40))
    with pytest.raises(ValueError, match="targets of at least two classes or values"):
        KernelFlow(n_layers=1, batch_size=10).fit(X, np.ones(40))


def test_one_row_has_the_deviation_of_the_kernel():
    model = kflow.GPRegressor(kernels.Gaussian(1.0), learn=None, scaling=None, nugget=1e-6)
    far = model.fit(X[:1], [3.0]).predict(X[:1] + 100.0, return_std=True, include_noise=False)
    np.testing.assert_allclose(far, [[3.0], [1.0]])
    _, near = model.predict(X[:1], return_std=True, include_noise=False)
    assert near[0] < 0.01


@pytest.mark.parametrize(
    "make", [lambda: np.random.default_rng(3), lambda: np.random.SeedSequence(3)]
)
def test_sources_of_randomness(make):
    """Estimators take what flows take; a given one gives the same result again."""
    seeds = [seed_of(make()) for _ in range(2)]
    assert seeds[0] == seeds[1]
    assert 0 <= seeds[0] < 2**31
    models = [kflow.GPRegressor(learn=None, solver="subset", subset_size=9) for _ in range(2)]
    one, other = (m.set_params(random_state=make()).fit(X, X[:, 0]).predict(X) for m in models)
    np.testing.assert_array_equal(one, other)
    assert Forecaster(learn=None, random_state=make()).fit(X).predict(1).shape == (1, 3)


@pytest.mark.parametrize("bounds", [(1e-4, 1e-3), (10.0, 1e4)])
def test_a_nugget_at_its_bound_is_told(bounds, rng):
    y = np.sin(X[:, 0]) + (0.3 * rng.normal(size=40) if bounds[1] < 1 else 0.0)
    with pytest.warns(kflow.errors.BoundsWarning, match="a bound of the nugget"):
        kflow.learn_kernel(
            kernels.Gaussian(length_scale_bounds="fixed"),
            *(X, y),
            loss="nlml",
            nugget=bounds[0] * 2,
            learn_nugget=True,
            nugget_bounds=bounds,
            optimizer="lbfgs",
            batch_size=40,
        )
