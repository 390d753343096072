"""What all displays share."""

from __future__ import annotations

import inspect

import matplotlib
import numpy as np
import pytest

from kflow import plotting
from kflow.plotting import LossDisplay, PointsDisplay

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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
