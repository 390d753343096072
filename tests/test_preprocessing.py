from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from kflow import _core
from kflow.errors import ModelFileError
from kflow.preprocessing import Preprocessing, standardisation

# More than one chunk of rows, and a last one that is not full.
N = 2500


@pytest.fixture
def X(rng, dtype):
    return (rng.normal(size=(N, 6)) * [1, 2, 3, 4, 5, 6] + 7).astype(dtype)


def test_standard(X):
    scaled = Preprocessing.fit(X, scaling="standard", rank=None)(X)
    assert scaled.dtype == X.dtype
    wanted = (X - X.mean(axis=0, dtype=np.float64)) / X.std(axis=0, dtype=np.float64)
    np.testing.assert_allclose(scaled, wanted, atol=20 * np.finfo(X.dtype).eps)


def test_unit(X):
    X[3] = 0
    scaled = Preprocessing.fit(X, scaling="unit", rank=None)(X)
    assert scaled.dtype == X.dtype
    np.testing.assert_array_equal(scaled[3], np.zeros(6))
    norms = np.linalg.norm(np.delete(scaled, 3, axis=0), axis=1)
    np.testing.assert_allclose(norms, 1, rtol=1e-6)


def test_nothing_is_no_copy(X):
    assert Preprocessing.fit(X, scaling=None, rank=None)(X) is X


@pytest.mark.parametrize("value", [0.1, 1e8 / 3, -7.0, 0.0])
def test_constant_columns_keep_their_scale(X, value):
    X[:, 2] = value
    mean, scale = standardisation(X, "X")
    assert mean[2] == X[0, 2]
    assert scale[2] == 1.0
    scaled = Preprocessing.fit(X, scaling="standard", rank=None)(X)
    np.testing.assert_array_equal(scaled[:, 2], np.zeros(N))


def test_columns_that_vary_by_rounding_errors_keep_their_scale(X, rng):
    X[:, 2] = np.asarray(0.1, X.dtype) * (1 + np.finfo(X.dtype).eps * rng.integers(-1, 2, N))
    assert len(np.unique(X[:, 2])) > 1
    assert standardisation(X, "X")[1][2] == 1.0


def test_values_too_large_to_be_squared():
    X = np.array([[1.0, 1e200], [2.0, 0.0], [3.0, -1e200]])
    with pytest.raises(ValueError, match="X has values too large to be scaled"):
        Preprocessing.fit(X, scaling="standard", rank=None)
    with pytest.raises(ValueError, match="y has values"):
        standardisation(X * 1e108, "y")


@pytest.mark.parametrize("scaling", ["standard", "unit", None])
def test_projection(X, scaling):
    scaled = Preprocessing.fit(X, scaling=scaling, rank=None)(X).astype(np.float64)
    projection = Preprocessing.fit(X, scaling=scaling, rank=4)
    projected = projection(X)
    assert projected.shape == (N, 4)
    assert projected.dtype == X.dtype
    np.testing.assert_allclose(projection.basis.T @ projection.basis, np.eye(4), atol=1e-12)
    energies = np.linalg.svd(scaled, compute_uv=False) ** 2
    # No other four dimensions keep more.
    assert projection.energy_dropped == pytest.approx(energies[4:].sum() / energies.sum())
    kept = (projected.astype(np.float64) ** 2).sum()
    assert kept == pytest.approx(energies[:4].sum(), rel=1e-5)
    # In all dimensions it is a rotation.
    rotation = Preprocessing.fit(X, scaling=scaling, rank=6)
    assert rotation.energy_dropped == 0
    rotated = rotation(X).astype(np.float64)
    np.testing.assert_allclose(
        np.linalg.norm(rotated[0] - rotated[1:], axis=1),
        np.linalg.norm(scaled[0] - scaled[1:], axis=1),
        rtol=1e-4,
    )


