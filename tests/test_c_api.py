"""The table of functions for C, called as a compiled program would: with addresses and sizes."""

from __future__ import annotations

import ctypes
import re
from ctypes import (
    POINTER,
    byref,
    c_char,
    c_char_p,
    c_double,
    c_int32,
    c_ssize_t,
    c_uint32,
    c_void_p,
)
from pathlib import Path

import numpy as np
import pytest

import kflow
from kflow.c_api import C_API, FUNCTIONS, function_address
from kflow.flow.batch import draw_batch

OK, INVALID, NOT_POSITIVE_DEFINITE, DIVERGED = range(4)
STEP_RULES = ("relative", "rms", "absolute", "fixed")


class Profile(ctypes.Structure):
    _fields_ = (
        ("family", c_int32),
        ("degree", c_int32),
        ("length_scale", c_double),
        ("alpha", c_double),
    )


class Error(ctypes.Structure):
    _fields_ = (("first", c_ssize_t), ("second", c_ssize_t), ("message", c_char * 240))


class Layer(ctypes.Structure):
    _fields_ = (
        ("centres", c_void_p),
        ("coefficients", c_void_p),
        ("n_centres", c_ssize_t),
        ("n_moving", c_ssize_t),
        ("step", c_double),
    )


class Options(ctypes.Structure):
    _fields_ = (
        ("profile", Profile),
        ("nugget", c_double),
        ("step_size", c_double),
        ("gradient_cap", c_double),
        ("step_rule", c_int32),
        ("over_batch", c_int32),
        ("n_coarse", c_ssize_t),
        ("n_halves", c_ssize_t),
    )


class Report(ctypes.Structure):
    _fields_ = (
        ("rho", c_double),
        ("step", c_double),
        ("class_distance_ratio", c_double),
        ("relative_displacement", c_double),
    )


# One letter for each argument: pointer, size, double, number of threads.
KINDS = {"p": c_void_p, "s": c_ssize_t, "d": c_double, "t": c_int32}


def function(arguments):
    return ctypes.CFUNCTYPE(c_int32, *(KINDS[letter] for letter in arguments))


GRAM, APPLY = function("ppspssptp"), function("ppsspspsdpptp")
RHO, LAYER = function("pdpsspspspptp"), function("ppssspsppspppptp")
REPLAY = function("ppsspstp")
TEXT = ctypes.CFUNCTYPE(c_char_p)


class Table(ctypes.Structure):
    _fields_ = (
        ("version", c_uint32),
        ("size", c_uint32),
        ("kflow_version", TEXT),
        ("simd_level", TEXT),
        ("family", ctypes.CFUNCTYPE(c_int32, c_char_p)),
        ("gram_f32", GRAM),
        ("gram_f64", GRAM),
        ("apply_f32", APPLY),
        ("apply_f64", APPLY),
        ("rho_f64", RHO),
        ("layer_f32", LAYER),
        ("layer_f64", LAYER),
        ("replay_f32", REPLAY),
        ("replay_f64", REPLAY),
    )


get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
get_pointer.restype, get_pointer.argtypes = c_void_p, [ctypes.py_object, c_char_p]
API = ctypes.cast(get_pointer(C_API, b"kflow.c_api.C_API"), POINTER(Table)).contents


def of_dtype(name, dtype):
    return getattr(API, f"{name}_{'f32' if dtype == np.float32 else 'f64'}")


def at(array):
    return None if array is None else array.ctypes.data


def profile_of(kernel):
    family, length_scale, alpha, degree = kernel.profile
    return Profile(API.family(family.encode()), degree, length_scale, alpha)


def test_the_table_is_that_of_the_header():
    assert API.version == 1
    assert API.size == ctypes.sizeof(Table)
    assert API.kflow_version().decode() == kflow.__version__


def test_addresses_are_those_of_the_table():
    for name in FUNCTIONS:
        assert function_address(name) == ctypes.cast(getattr(API, name), c_void_p).value
    with pytest.raises(ValueError, match="name must be one of"):
        function_address("gram")


def test_the_level_follows_the_engine(engine):
    assert API.simd_level().decode() == engine


def test_families_have_pythons_names():
    assert [API.family(name.encode()) for name in kflow.kernels.RADIAL] == [*range(8)]
    assert API.family(b"polynomial") == API.family(b"none") == API.family(None) == -1


@pytest.mark.usefixtures("engine")
def test_gram(rng, kernel, dtype):
    X, Z = rng.normal(size=(40, 5)).astype(dtype), rng.normal(size=(9, 5)).astype(dtype)
    out = np.empty((40, 9), dtype)
    profile, error = profile_of(kernel), Error()
    gram = of_dtype("gram", dtype)
    status = gram(byref(profile), at(X), 40, at(Z), 9, 5, at(out), 2, byref(error))
    assert status == OK, error.message
    assert np.array_equal(out, kflow.gram(X, Z, kernel=kernel))


