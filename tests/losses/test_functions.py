from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

import kflow
from kflow import kernels, losses
from kflow.engine.cpu import _core
from kflow.testing import slow as reference

CASES = json.loads((Path(__file__).parents[1] / "fixtures" / "oracle.json").read_text())["cases"]
ALL = list(losses.LOSSES)


@dataclasses.dataclass
class Problem:
    """A batch and every kind of subset of it."""

    K: np.ndarray
    Y: np.ndarray
    halves: np.ndarray
    pairs: np.ndarray
    folds: np.ndarray

    def arguments(self, name):
        return [getattr(self, subset) for subset in losses.LOSSES[name].subsets]

    def loss(self, name, K=None, **options):
        function = losses.LOSSES[name].function
        return function(self.K if K is None else K, self.Y, *self.arguments(name), **options)

    def expected(self, name, K=None):
        k = self.K.astype(np.longdouble) if K is None else K
        if name == "mmd":
            return reference.loss_mmd(k, self.halves)
        if name == "loo":
            return reference.loss_kfold(k, self.Y, np.arange(len(k)))
        return getattr(reference, f"loss_{name}")(k, self.Y, *self.arguments(name))


def problem(n, m=1, n_halves=1, n_coarse=None, n_folds=3, seed=0, nugget=0.05):
    """A kernel matrix whose diagonal varies, like that of a sum of kernels."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    amplitude = np.exp(rng.normal(size=n))
    K = reference.gram(X, kernel=kernels.Matern52(1.5)) * np.outer(amplitude, amplitude)
    n_coarse = max(1, n // 2) if n_coarse is None else n_coarse
    orders = np.array([rng.permutation(n) for _ in range(n_halves)])
    outside = orders[:, n_coarse:]
    pairs = np.stack([outside, np.roll(outside, 1, axis=1)], axis=2)
    return Problem(
        K=K + nugget * np.eye(n),
        Y=rng.normal(size=(n, m)),
        halves=orders[:, :n_coarse],
        pairs=pairs[:, : max(1, n // 3)],
        folds=rng.permutation(np.arange(n) % n_folds),
    )


@pytest.fixture(autouse=True, scope="module")
def one_thread_for_the_reference():
    """Its matrices are so small that BLAS's threads would only wait for each other."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture
def teams_everywhere():
    before = _core.team_threshold()
    _core.set_team_threshold(0.0)
    yield
    _core.set_team_threshold(before)


# ---- against values to 50 digits --------------------------------------------------------------


@pytest.fixture(params=CASES, ids=lambda case: f"{case['kernel']}-{case['nugget']}")
def case(request):
    return request.param


def kernel_of(case):
    return kernels.from_dict({"kernel": case["kernel"], **case["params"]})


def matrix_of(case):
    X = np.array(case["X"])
    return kflow.gram(X, kernel=kernel_of(case)) + case["nugget"] * np.eye(len(X))


def by_points(G, case):
    """Contract a gradient with dK/dpoints: dK_ij = 2 k'(r^2) (x_i - x_j)'(dx_i - dx_j)."""
    X = np.array(case["X"])
    apart = X[:, None] - X[None, :]
    weights = 4 * G * reference.kernel_slope(kernel_of(case), (apart**2).sum(axis=2))
    return (weights[:, :, None] * apart).sum(axis=1)


