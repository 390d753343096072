from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import kflow
from kflow import kernels
from kflow.operations import gram, move, one_hot, rho, rho_gradient
from kflow.testing import slow as reference

CASES = json.loads((Path(__file__).parent / "fixtures" / "oracle.json").read_text())["cases"]
DIMENSIONS = [1, 2, 3, 4, 5, 6, 7, 8, 20, 100]
KERNEL = kernels.Gaussian(1.3)

TOLERANCE = {"float32": 3e-6, "float64": 1e-14}


def scaled(kernel, d):
    """The kernel with its length scale in proportion to the distances of normal data."""
    return dataclasses.replace(kernel, length_scale=kernel.length_scale * np.sqrt(d))


def exact(*arrays):
    return [np.asarray(a).astype(np.longdouble) for a in arrays]


def case_id(case):
    return f"{case['kernel']}-{case['nugget']}"


@pytest.fixture(params=CASES, ids=case_id)
def case(request):
    return request.param


def kernel_of(case):
    return kernels.from_dict({"kernel": case["kernel"], **case["params"]})


# ---- against values to 50 digits --------------------------------------------------------------


@pytest.mark.usefixtures("engine")
class TestOracle:
    def test_rho(self, case):
        value = rho(
            case["X"], case["Y"], case["coarse"], kernel=kernel_of(case), nugget=case["nugget"]
        )
        assert value == pytest.approx(case["rho"], rel=1e-12)

    def test_rho_gradient(self, case):
        value, gradient = rho_gradient(
            case["X"], case["Y"], case["coarse"], kernel=kernel_of(case), nugget=case["nugget"]
        )
        expected = np.array(case["rho_gradient_points"])
        assert value == pytest.approx(case["rho"], rel=1e-12)
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-9 * np.abs(expected).max())

    def test_query_after_layer(self, case):
        kernel = kernel_of(case)
        X = np.array(case["X"])
        _, gradient = rho_gradient(
            X, case["Y"], case["coarse"], kernel=kernel, nugget=case["nugget"]
        )
        matrix = gram(X, kernel=kernel) + case["nugget"] * np.eye(len(X))
        C = -np.linalg.solve(matrix, gradient)
        moved = move(case["query"], X, C, kernel=kernel, step=case["step"])
        np.testing.assert_allclose(moved, case["query_after_layer"], rtol=1e-9)

    def test_a_flow_of_one_layer(self, case):
        # The flow draws its own coarse half: hand it the one of the case through its generator.
        X, Y = np.array(case["X"]), np.array(case["Y"])
        n, coarse = len(X), case["coarse"]

        class Fixed(np.random.Generator):
            def choice(self, *_args, **_kwargs):
                return np.array(coarse + [i for i in range(n) if i not in coarse])

        flow = kflow.KernelFlow(
            kernel_of(case),
            n_layers=1,
            batch_size=n,
            coarse_fraction=len(coarse) / n,
            nugget=case["nugget"],
            step="fixed",
            step_size=case["step"],
            dtype="float64",
            random_state=Fixed(np.random.PCG64(0)),
        ).fit(X, Y, follow={"query": case["query"]})
        assert flow.history_["rho"][0] == pytest.approx(case["rho"], rel=1e-12)
        np.testing.assert_allclose(flow.follow_["query"], case["query_after_layer"], rtol=1e-9)
        np.testing.assert_allclose(
            flow.transform(case["query"]), case["query_after_layer"], rtol=1e-9
        )


def test_reference_agrees_with_the_oracle(case):
    kernel = kernel_of(case)
    X, Y = exact(case["X"], case["Y"])
    value, gradient = reference.rho_gradient(
        X, Y, case["coarse"], kernel=kernel, nugget=case["nugget"]
    )
    assert float(value) == pytest.approx(case["rho"], rel=1e-15)
    expected = np.array(case["rho_gradient_points"])
    np.testing.assert_allclose(
        gradient.astype(float), expected, rtol=0, atol=1e-15 * np.abs(expected).max()
    )


