from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow.kernels import Gaussian

SETTINGS = {
    "plain": {},
    "float64": {"dtype": "float64"},
    "span": {"dtype": "float64", "rank": "auto"},
    "low dimension": {"dtype": "float64", "rank": 3},
    "shrinking": {
        "dtype": "float64",
        "rank": 5,
        "shrink_every": 4,
        "shrink_tolerance": 0.2,
    },
}


@pytest.fixture
def data(rng):
    X = rng.normal(size=(80, 6)) * np.array([1.0, 1.0, 1.0, 0.5, 0.2, 0.1])
    return X, kflow.one_hot(rng.integers(0, 3, len(X)))


@pytest.fixture(params=SETTINGS)
def flow(request, data):
    X, Y = data
    settings = {"n_layers": 10, "batch_size": 40, "nugget": 0.1, "random_state": 1}
    flow = kflow.KernelFlow(Gaussian(1.5), **settings, **SETTINGS[request.param])
    return flow.fit(X, Y)


@pytest.fixture
def unseen(rng):
    return rng.normal(size=(7, 6))


def test_shrinking_is_tested(data):
    X, Y = data
    settings = {"n_layers": 10, "batch_size": 40, "nugget": 0.1, "random_state": 1}
    flow = kflow.KernelFlow(Gaussian(1.5), **settings, **SETTINGS["shrinking"]).fit(X, Y)
    assert flow.rank_ < 5


@pytest.mark.parametrize("reduced", [False, True])
def test_a_trajectory_is_the_flow_at_its_layers(flow, data, unseen, reduced):
    X, Y = data
    layers = [0, 0, 3, 8, 10]
    found = list(flow.trajectory(unseen, layers, reduced=reduced))
    for n, points in zip(layers, found, strict=True):
        np.testing.assert_array_equal(points, flow.transform(unseen, n_layers=n, reduced=reduced))
    np.testing.assert_array_equal(found[-1], flow.transform(unseen, reduced=reduced))
    if not reduced:
        np.testing.assert_allclose(found[0], unseen, rtol=1e-6, atol=1e-6)
    short = kflow.KernelFlow(
        flow.kernel_,
        n_layers=3,
        batch_size=40,
        nugget=0.1,
        random_state=1,
        dtype=flow.dtype,
        rank=flow.rank,
    )
    short.fit(X, Y, follow={"unseen": unseen})
    if reduced:
        followed = short.reduced_follow_["unseen"]
        eps = np.finfo(flow.dtype).eps
        np.testing.assert_allclose(found[2], followed, rtol=0, atol=32 * eps)


def test_a_trajectory_is_made_of_arrays_of_its_own(flow, unseen):
    found = list(flow.trajectory(unseen, [2, 4, 4]))
    before = [points.copy() for points in found]
    found[1][:] = 0.0
    np.testing.assert_array_equal(found[0], before[0])
    np.testing.assert_array_equal(found[2], before[2])


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ([3, 2], ValueError, "must not decrease"),
        ([11], ValueError, "layers must be at most 10"),
        ([-1], ValueError, "layers"),
        ([1.5], TypeError, "layers"),
        (5, TypeError, "layers must be a sequence of whole numbers"),
    ],
)
def test_layers_that_the_flow_has_not(flow, unseen, layers, error, message):
    with pytest.raises(error, match=message):
        flow.trajectory(unseen, layers)  # before anything is computed
    if np.ndim(layers) == 1 and len(layers) == 1:
        for use in (flow.transform, flow.linearize):
            with pytest.raises(error, match="n_layers"):
                use(unseen, n_layers=layers[0])


def test_no_layers_wanted_or_no_points(flow, unseen):
    assert list(flow.trajectory(unseen, [])) == []
    empty = flow.transform(unseen[:0])
    assert empty.shape == (0, 6)
    linear = flow.linearize(unseen[:0])
    assert linear.pull_back(linear.points).shape == (0, 6)


@pytest.mark.parametrize("n_layers", [None, 0, 1, 8, 10])
def test_the_value_of_a_linearization(flow, unseen, n_layers):
    np.testing.assert_array_equal(
        flow.linearize(unseen, n_layers=n_layers).points,
        flow.transform(unseen, n_layers=n_layers, reduced=True),
    )


