from __future__ import annotations

import numpy as np
import pytest

from kflow import KernelFlow, kernels
from kflow.flow.without_run import state_before_layers, state_of_layers

X = np.random.default_rng(0).normal(size=(60, 3))
Y = np.sign(X[:, 0] * X[:, 1])


def settings(**options):
    options = {"n_layers": 6, "batch_size": 20, "nugget": 0.1, "random_state": 0, **options}
    return KernelFlow(kernels.Gaussian(2.0), **options)


@pytest.mark.parametrize("rank", [None, "auto", 2])
def test_before_layers_in_the_coordinates_of_another_flow(rank, dtype):
    flow = settings(rank=rank, dtype=dtype).fit(X, Y)
    options = settings(rank=rank, dtype=dtype)
    state = state_before_layers(
        options, X, flow.targets_, kernel=flow.kernel_, subspace=flow.state_.subspace
    )
    same = settings(rank=rank, dtype=dtype, n_layers=0).fit(X, Y)
    np.testing.assert_array_equal(options.adopt(state).reduced_points_, same.reduced_points_)


@pytest.mark.parametrize("rank", [None, "auto"])
def test_layers_without_points(rank):
    flow = settings(rank=rank, dtype="float64", shrink_every=2 if rank else 0).fit(X, Y)
    options = settings(rank=rank, dtype="float64")
    state = state_of_layers(
        options,
        list(flow.state_.store),
        kernel=flow.kernel_,
        subspace=flow.state_.subspace,
        n_features=3,
        reductions=list(flow.state_.reductions.values()),
        nuggets=[0.1] * 6,
    )
    other = options.adopt(state)
    np.testing.assert_array_equal(other.transform(X), flow.transform(X))
    np.testing.assert_array_equal(other.history_["nugget"], flow.history_["nugget"])
    with pytest.raises(ValueError, match="no training points"):
        other.run(1)
