"""What all displays share."""

from __future__ import annotations

import inspect

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from kflow import plotting
from kflow.plotting import LossDisplay, PointsDisplay
from kflow.plotting._style import (
    CLASS_COLOURS,
    class_name,
    class_style,
    label_lines,
    log_scale,
    name_class_means,
    panels,
    plain_number,
    square_limits,
)

DISPLAYS = [getattr(plotting, name) for name in plotting.__all__]


@pytest.mark.parametrize("display", DISPLAYS, ids=lambda display: display.__name__)
def test_style_is_by_keyword(display):
    parameters = list(inspect.signature(display.plot).parameters.values())
    assert [parameter.name for parameter in parameters[:2]] == ["self", "ax"]
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters[2:])


@pytest.mark.parametrize("display", DISPLAYS, ids=lambda display: display.__name__)
def test_what_is_drawn_comes_from_an_estimator(display):
    if hasattr(display, "from_estimator"):
        assert next(iter(inspect.signature(display.from_estimator).parameters)) == "estimator"


def test_axes_are_made_if_none_are_given():
    matplotlib.use("agg")
    from matplotlib import pyplot

    for display in (
        LossDisplay([0, 1], [0.5, 0.4]).plot(),
        PointsDisplay(np.eye(2)).plot(),
        PointsDisplay(np.zeros((3, 4, 2))).plot(),
    ):
        assert display.figure_.axes[0] is display.ax_
        display.figure_.canvas.draw()
        pyplot.close(display.figure_)


def test_with_axes_there_is_no_pyplot(run_python):
    run_python(
        """
        import sys
        from matplotlib.figure import Figure
        from kflow.plotting import LossDisplay
        LossDisplay([0, 1], [0.5, 0.4]).plot(Figure().subplots())
        assert "matplotlib.pyplot" not in sys.modules
        """
    )


def test_without_matplotlib_the_remedy_is_named(run_python):
    done = run_python(
        """
        import sys
        sys.modules["matplotlib"] = None
        import kflow
        try:
            import kflow.plotting
        except ImportError as error:
            print(error)
        """
    )
    assert "pip install 'kflow[plot]'" in done.stdout


def test_axes_must_be_axes():
    with pytest.raises(TypeError, match="ax must be Matplotlib axes, got str"):
        LossDisplay([0], [0.5]).plot("here")
    with pytest.raises(TypeError, match="sequence"):
        panels(["here", "there"], 2, size=(1, 1))
    with pytest.raises(ValueError, match=r"pass figure.subplots\(1, 3\)"):
        panels(Figure().subplots(1, 2), 3, size=(1, 1))


def test_seventy_classes_look_different():
    assert len({class_style(code) for code in range(70)}) == 70
    assert len(set(CLASS_COLOURS)) == 10


def test_names():
    assert [class_name(label) for label in (1.0, -1, 0.5, "a", np.str_("b"))] == [
        "1", "-1", "0.5", "a", "b",
    ]  # fmt: skip
    assert [plain_number(value) for value in (0.02, 1000.0, 1e4, 1e-9, 2e-5, 0.0)] == [
        "0.02", "1e+03", "$10^{4}$", "$10^{-9}$", "2e-05", "0",
    ]  # fmt: skip


@pytest.mark.parametrize("values", [[1.0, 0.0], [np.nan], [], [-1.0, 2.0]])
def test_no_logarithm_shows_these(values, ax):
    assert not log_scale(ax, values)
    assert ax.get_yscale() == "linear"


@pytest.mark.parametrize("values", [[1.0], [1e-9, 1e3], [0.66, 0.65, np.nan]])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_logarithmic_axis_has_a_tick(values, axis, ax):
    assert log_scale(ax, values, axis)
    ax.figure.canvas.draw()
    one = ax.xaxis if axis == "x" else ax.yaxis
    low, high = sorted(one.get_view_interval())
    assert any(low <= tick <= high for tick in one.get_majorticklocs())


@pytest.mark.parametrize("place", [0.0, 1e-20, 1.0, -1e5, 1e12])
def test_limits_around_points_that_coincide(place, ax):
    square_limits([ax], np.full((3, 2), place))
    for low, high in (ax.get_xlim(), ax.get_ylim()):
        assert low < place < high


def test_names_of_lines_are_apart_in_order(ax):
    ax.set_ylim(0, 10)
    heights = [1.0, 5.0, 5.01, 5.02, 9.0, 4.99]
    texts = label_lines(ax, 1.0, heights, list("abcdef"), ["k"] * 6)
    pixel = ax.figure.dpi / 72
    places = {
        text.get_text(): ax.transData.transform(text.xy)[1] + pixel * text.xyann[1]
        for text in texts
    }
    order = sorted(places, key=places.get)
    assert order == list("afbcde")
    middles = [places[name] for name in order]
    assert np.diff(middles).min() > 9.9 * pixel
    # Where there is room, a name is at its line.
    assert middles[0] == pytest.approx(ax.transData.transform((0, 1.0))[1], abs=3)


def test_the_name_of_a_collapsed_class_is_beside_it(ax, rng):
    points = rng.normal(size=(60, 2))
    codes = np.repeat([0, 1], 30)
    points[codes == 1] = [5.0, 5.0]
    ax.set_xlim(-3, 6)
    spread, dot = name_class_means(ax, points, np.array(["a", "b"]), codes)
    assert spread.get_position() == (0.0, 0.0)
    assert np.hypot(*dot.get_position()) == pytest.approx(14.0)
