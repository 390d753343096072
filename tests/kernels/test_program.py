"""Values and derivatives of all kernels in the core."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import kflow
from kflow.kernels import (
    Gaussian,
    Linear,
    Matern52,
    Periodic,
    Wendland,
)
from kflow.testing import slow as reference


def test_contractions_of_many_tiles(rng):
    X = rng.normal(size=(230, 4))
    G = rng.normal(size=(230, 230))
    G += G.T
    kernel = 2.0 * Gaussian(1.3) + 0.5 * Matern52([1.0, 1.5, 2.0, 2.5]) + Linear(3.0) + 3.0
    theta_gradient, X_gradient = kernel.contract(X, G, points=True)
    K = reference.gram(X, kernel=Gaussian(1.3))
    np.testing.assert_allclose(theta_gradient[0], 2.0 * np.vdot(G, K), rtol=1e-11)
    direction = rng.normal(size=X.shape)
    change = [
        np.vdot(G, reference.gram(X + step * direction, kernel=kernel)) for step in (1e-5, -1e-5)
    ]
    assert np.vdot(X_gradient, direction) == pytest.approx((change[0] - change[1]) / 2e-5, rel=1e-7)


def test_oracle():
    cases = json.loads((Path(__file__).parents[1] / "fixtures" / "oracle.json").read_text())[
        "cases"
    ]
    families = {family.family: family for family in kflow.kernels.radial.RADIAL.values()}
    for case in cases:
        kernel = families[case["kernel"]](**case["params"])
        X, Y = np.array(case["X"]), np.array(case["Y"]).reshape(len(case["X"]), -1)
        A = kernel(X) + case["nugget"] * np.eye(len(X))
        coarse = case["coarse"]
        fine = np.linalg.solve(A, Y)
        z = np.zeros_like(Y)
        z[coarse] = np.linalg.solve(A[np.ix_(coarse, coarse)], Y[coarse])
        D = float(np.vdot(Y, fine))
        G = -((1 - case["rho"]) * fine @ fine.T - z @ z.T) / D
        theta_gradient, X_gradient = kernel.contract(X, G, points=True)
        # theta is the logarithm of the length scale.
        assert theta_gradient[0] / kernel.length_scale == pytest.approx(
            case["rho_gradient_length_scale"], rel=1e-8, abs=1e-9
        )
        np.testing.assert_allclose(X_gradient, case["rho_gradient_points"], rtol=1e-8, atol=1e-9)


# ---- what can go wrong ------------------------------------------------------------------------


def test_points_far_from_the_origin(dtype, rng):
    X = (rng.normal(size=(30, 8)) + 1000.0).astype(dtype)
    kernel = Gaussian([2.0] * 8) + Matern52(3.0)
    expected = reference.gram(X.astype(np.longdouble), kernel=kernel)
    np.testing.assert_allclose(
        kernel(X), expected.astype(float), rtol=0, atol=3e3 * np.finfo(dtype).eps
    )


def test_dimensions_are_checked(rng):
    X = rng.normal(size=(4, 4))
    with pytest.raises(ValueError, match="at most 3 dimensions, but X has 4 columns"):
        Wendland(1.0)(X)
    for use in (lambda k: k.diag(X), lambda k: k.contract(X, np.eye(4)), lambda k: k(X)):
        with pytest.raises(ValueError, match="3 entries in length_scale"):
            use(2.0 * Gaussian([1.0] * 3) + Linear())
        with pytest.raises(ValueError, match="2 entries in period"):
            use(Periodic(1.0, [1.0, 2.0]))


def test_bad_arguments(rng):
    kernel = Gaussian(1.0) + Linear(1.0)
    X = rng.normal(size=(4, 2))
    with pytest.raises(ValueError, match="G must have 4 columns"):
        kernel.contract(X, np.ones((4, 3)))
    with pytest.raises(ValueError, match="G contains NaN"):
        kernel.contract(X, np.full((4, 4), np.nan))
    with pytest.raises(ValueError, match="X contains NaN"):
        kernel(np.full((4, 2), np.inf))
    with pytest.raises(ValueError, match="C must have 4 rows"):
        kernel.apply(X, X, np.ones((3, 1)))
    with pytest.raises(ValueError, match="Z must have 2 columns"):
        kernel(X, np.ones((3, 3)))
