from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from kflow.data.scaling import Preprocessing
from kflow.layers.moments import mean_squared_distance
from kflow.layers.rank_reduction import RankReduction
from kflow.layers.subspace import Subspace, check_orthonormal, check_rank
from kflow.testing import slow as reference

# More than one chunk of rows, and a last one that is not full.
N = 2500
EPS = {"float32": 1.2e-7, "float64": 2.2e-16}


@pytest.fixture
def X(rng, dtype):
    return (rng.normal(size=(N, 6)) * [1, 2, 3, 4, 5, 6] + 7).astype(dtype)


def low_rank(rng, n, d, rank, dtype):
    return (rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d))).astype(dtype)


def assert_orthonormal(basis):
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-12)


# ---- which directions -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "d", "rank"), [(200, 30, 7), (30, 200, 7), (20, 50, 20), (50, 20, 20), (40, 1, 1)]
)
def test_numerical_rank(n, d, rank, dtype, rng):
    X = low_rank(rng, n, d, rank, dtype)
    subspace = Subspace.fit(X, "auto", dtype=dtype)
    assert subspace.rank == rank
    assert subspace.basis.dtype == np.float64
    assert subspace.energy_dropped <= 1000 * EPS[dtype.name] ** 2
    assert_orthonormal(subspace.basis)
    coordinates = subspace.reduce(X, dtype=dtype)
    assert coordinates.dtype == dtype
    assert coordinates.shape == (n, rank + 1)
    largest = np.abs(X).max()
    assert np.abs(coordinates[:, -1]).max() <= 100 * EPS[dtype.name] * largest
    restored = subspace.restore(coordinates[:, :-1])
    assert restored.dtype == dtype
    np.testing.assert_allclose(restored, X, rtol=0, atol=100 * EPS[dtype.name] * largest)


@pytest.mark.parametrize("n", [400, 25])
def test_directions_far_below_the_first_count_in_float64(n, rng):
    # Their energies drown in the rounding errors of X'X.
    scales = np.logspace(0, -12, 30)
    X = rng.normal(size=(n, 30)) * scales
    subspace = Subspace.fit(X, "auto")
    assert subspace.rank == min(n, 30)
    assert_orthonormal(subspace.basis)
    np.testing.assert_allclose(subspace.restore(subspace.reduce(X)[:, :-1]), X, atol=1e-14)
    part = 1e-19
    some = Subspace.fit(X, part)
    energies = np.linalg.svd(X, compute_uv=False) ** 2
    parts = np.append(np.cumsum(energies[::-1])[::-1], 0) / energies.sum()
    assert some.rank == np.argmax(parts <= part)


def test_duplicates_and_zeros(rng, dtype):
    X = np.repeat(rng.normal(size=(5, 8)), 10, axis=0).astype(dtype)
    X[::7] = 0
    assert Subspace.fit(X, "auto", dtype=dtype).rank == 5
    for rank in ("auto", 3, 0.1):
        for n in (5, 2):
            zeros = Subspace.fit(np.zeros((n, 3), dtype), rank, dtype=dtype)
            assert zeros.energy_dropped == 0.0
            assert zeros.rank == (min(n, 3) if rank == 3 else 1)
            np.testing.assert_array_equal(zeros.reduce(np.zeros((n, 3)), dtype=dtype), 0)


@pytest.mark.parametrize("scaling", ["standard", "unit", None])
def test_leading_directions(X, scaling):
    scale = Preprocessing.fit(X, scaling)
    scaled = scale(X).astype(np.float64)
    subspace = Subspace.fit(X, 4, scaling=scale, dtype=X.dtype)
    energies = np.linalg.svd(scaled, compute_uv=False) ** 2
    # No other four dimensions keep more.
    assert subspace.energy_dropped == pytest.approx(energies[4:].sum() / energies.sum())
    expected = reference.subspace(scaled, 4)
    np.testing.assert_allclose(
        subspace.basis @ subspace.basis.T, expected @ expected.T, rtol=0, atol=1e-8
    )
    coordinates = subspace.reduce(X, scaling=scale, dtype=X.dtype).astype(np.float64)
    assert (coordinates[:, :-1] ** 2).sum() == pytest.approx(energies[:4].sum(), rel=1e-5)
    # Norms are right with the last coordinate.
    np.testing.assert_allclose(
        np.linalg.norm(coordinates, axis=1), np.linalg.norm(scaled, axis=1), rtol=1e-6
    )
    reduction = Subspace.fit(X, 6, scaling=scale)
    assert reduction.energy_dropped == 0


@pytest.mark.parametrize("part", [0.9, 0.5, 0.2, 0.05, 1e-3, 1e-9])
def test_a_part_of_the_energy(X, part):
    energies = np.linalg.svd(X.astype(np.float64), compute_uv=False) ** 2
    parts = np.append(np.cumsum(energies[::-1])[::-1], 0) / energies.sum()
    subspace = Subspace.fit(X, part, dtype=X.dtype)
    assert subspace.rank == max(1, np.argmax(parts <= part))
    assert subspace.energy_dropped == pytest.approx(parts[subspace.rank], rel=1e-6, abs=1e-15)
    assert subspace.energy_dropped <= part