@pytest.mark.usefixtures("engine")
def test_apply_moves_points(rng, kernel, dtype):
    X, Z, C = (rng.normal(size=(n, 4)).astype(dtype) for n in (50, 7, 7))
    expected, profile = kflow.move(X, Z, C, kernel=kernel, step=0.3), profile_of(kernel)
    shapes = (50, 4, at(Z), 7, at(C), 4)
    status = of_dtype("apply", dtype)(
        byref(profile), at(X), *shapes, 0.3, at(X), at(X), 2, byref(Error())
    )
    assert status == OK
    assert np.array_equal(X, expected)


def test_apply_predicts(rng, kernel, dtype):
    Z, Y, X = (rng.normal(size=s).astype(dtype) for s in ((20, 4), (20, 3), (11, 4)))
    interpolant = kflow.Interpolant(Z, Y, kernel=kernel, nugget=1.0)
    out, profile = np.empty((11, 3), dtype), profile_of(kernel)
    shapes = (11, 4, at(interpolant.centres), 20, at(interpolant.coefficients), 3)
    status = of_dtype("apply", dtype)(
        byref(profile), at(X), *shapes, 1.0, None, at(out), 1, byref(Error())
    )
    assert status == OK
    assert np.array_equal(out, interpolant(X))


def test_rho_and_its_gradient(rng, kernel):
    X, Y = rng.normal(size=(30, 4)), rng.normal(size=(30, 2))
    coarse = rng.permutation(30)[:13].astype(np.intp)
    value, gradient, profile = c_double(), np.empty_like(X), profile_of(kernel)
    arguments = (byref(profile), 0.1, at(X), 30, 4, at(Y), 2, at(coarse), 13, byref(value))
    expected = kflow.rho_gradient(X, Y, coarse, kernel=kernel, nugget=0.1)
    for out in (gradient, None):
        assert API.rho_f64(*arguments, at(out), 2, byref(Error())) == OK
        assert value.value == expected[0]
    assert np.array_equal(gradient, expected[1])


@pytest.mark.parametrize("rule", STEP_RULES)
@pytest.mark.parametrize("over_batch", [False, True])
def test_layers_are_those_of_a_flow(rng, dtype, rule, over_batch):
    X, labels = rng.normal(size=(60, 3)).astype(dtype), rng.integers(0, 3, 60)
    Y = kflow.one_hot(labels)
    kernel = kflow.kernels.Matern52(2.0)
    flow = kflow.KernelFlow(
        kernel,
        n_layers=3,
        batch_size=20,
        nugget=0.5,
        step=rule,
        step_size=0.02,
        step_over="batch" if over_batch else "all",
        gradient_cap=1.0,
        n_halves=2,
        dtype=dtype.name,
        random_state=0,
    ).fit(X, Y)
    points, codes = X.copy(), labels.astype(np.int32)
    z, c = np.empty((20, 3), dtype), np.empty((20, 3), dtype)
    report, error = Report(), Error()
    draws = np.random.default_rng(0)
    layers = []
    for number in range(3):
        batch = draw_batch(draws, 60, flow)
        options = Options(
            profile_of(kernel),
            0.5,
            0.02,
            1.0,
            STEP_RULES.index(rule),
            over_batch,
            batch.n_coarse,
            2,
        )
        status = of_dtype("layer", dtype)(
            *(byref(options), at(points), 60, 3, 3, at(Y), 3, at(codes)),
            *(at(batch.rows), 20, at(batch.halves), at(z), at(c), byref(report), 2, byref(error)),
        )
        assert status == OK, error.message
        assert report.rho == flow.history_["rho"][number]
        assert report.step == flow.history_["step"][number]
        assert report.class_distance_ratio == flow.history_["class_distance_ratio"][number]
        assert 0.0 < report.relative_displacement < 10.0
        layers.append((z.copy(), c.copy(), report.step))
    assert np.array_equal(points, flow.points_)

    moved = X.copy()
    given = (Layer * 3)(*(Layer(at(z), at(c), 20, 3, step) for z, c, step in layers))
    profile = profile_of(kernel)
    status = of_dtype("replay", dtype)(byref(profile), at(moved), 60, 3, given, 3, 2, byref(error))
    assert status == OK, error.message
    assert np.array_equal(moved, flow.transform(X))


def test_only_the_first_coordinates_move(rng, dtype):
    X, Z = rng.normal(size=(30, 4)).astype(dtype), rng.normal(size=(6, 4)).astype(dtype)
    C = rng.normal(size=(6, 3)).astype(dtype)
    kernel = kflow.kernels.Gaussian(2.0)
    points, profile = X.copy(), profile_of(kernel)
    layer = Layer(at(Z), at(C), 6, 3, 0.5)
    status = of_dtype("replay", dtype)(
        byref(profile), at(points), 30, 4, byref(layer), 1, 1, byref(Error())
    )
    assert status == OK
    assert np.array_equal(points[:, 3], X[:, 3])
    expected = X[:, :3] + 0.5 * kflow.gram(X, Z, kernel=kernel) @ C
    assert np.allclose(points[:, :3], expected, rtol=1e-5, atol=1e-5)


