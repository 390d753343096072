from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

import kflow
from kflow import losses
from kflow.pde import solve as pde

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


# ---- the kernel ---------------------------------------------------------------------------------


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


# ---- learning -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learned():
    x, u, a = pde.example_problem(64, random_state=0)
    return pde.learn_conductivity(x, u, n_steps=200, truth=a, random_state=0)


def test_learning_finds_the_conductivity(learned):
    history, errors = learned.history, learned.errors
    assert learned.rho < 0.05 * history["rho"][0]
    assert errors["log_error"] < 0.7 * history["log_error"][0]
    assert errors["weighted_log_error"] < 0.4 * history["weighted_log_error"][0]
    assert errors["l2_error"] < 0.7 * history["l2_error"][0]


def test_learning_lowers_the_error_of_interpolation(learned, rng):
    x, u, _ = pde.example_problem(64, random_state=0)
    halves = np.array([rng.permutation(64)[:32] for _ in range(20)])
    before, after = (
        losses.e2(kernel(x[:, None]), u, halves, gradient=False)[0]
        for kernel in (pde.greens_kernel(1), learned.kernel)
    )
    assert after < 0.1**2 * before


def test_history_and_result(learned):
    shapes = {name: values.shape for name, values in learned.history.items()}
    assert shapes == {
        "rho": (200,),
        "weights": (200, 2, 16),
        "nugget": (200,),
        "log_error": (200,),
        "weighted_log_error": (200,),
        "l2_error": (200,),
    }
    assert not learned.history["weights"][0].any()
    assert learned.history["log_error"][0] == pytest.approx(0.7)
    assert learned.nugget != learned.history["nugget"][0] == pytest.approx(0.01)
    t = np.arange(256).reshape(2, 128) / 256
    b = learned.conductivity(t)
    assert b.shape == t.shape
    assert np.log(b).mean() == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(
        b, np.exp(pde.log_conductivity(t, *learned.kernel.theta.reshape(2, 16))), rtol=1e-14
    )


def test_learning_without_nugget_and_truth():
    x, u, _ = pde.example_problem(32, random_state=1)
    result = pde.learn_conductivity(
        x[:, None], u, n_modes=3, nugget=0, learn_nugget=False, n_steps=20, random_state=0
    )
    assert result.nugget == 0
    assert result.errors == {}
    assert set(result.history) == {"rho", "weights", "nugget"}
    assert result.history["weights"].shape == (20, 2, 3)
    assert result.rho < result.history["rho"][0]


def test_several_solutions_determine_it_better(learned):
    x, u, a = pde.example_problem(64, n_solutions=2, random_state=0)
    np.testing.assert_array_equal(u[:, 0], pde.example_problem(64, random_state=0)[1])
    several = pde.learn_conductivity(x, u, n_steps=200, truth=a, random_state=0)
    assert several.errors["log_error"] < learned.errors["log_error"]


def test_units_of_u_do_not_matter():
    x, u, _ = pde.example_problem(16, random_state=1)
    one, other = (
        pde.learn_conductivity(x, scale * u, n_steps=10, random_state=0) for scale in (1.0, 1e6)
    )
    np.testing.assert_allclose(one.kernel.theta, other.kernel.theta, atol=1e-10)


@pytest.mark.parametrize("optimizer", ["adam", "nesterov", "sgd", "lbfgs"])
def test_optimizers(optimizer):
    x, u, _ = pde.example_problem(32, random_state=1)
    result = pde.learn_conductivity(x, u, optimizer=optimizer, n_steps=20, random_state=0)
    assert result.rho < 0.8 * result.history["rho"][0]


def test_same_result_on_every_run_and_thread_count():
    x, u, _ = pde.example_problem(40, random_state=1)
    results = [
        pde.learn_conductivity(x, u, n_steps=5, random_state=7, n_threads=n) for n in (1, 2, 1)
    ]
    for result in results[1:]:
        np.testing.assert_array_equal(result.kernel.theta, results[0].kernel.theta)


