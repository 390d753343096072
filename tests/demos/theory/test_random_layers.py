from __future__ import annotations

import numpy as np
import pytest

from kflow.demos.theory.random_layers import (
    exponents,
    mean_distances,
    random_distances,
    theoretical_exponents,
)


def test_exponents_are_those_of_products_of_random_matrices():
    # The reference: a product of matrices I + step A with independent normal entries.
    rng, step, d = np.random.default_rng(0), 0.1, 3
    frame, total = np.eye(d), np.zeros(d)
    for _ in range(20000):
        frame, stretched = np.linalg.qr(frame + step * rng.normal(size=(d, d)) @ frame)
        total += np.log(np.abs(np.diag(stretched)))
    np.testing.assert_allclose(total / 20000 / step**2, theoretical_exponents(d), atol=0.25)


@pytest.mark.parametrize("d", [1, 2, 4])
def test_random_layers_have_the_exponents_of_theory(d):
    found, errors = exponents(d, 0.1, 200, [0, d])
    assert found.shape == errors.shape == (d,)
    assert (np.abs(found - theoretical_exponents(d)) < 4.0 * errors + 0.05).all()


def test_the_sum_of_exponents_is_the_growth_of_volumes():
    for d in range(1, 6):
        assert theoretical_exponents(d).sum() == pytest.approx(-d / 2)


def test_pairs_follow_the_mean_field():
    starts, layers = np.array([0.2, 2.0]), np.array([0, 10, 40])
    measured = random_distances(6, 0.05, starts, layers, [0])
    expected = mean_distances(6, 0.05, starts, layers)
    np.testing.assert_allclose(measured[:, 0], starts)
    np.testing.assert_allclose(measured, expected, rtol=0.1)
    assert (np.diff(expected, axis=1) > 0.0).all()
