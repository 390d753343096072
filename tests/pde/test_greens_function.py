from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad

import kflow
from kflow import losses, pde

BENCH = Path(__file__).parents[2] / "bench"


def smooth_weights(rng, n_modes, size=1.0):
    """Weights whose modes fall off, so that b varies by a factor of about exp(2 size)."""
    return size * rng.normal(size=(2, n_modes)) / np.arange(1, n_modes + 1)


def log_b(t, weights):
    """The definition, term by term."""
    modes = 2 * np.pi * np.arange(1, len(weights[0]) + 1) * t
    return weights[0] @ np.cos(modes) + weights[1] @ np.sin(modes)


def green(x, y, weights):
    """The definition, by adaptive quadrature."""

    def resistance(low, high):
        return quad(lambda t: np.exp(-log_b(t, weights)), low, high, epsabs=1e-13, epsrel=1e-12)[0]

    low, high = min(x, y), max(x, y)
    return resistance(0, low) * resistance(high, 1) / resistance(0, 1)


def differences(function, start, step):
    """Central differences of a scalar function, entry by entry."""
    result = np.empty(start.size)
    for i in range(start.size):
        change = np.zeros(start.size)
        change[i] = step
        change = change.reshape(start.shape)
        result[i] = (function(start + change) - function(start - change)) / (2 * step)
    return result.reshape(start.shape)


def test_constant_conductivity_is_the_brownian_bridge(rng):
    x, z = rng.uniform(size=(6, 1)), rng.uniform(size=(4, 1))
    expected = np.minimum(x, z.T) * (1 - np.maximum(x, z.T))
    np.testing.assert_allclose(pde.greens_kernel()(x, z), expected, rtol=1e-13)


def test_kernel_against_its_definition(rng):
    weights = smooth_weights(rng, 4)
    x, z = np.array([0.0, 0.13, 0.5, 0.98]), np.array([0.3, 0.5, 1.0])
    expected = [[green(s, t, weights) for t in z] for s in x]
    K = pde.greens_kernel(4, weights)(x[:, None], z[:, None])
    np.testing.assert_allclose(K, expected, rtol=0, atol=1e-11)


def test_kernel_solves_the_equation(rng):
    # u(x) = int K(x, y) f(y) dy, where f is that of u = sin(pi x): -(b u')'.
    weights = smooth_weights(rng, 2, 0.5)
    kernel = pde.greens_kernel(2, weights)
    x = np.array([[0.2], [0.6]])

    def f(y, step=1e-4):
        flux = [np.exp(log_b(t, weights)) * np.pi * np.cos(np.pi * t) for t in (y + step, y - step)]
        return -(flux[0] - flux[1]) / (2 * step)

    for point in x:
        integrals = [
            quad(lambda y, p=point: kernel([p], [[y]])[0, 0] * f(y), low, high, epsabs=1e-9)[0]
            for low, high in ((0.0, point[0]), (point[0], 1.0))
        ]
        assert sum(integrals) == pytest.approx(np.sin(np.pi * point[0]), abs=1e-6)


def test_kernel_is_symmetric_and_positive_and_zero_at_the_ends(rng):
    kernel = pde.greens_kernel(8, smooth_weights(rng, 8))
    x = rng.uniform(0.01, 0.99, size=(40, 1))
    K = kernel(x)
    np.testing.assert_array_equal(K, K.T)
    assert np.linalg.eigvalsh(K).min() > 0
    np.testing.assert_allclose(kernel.diag(x), K.diagonal(), rtol=1e-13)
    assert np.abs(kernel(np.array([[0.0], [1.0]]), x)).max() < 1e-14


def test_kernel_in_float32(rng):
    kernel = pde.greens_kernel(8, smooth_weights(rng, 8))
    x = rng.uniform(size=(9, 1)).astype(np.float32)
    K = kernel(x)
    assert K.dtype == np.float32
    np.testing.assert_allclose(K, kernel(x.astype(float)), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("n_modes", "size"), [(1, 1.0), (7, 2.0), (64, 1.0)])
def test_derivatives_against_differences(rng, n_modes, size):
    # Two points are the same, and none are in order.
    x = rng.uniform(0.05, 0.95, size=(9, 1))
    x[5] = x[2]
    G = rng.normal(size=(9, 9))
    G += G.T
    kernel = pde.greens_kernel(n_modes, smooth_weights(rng, n_modes, size))
    expected = differences(
        lambda theta: np.vdot(G, kernel.clone_with_theta(theta)(x)), kernel.theta, 1e-5
    )
    gradient, _ = kernel.contract(x, G)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-8)


