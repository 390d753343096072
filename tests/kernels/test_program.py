"""Values and derivatives of all kernels in the core."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import kflow
from kflow.engine.cpu import _core
from kflow.kernels import (
    Cauchy,
    Constant,
    FunctionKernel,
    Gaussian,
    InverseMultiquadric,
    Laplacian,
    Linear,
    Matern32,
    Matern52,
    Periodic,
    Polynomial,
    RationalQuadratic,
    Wendland,
)
from kflow.testing import slow as reference


def _function(X, Z, a, b):
    return a * np.exp(-b * ((X[:, None] - Z[None]) ** 2).sum(axis=2))


def every_kernel(d):
    """Every family, with one length scale and with one per dimension, and composites."""
    lengths = np.linspace(1.0, 2.0, d)
    return {
        "Gaussian": Gaussian(1.3),
        "Gaussian-ard": Gaussian(lengths),
        "Laplacian": Laplacian(1.2),
        "Laplacian-ard": Laplacian(lengths),
        "Matern32": Matern32(1.1),
        "Matern32-ard": Matern32(lengths),
        "Matern52": Matern52(1.4),
        "Matern52-ard": Matern52(lengths),
        "RationalQuadratic": RationalQuadratic(1.2, 0.7),
        "RationalQuadratic-ard": RationalQuadratic(lengths, 2.0),
        "InverseMultiquadric": InverseMultiquadric(1.4),
        "InverseMultiquadric-ard": InverseMultiquadric(lengths),
        "Cauchy": Cauchy(2.0),
        "Cauchy-ard": Cauchy(lengths),
        "Wendland": Wendland(4.0, dimension=d),
        "Wendland-ard": Wendland(3 * lengths, dimension=d + 2),
        "Periodic": Periodic(1.2, 3.0),
        "Periodic-ard": Periodic(lengths, 3 * lengths),
        "Linear": Linear(2.0),
        "Linear-ard": Linear(lengths),
        "Polynomial": Polynomial(1.5, offset=0.5, degree=3),
        "Polynomial-ard": Polynomial(lengths, offset=0.5, degree=2),
        "Constant": Constant(2.0),
        "sum": 2.0 * Gaussian(1.3) + 0.5 * Matern52(lengths) + Linear(3.0) + 3.0,
        "product": Gaussian(2.0) * (1.0 + Cauchy(1.0)) * (2.0 * Periodic(1.0, 4.0)),
        "same twice": Gaussian(lengths) * Gaussian(lengths) + Gaussian(lengths),
        "nested": 3.0 * (2.0 * (0.5 * Gaussian(1.0)) + Matern32(2.0)),
        "function": FunctionKernel(_function, {"a": 2.0, "b": 0.5}),
        "function in a composite": FunctionKernel(_function, {"a": 2.0, "b": 0.5}) * Linear(2.0)
        + Gaussian(1.0),
    }


NAMES = list(every_kernel(3))


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(("n", "m", "d"), [(1, 1, 1), (13, 7, 3), (110, 37, 2), (40, 99, 9)])
def test_values(name, n, m, d, dtype, rng):
    kernel = every_kernel(d)[name]
    X, Z = rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(m, d)).astype(dtype)
    expected = reference.gram(X.astype(np.longdouble), Z.astype(np.longdouble), kernel=kernel)
    values = kernel(X, Z)
    assert values.dtype == dtype
    tolerance = 100 * np.finfo(dtype).eps * max(float(np.abs(expected).max()), 1e-3)
    np.testing.assert_allclose(values, expected.astype(float), rtol=0, atol=tolerance)
    C = rng.normal(size=(m, 3)).astype(dtype)
    product = kernel.apply(X, Z, C)
    assert product.dtype == dtype
    np.testing.assert_allclose(
        product, (expected @ C).astype(float), rtol=0, atol=10 * np.sqrt(m) * tolerance
    )


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("n", [1, 15, 97, 200])
def test_matrix_of_one_set_is_symmetric(name, n, dtype, rng):
    kernel = every_kernel(3)[name]
    X = rng.normal(size=(n, 3)).astype(dtype)
    matrix = kernel(X)
    if "function" not in name:
        np.testing.assert_array_equal(matrix, matrix.T)
    scale = np.abs(matrix).max()
    np.testing.assert_allclose(
        matrix, kernel(X, X.copy()), rtol=0, atol=50 * np.finfo(dtype).eps * scale
    )
    np.testing.assert_allclose(
        kernel.diag(X), np.diag(matrix), rtol=0, atol=50 * np.finfo(dtype).eps * scale
    )


def test_kernels_are_positive_semi_definite(name, rng):
    X = rng.normal(size=(60, 3))
    values = np.linalg.eigvalsh(every_kernel(3)[name](X))
    assert values.min() > -1e-12 * values.max()


def differences(function, point, step=1e-5):
    """Central differences of a function of an array."""
    gradient = np.empty_like(point)
    for index in np.ndindex(point.shape):
        ends = []
        for sign in (1, -1):
            moved = point.copy()
            moved[index] += sign * step
            ends.append(function(moved))
        gradient[index] = (ends[0] - ends[1]) / (2 * step)
    return gradient


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("d", [1, 3, 8])
def test_contractions_are_derivatives(name, d, rng):
    kernel = every_kernel(d)[name]
    n = 21
    X = rng.normal(size=(n, d))
    G = rng.normal(size=(n, n))
    G += G.T
    theta_gradient, X_gradient = kernel.contract(X, G, points=True)

    def loss(theta, points):
        moved = kernel.clone_with_theta(theta)
        return float(np.vdot(G, reference.gram(points, kernel=moved)))

    scale = np.abs(G).sum() * np.abs(kernel(X)).max()
    expected = differences(lambda theta: loss(theta, X), kernel.theta)
    np.testing.assert_allclose(theta_gradient, expected, rtol=1e-8, atol=1e-9 * scale)
    expected = differences(lambda points: loss(kernel.theta, points), X)
    np.testing.assert_allclose(X_gradient, expected, rtol=1e-7, atol=1e-9 * scale)
    # Without the points only half of the tiles is computed.
    alone, nothing = kernel.contract(X, G)
    assert nothing is None
    np.testing.assert_allclose(alone, theta_gradient, rtol=1e-11, atol=1e-13 * scale)


def test_contractions_of_many_tiles(rng):
    X = rng.normal(size=(230, 4))
    G = rng.normal(size=(230, 230))
    G += G.T
    kernel = every_kernel(4)["sum"]
    theta_gradient, X_gradient = kernel.contract(X, G, points=True)
    K = reference.gram(X, kernel=Gaussian(1.3))
    np.testing.assert_allclose(theta_gradient[0], 2.0 * np.vdot(G, K), rtol=1e-11)
    direction = rng.normal(size=X.shape)
    change = [
        np.vdot(G, reference.gram(X + step * direction, kernel=kernel)) for step in (1e-5, -1e-5)
    ]
    assert np.vdot(X_gradient, direction) == pytest.approx((change[0] - change[1]) / 2e-5, rel=1e-7)


def test_nothing_depends_on_the_number_of_threads(name, rng):
    kernel = every_kernel(3)[name]
    threshold = _core.team_threshold()
    _core.set_team_threshold(0.0)
    try:
        X = rng.normal(size=(150, 3))
        G = rng.normal(size=(150, 150))
        G += G.T
        one, two = (
            (
                kernel(X, n_threads=n),
                kernel.apply(X, X[:40], G[:40, :2], n_threads=n),
                *kernel.contract(X, G, points=True, n_threads=n),
            )
            for n in (1, 2)
        )
    finally:
        _core.set_team_threshold(threshold)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


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


def test_duplicates_have_finite_derivatives(name, rng):
    X = np.repeat(rng.normal(size=(5, 3)), 2, axis=0)
    G = np.ones((10, 10))
    theta_gradient, X_gradient = every_kernel(3)[name].contract(X, G, points=True)
    assert np.isfinite(theta_gradient).all()
    assert np.isfinite(X_gradient).all()


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


def test_no_rows():
    kernel = Gaussian(1.0) + Linear([1.0, 2.0])
    assert kernel(np.empty((0, 2)), np.ones((3, 2))).shape == (0, 3)
    assert kernel(np.ones((3, 2)), np.empty((0, 2))).shape == (3, 0)
    np.testing.assert_array_equal(
        kernel.apply(np.ones((3, 2)), np.empty((0, 2)), np.empty((0, 1))), np.zeros((3, 1))
    )


def test_the_core_checks_expressions():
    with pytest.raises(ValueError, match="unknown operation"):
        _core.Expression().append("power")
    with pytest.raises(IndexError, match="earlier terms"):
        _core.Expression().append("sum", left=0, right=1)
    with pytest.raises(ValueError, match="needs a kernel"):
        _core.Expression().append("leaf", source=0)
    empty, out = _core.Expression(), np.empty((1, 1))
    with pytest.raises(ValueError, match="no terms"):
        _core.evaluate(empty, [out], [out], [], out, 1)
    empty.append("leaf", kernel=_core.Profile("gaussian", 1.0), source=1)
    with pytest.raises(IndexError, match="source"):
        _core.evaluate(empty, [out], [out], [], out, 1)
