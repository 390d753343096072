from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow.flow.estimator_flow import estimator_flow
from kflow.plotting import VelocityDisplay
from kflow.plotting.velocity import carried_on, grid_around, round_down


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(40, 2))


@pytest.fixture(scope="module")
def y(X):
    return np.where(X[:, 0] * X[:, 1] > 0, 1.0, -1.0)


@pytest.fixture(scope="module")
def flow(X, y):
    return kflow.KernelFlow(n_layers=9, batch_size=20, dtype="float64", random_state=0).fit(X, y)


def test_arrows_of_each_class(X, ax):
    velocities, labels = X[::-1], np.arange(40) % 3
    display = VelocityDisplay(X, velocities, labels).plot(ax)
    assert len(display.quivers_) == 3
    for code, quiver in enumerate(display.quivers_):
        np.testing.assert_array_equal(quiver.XY, X[labels == code])
        np.testing.assert_array_equal(
            np.column_stack([quiver.U, quiver.V]), velocities[labels == code]
        )
    assert len({quiver.scale for quiver in display.quivers_}) == 1
    assert display.key_ is not None


def test_all_arrows_are_inside_and_none_is_long(X, rng, ax):
    velocities = 1e-5 * rng.normal(size=(40, 2))
    display = VelocityDisplay(X, velocities).plot(ax)
    (quiver,) = display.quivers_
    tips = X + velocities / quiver.scale
    for axis, (low, high) in enumerate((ax.get_xlim(), ax.get_ylim())):
        assert low < tips[:, axis].min()
        assert tips[:, axis].max() < high
    lengths = np.linalg.norm(velocities, axis=1) / quiver.scale
    assert 0.02 < np.quantile(lengths, 0.9) / np.ptp(ax.get_xlim()) < 0.13


@pytest.mark.parametrize("velocities", [np.zeros((3, 2)), [[0, 0], [0, 0], [1, 1]]])
def test_points_that_stand_still(velocities, ax):
    VelocityDisplay(np.eye(3, 2), velocities).plot(ax)


def test_the_scale_is_a_choice(X, ax):
    display = VelocityDisplay(X, X).plot(ax, longest=5.0, key=False)
    assert display.key_ is None
    assert display.quivers_[0].scale * 0.12 * np.ptp(X, axis=0).max() == pytest.approx(5.0)


def test_one_point(ax):
    VelocityDisplay([[1.0, 2.0]], [[0.1, 0.0]]).plot(ax)


def test_the_grid_around_points_that_coincide_far_from_zero():
    nodes = grid_around(np.full((2, 2), 1e5), 3)
    assert len(np.unique(nodes, axis=0)) == 9


@pytest.mark.parametrize(("span", "factor"), [(1, 1.0), (5, 10.0)])
def test_velocity_of_a_flow(span, factor, flow, X, y, ax):
    display = VelocityDisplay.from_estimator(
        flow, X, y, n_layers=3, span=span, factor=factor, ax=ax
    )
    before, after = flow.trajectory(X, (3, 3 + span))
    np.testing.assert_allclose(display.points, before)
    np.testing.assert_allclose(display.velocities, factor * (after - before) / span)
    assert f"F_{{{3 + span}}}(x) - F_{{3}}(x)" in ax.get_title(loc="left")


@pytest.mark.parametrize("span", [1, 4])
def test_the_field_on_a_grid_is_that_of_the_points(span, flow, X, ax):
    display = VelocityDisplay.from_estimator(flow, X, n_layers=3, span=span, grid=5, ax=ax)
    assert display.points.shape == (25, 2)
    before, after = flow.trajectory(X, (3, 3 + span))
    np.testing.assert_allclose(display.background, before)
    low, high = display.points.min(axis=0), display.points.max(axis=0)
    assert (low < before.min(axis=0)).all()
    assert (before.max(axis=0) < high).all()
    # The same map where the points are.
    np.testing.assert_allclose(carried_on(estimator_flow(flow), before, 3, span), after)


def test_velocity_in_more_dimensions(rng, ax):
    X, y = rng.normal(size=(30, 5)), np.arange(30) % 2
    flow = kflow.KernelFlow(n_layers=4, batch_size=20, dtype="float64", random_state=0).fit(X, y)
    display = VelocityDisplay.from_estimator(
        flow, X, y, n_layers=0, span=4, projection="pca", ax=ax
    )
    centred = X - X.mean(axis=0)
    directions = np.linalg.svd(centred)[2][:2].T
    moved = (flow.transform(X) - X) @ directions / 4
    np.testing.assert_allclose(np.abs(display.velocities), np.abs(moved), atol=1e-10)


@pytest.mark.parametrize(
    ("value", "rounded"), [(1.0, 1.0), (0.0199, 0.01), (7e5, 5e5), (3e-4, 2e-4), (0.5, 0.5)]
)
def test_the_key_tells_a_round_number(value, rounded):
    assert round_down(value) == pytest.approx(rounded)


def test_wrong_arguments(flow, X):
    with pytest.raises(ValueError, match="velocities must have 40 rows"):
        VelocityDisplay(X, X[:-1])
    with pytest.raises(ValueError, match="background_labels without background"):
        VelocityDisplay(X, X, background_labels=[1])
    with pytest.raises(ValueError, match=r"n_layers \+ span must be at most 9"):
        VelocityDisplay.from_estimator(flow, X, n_layers=5, span=5)
    with pytest.raises(TypeError, match="n_layers must be a whole number"):
        VelocityDisplay.from_estimator(flow, X, n_layers=None)
    with pytest.raises(ValueError, match="longest must be positive"):
        VelocityDisplay(X, X).plot(longest=0)
    other = kflow.KernelFlow(n_layers=1, batch_size=20, rank="auto").fit(X, X[:, 0])
    with pytest.raises(ValueError, match="grid needs a flow of two features without a rank"):
        VelocityDisplay.from_estimator(other, X, n_layers=0, grid=5)
