from __future__ import annotations

import json

import numpy as np
import pytest

import kflow
from kflow import kernels
from kflow.analysis import lipschitz, lipschitz_bound
from kflow.presets import FIXED
from kflow.testing import slow as testing


def spirals(n=120, seed=0):
    rng = np.random.default_rng(seed)
    t = rng.uniform(1, 3, n)
    y = np.arange(n) % 2
    angle = np.pi * (t + y)
    return np.stack([t * np.cos(angle), t * np.sin(angle)], axis=1), y


@pytest.fixture(scope="module", params=["float32", "float64"])
def flow(request):
    X, y = spirals()
    return kflow.KernelFlow(
        n_layers=15, batch_size=60, nugget=0.1, dtype=request.param, random_state=0
    ).fit(X, y)


@pytest.fixture(scope="module")
def turned():
    """Return a flow in a subspace that shrinks, and its data, which has points outside it."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 8)) * [3, 3, 2, 1, 0.3, 0.05, 0.01, 0.01]
    flow = kflow.KernelFlow(
        n_layers=20,
        batch_size=80,
        nugget=0.5,
        step="rms",
        step_size=0.02,
        rank=6,
        shrink_every=5,
        shrink_tolerance=1e-2,
        dtype="float64",
        random_state=0,
    ).fit(X, kflow.one_hot(X[:, 0] > 0))
    assert flow.rank_ < 6
    return flow, X


def largest_singular_values(linearization):
    """Return those of the Jacobians, of which each pull-back is one row."""
    n, k = linearization.points.shape
    rows = [linearization.pull_back(np.tile(unit, (n, 1))) for unit in np.eye(k)]
    return np.linalg.norm(np.stack(rows, axis=1).astype(np.float64), ord=2, axis=(1, 2))


def naive_log10_bound(flow, n_layers):
    total = 1.0
    slope = -2.0 * testing.kernel_slope(flow.kernel_, [0.0])[0]
    for number in range(n_layers):
        z, c = (part.astype(np.float64) for part in flow.replay().scaled_layer(number)[:2])
        eigenvalues = np.linalg.eigvals(c.T @ testing.gram(z, kernel=flow.kernel_) @ c)
        total *= 1.0 + np.sqrt(slope * eigenvalues.real.max())
    return np.log10(total)


def test_local_constants_are_the_largest_singular_values(flow):
    X, y = spirals(40, seed=3)
    result = lipschitz(flow, X, y, layers=[0, 4, 15], max_points=None)
    np.testing.assert_allclose(result.local[0], 1.0, rtol=1e-6)
    for i, n_layers in enumerate((4, 15), start=1):
        near = flow.linearize(X, n_layers=n_layers)
        expected = largest_singular_values(near)
        rtol = 1e-5 if flow.dtype == "float64" else 2e-3
        np.testing.assert_allclose(result.local[i], expected, rtol=rtol)


def test_local_constants_in_a_subspace_that_shrinks(turned):
    flow, X = turned
    result = lipschitz(flow, X[:20], layers=[0, 12, 20], max_points=None)
    for i, n_layers in enumerate((0, 12, 20)):
        near = flow.linearize(X[:20], n_layers=n_layers)
        expected = largest_singular_values(near)
        np.testing.assert_allclose(result.local[i], expected, rtol=1e-6)


def test_bound_by_the_definition(flow, turned):
    for one in (flow, turned[0]):
        counts = [0, 1, 5, one.n_layers_]
        expected = [naive_log10_bound(one, n) for n in counts]
        np.testing.assert_allclose(lipschitz_bound(one, layers=counts), expected, rtol=1e-6)


def test_below_the_bound(flow, turned):
    X, y = spirals(60, seed=5)
    for result in (lipschitz(flow, X, y), lipschitz(turned[0], turned[1])):
        bound = result.bound[:, None] * (1 + 1e-6)
        assert (result.local <= bound).all()
        assert not (result.within > bound).any()
        assert not (result.between > bound).any()
        assert (np.diff(result.log10_bound) > 0).all()


def test_one_layer_of_one_point_attains_the_bound_nearly():
    # G(x) = k(|x - z|) c stretches most at |x - z| = l, by |c| exp(-1/2) / l, where the bound has
    # |c| / l.
    X = np.array([[1.0], [3.0], [-4.0], [9.0]])
    flow = kflow.KernelFlow(
        kernels.Gaussian(0.5),
        n_layers=1,
        batch_size=4,
        step="fixed",
        nugget=1.0,
        dtype="float64",
        random_state=0,
    ).fit(X, [0.0, 0, 0, 1])
    z, c, _ = flow.state_.store[0]
    c[:] = 0.0
    c[0] = 2.0 / flow.history_["step"][0]
    at = z[0] - 0.5
    local = lipschitz(flow, at[None], layers=[1]).local
    np.testing.assert_allclose(local, 1 + 2.0 * np.exp(-0.5) / 0.5, rtol=1e-6)
    assert lipschitz_bound(flow, layers=[1])[0] == pytest.approx(np.log10(1 + 2.0 / 0.5))


def test_pairs_by_the_definition(flow):
    X, y = spirals(30, seed=7)
    X[3] = X[1]  # a duplicate: no distance to compare with
    result = lipschitz(flow, X, y, layers=[0, 15])
    moved = flow.transform(X).astype(np.float64)
    rounded = X.astype(flow.dtype).astype(np.float64)
    distances = np.linalg.norm(rounded[:, None] - rounded, axis=2)
    np.fill_diagonal(distances, np.inf)
    for i in range(len(X)):
        for stretches, others in ((result.within, y == y[i]), (result.between, y != y[i])):
            j = np.where(others, distances[i], np.inf).argmin()
            if distances[i, j] == 0.0:
                assert np.isnan(stretches[:, i]).all()
                continue
            expected = np.linalg.norm(moved[i] - moved[j]) / distances[i, j]
            assert stretches[0, i] == pytest.approx(1.0)
            assert stretches[1, i] == pytest.approx(expected, rel=1e-3)


def test_without_classes_there_are_no_pairs_between(flow):
    X, _ = spirals(30)
    result = lipschitz(flow, X, layers=[0, 15])
    assert np.isnan(result.between).all()
    assert np.isfinite(result.within).all()
    summary = json.loads(json.dumps(result.summary()))
    assert summary["between_median"] == [None, None]
    assert summary["local_max"][0] == pytest.approx(1.0, abs=1e-6)


def test_constants_do_not_change_with_the_scale_of_the_data():
    X, y = spirals()
    results = []
    for scale in (1.0, 1e3):
        flow = kflow.KernelFlow(
            kernels.Gaussian(scale), n_layers=8, batch_size=60, dtype="float64", random_state=0
        ).fit(scale * X, y)
        results.append(lipschitz(flow, scale * X, y, random_state=1))
    for name in ("local", "within", "between", "log10_bound"):
        np.testing.assert_allclose(
            getattr(results[0], name), getattr(results[1], name), rtol=1e-5, atol=1e-8
        )


def test_fewer_directions_see_less(turned):
    flow, X = turned
    every = lipschitz(flow, X, layers=[20])
    some = lipschitz(flow, X, layers=[20], n_directions=2)
    assert every.rows.tolist() == some.rows.tolist()
    assert (some.local <= every.local * (1 + 1e-6)).all()
    assert (some.local > 0).all()
    more = lipschitz(flow, X, layers=[20], n_directions=99)
    np.testing.assert_allclose(more.local, every.local)


def test_rough_kernels_have_no_bound():
    X, y = spirals()
    flow = kflow.KernelFlow(kernels.Laplacian(1.0), n_layers=3, batch_size=60, random_state=0).fit(
        X, y
    )
    result = lipschitz(flow, X, y, layers=[0, 3])
    assert result.bound.tolist() == [1.0, np.inf]
    assert np.isfinite(result.local).all()
    json.loads(json.dumps(result.summary(), allow_nan=False))


def test_a_bound_that_overflows():
    X, y = spirals()
    flow = kflow.KernelFlow(n_layers=3, batch_size=60, dtype="float64", random_state=0).fit(X, y)
    for _, c, _ in flow.state_.store:
        c *= 1e120
    result = lipschitz_bound(flow, layers=[0, 2, 3])
    assert 200 < result[1] < 300 < result[2] < 400
    with pytest.raises(ValueError, match="increasing"):
        lipschitz_bound(flow, layers=[1, 1])


def test_no_layers_and_one_point():
    X, y = spirals(20)
    flow = kflow.KernelFlow(n_layers=0, batch_size=20).fit(X, y)
    result = lipschitz(flow, X[:1])
    assert result.layers.tolist() == [0]
    np.testing.assert_allclose(result.local, [[1.0]], rtol=1e-6)
    assert np.isnan(result.within).all()
    assert result.bound.tolist() == [1.0]


def test_rows_are_drawn(flow):
    X, y = spirals(80)
    result = lipschitz(flow, X, y, layers=[15], max_points=7, random_state=3)
    assert len(result.rows) == 7
    assert (np.diff(result.rows) > 0).all()
    alone = lipschitz(flow, X[result.rows], layers=[15])
    np.testing.assert_allclose(result.local, alone.local, rtol=1e-5)
    assert result.within.shape == (1, 80)


def test_scaled_points_of_an_estimator():
    X, y = spirals()
    classifier = kflow.KernelFlowClassifier(**{**FIXED, "n_layers": 5, "random_state": 0}).fit(
        100 * X, y
    )
    result = lipschitz(classifier, 100 * X, y, layers=[0, 5])
    assert (result.local[1] < 10).all()
    scaled = lipschitz(classifier.flow_, classifier.scaling_(100 * X), y, layers=[0, 5])
    np.testing.assert_allclose(result.local, scaled.local, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": np.zeros((3, 4))}, "X must have 2 columns"),
        ({"X": [[np.inf, 0.0]]}, "X contains NaN"),
        ({"y": [1, 2]}, "y must hold one label"),
        ({"max_points": 0}, "max_points must be at least 1"),
        ({"n_directions": 0}, "n_directions must be at least 1"),
        ({"layers": "all"}, "layers must"),
    ],
)
def test_wrong_arguments(flow, arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        lipschitz(flow, **{"X": spirals()[0], **arguments})


@pytest.mark.parametrize("d", [3, 20])
def test_points_that_span_the_subspace(d, rng):
    X = rng.normal(size=(80, d))
    settings = {"batch_size": 40, "nugget": 0.1, "random_state": 0, "dtype": "float64"}
    flow = kflow.KernelFlow(n_layers=3, rank="auto", **settings).fit(X, X[:, 0] > 0)
    found = lipschitz(flow, X, X[:, 0] > 0, layers=[0, 1, 3])
    np.testing.assert_allclose(found.local[0], 1.0, rtol=1e-6)
    assert (found.local.max(axis=1) <= found.bound * (1.0 + 1e-6)).all()
