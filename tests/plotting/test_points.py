from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

import kflow
from kflow.plotting import PointsDisplay
from kflow.plotting._projection import plane_maps
from kflow.plotting._style import moved_apart


@pytest.fixture(scope="module")
def plane():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    return X, np.where(X[:, 0] * X[:, 1] > 0, "yes", "no")


@pytest.fixture(scope="module")
def flow(plane):
    X, y = plane
    return kflow.KernelFlow(n_layers=6, batch_size=20, random_state=0).fit(X, y == "yes")


@pytest.fixture(scope="module")
def digits():
    rng = np.random.default_rng(1)
    y = np.arange(90) % 6
    X = rng.normal(size=(90, 8)) + 3 * np.eye(6, 8)[y]
    return kflow.KernelFlowClassifier(n_layers=6, batch_size=40, random_state=0).fit(X, y), X, y


def drawn(scatters):
    return np.concatenate([scatter.get_offsets() for scatter in scatters])


def test_one_panel(plane, ax):
    X, y = plane
    display = PointsDisplay(X, y, 7).plot(ax)
    assert display.ax_ is ax
    assert display.axes_ == [ax]
    assert ax.get_title() == "n = 7"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$", "$x_2$")
    np.testing.assert_array_equal(display.scatters_[0][1].get_offsets(), X[y == "yes"])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["no", "yes"]
    assert ax.get_aspect() == 1.0


def test_points_without_classes(ax):
    display = PointsDisplay([[1.0, 2.0]]).plot(ax)
    np.testing.assert_array_equal(drawn(display.scatters_[0]), [[1.0, 2.0]])
    assert ax.get_legend() is None


@pytest.mark.parametrize("place", [1.0, 1e5])
def test_points_that_coincide(place, ax):
    PointsDisplay(np.full((5, 2), place), np.arange(5)).plot(ax)
    assert ax.get_xlim()[0] < place < ax.get_xlim()[1]
    ax.figure.canvas.draw()


def test_a_panel_for_each_number_of_layers(flow, plane):
    axes = Figure().subplots(1, 3)
    display = PointsDisplay.from_estimator(flow, *plane, layers=(0, 2, 6), ax=axes)
    assert display.axes_ == list(axes)
    assert [panel.get_title() for panel in axes] == ["n = 0", "n = 2", "n = 6"]
    for scatters, n in zip(display.scatters_, (0, 2, 6), strict=True):
        moved = flow.transform(plane[0], n_layers=n)
        order = np.argsort(plane[1], kind="stable")
        np.testing.assert_allclose(drawn(scatters), moved[order], rtol=1e-6)
    assert len({panel.get_xlim() for panel in axes}) == 1
    axes[0].figure.canvas.draw()


def test_one_name_of_the_vertical_axis_in_each_row():
    axes = Figure().subplots(2, 2)
    PointsDisplay(np.zeros((4, 3, 2))).plot(axes)
    assert [[panel.get_ylabel() for panel in row] for row in axes] == [["$x_2$", ""]] * 2


def test_panels_with_limits_of_their_own(flow, plane):
    axes = Figure().subplots(1, 2)
    PointsDisplay.from_estimator(flow, *plane, layers=(0, 6), ax=axes, share_limits=False)
    assert axes[0].get_xlim() != axes[1].get_xlim()


def test_many_classes_are_named_where_they_are(digits, ax):
    classifier, X, y = digits
    PointsDisplay.from_estimator(classifier, X, y, layers=[6], projection="classes", ax=ax)
    assert {text.get_text() for text in ax.texts} == set("012345")
    assert ax.get_legend() is None


@pytest.mark.parametrize("choice", ["means", "legend", None])
def test_where_classes_are_named_is_a_choice(choice, plane, ax):
    PointsDisplay(*plane).plot(ax, class_names=choice)
    assert (len(ax.texts) == 2) == (choice == "means")
    assert (ax.get_legend() is not None) == (choice == "legend")


def test_principal_directions_are_those_of_each_panel(digits):
    classifier, X, y = digits
    axes = Figure().subplots(1, 2)
    display = PointsDisplay.from_estimator(
        classifier, X, y, layers=(0, 6), projection="pca", ax=axes
    )
    for planar, n in zip(display.points, (0, 6), strict=True):
        moved = classifier.flow_.transform(classifier.scaling_(X), n_layers=n)
        centred = moved.astype(float) - moved.mean(axis=0, dtype=float)
        u, s, _ = np.linalg.svd(centred, full_matrices=False)
        expected = u[:, :2] * s[:2]
        signs = np.sign((expected * planar).sum(axis=0))
        np.testing.assert_allclose(planar, expected * signs, atol=1e-5)
    # A panel is not the mirror image of the one before.
    assert ((display.points[0] * display.points[1]).sum(axis=0) > 0).all()
    share = 100 * s[0] ** 2 / (s**2).sum()
    assert axes[1].get_xlabel() == f"principal direction 1 ({share:.0f} %)"


def test_principal_directions_of_fewer_points_than_coordinates(rng):
    points = rng.normal(size=(5, 12))
    (plane,) = plane_maps([points], "pca", None)
    u, s, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    planar = plane(points)
    expected = u[:, :2] * s[:2]
    np.testing.assert_allclose(np.abs(planar), np.abs(expected), atol=1e-10)


