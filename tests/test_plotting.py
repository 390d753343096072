from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from kflow.plotting import plot_class_distance_ratio, plot_errors, plot_rho

HISTORY = {
    "rho": np.linspace(0.5, 0.1, 100) + 0.05 * (-1.0) ** np.arange(100),
    "class_distance_ratio": np.geomspace(3, 0.1, 100),
}


@pytest.fixture
def ax():
    figure = Figure(layout="constrained")
    yield figure.subplots()
    figure.canvas.draw()  # where Matplotlib would complain


def test_rho_and_its_running_mean(ax):
    assert plot_rho(HISTORY, ax) is ax
    raw, mean = (line.get_ydata() for line in ax.lines)
    np.testing.assert_array_equal(raw, HISTORY["rho"])
    assert np.abs(np.diff(mean)).max() < 0.5 * np.abs(np.diff(raw)).min()
    assert raw.min() < mean.min() < mean.max() < raw.max()
    assert ax.get_xlabel()
    assert ax.get_ylabel()


def test_rho_of_one_layer(ax):
    plot_rho({"rho": np.array([0.5])}, ax)
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), [0.5])


def test_errors_have_a_line_for_each_number_of_points(ax):
    plot_errors([1, 10, 20], {10: [0.5, 0.3, 0.2], 600: [0.1, 0.03, np.nan]}, ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["600", "10"]
    assert ax.get_yscale() == "log"
    ax.figure.canvas.draw()
    low, high = ax.get_ylim()
    labels = {
        label.get_text() for label in ax.get_yticklabels() if low <= label.get_position()[1] <= high
    }
    assert {"2 %", "5 %", "10 %", "20 %", "50 %"} == labels


@pytest.mark.parametrize("errors", [[0.1, 0.0], [np.nan, np.nan], []])
def test_errors_that_no_logarithm_can_show(errors, ax):
    plot_errors(range(1, len(errors) + 1), {10: errors}, ax)
    assert ax.get_yscale() == "linear"


@pytest.mark.parametrize(
    ("ratio", "scale"),
    [
        (HISTORY["class_distance_ratio"], "log"),
        (np.geomspace(10, 1e-9, 50), "log"),
        (np.array([0.66, 0.65]), "log"),
        (np.full(5, np.nan), "linear"),
    ],
)
def test_class_distance_ratio(ratio, scale, ax):
    plot_class_distance_ratio({"class_distance_ratio": ratio}, ax)
    assert ax.get_yscale() == scale
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), ratio)


def test_axes_are_made_if_none_are_given():
    matplotlib.use("agg")
    from matplotlib import pyplot

    for ax in (
        plot_rho(HISTORY),
        plot_errors([1, 2], {10: [0.5, 0.4]}),
        plot_class_distance_ratio(HISTORY),
    ):
        assert ax.lines
        pyplot.close(ax.figure)


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
