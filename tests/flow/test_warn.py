from __future__ import annotations

import warnings

import numpy as np
import pytest

import kflow
from kflow.errors import StandstillWarning, TargetsWarning

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
CLASSES = np.arange(60) % 3


def fitted(kernel=None, Y=None, X=X, **settings):
    flow = kflow.KernelFlow(kernel, n_layers=5, batch_size=30, random_state=0, **settings)
    return flow.fit(X, np.sin(X[:, 0]) if Y is None else Y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("length_scale", [1e-3, 1e5])
def test_length_scale_far_from_the_data_is_warned_about(length_scale, dtype):
    with pytest.warns(StandstillWarning, match=r"median is 2.* kernel=None.* such as 1") as caught:
        flow = fitted(kflow.kernels.Gaussian(length_scale), dtype=dtype)
    assert len(caught) == 1  # once for a flow, not for each layer
    assert caught[0].filename == __file__
    rho = flow.history_["rho"]
    np.testing.assert_allclose(rho, 0.5, atol=0.2)


def test_length_scale_that_fits_is_not():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kernel in (None, kflow.kernels.Gaussian(0.5), kflow.kernels.Laplacian(20.0)):
            fitted(kernel)
        fitted(kflow.kernels.Wendland(8.0))


def test_suggested_length_scale_is_good():
    with pytest.warns(StandstillWarning) as caught:
        fitted(kflow.kernels.Gaussian(1.0), X=1000.0 * X)
    suggested = float(str(caught[0].message).rpartition(" ")[2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rho = fitted(kflow.kernels.Gaussian(suggested), X=1000.0 * X).history_["rho"]
    assert rho[-1] < rho[0]


def test_points_that_are_elsewhere_are_looked_at_too(tmp_path):
    with pytest.warns(StandstillWarning, match="shorter"):
        fitted(
            kflow.kernels.Gaussian(1e-3),
            step_over="batch",
            checkpoint=tmp_path,
            memory_budget=1e9,
        )


def test_a_flow_that_goes_on_does_not_warn_again():
    with pytest.warns(StandstillWarning):
        flow = fitted(kflow.kernels.Gaussian(1e-3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow.run(2)


@pytest.mark.parametrize("rounding", [0.0, 1e-16])
def test_points_that_coincide_have_no_length_scale(rounding):
    points = np.repeat(X[:2], [55, 5], axis=0)
    points = points + rounding * np.random.default_rng(0).normal(size=points.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(kflow.kernels.Gaussian(1e5), X=points)


@pytest.mark.parametrize("Y", [CLASSES, CLASSES.tolist(), CLASSES[:, None].astype(np.uint8)])
def test_integer_labels_are_warned_about(Y):
    with pytest.warns(TargetsWarning, match=r"3 different whole numbers.*one_hot") as caught:
        fitted(Y=Y)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "Y",
    [
        CLASSES.astype(float),
        CLASSES > 0,
        CLASSES % 2,  # two values are in no order that could be wrong
        np.arange(60),
        kflow.one_hot(CLASSES, dtype=np.int64),
    ],
)
def test_other_targets_are_not(Y):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(Y=Y)


@pytest.mark.parametrize("length_scale", [5e-4, 0.5])
def test_a_few_points_far_from_each_other_do_not_condemn_a_length_scale(length_scale):
    # Of points on a line, forty are far from each other, and all 400 are not.
    X = np.random.default_rng(0).uniform(size=(400, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow = kflow.KernelFlow(
            kflow.kernels.Gaussian(length_scale), n_layers=1, batch_size=400, random_state=0
        )
        flow.nugget = 0.1
        flow.fit(X, np.sin(9 * X))
