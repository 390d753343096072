from __future__ import annotations

import math

import numpy as np
import pytest

from kflow.learning.optimizers import RULES, SGD, Adam, Nesterov, cosine_decay


def textbook_adam(gradients, beta1=0.9, beta2=0.999):
    """Algorithm 1 of the paper, with epsilon zero: the directions."""
    m = v = 0.0
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        yield m / (1 - beta1**t) / np.sqrt(v / (1 - beta2**t))


def test_adam_is_the_papers(rng):
    gradients = rng.normal(size=(50, 4)) + 0.3
    rule = Adam()
    for g, expected in zip(gradients, textbook_adam(gradients), strict=True):
        np.testing.assert_allclose(rule(g), expected, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-200, 1e-9, 1e6, 1e150])
def test_adam_knows_no_scale(scale, rng):
    gradients = rng.normal(size=(10, 3))
    one, other = Adam(), Adam()
    for g in gradients:
        expected = one(g)
        if scale > 1e-150:  # its square is a number
            np.testing.assert_allclose(other(scale * g), expected, rtol=1e-12)
        else:
            assert np.isfinite(other(scale * g)).all()


def test_adam_does_not_move_what_has_no_effect(rng):
    rule = Adam()
    for g in rng.normal(size=(10, 2)):
        direction = rule(g * [1.0, 1e-13])
        assert abs(direction[1]) < 1e-4


@pytest.mark.parametrize("rule", RULES.values())
def test_no_gradient_no_move(rule):
    np.testing.assert_array_equal(rule()(np.zeros(3)), np.zeros(3))
    assert rule()(np.empty(0)).shape == (0,)


@pytest.mark.parametrize("rule", RULES.values())
def test_arguments_stay_as_they_are(rule, rng):
    instance, gradients = rule(), rng.normal(size=(4, 3))
    before = gradients.copy()
    directions = [instance(g) for g in gradients]
    kept = [d.copy() for d in directions]
    instance(gradients[0])
    np.testing.assert_array_equal(gradients, before)
    np.testing.assert_array_equal(directions, kept)


def test_sgd_follows_short_gradients_and_shortens_long_ones():
    np.testing.assert_array_equal(SGD()(np.array([0.3, -0.4])), [0.3, -0.4])
    np.testing.assert_allclose(SGD()(np.array([30.0, -40.0])), [0.6, -0.8], rtol=1e-15)


def test_nesterov_looks_ahead():
    # Nesterov: v <- m v - r g(x + m v), x <- x + v. The rule moves x + m v.
    H, r, m = np.diag([0.05, 0.02]), 0.5, 0.9
    x, v = np.array([1.0, -2.0]), np.zeros(2)
    z, rule = x.copy(), Nesterov(m)
    for _ in range(20):
        v = m * v - r * H @ (x + m * v)
        x = x + v
        z = z - r * rule(H @ z)
        np.testing.assert_allclose(z, x + m * v, rtol=1e-12)


@pytest.mark.parametrize("name", RULES)
def test_rules_find_the_bottom_of_a_noisy_bowl(name, rng):
    rule, z = RULES[name](), np.array([1.0, -1.0, 0.5])
    for step in range(300):
        gradient = np.array([1.0, 0.3, 0.1]) * z + 0.1 * rng.normal(size=3)
        z = z - RULES[name].default_rate * cosine_decay(step, 300) * rule(gradient)
    assert np.abs(z).max() < 0.2


def test_the_rate_falls_along_half_a_cosine():
    rates = [cosine_decay(step, 10) for step in range(10)]
    assert rates[0] == 1.0
    assert rates[5] == pytest.approx(0.5)
    assert (np.diff(rates) < 0).all()
    assert rates[-1] == pytest.approx(0.5 * (1 - math.cos(math.pi / 10)))
    assert cosine_decay(0, 1) == 1.0