# ---- against the reference --------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
class TestReference:
    @pytest.mark.slow
    @pytest.mark.parametrize("d", DIMENSIONS)
    def test_gram(self, d, kernel, dtype, rng):
        kernel = scaled(kernel, d)
        X, Z = (rng.normal(size=(n, d)).astype(dtype) for n in (67, 41))
        value = gram(X, Z, kernel=kernel)
        assert value.dtype == dtype
        expected = reference.gram(*exact(X, Z), kernel=kernel)
        np.testing.assert_allclose(value, expected, rtol=0, atol=TOLERANCE[dtype.name])

    @pytest.mark.slow
    @pytest.mark.parametrize("d", DIMENSIONS)
    def test_move(self, d, kernel, dtype, rng):
        kernel = scaled(kernel, d)
        X, Z, C = (rng.normal(size=(n, d)).astype(dtype) for n in (67, 41, 41))
        value = move(X, Z, C, kernel=kernel, step=0.3)
        assert value.dtype == dtype
        expected = reference.move(*exact(X, Z, C), kernel=kernel, step=np.longdouble(0.3))
        np.testing.assert_allclose(value, expected, rtol=0, atol=20 * TOLERANCE[dtype.name])

    @pytest.mark.parametrize("d", [1, 2, 6, 7, 30])
    def test_rho_gradient(self, d, kernel, rng):
        kernel = scaled(kernel, d)
        X, Y = rng.normal(size=(40, d)), rng.normal(size=(40, 3))
        coarse = rng.choice(40, 17, replace=False)
        value, gradient = rho_gradient(X, Y, coarse, kernel=kernel, nugget=1e-3)
        expected = reference.rho_gradient(*exact(X, Y), coarse, kernel=kernel, nugget=1e-3)
        assert value == pytest.approx(float(expected[0]), rel=1e-10)
        scale = float(np.abs(expected[1]).max())
        np.testing.assert_allclose(gradient, expected[1], rtol=0, atol=1e-9 * scale)
        assert rho(X, Y, coarse, kernel=kernel, nugget=1e-3) == value

    @pytest.mark.parametrize("d", [2, 9])
    @pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0), (1, 1), (1, 5), (700, 1)])
    def test_few_rows(self, n, m, d, dtype, rng, capfd):
        X, Z, C = (rng.normal(size=(rows, d)).astype(dtype) for rows in (n, m, m))
        kernel = scaled(KERNEL, d)
        tolerance = 20 * TOLERANCE[dtype.name]
        np.testing.assert_allclose(
            gram(X, Z, kernel=kernel), reference.gram(X, Z, kernel=kernel), atol=tolerance
        )
        np.testing.assert_allclose(
            move(X, Z, C, kernel=kernel), reference.move(X, Z, C, kernel=kernel), atol=tolerance
        )
        # Nobody complains about empty arrays.
        assert capfd.readouterr() == ("", "")

    @pytest.mark.slow
    @pytest.mark.parametrize("d", [2, 9])
    def test_several_tiles(self, d, dtype, rng):
        X, Z, C = (rng.normal(size=(n, d)).astype(dtype) for n in (1500, 300, 300))
        kernel = scaled(KERNEL, d)
        np.testing.assert_allclose(
            move(X, Z, C, kernel=kernel, n_threads=2),
            reference.move(X, Z, C, kernel=kernel),
            rtol=0,
            atol=100 * TOLERANCE[dtype.name],
        )
        np.testing.assert_allclose(
            gram(X, Z, kernel=kernel, n_threads=2),
            reference.gram(X, Z, kernel=kernel),
            rtol=0,
            atol=TOLERANCE[dtype.name],
        )

    @pytest.mark.parametrize("d", [2, 12])
    def test_data_far_from_the_origin(self, d, kernel, rng):
        kernel = scaled(kernel, d)
        X, Z, C = (rng.normal(size=(n, d)) for n in (60, 40, 40))
        X, Z = (X + 1e3).astype(np.float32), (Z + 1e3).astype(np.float32)
        C = C.astype(np.float32)
        np.testing.assert_allclose(
            gram(X, Z, kernel=kernel), reference.gram(X, Z, kernel=kernel), atol=1e-5
        )
        # The result is rounded to float32 at 1000, whatever happens before.
        np.testing.assert_allclose(
            move(X, Z, C, kernel=kernel), reference.move(X, Z, C, kernel=kernel), atol=2e-4
        )

    @pytest.mark.parametrize("d", [3, 12])
    def test_rho_far_from_the_origin(self, d, kernel, rng):
        kernel = scaled(kernel, d)
        X, Y = rng.normal(size=(30, d)) + 1e5, rng.normal(size=30)
        coarse = np.arange(15)
        value, gradient = rho_gradient(X, Y, coarse, kernel=kernel, nugget=1e-2)
        expected = reference.rho_gradient(*exact(X, Y), coarse, kernel=kernel, nugget=1e-2)
        assert value == pytest.approx(float(expected[0]), rel=1e-9)
        np.testing.assert_allclose(
            gradient, expected[1], rtol=0, atol=1e-8 * float(np.abs(expected[1]).max())
        )

    def test_coinciding_points(self, dtype, kernel, rng):
        X = rng.normal(size=(30, 20)).astype(dtype)
        value = gram(X, X.copy(), kernel=scaled(kernel, 20))
        np.testing.assert_allclose(np.diag(value), 1.0, atol=TOLERANCE[dtype.name])
        assert (np.diag(gram(X, kernel=kernel)) == 1.0).all()


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 40),
    m=st.integers(0, 40),
    d=st.integers(1, 18),
    name=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape(n, m, d, name, seed):
    rng = np.random.default_rng(seed)
    X, Z, C = (rng.normal(size=(rows, d)).astype(name) for rows in (n, m, m))
    kernel = scaled(kernels.Matern52(1.0), d)
    before = [a.copy() for a in (X, Z, C)]
    np.testing.assert_allclose(
        gram(X, Z, kernel=kernel), reference.gram(X, Z, kernel=kernel), atol=TOLERANCE[name]
    )
    np.testing.assert_allclose(
        move(X, Z, C, kernel=kernel),
        reference.move(X, Z, C, kernel=kernel),
        atol=30 * TOLERANCE[name],
    )
    for array, copy in zip((X, Z, C), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(2, 30),
    m=st.integers(1, 4),
    d=st.integers(1, 10),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_any_batch(n, m, d, seed, data):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, m))
    coarse = rng.permutation(n)[: data.draw(st.integers(1, n - 1))]
    value, gradient = rho_gradient(X, Y, coarse, kernel=KERNEL, nugget=0.01)
    expected = reference.rho_gradient(*exact(X, Y), coarse, kernel=KERNEL, nugget=0.01)
    assert 0 <= value <= 1
    assert value == pytest.approx(float(expected[0]), abs=1e-12)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-8, atol=1e-11)