def test_moments_are_summed_in_float64():
    # In float32 the second singular value would drown in the first one's rounding errors.
    X = np.ones((N, 2), np.float32)
    X[:, 1] += np.float32(1e-3) * np.resize([1, -1], N).astype(np.float32)
    projection = Preprocessing.fit(X, scaling=None, rank=1)
    energies = np.linalg.svd(X.astype(np.float64), compute_uv=False) ** 2
    assert projection.energy_dropped == pytest.approx(energies[1] / energies.sum(), rel=1e-6)


def test_zeros_have_no_energy_to_drop():
    assert Preprocessing.fit(np.zeros((5, 3)), scaling=None, rank=1).energy_dropped == 0.0


def test_new_points_are_mapped_as_the_training_points(X):
    for scaling in ("standard", "unit", None):
        preprocessing = Preprocessing.fit(X, scaling=scaling, rank=3)
        np.testing.assert_allclose(preprocessing(X)[7:9], preprocessing(X[7:9]), rtol=1e-4)


def test_blas_runs_on_one_thread(X, monkeypatch):
    if not _core.has_blas():
        pytest.skip("SciPy's BLAS is not in use")
    seen = []
    eigh = np.linalg.eigh

    def spy(matrix):
        seen.extend(lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas")
        return eigh(matrix)

    monkeypatch.setattr(np.linalg, "eigh", spy)
    Preprocessing.fit(X, scaling="standard", rank=2)
    assert set(seen) == {1}


@pytest.mark.parametrize("scaling", ["standard", "unit", None])
def test_no_float64_copy_of_the_data(rng, scaling):
    X = rng.normal(size=(100_000, 20)).astype(np.float32)
    tracemalloc.start()
    try:
        preprocessing = Preprocessing.fit(X, scaling=scaling, rank=3)
        fit = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        preprocessing(X)
        call = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert fit < X.nbytes / 4
    assert call < X.nbytes / 2


@pytest.mark.parametrize("scaling", ["minmax", 1, True])
def test_bad_scaling(X, scaling):
    with pytest.raises(ValueError, match="scaling must be one of"):
        Preprocessing.fit(X, scaling=scaling, rank=None)


@pytest.mark.parametrize("rank", [2.0, "2", True, [2]])
def test_rank_must_be_whole(X, rank):
    with pytest.raises(TypeError, match="rank must be a whole number or None"):
        Preprocessing.fit(X, scaling=None, rank=rank)


@pytest.mark.parametrize("rank", [0, -1, 7])
def test_rank_must_lie_within_the_features(X, rank):
    with pytest.raises(ValueError, match="rank must lie between 1 and the 6 features"):
        Preprocessing.fit(X, scaling=None, rank=rank)


# ---- as arrays --------------------------------------------------------------------------------


@pytest.mark.parametrize("scaling", ["standard", "unit", None])
@pytest.mark.parametrize("rank", [None, 3])
def test_arrays_there_and_back(X, scaling, rank):
    preprocessing = Preprocessing.fit(X, scaling=scaling, rank=rank)
    again = Preprocessing.from_arrays(preprocessing.to_arrays(), 6, rank or 6)
    np.testing.assert_array_equal(again(X), preprocessing(X))
    assert again.energy_dropped == preprocessing.energy_dropped


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
        ("basis", None),
        ("basis", np.ones((5, 3))),
        ("basis", np.ones((6, 4))),
        ("basis", np.full((6, 3), np.inf)),
        ("basis", np.full((6, 3), 1j)),
        ("energy_dropped", None),
        ("energy_dropped", np.ones(2)),
    ],
    ids=lambda value: "missing" if value is None else str(getattr(value, "shape", value)),
)
def test_damaged_arrays(X, name, value):
    arrays = Preprocessing.fit(X, scaling="standard", rank=3).to_arrays()
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value
    with pytest.raises(ModelFileError, match="preprocessing"):
        Preprocessing.from_arrays(arrays, 6, 3)
