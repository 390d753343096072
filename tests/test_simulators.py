from __future__ import annotations

import math

import numpy as np
import pytest

from kflow import simulators
from kflow.simulators import SIMULATORS


@pytest.mark.parametrize("name", SIMULATORS)
def test_a_row_depends_on_its_inputs_alone(name):
    simulator = SIMULATORS[name]
    X = simulator.draw(7, random_state=0)
    Y = simulator(X)
    assert Y.shape == (7, math.prod(simulator.grid_shape))
    assert np.isfinite(Y).all()
    np.testing.assert_allclose(simulator(X[2:3]), Y[2:3], rtol=1e-12)
    assert simulator(X[:0]).shape == (0, Y.shape[1])
    np.testing.assert_array_equal(simulator.draw(7, random_state=0), X)


def test_a_latin_hypercube_has_one_value_in_each_part():
    simulator = SIMULATORS["two-stream"]
    X = (simulator.draw(10, random_state=1) - simulator.lower) / (simulator.upper - simulator.lower)
    for column in X.T:
        assert sorted((10 * column).astype(int)) == list(range(10))


def test_wrong_inputs_are_refused():
    with pytest.raises(ValueError, match="X must have 4 columns"):
        SIMULATORS["spill"]([[1.0, 2.0]])
    with pytest.raises(ValueError, match="n must be at least 1"):
        SIMULATORS["spill"].draw(0)


def test_the_spill_by_its_formula():
    mass, diffusion, place, time = x = 10.0, 0.07, 1.505, 30.1525
    C = SIMULATORS["spill"]([x]).reshape(5, 200)
    s, t = 1.5, 45.0  # row 2, and column 149
    first = mass / math.sqrt(4 * math.pi * diffusion * t) * math.exp(-(s**2) / (4 * diffusion * t))
    later = t - time
    second = mass / math.sqrt(4 * math.pi * diffusion * later)
    second *= math.exp(-((s - place) ** 2) / (4 * diffusion * later))
    assert C[2, 149] == pytest.approx(math.sqrt(4 * math.pi) * (first + second))
    assert C[2, 99] == pytest.approx(
        mass / math.sqrt(diffusion * 30.0) * math.exp(-(s**2) / (4 * diffusion * 30.0))
    )


def test_the_borehole_of_eight_inputs():
    x = 0.1, 25050.0, 89335.0, 1050.0, 89.55, 760.0
    flow = SIMULATORS["borehole"]([x]).reshape(10, 10)
    radius, influence, upper, upper_head, lower, lower_head = x
    length, conductivity = 1680.0, 9855.0
    log = math.log(influence / radius)
    below = log * (1 + 2 * length * upper / (log * radius**2 * conductivity) + upper / lower)
    expected = 2 * math.pi * upper * (upper_head - lower_head) / below
    assert flow[-1, 0] == pytest.approx(expected)


def test_light_is_lost_by_absorption_alone():
    """What reaches and leaves a layer that only scatters is one."""
    shape = (5, 1)
    rng = np.random.default_rng(0)
    tau, g, sun = (
        rng.uniform(0.1, 2.0, shape),
        rng.uniform(0.0, 0.8, shape),
        rng.uniform(0.3, 1.0, shape),
    )
    omega = np.full(shape, 1.0 - 1e-9)
    for reflected, transmitted in (
        simulators._layer(tau, omega, g, sun),
        simulators._diffuse_layer(tau, omega, g),
    ):
        np.testing.assert_allclose(reflected + transmitted, 1.0, atol=1e-6)
        assert (reflected > 0.0).all()


def test_water_is_kept():
    simulator = SIMULATORS["shallow-water"]
    X = simulator.draw(4, random_state=0)
    levels = simulator(X).reshape(4, *simulator.grid_shape)
    height, width, place, depth, _ = X.T
    x = (np.arange(64) + 0.5) * 10.0 / 64
    hump = height[:, None] * np.exp(-0.5 * ((x - place[:, None]) / width[:, None]) ** 2)
    expected = depth + hump.mean(axis=1)
    np.testing.assert_allclose(levels.mean(axis=2), np.repeat(expected[:, None], 4, axis=1))
    # Without a hump nothing moves.
    still = simulator([[0.0, 1.0, 5.0, 1.0, 0.1]])
    np.testing.assert_allclose(still, 1.0)
