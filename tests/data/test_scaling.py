from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from kflow.data.scaling import Preprocessing, row_norms, standardisation
from kflow.errors import ModelFileError

# More than one chunk of rows, and a last one that is not full.
N = 2500


@pytest.fixture
def X(rng, dtype):
    return (rng.normal(size=(N, 6)) * [1, 2, 3, 4, 5, 6] + 7).astype(dtype)


def test_standard(X):
    scaled = Preprocessing.fit(X, "standard")(X)
    assert scaled.dtype == X.dtype
    wanted = (X - X.mean(axis=0, dtype=np.float64)) / X.std(axis=0, dtype=np.float64)
    np.testing.assert_allclose(scaled, wanted, atol=20 * np.finfo(X.dtype).eps)


def test_unit(X):
    X[3] = 0
    scaled = Preprocessing.fit(X, "unit")(X)
    assert scaled.dtype == X.dtype
    np.testing.assert_array_equal(scaled[3], np.zeros(6))
    norms = np.linalg.norm(np.delete(scaled, 3, axis=0), axis=1)
    np.testing.assert_allclose(norms, 1, rtol=1e-6)


def test_nothing_is_no_copy(X):
    assert Preprocessing.fit(X, None)(X) is X


@pytest.mark.parametrize("scaling", ["standard", "unit", None])
def test_undone_is_the_inverse(scaling, X):
    X[3] = 0
    scaling = Preprocessing.fit(X, scaling)
    back = scaling.undone(scaling(X), X)
    assert back.dtype == X.dtype
    assert not np.may_share_memory(back, X)
    np.testing.assert_allclose(back, X, atol=100 * np.finfo(X.dtype).eps)


@pytest.mark.parametrize("scaling", ["standard", "unit", None])
@pytest.mark.parametrize("is_mapped", [False, True])
def test_pull_back_by_differences(scaling, is_mapped, rng):
    X = rng.normal(size=(50, 6)) + 2.0
    X[3] = 0
    scaling = Preprocessing.fit(X, scaling)
    if is_mapped:
        scaling = scaling.followed_by(rng.normal(size=(6, 6)))
    A, along, h = rng.normal(size=(50, 6)), rng.normal(size=(50, 6)), 1e-6
    got = (scaling.pull_back(X, A) * along).sum(axis=1)
    expected = (A * (scaling(X + h * along) - scaling(X - h * along))).sum(axis=1) / (2 * h)
    np.testing.assert_allclose(np.delete(got, 3), np.delete(expected, 3), rtol=1e-6, atol=1e-8)
    assert np.isfinite(got).all()  # a row of zeros has no direction


def test_undone_of_moved_points_has_the_norms_of_the_originals(X):
    scaling = Preprocessing.fit(X, "unit")
    moved = scaling(X) + X.dtype.type(0.5)
    expected = moved * np.linalg.norm(X, axis=1)[:, None]
    np.testing.assert_allclose(scaling.undone(moved, X), expected, rtol=1e-5)


@pytest.mark.parametrize("value", [0.1, 1e8 / 3, -7.0, 0.0])
def test_constant_columns_keep_their_scale(X, value):
    X[:, 2] = value
    mean, scale = standardisation(X, "X")
    assert mean[2] == X[0, 2]
    assert scale[2] == 1.0
    scaled = Preprocessing.fit(X, "standard")(X)
    np.testing.assert_array_equal(scaled[:, 2], np.zeros(N))


def test_columns_that_vary_by_rounding_errors_keep_their_scale(X, rng):
    X[:, 2] = np.asarray(0.1, X.dtype) * (1 + np.finfo(X.dtype).eps * rng.integers(-1, 2, N))
    assert len(np.unique(X[:, 2])) > 1
    assert standardisation(X, "X")[1][2] == 1.0


def test_values_too_large_to_be_squared():
    X = np.array([[1.0, 1e200], [2.0, 0.0], [3.0, -1e200]])
    with pytest.raises(ValueError, match="X has values too large to be scaled"):
        Preprocessing.fit(X, "standard")
    with pytest.raises(ValueError, match="y has values"):
        standardisation(X * 1e108, "y")


