from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import kflow
from kflow import pde

BENCH = Path(__file__).parents[2] / "bench"

X = np.array([0.1, 0.3, 0.6, 0.9])
U = np.array([1.0, 2.0, 2.0, 1.0])


def smooth_weights(rng, n_modes, size=1.0):
    """Weights whose modes fall off, so that b varies by a factor of about exp(2 size)."""
    return size * rng.normal(size=(2, n_modes)) / np.arange(1, n_modes + 1)


def test_errors_of_the_truth_are_zero(rng):
    weights = smooth_weights(rng, 3)
    errors = pde.conductivity_errors(
        weights, lambda t: 5.0 * np.exp(pde.log_conductivity(t, *weights)), X, U
    )
    assert all(error.shape == () for error in errors.values())
    assert max(errors.values()) < 1e-14


def test_errors_by_hand():
    # log a = c cos 2 pi x against b = 1, in 2 x 3 copies.
    errors = pde.conductivity_errors(
        np.zeros((2, 3, 2, 1)), lambda t: np.exp(0.3 * np.cos(2 * np.pi * t)), X, U
    )
    t = np.linspace(0, 1, 1000, endpoint=False)
    a = np.exp(0.3 * np.cos(2 * np.pi * t))
    assert errors["l2_error"].shape == (2, 3)
    np.testing.assert_allclose(errors["log_error"], 0.3 / np.sqrt(2))
    np.testing.assert_allclose(errors["l2_error"], np.sqrt(((a - 1) ** 2).sum() / (a**2).sum()))


def test_weighted_error_forgives_where_u_is_flat():
    # u rises up to 0.3, and is constant from there to 0.7: what b is in between does not matter.
    x = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    u = np.minimum(1, np.minimum(x, 1 - x) / 0.3)
    narrow = np.exp(-(((np.arange(64) / 64 - 0.5) / 0.05) ** 2))
    spectrum = np.fft.rfft(narrow)[1:21] / 32
    weights = np.array([spectrum.real, -spectrum.imag])
    errors = pde.conductivity_errors(weights, np.ones_like, x, u)
    assert errors["log_error"] > 0.1
    assert errors["weighted_log_error"] < 1e-3


def test_errors_refuse_weights_of_another_shape():
    with pytest.raises(ValueError, match=r"weights must have shape \(..., 2, n_modes\)"):
        pde.conductivity_errors(np.zeros((3, 4)), np.ones_like, X, U)


def test_errors_of_halves_against_interpolation(rng):
    x, u, _ = pde.example_problem(20, n_solutions=2)
    kernel, nugget = pde.greens_kernel(3, smooth_weights(rng, 3)), 1e-3
    found = pde.half_errors(kernel, x, u, nugget=nugget, n_halves=4, random_state=5)
    draw = np.random.default_rng(5)
    halves = [draw.permutation(20)[:10] for _ in range(4)]
    rho, squares, norms = [], [], []
    for half in halves:
        rho.append(kflow.rho(x[:, None], u, half, kernel=kernel, nugget=nugget))
        interpolant = kflow.Interpolant(x[half, None], u[half], kernel=kernel, nugget=nugget)
        rest = np.setdiff1d(np.arange(20), half)
        squares.append(((interpolant(x[rest, None]) - u[rest]) ** 2).sum())
        norms.append((u[rest] ** 2).sum())
    assert found["rho"] == pytest.approx(np.mean(rho), rel=1e-9)
    assert found["u_error"] == pytest.approx(np.sqrt(np.mean(squares) / np.mean(norms)), rel=1e-9)


def test_errors_of_halves_name_what_is_wrong():
    x, u, a = pde.example_problem(20)
    with pytest.raises(TypeError, match="kernel"):
        pde.half_errors("green", x, u, nugget=0.1)
    with pytest.raises(ValueError, match="n_halves must be at least 1"):
        pde.half_errors(pde.greens_kernel(), x, u, nugget=0.1, n_halves=0)
    with pytest.raises(ValueError, match="n_modes"):
        pde.true_greens_kernel(a, 0)