@pytest.mark.parametrize("n_points", [1, 2, 3])
@pytest.mark.parametrize("d", [2, 3, 12])
def test_principal_directions_are_orthonormal_however_few_points(n_points, d, rng):
    points = np.zeros((n_points, d))
    for spread in (0.0, 1.0):
        points += spread * rng.normal(size=(n_points, d))
        (plane,) = plane_maps([points], "pca", None)
        np.testing.assert_allclose(plane.directions.T @ plane.directions, np.eye(2), atol=1e-12)
        expected = np.linalg.svd(points - points.mean(axis=0))[1][:2]
        np.testing.assert_allclose(
            np.linalg.norm(plane(points), axis=0)[: len(expected)], expected, atol=1e-7
        )


def test_principal_directions_of_one_point(digits, ax):
    classifier, X, y = digits
    display = PointsDisplay.from_estimator(
        classifier, X[:1], y[:1], layers=[6], projection="pca", ax=ax
    )
    np.testing.assert_array_equal(drawn(display.scatters_[0]), [[0.0, 0.0]])
    assert ax.get_xlabel() == "principal direction 1 (0 %)"


def test_principal_directions_of_points_that_coincide():
    for points in (np.ones((5, 3)), np.ones((3, 5))):
        (plane,) = plane_maps([points], "pca", None)
        np.testing.assert_allclose(plane(points), np.zeros((len(points), 2)), atol=1e-12)


def test_collapsed_classes_are_at_their_places_on_the_circle(rng):
    codes = np.arange(50) % 5
    last = 7 + 2 * np.eye(5, 9)[codes]
    first = last + rng.normal(size=last.shape)
    maps = plane_maps([first, last], "classes", codes)
    assert maps[0] is maps[1]
    planar = maps[1](last)
    np.testing.assert_allclose(np.linalg.norm(planar, axis=1), 1.0)
    np.testing.assert_allclose(planar[0], [0, 1], atol=1e-12)
    np.testing.assert_allclose(planar[:5].mean(axis=0), [0, 0], atol=1e-12)


def test_velocities_are_mapped_like_differences(rng):
    points, others = rng.normal(size=(2, 20, 4))
    (plane,) = plane_maps([points], "classes", np.arange(20) % 3)
    np.testing.assert_allclose(plane.velocities(others - points), plane(others) - plane(points))


def test_wrong_points():
    with pytest.raises(ValueError, match="points must have 2 columns"):
        PointsDisplay(np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"points must have shape \(n, 2\) or \(p, n, 2\)"):
        PointsDisplay(np.zeros(4))
    with pytest.raises(ValueError, match="points contains NaN"):
        PointsDisplay([[0, np.nan]])
    with pytest.raises(ValueError, match=r"labels must have shape \(4,\)"):
        PointsDisplay(np.zeros((4, 2)), [1, 2])
    with pytest.raises(ValueError, match="layer must have 2 entries"):
        PointsDisplay(np.zeros((2, 4, 2)), layer=3)
    with pytest.raises(ValueError, match="axis_labels"):
        PointsDisplay(np.zeros((4, 2)), axis_labels=[("a", "b"), ("c", "d")])
    with pytest.raises(ValueError, match="class_names must be one of"):
        PointsDisplay(np.zeros((4, 2))).plot(class_names="somewhere")


def test_wrong_projections(flow, plane, digits):
    classifier, X, _ = digits
    with pytest.raises(ValueError, match="pass projection='pca' or 'classes'"):
        PointsDisplay.from_estimator(classifier, X)
    with pytest.raises(ValueError, match="projection='classes' needs classes: pass y"):
        PointsDisplay.from_estimator(classifier, X, projection="classes")
    with pytest.raises(ValueError, match="projection must be one of"):
        PointsDisplay.from_estimator(classifier, X, projection="tsne")
    with pytest.raises(ValueError, match="one column only"):
        plane_maps([np.zeros((3, 1))], "pca", None)
    with pytest.raises(ValueError, match=r"figure.subplots\(1, 2\)"):
        PointsDisplay.from_estimator(flow, plane[0], layers=[0, 1], ax=Figure().subplots())


def test_names_are_moved_apart(rng):
    places = rng.normal(size=(10, 2)) * 5.0
    apart = moved_apart(places, (13.0, 14.0))
    for i in range(10):
        for j in range(i):
            overlap = np.array([13.0, 14.0]) - np.abs(apart[i] - apart[j])
            assert overlap.min() <= 0.5
    np.testing.assert_allclose(apart.mean(axis=0), places.mean(axis=0), atol=1e-9)


def test_names_that_do_not_overlap_stay():
    places = np.array([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0]])
    np.testing.assert_array_equal(moved_apart(places, (13.0, 14.0)), places)
    np.testing.assert_array_equal(moved_apart(places[:1], (13.0, 14.0)), places[:1])


def test_names_at_one_place_come_apart():
    apart = moved_apart(np.zeros((3, 2)), (10.0, 10.0))
    distances = np.abs(apart[:, None] - apart).max(axis=2)[np.triu_indices(3, 1)]
    assert (distances > 9.0).all()