def test_new_points_are_mapped_as_the_training_points(X):
    for scaling in ("standard", "unit", None):
        preprocessing = Preprocessing.fit(X, scaling)
        np.testing.assert_allclose(preprocessing(X)[7:9], preprocessing(X[7:9]), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("scaling", ["standard", "unit", None])
def test_no_float64_copy_of_the_data(rng, scaling):
    X = rng.normal(size=(100_000, 20)).astype(np.float32)
    tracemalloc.start()
    try:
        preprocessing = Preprocessing.fit(X, scaling)
        fit = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        preprocessing(X)
        call = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert fit < X.nbytes / 4
    assert call < 1.25 * X.nbytes


@pytest.mark.parametrize("scaling", ["minmax", 1, True])
def test_bad_scaling(X, scaling):
    with pytest.raises(ValueError, match="scaling must be one of"):
        Preprocessing.fit(X, scaling)


# ---- as arrays --------------------------------------------------------------------------------


@pytest.mark.parametrize("scaling", ["standard", "unit", None])
def test_arrays_there_and_back(X, scaling):
    preprocessing = Preprocessing.fit(X, scaling)
    again = Preprocessing.from_arrays(preprocessing.to_arrays(), 6)
    np.testing.assert_array_equal(again(X), preprocessing(X))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("unit", None),
        ("unit", np.array([True])),
        ("mean", None),
        ("mean", np.zeros(5)),
        ("mean", np.full(6, np.nan)),
        ("mean", np.full(6, "a")),
        ("scale", None),
        ("scale", np.ones((6, 1))),
        ("scale", np.zeros(6)),
    ],
    ids=lambda value: "missing" if value is None else str(getattr(value, "shape", value)),
)
def test_damaged_arrays(X, name, value):
    arrays = Preprocessing.fit(X, "standard").to_arrays()
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value
    with pytest.raises(ModelFileError, match="preprocessing"):
        Preprocessing.from_arrays(arrays, 6)


# ---- a linear map that follows -------------------------------------------------------------------


@pytest.fixture
def mapped(X, rng):
    return Preprocessing.fit(X, "standard").followed_by(rng.normal(size=(6, 6)))


def test_a_linear_map_follows_the_scaling(X, mapped):
    wanted = Preprocessing.fit(X, "standard")(X) @ mapped.components.T
    found = mapped(X)
    assert found.dtype == X.dtype
    np.testing.assert_allclose(found, wanted, atol=100 * np.finfo(X.dtype).eps)
    # To the last bit, however the rows are cut into chunks.
    np.testing.assert_array_equal(mapped(X[1030:1040]), found[1030:1040])
    alone = Preprocessing().followed_by(mapped.components)
    np.testing.assert_allclose(alone(X), X @ mapped.components.T, rtol=1e-3, atol=1e-3)


def test_a_linear_map_is_undone(X, mapped):
    back = mapped.undone(mapped(X), X)
    assert back.dtype == X.dtype
    np.testing.assert_allclose(back, X, atol=1e5 * np.finfo(X.dtype).eps)


def test_a_linear_map_as_arrays(X, mapped):
    again = Preprocessing.from_arrays(mapped.to_arrays(), 6)
    np.testing.assert_array_equal(again(X), mapped(X))
    for broken in (np.zeros((6, 5)), np.full((6, 6), np.nan), np.zeros((6, 6), dtype=np.int64)):
        with pytest.raises(ModelFileError, match="preprocessing"):
            Preprocessing.from_arrays({**mapped.to_arrays(), "components": broken}, 6)


# ---- weights -------------------------------------------------------------------------------------


def test_a_weight_of_two_is_a_row_twice(X, rng):
    weights = rng.integers(1, 4, N)
    mean, scale = standardisation(X, "X", weights.astype(float))
    wanted = standardisation(X.repeat(weights, axis=0), "X")
    np.testing.assert_allclose(mean, wanted[0], rtol=1e-6)
    np.testing.assert_allclose(scale, wanted[1], rtol=1e-6)
    scaled = Preprocessing.fit(X, "standard", weights.astype(float))(X)
    np.testing.assert_allclose(np.average(scaled, axis=0, weights=weights), 0.0, atol=1e-5)


@pytest.mark.parametrize("size", [1e-40, 1e-30, 1.0, 1e30, 1e38])
def test_norms_of_tiny_and_huge_rows(size):
    X = np.array([[3.0, 4.0], [0.0, 0.0], [0.5, 0.0]]) * size / 5.0
    norms = row_norms(X.astype(np.float32))
    assert norms.dtype == np.float32
    np.testing.assert_allclose(norms[[0, 2], 0], [size, size / 10.0], rtol=1e-4)
    assert norms[1] == 1.0
    np.testing.assert_allclose(row_norms(X * 1e250)[0], size * 1e250, rtol=1e-12)


def test_norms_of_no_rows():
    assert row_norms(np.empty((0, 3))).shape == (0, 1)