# ---- properties of the loss -------------------------------------------------------------------


def test_gradient_is_the_derivative(kernel, rng):
    X, Y = rng.normal(size=(14, 3)), rng.normal(size=(14, 2))
    coarse = np.arange(7)
    _, gradient = rho_gradient(X, Y, coarse, kernel=kernel, nugget=1e-2)
    h = 1e-5
    for i, k in [(0, 0), (5, 1), (6, 2), (7, 0), (13, 2)]:
        up, down = X.copy(), X.copy()
        up[i, k] += h
        down[i, k] -= h
        difference = (
            rho(up, Y, coarse, kernel=kernel, nugget=1e-2)
            - rho(down, Y, coarse, kernel=kernel, nugget=1e-2)
        ) / (2 * h)
        assert gradient[i, k] == pytest.approx(difference, rel=1e-6, abs=1e-9)


def test_gradient_with_coinciding_points(kernel, rng):
    X, Y = rng.normal(size=(12, 3)), rng.normal(size=12)
    X[7] = X[2]
    _, gradient = rho_gradient(X, Y, np.arange(6), kernel=kernel, nugget=0.1)
    expected = reference.rho_gradient(X, Y, np.arange(6), kernel=kernel, nugget=0.1)[1]
    np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-12)


def test_gradient_does_not_move_the_centre_nor_turn_the_data(rng):
    X, Y = rng.normal(size=(20, 3)), rng.normal(size=20)
    _, gradient = rho_gradient(X, Y, np.arange(10), kernel=KERNEL, nugget=1e-3)
    np.testing.assert_allclose(gradient.sum(axis=0), 0, atol=1e-12)
    torque = gradient.T @ X
    np.testing.assert_allclose(torque, torque.T, atol=1e-12)


def test_rho_takes_a_mask_or_row_numbers(rng):
    X, Y = rng.normal(size=(12, 2)), rng.normal(size=12)
    mask = rng.permutation(12) < 5
    by_mask = rho(X, Y, mask, kernel=KERNEL, nugget=0.1)
    by_rows = rho(X, Y, np.flatnonzero(mask)[::-1], kernel=KERNEL, nugget=0.1)
    assert by_mask == pytest.approx(by_rows, rel=1e-13)
    assert by_mask == rho(X, Y[:, None], list(np.flatnonzero(mask)), kernel=KERNEL, nugget=0.1)


