from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

import kflow
from kflow.plotting import PointsDisplay
from kflow.presets import FIXED


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
    return (
        kflow.KernelFlowClassifier(
            **{**FIXED, "n_layers": 6, "batch_size": 40, "random_state": 0}
        ).fit(X, y),
        X,
        y,
    )


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


def test_principal_directions_of_one_point(digits, ax):
    classifier, X, y = digits
    display = PointsDisplay.from_estimator(
        classifier, X[:1], y[:1], layers=[6], projection="pca", ax=ax
    )
    np.testing.assert_array_equal(drawn(display.scatters_[0]), [[0.0, 0.0]])
    assert ax.get_xlabel() == "principal direction 1 (0 %)"


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
    with pytest.raises(ValueError, match=r"figure.subplots\(1, 2\)"):
        PointsDisplay.from_estimator(flow, plane[0], layers=[0, 1], ax=Figure().subplots())
