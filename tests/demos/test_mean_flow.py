from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

import kflow
from kflow.demos.mean_flow import MeanFlow
from kflow.demos.spirals import spirals


def test_the_mean_velocity_is_the_mean_over_all_halves():
    X, y = spirals(6)
    kernel, nugget = kflow.kernels.Gaussian(0.7), 0.05
    gradients = [
        kflow.rho_gradient(X, y, half, kernel=kernel, nugget=nugget)[1]
        for half in combinations(range(6), 3)
    ]
    K = kernel(X)
    expected = -K @ np.linalg.inv(K + nugget * np.eye(6)) @ np.mean(gradients, axis=0)
    flow = MeanFlow(X, y, kernel, nugget)
    np.testing.assert_allclose(flow.velocity(X), expected, rtol=1e-9, atol=1e-14)


@pytest.mark.slow
def test_one_layer_takes_one_step_along_the_mean_on_average():
    X, y = spirals(6)
    flow = MeanFlow(X, y, kflow.kernels.Gaussian(0.7), 0.05)
    moved = [
        kflow.KernelFlow(
            flow.kernel,
            n_layers=1,
            batch_size=6,
            nugget=0.05,
            step="fixed",
            step_size=0.1,
            dtype="float64",
            random_state=seed,
        )
        .fit(X, y)
        .points_
        - X
        for seed in range(800)
    ]
    spread = np.std(moved, axis=0) / len(moved) ** 0.5
    difference = np.abs(np.mean(moved, axis=0) - (flow.euler(0.1, 1) - X))
    assert (difference < 4.5 * spread).all()


@pytest.mark.slow
def test_the_solution_is_what_euler_tends_to():
    X, y = spirals(6)
    flow = MeanFlow(X, y, kflow.kernels.Gaussian(0.7), 0.05)
    exact = flow.solution(2.0)
    coarse, fine = flow.euler(2.0, 20), flow.euler(2.0, 40)
    np.testing.assert_allclose(2 * fine - coarse, exact, atol=0.1 * np.abs(fine - exact).max())