def test_rho_sums_the_columns_of_the_targets(rng):
    X, Y = rng.normal(size=(12, 2)), rng.normal(size=(12, 1))
    once = rho(X, Y, np.arange(6), kernel=KERNEL, nugget=0.1)
    twice = rho(X, np.hstack([Y, -3 * Y]), np.arange(6), kernel=KERNEL, nugget=0.1)
    assert once == pytest.approx(twice, rel=1e-13)


def test_rho_of_no_targets_is_zero(rng):
    X = rng.normal(size=(8, 2))
    value, gradient = rho_gradient(X, np.zeros(8), np.arange(4), kernel=KERNEL, nugget=0.1)
    assert value == 0.0
    assert (gradient == 0.0).all()


def test_duplicates_without_nugget_are_named(rng):
    X, Y = rng.normal(size=(10, 2)), rng.normal(size=10)
    X[8] = X[3]
    with pytest.raises(kflow.SingularKernelError, match="rows 3 and 8 of X coincide"):
        rho(X, Y, [1, 8, 5], kernel=KERNEL, nugget=0.0)
    assert issubclass(kflow.SingularKernelError, np.linalg.LinAlgError)
    assert np.isfinite(rho(X, Y, [1, 8, 5], kernel=KERNEL, nugget=1e-3))


def test_points_too_close_for_the_kernel(rng):
    X, Y = rng.normal(size=(40, 1)), rng.normal(size=40)
    with pytest.raises(kflow.SingularKernelError, match="too close together"):
        rho(X, Y, np.arange(20), kernel=kernels.Gaussian(100.0), nugget=0.0)


# ---- arrays in and out ------------------------------------------------------------------------


def layouts(array):
    """The same values, laid out in every way that NumPy knows."""
    n, d = array.shape
    wide = np.zeros((2 * n, 3 * d), array.dtype)
    wide[::2, ::3] = array
    frozen = array.copy()
    frozen.flags.writeable = False
    raw = bytearray(array.nbytes + 1)
    unaligned = np.frombuffer(raw, array.dtype, array.size, offset=1).reshape(n, d)
    unaligned[:] = array
    return {
        "fortran": np.asfortranarray(array),
        "strided": wide[::2, ::3],
        "reversed": np.ascontiguousarray(array[::-1, ::-1])[::-1, ::-1],
        "read-only": frozen,
        "unaligned": unaligned,
        "big-endian": array.astype(array.dtype.newbyteorder(">")),
        "list": array.tolist(),
    }


LAYOUTS = ["fortran", "strided", "reversed", "read-only", "unaligned", "big-endian", "list"]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("d", [3, 9])
def test_layout_of_the_arguments_does_not_matter(layout, d, rng):
    X, Z, C = (rng.normal(size=(n, d)) for n in (30, 20, 20))
    Y = rng.normal(size=(30, 2))
    x, z, c, y = (layouts(a)[layout] for a in (X, Z, C, Y))
    np.testing.assert_array_equal(gram(x, z, kernel=KERNEL), gram(X, Z, kernel=KERNEL))
    np.testing.assert_array_equal(move(x, z, c, kernel=KERNEL), move(X, Z, C, kernel=KERNEL))
    got = rho_gradient(x, y, np.arange(15), kernel=KERNEL, nugget=0.1)
    want = rho_gradient(X, Y, np.arange(15), kernel=KERNEL, nugget=0.1)
    assert got[0] == want[0]
    np.testing.assert_array_equal(got[1], want[1])


@pytest.mark.parametrize("layout", ["fortran", "strided", "reversed", "read-only"])
def test_float32_layouts(layout, rng):
    X, Z, C = (rng.normal(size=(n, 4)).astype(np.float32) for n in (30, 20, 20))
    x, z, c = (layouts(a)[layout] for a in (X, Z, C))
    moved = move(x, z, c, kernel=KERNEL)
    assert moved.dtype == np.float32
    np.testing.assert_array_equal(moved, move(X, Z, C, kernel=KERNEL))