@pytest.mark.parametrize("n_layers", [0, 1, 8, 10])
def test_the_derivative_is_that_of_differences(flow, unseen, rng, n_layers):
    T = rng.normal(size=unseen.shape)
    h = 1e-5 if flow.dtype == "float64" else 1e-2
    ahead, behind = (
        flow.transform(unseen + sign * h * T, n_layers=n_layers, reduced=True).astype(float)
        for sign in (1, -1)
    )
    linear = flow.linearize(unseen, n_layers=n_layers)
    tolerance = 1e-8 if flow.dtype == "float64" else 1e-3
    np.testing.assert_allclose(
        linear.push_forward(T), (ahead - behind) / (2 * h), atol=tolerance, rtol=tolerance
    )


@pytest.mark.parametrize("n_layers", [0, 8, 10])
def test_back_is_the_transpose_of_forward(flow, unseen, rng, n_layers):
    linear = flow.linearize(unseen, n_layers=n_layers)
    T, A = rng.normal(size=unseen.shape), rng.normal(size=linear.points.shape)
    forward = np.einsum("ij,ij->i", linear.push_forward(T), A)
    back = np.einsum("ij,ij->i", T, linear.pull_back(A))
    tolerance = 1e-11 if flow.dtype == "float64" else 1e-4
    np.testing.assert_allclose(forward, back, rtol=tolerance, atol=tolerance)


def test_points_in_the_subspace_have_no_derivative_across_it(data):
    X, Y = data
    inside = X @ np.diag([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    flow = kflow.KernelFlow(
        Gaussian(1.5),
        n_layers=3,
        batch_size=40,
        nugget=0.1,
        random_state=0,
        rank="auto",
        dtype="float64",
    ).fit(inside, Y)
    linear = flow.linearize(inside[:5])
    assert linear.points.shape == (5, 3)
    ones = linear.pull_back(np.eye(3)[[2] * 5])
    np.testing.assert_array_equal(ones, np.zeros((5, 6)))


@pytest.mark.parametrize("d", [2, 3, 30])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_rounding_leaves_outside_the_span_is_no_direction(d, dtype, rng):
    X = rng.normal(size=(80, d))
    settings = {"batch_size": 40, "nugget": 0.1, "random_state": 0, "dtype": dtype}
    flow = kflow.KernelFlow(n_layers=2, rank="auto", **settings).fit(X, X[:, 0] > 0)
    linear = flow.linearize(X, n_layers=0)
    across = np.eye(d + 1)[[d] * len(X)]
    np.testing.assert_array_equal(linear.pull_back(across), np.zeros_like(X))
    T = rng.normal(size=X.shape)
    np.testing.assert_allclose(
        np.linalg.norm(linear.push_forward(T), axis=1), np.linalg.norm(T, axis=1), rtol=1e-5
    )


def test_a_trajectory_keeps_its_points(data, unseen):
    X, Y = data
    settings = {"n_layers": 3, "batch_size": 40, "nugget": 0.1, "random_state": 1}
    flow = kflow.KernelFlow(rank=2, dtype="float64", **settings).fit(X, Y)
    expected = flow.transform(unseen)
    found = flow.trajectory(unseen, [0, 3])
    next(found)
    unseen[:] = 0.0
    np.testing.assert_array_equal(next(found), expected)


def test_linearizations_refuse_what_does_not_fit(flow, unseen):
    linear = flow.linearize(unseen)
    with pytest.raises(ValueError, match="T"):
        linear.push_forward(unseen[:, :-1])
    with pytest.raises(ValueError, match="A"):
        linear.pull_back(unseen[:-1])
    with pytest.raises(ValueError, match="A"):
        linear.pull_back(np.full_like(linear.points, np.nan))


def test_a_linearization_does_not_change_with_its_points(flow, unseen):
    linear = flow.linearize(unseen)
    A = np.ones_like(linear.points)
    before = linear.pull_back(A)
    unseen[:] = 0.0
    np.testing.assert_array_equal(linear.pull_back(A), before)


def test_layers_on_disk(data, unseen, tmp_path):
    X, Y = data
    flows = [
        kflow.KernelFlow(
            Gaussian(1.5),
            n_layers=5,
            batch_size=40,
            nugget=0.1,
            random_state=1,
            checkpoint=checkpoint,
            every=2,
        ).fit(X, Y)
        for checkpoint in (None, tmp_path / "checkpoint")
    ]
    a, b = (flow.linearize(unseen) for flow in flows)
    np.testing.assert_array_equal(a.pull_back(a.points), b.pull_back(a.points))


def test_layers_that_were_not_kept(data, unseen):
    X, Y = data
    flow = kflow.KernelFlow(n_layers=2, batch_size=40, layers="none").fit(X, Y)
    for use in (flow.transform, flow.linearize):
        with pytest.raises(ValueError, match="were not kept"):
            use(unseen)