def test_callbacks_end_learning():
    x, u, _ = pde.example_problem(16, random_state=1)
    result = pde.learn_conductivity(x, u, callbacks=[lambda state: state.step == 3])
    assert len(result.history["rho"]) == 4


X = np.array([0.1, 0.3, 0.6, 0.9])
U = np.array([1.0, 2.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": X - 0.1}, ValueError, "x must lie strictly between 0 and 1"),
        ({"x": X + 0.1}, ValueError, "x must lie strictly between 0 and 1"),
        ({"x": 10 * X}, ValueError, r"scale other intervals to \[0, 1\]"),
        ({"x": [0.1, 0.3, 0.3, 0.9]}, ValueError, "x has the point 0.3 twice"),
        ({"x": [0.1, 0.3, np.nan, 0.9]}, ValueError, "x contains NaN"),
        ({"x": np.array([X, X]).T}, ValueError, "x must have 1 columns"),
        ({"x": X[:3], "u": U[:3]}, ValueError, "x must have at least 4 points, got 3"),
        ({"x": ["a", "b", "c", "d"]}, TypeError, "x must hold real numbers"),
        ({"u": U[:3]}, ValueError, "u must have 4 rows"),
        ({"u": np.zeros(4)}, ValueError, "u is zero everywhere"),
        ({"u": [1, 2, np.inf, 1]}, ValueError, "u contains NaN or infinity"),
        ({"n_modes": 0}, ValueError, "n_modes must be at least 1"),
        ({"nugget": -1}, ValueError, "nugget"),
        ({"nugget": 0}, ValueError, "learn_nugget=False"),
        ({"optimizer": "newton"}, ValueError, "optimizer must be one of"),
        ({"n_steps": 0}, ValueError, "n_steps must be at least 1"),
        ({"random_state": "x"}, TypeError, "random_state"),
        ({"truth": 1.0}, TypeError, "truth must be a function"),
        ({"truth": np.sum}, ValueError, "truth must return an array of shape"),
        ({"truth": np.negative}, ValueError, "truth must return positive"),
    ],
)
def test_learning_refuses(changes, error, message):
    arguments = {"x": X, "u": U, "n_steps": 2, **changes}
    with pytest.raises(error, match=message):
        pde.learn_conductivity(**arguments)


# ---- errors -------------------------------------------------------------------------------------


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


# ---- the example --------------------------------------------------------------------------------


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


# ---- the benchmark ------------------------------------------------------------------------------


@pytest.mark.skipif(not BENCH.is_dir(), reason="the benchmarks are not here")
def test_benchmark_and_its_picture(tmp_path):
    pytest.importorskip("matplotlib")
    files = ["--json", str(tmp_path / "pde.json"), "--picture", str(tmp_path / "pde.png")]
    options = "--points 16 --solutions 1 --noise 1e-3 --problems 1 --steps 12 --losses"
    command = [sys.executable, str(BENCH / "pde.py"), *options.split(), *files]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [*command, "--picture-points", "16"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "pde.json").read_text())
    assert [row["noise"] for row in report["rows"]] == [0, 1e-3]
    assert len(report["picture"]["rho"]) == 12
    assert {row["loss"] for row in report["losses"]} == {"rho", "kfold", "e2", "loo", "nlml"}
    assert (tmp_path / "pde.png").read_bytes().startswith(b"\x89PNG")


# ---- comparisons ----------------------------------------------------------------------------------


def test_the_kernel_of_a_known_conductivity(rng):
    weights = smooth_weights(rng, 5)
    known = pde.true_greens_kernel(lambda t: 3.0 * np.exp([log_b(s, weights) for s in t]), 16)
    x = rng.uniform(size=(6, 1))
    np.testing.assert_allclose(known(x), pde.greens_kernel(5, weights)(x), rtol=1e-11)


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