@pytest.mark.parametrize("kind", ["float16", "int32", "uint8", "bool", "object", "longdouble"])
def test_other_kinds_become_float64(kind, rng):
    X = rng.integers(0, 2, (10, 3)).astype(kind)
    value = gram(X, kernel=KERNEL)
    assert value.dtype == np.float64
    np.testing.assert_array_equal(value, gram(X.astype(float), kernel=KERNEL))


def test_one_float64_argument_makes_the_result_float64(rng):
    X, Z = rng.normal(size=(5, 2)).astype(np.float32), rng.normal(size=(4, 2))
    assert gram(X, Z, kernel=KERNEL).dtype == np.float64
    assert gram(X, kernel=KERNEL).dtype == np.float32
    assert move(X, Z, Z, kernel=KERNEL).dtype == np.float64


def call_gram(**arguments):
    return gram(**{"X": np.ones((4, 2)), "Z": np.ones((3, 2)), **arguments}, kernel=KERNEL)


def call_move(**arguments):
    good = {"X": np.ones((4, 2)), "Z": np.ones((4, 2)), "C": np.ones((4, 2))}
    return move(**{**good, **arguments}, kernel=KERNEL)


def call_rho(**arguments):
    good = {"X": np.arange(8.0).reshape(4, 2), "Y": np.ones(4), "coarse": [0, 1], "nugget": 0.1}
    return rho(**{**good, **arguments}, kernel=KERNEL)


BAD_ARRAYS = {
    "sparse": (scipy.sparse.csr_array(np.ones((4, 2))), TypeError, r"\.toarray\(\)"),
    "text": (np.full((4, 2), "a"), TypeError, "real numbers"),
    "objects": (np.full((4, 2), "a", dtype=object), TypeError, "real numbers"),
    "complex": (np.ones((4, 2), complex), TypeError, "real numbers"),
    "dates": (np.zeros((4, 2), "datetime64[s]"), TypeError, "real numbers"),
    "ragged": ([[1.0, 2.0], [3.0]], ValueError, "shape"),
    "nothing": (np.full((4, 2), None, dtype=object), ValueError, "NaN or infinity"),
    "nan": (np.array([[1.0, np.nan]] * 4), ValueError, "NaN or infinity"),
    "inf": (np.array([[1.0, -np.inf]] * 4), ValueError, "NaN or infinity"),
    "3-d": (np.ones((4, 2, 1)), ValueError, "two dimensions"),
    "0-d": (1.0, ValueError, "two dimensions"),
    "no columns": (np.ones((4, 0)), ValueError, "empty|columns"),
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (call_gram, "X"),
        (call_gram, "Z"),
        (call_move, "X"),
        (call_move, "Z"),
        (call_move, "C"),
        (call_rho, "X"),
        (call_rho, "Y"),
    ],
)
def test_bad_arrays_are_named(call, name, kind):
    value, error, text = BAD_ARRAYS[kind]
    with pytest.raises(error, match=rf"(?s)^{name} .*({text})"):
        call(**{name: value})


def test_one_dimension_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"X\.reshape\(-1, 1\)"):
        gram(np.ones(3), kernel=KERNEL)


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"Z must have 2 columns, got shape \(3, 5\)"):
        call_gram(Z=np.ones((3, 5)))
    with pytest.raises(ValueError, match=r"C must have 3 rows, got shape \(4, 2\)"):
        call_move(Z=np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"Y must have 4 rows, got shape \(5, 1\)"):
        call_rho(Y=np.ones(5))
    with pytest.raises(ValueError, match="X is empty"):
        call_rho(X=np.ones((0, 2)))


def test_values_beyond_float32_are_reported():
    with pytest.raises(ValueError, match="X contains values too large for float32"):
        kflow.KernelFlow(n_layers=1, batch_size=4).fit(
            np.array([[1e300], [1.0], [2.0], [3.0]]), np.arange(4.0)
        )


@pytest.mark.parametrize("kernel", [None, "gaussian", kernels.Gaussian])
def test_kernel_must_be_one(kernel):
    with pytest.raises(TypeError, match="kernel must be one of"):
        gram(np.ones((2, 2)), kernel=kernel)


@pytest.mark.parametrize(
    ("nugget", "error"),
    [(-1e-9, ValueError), (np.nan, ValueError), (np.inf, ValueError), ("a", TypeError)],
)
def test_bad_nugget(nugget, error):
    with pytest.raises(error, match="nugget must be"):
        call_rho(nugget=nugget)