def test_no_more_directions_than_points(rng):
    X = rng.normal(size=(4, 9))
    assert Subspace.fit(X, 8).rank == 4
    assert Subspace.fit(X, 3).rank == 3
    assert Subspace.fit(X, 3).energy_dropped > 0


def test_moments_are_summed_in_float64():
    # In float32 the second singular value would drown in the first one's rounding errors.
    X = np.ones((N, 2), np.float32)
    X[:, 1] += np.float32(1e-3) * np.resize([1, -1], N).astype(np.float32)
    subspace = Subspace.fit(X, 1, dtype=np.float32)
    energies = np.linalg.svd(X.astype(np.float64), compute_uv=False) ** 2
    assert subspace.energy_dropped == pytest.approx(energies[1] / energies.sum(), rel=1e-6)


# ---- coordinates ------------------------------------------------------------------------------


def test_distances_between_coordinates(rng):
    X = low_rank(rng, 30, 12, 4, "float64")
    other = rng.normal(size=(9, 12))
    exact = Subspace.fit(X, "auto")
    x, z = exact.reduce(other), exact.reduce(X)
    expected = ((other[:, None] - X[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(((x[:, None] - z[None]) ** 2).sum(axis=2), expected, rtol=1e-12)
    # Where both lie outside they are too small, but nearer than without the last coordinate.
    truncated = Subspace.fit(X, 2)
    z = truncated.reduce(X)
    squares = (z[:, None] - z[None]) ** 2
    true = ((X[:, None] - X[None]) ** 2).sum(axis=2)
    assert (squares.sum(axis=2) <= true + 1e-12).all()
    assert (squares.sum(axis=2) >= squares[..., :-1].sum(axis=2)).all()


def test_the_last_coordinate_does_not_cancel(rng, dtype):
    X = low_rank(rng, 30, 12, 4, "float64")
    subspace = Subspace.fit(X, "auto")
    normal = np.linalg.svd(X)[2][-1]
    point = (1e3 * X[:1] + 1e-2 * normal).astype(dtype)
    tolerance = 1e-10 if dtype == np.float64 else 1e-3
    assert subspace.reduce(point, dtype=dtype)[0, -1] == pytest.approx(1e-2, abs=tolerance)


def test_restore_gives_back_what_lies_outside(rng, dtype):
    X = low_rank(rng, 30, 12, 4, "float64")
    subspace = Subspace.fit(X, "auto")
    other = rng.normal(size=(9, 12)).astype(dtype)
    coordinates = subspace.reduce(other, dtype=dtype)
    # Points that did not move are themselves, whatever lies outside.
    tolerance = 20 * EPS[dtype.name]
    moved = coordinates[:, :-1]
    np.testing.assert_allclose(subspace.restore(moved, other), other, rtol=0, atol=tolerance)
    step = rng.normal(size=(9, 4)).astype(dtype)
    expected = other + step @ subspace.basis.T
    np.testing.assert_allclose(
        subspace.restore(moved + step, other), expected, rtol=0, atol=tolerance
    )


def test_new_points_are_mapped_as_the_training_points(X):
    subspace = Subspace.fit(X, 3)
    np.testing.assert_allclose(subspace.reduce(X)[7:9], subspace.reduce(X[7:9]), rtol=1e-12)


# ---- memory and threads -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("scaling", ["standard", "unit", None])
def test_no_copy_of_the_data(rng, scaling):
    X = rng.normal(size=(100_000, 20)).astype(np.float32)
    scale = Preprocessing.fit(X, scaling)
    tracemalloc.start()
    try:
        subspace = Subspace.fit(X, 3, scaling=scale, dtype="float32")
        subspace.reduce(X, scaling=scale, dtype="float32")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < X.nbytes / 2


def test_blas_runs_on_one_thread(X, blas_threads, monkeypatch):
    seen = []
    eigh = np.linalg.eigh

    def spy(matrix):
        seen.extend(blas_threads())
        return eigh(matrix)

    monkeypatch.setattr(np.linalg, "eigh", spy)
    with threadpool_limits(2, user_api="blas"):
        Subspace.fit(X, 2)
    assert set(seen) == {1}


@pytest.mark.usefixtures("blas_threads")
@pytest.mark.parametrize("n", [100, 1500])
def test_nothing_depends_on_the_threads_of_blas(n, rng):
    X = rng.normal(size=(n, 300))

    def results(n_threads):
        with threadpool_limits(n_threads, user_api="blas"):
            subspace = Subspace.fit(X, 80)
            points = subspace.reduce(X)
            reduction = RankReduction.shrinking(points, 1, 0.5)
            moving, frozen = reduction(points)
            old = reduction.undone(moving[:, :-1], frozen)
            return subspace.basis, points, moving, frozen, old, subspace.restore(old, X)

    for one, two in zip(results(1), results(2), strict=True):
        np.testing.assert_array_equal(one, two)


# ---- what is refused --------------------------------------------------------------------------


def test_ranks():
    assert check_rank(None) is None
    assert check_rank("auto") == "auto"
    assert type(check_rank(np.int32(3))) is int
    assert type(check_rank(np.float32(0.5))) is float
    for bad in (0, -1, 0.0, 1.0, -0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="rank"):
            check_rank(bad)
    for bad in ("all", True, [2], b"auto", 1j):
        with pytest.raises(TypeError, match="rank must be None, 'auto'"):
            check_rank(bad)


def test_bad_fits(X):
    with pytest.raises(ValueError, match="rank must lie between 1 and the 6 features of X, got 7"):
        Subspace.fit(X, 7)
    with pytest.raises(TypeError, match="rank must not be None"):
        Subspace.fit(X, None)
    for n in (3, 1):
        with pytest.raises(ValueError, match="X has values too large for a subspace"):
            Subspace.fit(np.full((n, 2), 1e200), "auto")
    with pytest.raises(ValueError, match="values too large for float32"):
        Subspace.fit(np.full((3, 2), 1e200), "auto", dtype="float32")


def test_orthonormal_columns(rng):
    basis = np.linalg.qr(rng.normal(size=(5, 3)))[0]
    assert check_orthonormal(basis) is basis
    for bad in (2 * basis, basis[:, [0, 0]], np.full((3, 2), np.nan), np.full((3, 2), 1e200)):
        with pytest.raises(ValueError, match="are not orthonormal"):
            check_orthonormal(bad)
    for shape in ((2, 3), (3, 0)):
        with pytest.raises(ValueError, match="are not orthonormal"):
            check_orthonormal(np.ones(shape))


# ---- mean squared distance --------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1e4])
def test_mean_squared_distance(rng, offset):
    X = rng.normal(size=(50, 3)) + offset
    pairs = ((X[:, None] - X[None]) ** 2).sum(axis=2)
    assert mean_squared_distance(X) == pytest.approx(pairs.sum() / (50 * 49), rel=1e-10)
    assert mean_squared_distance(X, lambda rows: 2 * rows) == pytest.approx(
        4 * pairs.sum() / (50 * 49), rel=1e-10
    )


# ---- reductions --------------------------------------------------------------------------------


def coordinates(rng, dtype, n=60, r=5, small=1e-3):
    points = rng.normal(size=(n, r)) * np.append(np.ones(r - 2), [small, small])
    points = points @ np.linalg.qr(rng.normal(size=(r, r)))[0]
    return np.column_stack([points, np.abs(rng.normal(size=n))]).astype(dtype)


def test_shrinking_keeps_the_fewest_directions(rng, dtype):
    points = coordinates(rng, dtype)
    for tolerance in (1e-12, 1e-6, 1e-4, 0.5, 1e9):
        reduction = RankReduction.shrinking(points, 7, tolerance)
        needed = reference.directions_needed(points[:, :-1], points[:, -1], tolerance)
        assert (5 if reduction is None else reduction.kept) == needed
    assert RankReduction.shrinking(points, 7, 1e-12) is None
    reduction = RankReduction.shrinking(points, 7, 1e-4)
    assert (reduction.layer, reduction.kept) == (7, 3)
    assert_orthonormal(reduction.matrix)


def test_a_rotation_changes_no_point(rng, dtype):
    points = coordinates(rng, dtype)
    reduction = RankReduction.shrinking(points, 7, 1e-4)
    moving, frozen = reduction(points)
    assert moving.dtype == frozen.dtype == dtype
    assert (moving.shape, frozen.shape) == ((60, 4), (60, 2))
    tolerance = 20 * EPS[dtype.name]
    np.testing.assert_allclose(
        np.linalg.norm(moving, axis=1), np.linalg.norm(points, axis=1), rtol=tolerance
    )
    np.testing.assert_allclose(
        moving[:, -1], np.hypot(points[:, -1], np.linalg.norm(frozen, axis=1)), rtol=tolerance
    )
    back = reduction.undone(moving[:, :-1], frozen)
    assert back.dtype == dtype
    np.testing.assert_allclose(back, points[:, :-1], rtol=0, atol=tolerance)


def test_one_direction_stays(dtype):
    points = np.ones((10, 4), dtype)  # they all coincide
    reduction = RankReduction.shrinking(points, 1, 1e-4)
    assert reduction.kept == 1
    moving, frozen = reduction(points)
    np.testing.assert_allclose(np.abs(moving[:, 0]), np.sqrt(3), rtol=1e-6)
    np.testing.assert_allclose(frozen, 0, atol=1e-6)
    zeros = RankReduction.shrinking(0 * points, 1, 1e-4)
    assert zeros.kept == 1
    assert RankReduction.shrinking(points[:, :2], 1, 1e9) is None
