from __future__ import annotations

import numpy as np

from kflow.emulator.inputs import InputReduction


def test_inputs_are_standardised(rng):
    X = rng.normal(size=(30, 3)) * [1.0, 10.0, 0.0] + [0.0, 5.0, 7.0]
    inputs = InputReduction.fit(X)
    U = inputs(X)
    np.testing.assert_allclose(U.std(axis=0), [1.0, 1.0, 0.0], atol=1e-12)
    assert inputs.n_coordinates == 3
    np.testing.assert_allclose(
        inputs.pull_back(np.ones((2, 4, 3))), np.ones((2, 4, 3)) / inputs.scale
    )


def test_directions_are_those_of_gradients(rng):
    X = rng.normal(size=(200, 5)) * 3.0
    Z = np.stack([np.sin(X[:, 1] / 3.0), 0.1 * X[:, 3]], axis=1)
    standardised = InputReduction.fit(X)
    inputs = standardised.reduced(X, Z, 2, 1)
    np.testing.assert_allclose(np.abs(inputs.directions[[0, 2, 4]]), 0.0, atol=0.05)
    np.testing.assert_allclose(np.abs(inputs.directions[1, 0]), 1.0, atol=0.05)
    np.testing.assert_allclose(inputs(X).std(axis=0), 1.0)
    # The derivative of the map.
    step = inputs(X[:1] + 1e-3 * np.eye(5)[1]) - inputs(X[:1])
    back = inputs.pull_back(np.eye(2))
    np.testing.assert_allclose(step[0] / 1e-3, back[:, 1], atol=1e-8)
    # A small share of the squared gradient needs both, a large one the first alone.
    assert standardised.reduced(X, Z, 0.001, 1).n_coordinates == 2
    assert standardised.reduced(X, Z, 0.5, 1).n_coordinates == 1