@pytest.mark.parametrize(
    ("step", "error"), [(np.nan, ValueError), (np.inf, ValueError), ("a", TypeError)]
)
def test_bad_step(step, error):
    with pytest.raises(error, match="step must be"):
        call_move(step=step)


@pytest.mark.parametrize(
    ("coarse", "error"),
    [
        ([], (TypeError, ValueError)),
        ([0, 1, 2, 3], ValueError),
        ([0, 4], ValueError),
        ([-1, 0], ValueError),
        ([1, 1], ValueError),
        ([0.0, 1.0], TypeError),
        ([[0, 1]], TypeError),
        (np.array([True, False]), TypeError),
        (np.zeros(4, bool), ValueError),
        (np.ones(4, bool), ValueError),
        ("ab", TypeError),
    ],
    ids=str,
)
def test_bad_coarse(coarse, error):
    with pytest.raises(error, match=r"^coarse "):
        call_rho(coarse=coarse)


# ---- out ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [3, 9])
def test_out_receives_the_result(d, dtype, rng):
    X, Z, C = (rng.normal(size=(n, d)).astype(dtype) for n in (30, 20, 20))
    out = np.full((30, 20), np.nan, dtype)
    assert gram(X, Z, kernel=KERNEL, out=out) is out
    np.testing.assert_array_equal(out, gram(X, Z, kernel=KERNEL))
    out = np.full((30, d), np.nan, dtype)
    assert move(X, Z, C, kernel=KERNEL, out=out) is out
    np.testing.assert_array_equal(out, move(X, Z, C, kernel=KERNEL))


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("d", [3, 9])
def test_move_in_place_and_over_its_other_arguments(d, dtype, rng):
    X, Z, C = (rng.normal(size=(700, d)).astype(dtype) for _ in range(3))
    want = move(X, Z, C, kernel=KERNEL)
    for alias in range(3):
        arguments = [X.copy(), Z.copy(), C.copy()]
        assert move(*arguments, kernel=KERNEL, out=arguments[alias]) is arguments[alias]
        np.testing.assert_array_equal(arguments[alias], want)
    one = X.copy()
    np.testing.assert_array_equal(
        move(one, one, one, kernel=KERNEL, out=one), move(X, X, X, kernel=KERNEL)
    )


def test_centres_may_be_rows_of_the_points(rng):
    X, C = rng.normal(size=(50, 3)), rng.normal(size=(20, 3))
    want = move(X, X[10:30].copy(), C, kernel=KERNEL)
    np.testing.assert_array_equal(move(X, X[10:30], C, kernel=KERNEL, out=X), want)


def test_out_that_overlaps_in_part_is_refused(rng):
    base = rng.normal(size=(12, 3))
    Z = rng.normal(size=(5, 3))
    with pytest.raises(ValueError, match="out overlaps X"):
        move(base[:10], Z, Z, kernel=KERNEL, out=base[2:])
    square = rng.normal(size=(6, 6))
    with pytest.raises(ValueError, match="out must not overlap"):
        gram(square, kernel=KERNEL, out=square)
    with pytest.raises(ValueError, match="out must not overlap"):
        gram(rng.normal(size=(6, 6)), square, kernel=KERNEL, out=square)


BAD_OUTS = {
    "shape": (lambda: np.empty((3, 4)), ValueError, r"shape \(4, 3\)"),
    "dtype": (lambda: np.empty((4, 3), np.float32), ValueError, "dtype float64"),
    "fortran": (lambda: np.empty((4, 3), order="F"), ValueError, "C-contiguous"),
    "broadcast": (lambda: np.broadcast_to(np.float64(0), (4, 3)), ValueError, "C-contiguous"),
    "read-only": (lambda: np.frombuffer(bytes(96)).reshape(4, 3), ValueError, "read-only"),
    "list": (lambda: [[0.0] * 3] * 4, TypeError, "NumPy array"),
}


@pytest.mark.parametrize("kind", BAD_OUTS)
def test_bad_out(kind):
    make, error, text = BAD_OUTS[kind]
    with pytest.raises(error, match=f"^out .*{text}|^out is {text}"):
        gram(np.ones((4, 3)), np.ones((3, 3)), kernel=KERNEL, out=make())
    with pytest.raises(error, match=f"^out .*{text}|^out is {text}"):
        move(np.ones((4, 3)), np.ones((2, 3)), np.ones((2, 3)), kernel=KERNEL, out=make())