@pytest.mark.usefixtures("engine")
class TestOracle:
    def test_rho(self, case):
        value, G = losses.rho(matrix_of(case), case["Y"], case["coarse"])
        assert value == pytest.approx(case["rho"], rel=1e-12)
        expected = np.array(case["rho_gradient_points"])
        np.testing.assert_allclose(
            by_points(G, case), expected, rtol=0, atol=1e-9 * np.abs(expected).max()
        )

    def test_rho_by_length_scale(self, case):
        _, G = losses.rho(matrix_of(case), case["Y"], case["coarse"])
        X, h = np.array(case["X"], np.longdouble), 2.0**-12
        kernel = kernel_of(case)

        def gram(by):
            moved = dataclasses.replace(kernel, length_scale=kernel.length_scale + by)
            return reference.gram(X, kernel=moved)

        slope = (8 * (gram(h) - gram(-h)) - (gram(2 * h) - gram(-2 * h))) / (12 * h)
        assert float((G * slope).sum()) == pytest.approx(
            case["rho_gradient_length_scale"], rel=1e-8
        )

    def test_e2(self, case):
        value, G = losses.e2(matrix_of(case), case["Y"], case["coarse"])
        assert value == pytest.approx(case["e2"], rel=1e-11)
        expected = np.array(case["e2_gradient_points"])
        np.testing.assert_allclose(
            by_points(G, case), expected, rtol=0, atol=1e-9 * np.abs(expected).max()
        )

    def test_leave_one_out(self, case):
        K, Y = matrix_of(case), np.array(case["Y"])
        residuals, _ = losses.leave_one_out(K, Y)
        expected = np.array(case["loo_residuals"]).reshape(Y.shape)
        np.testing.assert_allclose(residuals, expected, rtol=1e-9, atol=1e-12)
        assert losses.loo(K, Y)[0] == pytest.approx((expected**2).sum(), rel=1e-10)


# ---- against the reference --------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("name", ALL)
class TestReference:
    @pytest.mark.parametrize(("n", "m", "n_halves"), [(7, 1, 1), (8, 3, 2), (6, 1, 4)])
    def test_value_and_gradient(self, name, n, m, n_halves):
        p = problem(n, m, n_halves)
        value, G = p.loss(name)
        assert isinstance(value, float)
        assert (G.shape, G.dtype) == ((n, n), np.float64)
        assert value == pytest.approx(float(p.expected(name)), rel=1e-11, abs=1e-13)
        expected = reference.symmetric_gradient(lambda K: p.expected(name, K), p.K)
        scale = float(np.abs(expected).max())
        np.testing.assert_allclose(G, expected, rtol=0, atol=1e-8 * scale)

    def test_several_tiles(self, name):
        n = 101
        p = problem(n, 2, 2, n_folds=5)
        value, G = p.loss(name)
        assert value == pytest.approx(float(p.expected(name, p.K)), rel=1e-9)
        np.testing.assert_array_equal(G, G.T)
        rng = np.random.default_rng(1)
        # Both ends of the matrix and a random direction.
        for rows in (np.arange(3), np.arange(n - 3, n), np.arange(n)):
            direction = np.zeros((n, n))
            block = rng.normal(size=(len(rows), len(rows)))
            direction[np.ix_(rows, rows)] = 1e-5 * (block + block.T) / len(rows)
            ends = [p.loss(name, p.K + sign * direction, gradient=False)[0] for sign in (1, -1)]
            slope = (ends[0] - ends[1]) / 2
            scale = np.abs(G).max() * 1e-5
            assert (G * direction).sum() == pytest.approx(slope, rel=1e-5, abs=1e-6 * scale)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    "folds", [[0, 0, 0, 0, 0, 0, 1], [0, 1, 2, 2, 1, 0, 3], [6, 5, 4, 3, 2, 1, 0]]
)
@pytest.mark.parametrize("m", [1, 2])
def test_folds_of_any_size(folds, m):
    # Large folds give a product of low rank, small ones a dense one.
    p = problem(7, m)
    value, G = losses.kfold(p.K, p.Y, folds)
    k = p.K.astype(np.longdouble)
    assert value == pytest.approx(float(reference.loss_kfold(k, p.Y, folds)), rel=1e-11)
    expected = reference.symmetric_gradient(lambda K: reference.loss_kfold(K, p.Y, folds), k)
    np.testing.assert_allclose(G, expected, rtol=0, atol=1e-8 * float(np.abs(expected).max()))


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("n", [1, 2, 9, 37])
def test_leave_one_out(n):
    p = problem(n, 3)
    residuals, variances = losses.leave_one_out(p.K, p.Y)
    expected = reference.leave_one_out(p.K.astype(np.longdouble), p.Y)
    np.testing.assert_allclose(residuals, expected[0], rtol=1e-9)
    np.testing.assert_allclose(variances, expected[1], rtol=1e-10)
    assert losses.loo(p.K, p.Y)[0] == pytest.approx((residuals**2).sum(), rel=1e-14)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(3, 30),
    m=st.integers(1, 20),
    n_halves=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(ALL),
    data=st.data(),
)
def test_any_shape(n, m, n_halves, seed, name, data):
    n_coarse = data.draw(
        st.integers(losses.LOSSES[name].lowest_coarse, n - 1 - (name == "lyapunov"))
    )
    p = problem(n, m, n_halves, n_coarse, data.draw(st.integers(2, n)), seed)
    before = [array.copy() for array in (p.K, p.Y)]
    value, G = p.loss(name)
    assert value == pytest.approx(float(p.expected(name)), rel=1e-8, abs=1e-12)
    np.testing.assert_array_equal(G, G.T)
    assert np.isfinite(G).all()
    for array, copy in zip((p.K, p.Y), before, strict=True):
        np.testing.assert_array_equal(array, copy)