def test_no_rows(dtype):
    profile, out = Profile(0, 1, 1.0, 1.0), np.empty((0, 3), dtype)
    z = np.zeros((3, 2), dtype)
    assert of_dtype("gram", dtype)(byref(profile), None, 0, at(z), 3, 2, at(out), 1, None) == OK
    assert of_dtype("replay", dtype)(byref(profile), None, 0, 2, None, 0, 1, None) == OK


GOOD = {"family": 0, "degree": 1, "length_scale": 1.0, "alpha": 1.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": 8}, "no such family"),
        ({"family": -1}, "no such family"),
        ({"length_scale": 0.0}, "length_scale"),
        ({"length_scale": np.nan}, "length_scale"),
        ({"length_scale": 1e-30}, "length_scale"),  # in float32
        ({"family": 4, "alpha": -1.0}, "alpha"),
        ({"family": 7, "degree": 0}, "degree"),
    ],
)
def test_a_bad_profile_is_refused(changes, message):
    x, out, error = np.zeros((2, 2), np.float32), np.empty((2, 2), np.float32), Error()
    profile = Profile(**{**GOOD, **changes})
    assert API.gram_f32(byref(profile), at(x), 2, at(x), 2, 2, at(out), 1, byref(error)) == INVALID
    assert message in error.message.decode()
    assert (error.first, error.second) == (-1, -1)


def test_bad_arguments_are_refused():
    x, z, out, error = np.zeros((3, 2)), np.ones((3, 2)), np.empty((3, 3)), Error()
    good, coarse = Profile(**GOOD), np.array([0, 0])

    def gram(profile=good, x=x, n=3, d=2, out=out, n_threads=1):
        given = None if profile is None else byref(profile)
        status = API.gram_f64(given, at(x), n, at(z), 3, d, at(out), n_threads, byref(error))
        return status, error.message.decode()

    assert gram()[0] == OK
    for name, value in {"profile": None, "x": None, "d": 0, "out": None, "n_threads": 0}.items():
        status, message = gram(**{name: value})
        assert status == INVALID
        assert re.search(rf"\b{name}\b", message)
    assert gram(n=-1)[0] == INVALID

    def rho(n_coarse, coarse):
        value = c_double()
        status = API.rho_f64(
            *(byref(good), 1.0, at(x), 3, 2, at(out), 3, at(coarse), n_coarse),
            *(byref(value), None, 1, byref(error)),
        )
        return status, error.message.decode()

    assert rho(2, coarse) == (INVALID, "coarse holds a row twice")
    assert rho(1, np.array([3]))[0] == rho(3, coarse)[0] == rho(1, None)[0] == INVALID


def test_duplicates_are_named_by_their_rows():
    x, error, value = np.arange(10.0).reshape(5, 2), Error(), c_double()
    x[4] = x[1]
    profile, coarse = Profile(**GOOD), np.array([4, 2])
    arguments = (at(x), 5, 2, at(x), 2, at(coarse), 2, byref(value), None, 1)
    status = API.rho_f64(byref(profile), 0.0, *arguments, byref(error))
    assert status == NOT_POSITIVE_DEFINITE
    assert {error.first, error.second} == {1, 4}
    assert "nugget" in error.message.decode()


def test_a_layer_that_fails_moves_nothing(rng):
    X, Y, batch = rng.normal(size=(8, 2)), rng.normal(size=(8, 1)), np.arange(6)
    options = Options(Profile(**GOOD), 1e-3, 1e9, np.inf, 1, 0, 3, 1)
    points, z, c, report, error = X.copy(), np.empty((6, 2)), np.empty((6, 2)), Report(), Error()
    arguments = (8, 2, 2, at(Y), 1, None, at(batch), 6, None, at(z), at(c), byref(report), 1)
    assert API.layer_f64(byref(options), at(points), *arguments, byref(error)) == DIVERGED
    assert "step_size" in error.message.decode()
    assert np.array_equal(points, X)
    options.n_coarse = 6
    assert API.layer_f64(byref(options), at(points), *arguments, byref(error)) == INVALID
    assert "n_coarse" in error.message.decode()


def test_the_headers_are_there():
    folder = Path(kflow.get_include())
    assert (folder / "kflow_python.h").is_file()
    text = (folder / "kflow.h").read_text("utf-8")
    assert f"#define KFLOW_API_VERSION {API.version}\n" in text
    # The table here, in Cython's file and in the header is the same.
    members = [name for name, _ in Table._fields_]
    table = text.partition("typedef struct kflow_api {")[2].partition("} kflow_api;")[0]
    assert re.findall(r"\(\*(\w+)\)\(", table) == members[2:]
    assert list(FUNCTIONS) == members[2:]
    cython = (folder.parent / "c_api.pxd").read_text("utf-8")
    assert re.findall(r"\(\*(\w+)\)\(", cython) == members[2:]
