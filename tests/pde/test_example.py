from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from kflow import pde

BENCH = Path(__file__).parents[2] / "bench"


@pytest.mark.slow
@pytest.mark.parametrize("solution", [0, 1, 2])
def test_example_solves_the_equation(solution):
    x, u, a = pde.example_problem(30, n_solutions=3, random_state=5)

    def right_hand_side(t, state):
        f = np.cos(solution * np.pi * t)
        return [state[1] / a(np.array([t]))[0], -f]

    # One shot, which misses by an amount that is linear in the flux at 0.
    def shoot(flux):
        return solve_ivp(
            right_hand_side, (0, 1), [0, flux], t_eval=[*x, 1.0], rtol=1e-9, atol=1e-11
        ).y[0]

    zero, one = shoot(0.0), shoot(1.0)
    expected = zero + (one - zero) * zero[-1] / (zero[-1] - one[-1])
    expected = expected[:-1] / np.abs(expected[:-1]).max()
    np.testing.assert_allclose(u[:, solution], expected, atol=1e-6)


def test_example_is_determined_by_its_seed():
    x, u, a = pde.example_problem(50, random_state=2)
    again = pde.example_problem(50, random_state=2)
    np.testing.assert_array_equal(again[0], x)
    np.testing.assert_array_equal(again[1], u)
    assert x.shape == u.shape == (50,)
    assert ((x > 0) & (x < 1)).all()
    assert (np.diff(x) > 0).all()
    t = np.arange(64) / 64
    assert np.log(a(t)).std() == pytest.approx(0.7)
    assert not np.array_equal(pde.example_problem(50, random_state=3)[1], u)


def test_noise_of_the_example():
    x, u, _ = pde.example_problem(4000, random_state=2)
    noisy_x, noisy, _ = pde.example_problem(4000, noise=0.1, random_state=2)
    np.testing.assert_array_equal(noisy_x, x)
    assert (noisy - u).std() == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_points": 0}, "n_points must be at least 1"),
        ({"n_solutions": 0}, "n_solutions must be at least 1"),
        ({"noise": -0.1}, "noise must be finite and not negative"),
    ],
)
def test_example_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        pde.example_problem(**arguments)