# ---- properties -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_the_value_alone_is_the_same(name):
    p = problem(60, 2, 3)
    value, _ = p.loss(name)
    assert p.loss(name, gradient=False) == (value, None)


@pytest.mark.usefixtures("engine", "teams_everywhere")
@pytest.mark.parametrize("name", ALL)
def test_threads_change_nothing(name):
    p = problem(150, 11, 2, n_folds=7)
    value, G = p.loss(name, n_threads=1)
    for n_threads in (2, 3):
        again, other = p.loss(name, n_threads=n_threads)
        assert again == value
        np.testing.assert_array_equal(other, G)


@pytest.mark.usefixtures("engine", "teams_everywhere")
def test_threads_do_not_change_leave_one_out():
    p = problem(150, 11)
    one, two = (losses.leave_one_out(p.K, p.Y, n_threads=n) for n in (1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["rho", "e2", "loo", "kfold", "nlml"])
def test_two_points(name):
    K, Y = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([1.0, -1.0])
    subsets = {"halves": [1], "folds": [0, 1]}
    arguments = [subsets[subset] for subset in losses.LOSSES[name].subsets]
    p = Problem(K, Y, np.array([[1]]), np.empty((1, 0, 2)), np.array([0, 1]))
    value, G = losses.LOSSES[name].function(K, Y, *arguments)
    assert value == pytest.approx(float(p.expected(name)), rel=1e-14)
    expected = reference.symmetric_gradient(lambda k: p.expected(name, k), K)
    np.testing.assert_allclose(G, expected, rtol=0, atol=1e-9 * float(np.abs(expected).max()))


def test_one_point():
    assert losses.nlml([[4.0]], [2.0])[0] == pytest.approx(0.5 * (1 + np.log(8 * np.pi)))
    value, G = losses.loo([[4.0]], [2.0])
    assert value == pytest.approx(4)
    np.testing.assert_allclose(G, 0, atol=1e-15)


@pytest.mark.parametrize("name", ["rho", "e2", "lyapunov"])
def test_one_coarse_row(name):
    p = problem(6, 1, 2, n_coarse=1)
    value, G = p.loss(name)
    assert value == pytest.approx(float(p.expected(name)), rel=1e-12)
    expected = reference.symmetric_gradient(lambda k: p.expected(name, k), p.K)
    np.testing.assert_allclose(G, expected, rtol=0, atol=1e-8 * float(np.abs(expected).max()))


@pytest.mark.parametrize("name", ALL)
def test_a_half_alone_and_targets_alone_need_no_second_dimension(name):
    p = problem(12, 1)
    flat = dataclasses.replace(p, Y=p.Y[:, 0], halves=p.halves[0], pairs=p.pairs[0])
    value, G = p.loss(name)
    again, other = flat.loss(name)
    assert again == value
    np.testing.assert_array_equal(other, G)


@pytest.mark.parametrize("name", ["rho", "e2", "mmd", "lyapunov"])
def test_halves_are_averaged(name):
    p = problem(20, 2, 3)
    alone = [
        dataclasses.replace(p, halves=p.halves[h], pairs=p.pairs[h]).loss(name) for h in range(3)
    ]
    value, G = p.loss(name)
    assert value == pytest.approx(np.mean([v for v, _ in alone]), rel=1e-12)
    np.testing.assert_allclose(
        G, np.mean([g for _, g in alone], axis=0), rtol=0, atol=1e-12 * np.abs(G).max()
    )


@pytest.mark.parametrize("name", ALL)
def test_the_order_of_the_rows_does_not_matter(name):
    p = problem(25, 2, 2)
    order = np.random.default_rng(3).permutation(25)
    place = np.argsort(order)
    shuffled = Problem(
        p.K[np.ix_(order, order)], p.Y[order], place[p.halves], place[p.pairs], p.folds[order]
    )
    value, G = p.loss(name)
    again, other = shuffled.loss(name)
    assert again == pytest.approx(value, rel=1e-10)
    np.testing.assert_allclose(other, G[np.ix_(order, order)], rtol=0, atol=1e-10 * np.abs(G).max())


@pytest.mark.parametrize("name", ["rho", "lyapunov"])
@pytest.mark.parametrize("scale", [1e-170, 1e150, 1e300])
def test_the_scale_of_the_targets_does_not_matter(name, scale):
    p = problem(12, 2, 2)
    value, G = p.loss(name)
    again, other = dataclasses.replace(p, Y=p.Y * scale).loss(name)
    assert again == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(other, G, rtol=0, atol=1e-12 * np.abs(G).max())


@pytest.mark.parametrize("scale", [1e-12, 1e12])
@pytest.mark.parametrize("name", ALL)
def test_the_scale_of_the_kernel_is_no_reason_to_refuse_it(name, scale):
    p = problem(12, 2, 2)
    value, G = p.loss(name, scale * p.K)
    assert np.isfinite(value)
    assert np.isfinite(G).all()
    if name in ("rho", "e2", "loo", "kfold", "lyapunov"):
        assert value == pytest.approx(p.loss(name)[0], rel=1e-10)


@pytest.mark.parametrize("name", ["rho", "loo", "nlml"])
def test_points_of_very_different_variance(name):
    # As of a linear kernel: one point near the origin is not rounding noise.
    p = problem(12)
    amplitude = np.logspace(-9, 9, 12)
    value, G = p.loss(name, p.K * np.outer(amplitude, amplitude))
    assert np.isfinite(value)
    assert np.isfinite(G).all()


def test_rho_of_zero_targets():
    p = problem(8, 2, 2)
    value, G = losses.rho(p.K, np.zeros((8, 2)), p.halves)
    assert value == 0.0
    np.testing.assert_array_equal(G, np.zeros((8, 8)))


def test_rho_agrees_with_the_flow(kernel, rng):
    X, Y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    half = rng.permutation(40)[:20]
    value, _ = losses.rho(kflow.gram(X, kernel=kernel) + 0.1 * np.eye(40), Y, half)
    assert value == pytest.approx(kflow.rho(X, Y, half, kernel=kernel, nugget=0.1), rel=1e-12)


def test_mmd_needs_no_targets_and_does_not_see_the_nugget():
    p = problem(14, 1, 2)
    value, G = losses.mmd(p.K, None, p.halves)
    again, other = losses.mmd(p.K + 3 * np.eye(14), None, p.halves)
    assert again == pytest.approx(value, rel=1e-12)
    np.testing.assert_array_equal(other, G)
    np.testing.assert_array_equal(np.diag(G), 0)


def test_mmd_is_zero_on_average():
    p = problem(5)
    halves = [[i, j] for i in range(5) for j in range(i)]
    assert losses.mmd(p.K, None, halves)[0] == pytest.approx(0, abs=1e-15)


def test_lyapunov_of_predictions_that_coincide():
    # Two points that nothing reaches are both predicted to be 0.
    K = np.eye(5)
    K[0, 1] = K[1, 0] = 0.5
    value, G = losses.lyapunov(K, [1.0, 2.0, 3.0, 4.0, 5.0], [0], [[1, 2], [3, 4]])
    assert np.isfinite(value)
    assert np.isfinite(G).all()
    assert value > 1e4
    assert G[0, 1] != 0
    assert (G[3:] == 0).all()


def test_lyapunov_of_one_pair():
    K = np.eye(3)
    K[0, 1] = K[1, 0] = 0.5
    K[0, 2] = K[2, 0] = 0.25
    value, _ = losses.lyapunov(K, [4.0, 3.0, 1.0], [0], [[1, 2]])
    assert value == pytest.approx(np.log(0.5) ** 2)  # predictions 2 and 1, targets 3 and 1


def test_float32_and_lists_are_converted():
    p = problem(6)
    single = p.K.astype(np.float32)
    value, G = losses.nlml(single.tolist(), p.Y.astype(np.float32))
    assert G.dtype == np.float64
    again, other = losses.nlml(single.astype(np.float64), p.Y.astype(np.float32))
    assert again == value
    np.testing.assert_array_equal(other, G)


def test_fortran_order_and_views():
    p = problem(20, 2, 2)
    value, G = p.loss("rho")
    larger = np.zeros((40, 40))
    larger[::2, ::2] = p.K
    again, other = losses.rho(larger[::2, ::2], np.asfortranarray(p.Y), p.halves.astype(np.int16))
    assert again == value
    np.testing.assert_array_equal(other, G)


# ---- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in ALL if name != "mmd"])
def test_duplicates_are_named(name):
    p = problem(16, 1, 2)
    p.K[:] = reference.gram(np.arange(16.0)[:, None], kernel=kernels.Gaussian(0.5))
    first, second = sorted(p.halves[1, :2])
    p.K[second], p.K[:, second] = p.K[first], p.K[:, first]
    p.K[second, second] = 1
    with pytest.raises(kflow.SingularKernelError) as error:
        p.loss(name)
    # By rows of K, whichever block of it was factored.
    assert f"points {first} and {second} are the same" in str(error.value)
    assert "pass a larger nugget" in str(error.value)


def test_a_kernel_that_is_too_wide():
    X = np.linspace(0, 1, 30)[:, None]
    K = kflow.gram(X, kernel=kernels.Gaussian(1.0))
    with pytest.raises(
        kflow.SingularKernelError, match=r"kernel matrix of 30 points.*larger nugget"
    ):
        losses.nlml(K, X[:, 0])


def test_an_indefinite_matrix():
    with pytest.raises(kflow.SingularKernelError):
        losses.loo([[1.0, 2.0], [2.0, 1.0]], [1.0, 2.0])
    with pytest.raises(kflow.SingularKernelError):
        losses.loo([[0.0, 0.0], [0.0, 1.0]], [1.0, 2.0])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_numbers(name, bad):
    p = problem(6)
    K = p.K.copy()
    K[1, 4] = bad
    with pytest.raises(ValueError, match="K contains NaN"):
        p.loss(name, K)
    if name != "mmd":
        p.Y[3] = bad
        with pytest.raises(ValueError, match="Y contains NaN"):
            p.loss(name)


@pytest.mark.parametrize("name", ALL)
def test_bad_shapes(name):
    p = problem(6)
    for bad in (p.K[:5], p.K[:, :5]):
        with pytest.raises(ValueError, match="K must be square"):
            p.loss(name, bad)
    with pytest.raises(ValueError, match="K must have two dimensions"):
        p.loss(name, p.K[0])
    with pytest.raises(ValueError, match="K is empty"):
        p.loss(name, np.empty((0, 0)))
    if name != "mmd":
        p.Y = p.Y[:5]
        with pytest.raises(ValueError, match="Y must have 6 rows"):
            p.loss(name)


@pytest.mark.parametrize("name", ["rho", "e2", "mmd", "lyapunov"])
@pytest.mark.parametrize(
    ("halves", "message"),
    [
        ([0, 1, 6], "halves names a row outside 0..5"),
        ([0, 1, -1], "halves names a row outside 0..5"),
        ([[0, 1, 2], [3, 4, 3]], "halves names row 3 twice in half 1"),
        ([0, 1, 2, 3, 4, 5], "halves must name at least . and fewer than all 6 rows of K, got 6"),
        ([[], []], "halves must hold row numbers"),
        (
            np.empty((2, 0), int),
            "halves must name at least . and fewer than all 6 rows of K, got 0",
        ),
        (np.empty((0, 3), int), r"halves must have shape \(n_halves, n_coarse\)"),
        ([[[0, 1]]], r"halves must have shape \(n_halves, n_coarse\)"),
        ([[0, 1], [2]], "halves has no rectangular shape"),
        ([0.0, 1.0], "halves must hold row numbers of K, got dtype float64"),
        (np.arange(6) < 3, "halves must hold row numbers of K, got dtype bool"),
    ],
)
def test_bad_halves(name, halves, message):
    p = problem(6)
    p.halves = halves
    with pytest.raises((TypeError, ValueError), match=message):
        p.loss(name)


def test_mmd_of_one_row():
    p = problem(6)
    with pytest.raises(ValueError, match="at least 2 and fewer than all 6 rows of K, got 1"):
        losses.mmd(p.K, None, [3])


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ([0, 1, 0, 1, 0], r"folds must have shape \(6,\)"),
        ([0, 1, 0, 1, 0, -1], "folds must be numbers from 0"),
        ([0, 1, 0, 1, 0, 6], "folds must be numbers from 0"),
        ([0, 1, 0, 1, 0, 3], "folds leaves out number 2"),
        ([0, 0, 0, 0, 0, 0], "folds must name at least 2 folds"),
        ([0.0, 1.0, 0.0, 1.0, 0.0, 1.0], "folds must hold the number of each row's fold"),
    ],
)
def test_bad_folds(folds, message):
    p = problem(6)
    with pytest.raises((TypeError, ValueError), match=message):
        losses.kfold(p.K, p.Y, folds)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([[3, 6]], "pairs names a row outside 0..5"),
        ([[3, -1]], "pairs names a row outside 0..5"),
        ([[3, 4], [2, 5]], "pairs names row 2, which is in half 0"),
        ([[3, 4], [5, 3]], "pairs names rows 5 and 3, whose targets are equal"),
        ([[4, 4]], "pairs names rows 4 and 4, whose targets are equal"),
        ([[3, 4, 5]], r"pairs must have shape \(1, n_pairs, 2\)"),
        ([3, 4], r"pairs must have shape \(1, n_pairs, 2\)"),
        ([[[3, 4]], [[3, 4]]], r"pairs must have shape \(1, n_pairs, 2\)"),
        (np.empty((0, 2), int), r"pairs must have shape \(1, n_pairs, 2\)"),
        ([[3.0, 4.0]], "pairs must hold row numbers of K"),
    ],
)
def test_bad_pairs(pairs, message):
    p = problem(6, 2)
    p.Y[5] = p.Y[3]
    with pytest.raises((TypeError, ValueError), match=message):
        losses.lyapunov(p.K, p.Y, [0, 1, 2], pairs)


