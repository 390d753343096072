from __future__ import annotations

import math

import numpy as np
import pytest

from kflow.timeseries import (
    henon_map,
    logistic_map,
    lorenz63,
)


def test_orbits_obey_their_equations():
    x = logistic_map(50, r=3.9)
    np.testing.assert_array_equal(x[1:], 3.9 * x[:-1] * (1 - x[:-1]))
    h = henon_map(50, a=1.3, b=0.2)
    np.testing.assert_allclose(h[1:, 0], 1 - 1.3 * h[:-1, 0] ** 2 + h[:-1, 1], rtol=1e-14)
    np.testing.assert_array_equal(h[1:, 1], 0.2 * h[:-1, 0])


@pytest.mark.slow
def test_lorenz_obeys_its_equations():
    fine = lorenz63(2001, time_step=1e-3)
    x, y, z = fine.T
    velocity = np.column_stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])
    differences = (fine[:-4] - 8 * fine[1:-3] + 8 * fine[3:-1] - fine[4:]) / 12e-3
    np.testing.assert_allclose(differences, velocity[2:-2], atol=1e-5)


@pytest.mark.slow
def test_lorenz_at_given_times():
    times = np.array([5.0, 5.3, 5.35, 6.1])
    irregular = lorenz63(times=times)
    regular = lorenz63(23, time_step=0.05)
    np.testing.assert_allclose(irregular, regular[[0, 6, 7, 22]], rtol=1e-6)
    assert lorenz63(1, start=[1, 2, 3]).tolist() == [[1, 2, 3]]
    # The fixed points.
    c = math.sqrt(8 / 3 * 27)
    np.testing.assert_allclose(lorenz63(5, start=[c, c, 27]), [[c, c, 27]] * 5, rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("system", [logistic_map, henon_map, lorenz63])
def test_orbits_have_seeds(system):
    np.testing.assert_array_equal(system(5, random_state=3), system(5, random_state=3))
    assert not np.array_equal(system(5, random_state=3), system(5, random_state=4))
    assert len(system(1)) == 1


def test_systems_say_what_is_wrong():
    with pytest.raises(ValueError, match="n must be at least 1"):
        logistic_map(0)
    with pytest.raises(ValueError, match="r must be at most 4"):
        logistic_map(5, r=4.1)
    with pytest.raises(ValueError, match=r"start must lie in \[0, 1\]"):
        logistic_map(5, start=1.5)
    with pytest.raises(ValueError, match="start must have 2 entries"):
        henon_map(5, start=[0.0])
    with pytest.raises(ValueError, match="runs away"):
        henon_map(50, start=[100.0, 0.0])
    with pytest.raises(ValueError, match="pass n or times"):
        lorenz63()
    with pytest.raises(ValueError, match="pass n or times"):
        lorenz63(3, times=[0, 1, 2])
    with pytest.raises(ValueError, match="times must be strictly increasing"):
        lorenz63(times=[0, 1, 1])
    with pytest.raises(ValueError, match="start contains NaN"):
        lorenz63(3, start=[0, 0, math.nan])