def test_points_gradient_against_differences(rng):
    x = rng.uniform(0.05, 0.95, size=(9, 1))
    G = rng.normal(size=(9, 9))
    G += G.T
    kernel = pde.greens_kernel(5, smooth_weights(rng, 5))
    _, gradient = kernel.contract(x, G, points=True)
    expected = differences(lambda points: np.vdot(G, kernel(points)), x, 1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.slow
def test_integral_of_a_rough_conductivity(rng):
    # As rough as learning makes it: 1/b varies by a factor of thousands.
    weights = 0.4 * rng.normal(size=(2, 64))
    ends = np.linspace(0, 1, 4001)
    nodes, factors = np.polynomial.legendre.leggauss(12)
    t = ends[:-1, None] + np.diff(ends)[:, None] * (nodes + 1) / 2
    pieces = (np.exp(-pde.log_conductivity(t, *weights)) * factors).sum(axis=1) / 8000
    expected = np.cumsum(pieces)[[999, 2999, 3999]]
    x = np.array([0.25, 0.75, 1.0])
    K = pde.greens_kernel(64, weights)(x[:2, None])
    np.testing.assert_allclose(K[0, 0], expected[0] * (1 - expected[0] / expected[2]), rtol=1e-12)
    np.testing.assert_allclose(K[0, 1], expected[0] * (1 - expected[1] / expected[2]), rtol=1e-12)


def test_rho_is_that_of_sums_over_intervals(rng):
    # u' K^-1 u is the energy of the interpolant, which is linear in S between neighbours.
    x, u, _ = pde.example_problem(15, random_state=3)
    weights = smooth_weights(rng, 4)

    def energy(rows):
        ends = np.concatenate([[0.0], x[np.sort(rows)], [1.0]])
        values = np.concatenate([[0.0], u[np.sort(rows)], [0.0]])
        s = [quad(lambda t: np.exp(-log_b(t, weights)), 0, end, epsabs=1e-12)[0] for end in ends]
        return (np.diff(values) ** 2 / np.diff(s)).sum()

    half = rng.permutation(15)[:7]
    K = pde.greens_kernel(4, weights)(x[:, None])
    rho, _ = losses.rho(K, u, half)
    assert rho == pytest.approx(1 - energy(half) / energy(np.arange(15)), abs=1e-10)


def test_log_conductivity_has_the_shape_of_its_argument(rng):
    weights = smooth_weights(rng, 3)
    t = rng.uniform(size=(2, 4))
    expected = [[log_b(point, weights) for point in row] for row in t]
    np.testing.assert_allclose(pde.log_conductivity(t, *weights), expected, atol=1e-14)
    assert pde.log_conductivity(0.3, *weights).shape == ()


def test_the_short_way_to_the_same_kernel(rng):
    # As in the documentation: one function, derivatives by differences.
    t = np.linspace(0, 1, 2049)

    def green(X, Z, cosine, sine):
        modes = 2 * np.pi * np.outer(np.arange(1, len(cosine) + 1), t)
        density = np.exp(-(cosine @ np.cos(modes) + sine @ np.sin(modes)))
        S = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])]) / (2 * (len(t) - 1))
        x, z = np.interp(X, t, S), np.interp(Z, t, S).T
        return np.minimum(x, z) * (S[-1] - np.maximum(x, z)) / S[-1]

    weights = smooth_weights(rng, 3)
    start = {"cosine": weights[0], "sine": weights[1]}
    short = kflow.kernels.FunctionKernel(green, start, positive=())
    full = pde.greens_kernel(3, weights)
    x = rng.uniform(size=(8, 1))
    G = np.ones((8, 8))
    np.testing.assert_allclose(short(x), full(x), rtol=1e-4)
    np.testing.assert_allclose(short.contract(x, G)[0], full.contract(x, G)[0], atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_modes": 0}, ValueError, "n_modes must be at least 1"),
        ({"n_modes": 2.0}, TypeError, "n_modes must be a whole number"),
        ({"n_modes": 2, "weights": np.zeros((2, 3))}, ValueError, "weights must have 2 columns"),
        ({"n_modes": 2, "weights": np.zeros(4)}, ValueError, "weights must have two dimensions"),
        ({"n_modes": 1, "weights": [[0], [np.nan]]}, ValueError, "weights contains NaN"),
        ({"n_modes": 1, "weights": [[11], [0]]}, ValueError, "outside its bounds"),
    ],
)
def test_kernel_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        pde.greens_kernel(**arguments)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[0.5], [1.1]], r"X must lie in \[0, 1\].*0.5 to 1.1"),
        ([[-1e-9]], r"X must lie in \[0, 1\]"),
        ([[0.5, 0.5]], "X must have one column"),
    ],
)
def test_kernel_refuses_points(points, message):
    with pytest.raises(ValueError, match=message):
        pde.greens_kernel(2)(np.array(points))


@pytest.mark.parametrize("weight", [200.0, 2000.0])
def test_kernel_refuses_weights_that_no_grid_resolves(weight):
    kernel = pde.greens_kernel(64, np.full((2, 64), weight), bounds=(-1e9, 1e9))
    with pytest.raises(ValueError, match="weights of log b are too large"):
        kernel(np.array([[0.5]]))


def test_the_kernel_of_a_known_conductivity(rng):
    weights = smooth_weights(rng, 5)
    known = pde.true_greens_kernel(lambda t: 3.0 * np.exp([log_b(s, weights) for s in t]), 16)
    x = rng.uniform(size=(6, 1))
    np.testing.assert_allclose(known(x), pde.greens_kernel(5, weights)(x), rtol=1e-11)