def test_bad_options():
    p = problem(6)
    with pytest.raises(TypeError, match="gradient must be True or False"):
        losses.nlml(p.K, p.Y, gradient=1)
    with pytest.raises(ValueError, match="n_threads must be a positive whole number"):
        losses.nlml(p.K, p.Y, n_threads=0)


def test_looking_losses_up():
    for name in ALL:
        assert losses.get_loss(name) is losses.LOSSES[name]
        assert losses.LOSSES[name].function is getattr(losses, name)
    for bad in ("rh0", None, ["rho"]):
        with pytest.raises(ValueError, match=r"loss must be one of 'rho', 'e2', .*, got"):
            losses.get_loss(bad)


def test_the_core_checks_what_would_break_it():
    K, Y, out = np.eye(4), np.ones((4, 1)), np.empty((4, 4))
    half = np.array([[0, 1]])
    for bad in ([[0, 4]], [[-1, 0]]):
        with pytest.raises(IndexError, match="halves holds a row"):
            _core.loss_rho(K, Y, np.array(bad), out, 1)
    with pytest.raises(ValueError, match="halves holds a row twice"):
        _core.loss_rho(K, Y, np.array([[1, 1]]), out, 1)
    with pytest.raises(ValueError, match="halves must have shape"):
        _core.loss_e2(K, Y, np.empty((1, 0), np.intp), out, 1)
    with pytest.raises(IndexError, match="pairs holds a row"):
        _core.loss_lyapunov(K, Y, half, np.array([[2, 4]]), out, 1)
    with pytest.raises(IndexError, match="folds holds a row"):
        _core.loss_kfold(K, Y, np.array([0, 1, 0, -1]), out, 1)
    with pytest.raises(ValueError, match="K must have shape"):
        _core.loss_nlml(K[:3], Y[:3], out, 1)
    with pytest.raises(ValueError, match="Y must have shape"):
        _core.loss_nlml(K, Y[:3], out, 1)
    with pytest.raises(ValueError, match="gradient must have shape"):
        _core.loss_nlml(K, Y, out[:3], 1)