@pytest.mark.parametrize("d", [3, 9])
def test_no_copies_of_contiguous_arrays(d, dtype, rng):
    import tracemalloc

    X = rng.normal(size=(20000, d)).astype(dtype)
    Z, C = (rng.normal(size=(8, d)).astype(dtype) for _ in range(2))
    out = np.empty_like(X)
    move(X, Z, C, kernel=KERNEL, out=out)
    tracemalloc.start()
    move(X, Z, C, kernel=KERNEL, out=out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # What checks for NaN takes one byte for each number; a copy would take its itemsize more.
    assert peak < X.size + 20000


# ---- one_hot -----------------------------------------------------------------------------------


def test_one_hot():
    encoded = one_hot(["b", "a", "b", "c"], dtype=np.float32)
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, [[0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(one_hot([True, False]), [[0, 1], [1, 0]])
    with pytest.raises(ValueError, match="labels must have one dimension"):
        one_hot([[1, 2]])


def test_masked_entries_and_labels_that_are_no_numbers_are_refused():
    masked = np.ma.masked_greater(np.eye(3), 0.5)
    with pytest.raises(ValueError, match="X has masked entries"):
        kflow.gram(masked, kernel=kernels.Gaussian())
    np.testing.assert_array_equal(
        kflow.gram(np.ma.array(np.eye(3)), kernel=kernels.Gaussian()),
        kflow.gram(np.eye(3), kernel=kernels.Gaussian()),
    )
    with pytest.raises(ValueError, match="labels contain NaN"):
        kflow.one_hot([0.0, np.nan])


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_rho_does_not_change_with_the_scale_of_the_targets(rng, scale):
    X, Y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    options = {"kernel": kernels.Gaussian(), "nugget": 0.01}
    loss, gradient = rho_gradient(X, Y * scale, np.arange(10), **options)
    expected, expected_gradient = rho_gradient(X, Y, np.arange(10), **options)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("scale", [1.0, 100.0, 3000.0])
def test_points_many_length_scales_apart_keep_their_digits_in_float32(rng, scale):
    X = rng.normal(size=(40, 10)) * 0.3
    X[:20, 0] += scale
    X[20:, 0] -= scale
    X = X.astype(np.float32)
    expected = gram(X.astype(np.float64), kernel=kernels.Gaussian())
    np.testing.assert_allclose(gram(X, kernel=kernels.Gaussian()), expected, atol=1e-5)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("length_scale", [1e-40, 1e-20, 1e20])
@pytest.mark.parametrize("d", [2, 9])
def test_extreme_length_scales_stay_finite(kernel, length_scale, d, dtype):
    X = np.vstack([np.eye(3, d), np.eye(3, d)]).astype(dtype)
    K = gram(X, kernel=dataclasses.replace(kernel, length_scale=length_scale))
    assert np.isfinite(K).all()
    np.testing.assert_array_equal(np.diagonal(K, 3), np.ones(3, dtype))


def test_rho_of_any_kernel(rng):
    X, Y = rng.normal(size=(25, 3)), rng.normal(size=(25, 2))
    want = kflow.rho_gradient(X, Y, np.arange(9), kernel=kernels.Gaussian(1.3), nugget=0.1)
    for same in (kernels.Gaussian([1.3] * 3), 1.0 * kernels.Gaussian(1.3)):
        loss, gradient = kflow.rho_gradient(X, Y, np.arange(9), kernel=same, nugget=0.1)
        assert loss == pytest.approx(want[0], rel=1e-12)
        np.testing.assert_allclose(gradient, want[1], rtol=0, atol=1e-13)
        assert kflow.rho(X, Y, np.arange(9), kernel=same, nugget=0.1) == loss
    # An amplitude counts like a smaller nugget.
    doubled = kflow.rho(X, Y, np.arange(9), kernel=2.0 * kernels.Gaussian(1.3), nugget=0.2)
    assert doubled == pytest.approx(want[0], rel=1e-12)
    with pytest.raises(kflow.SingularKernelError, match="the same to the kernel"):
        kflow.rho(np.zeros((4, 1)), np.ones(4), [0, 2], kernel=2.0 * kernels.Gaussian(), nugget=0.0)
