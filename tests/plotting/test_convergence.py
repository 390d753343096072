from __future__ import annotations

import numpy as np
import pytest

from kflow.plotting import ConvergenceDisplay

STEPS = np.array([0.1, 0.05, 0.025, 0.01])


@pytest.mark.slow
def test_the_order_of_a_power_law(ax):
    display = ConvergenceDisplay(STEPS, {"first": 3 * STEPS, "second": STEPS**2}).plot(ax)
    assert display.orders == pytest.approx({"first": 1.0, "second": 2.0})
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["first, slope 1.00", "second, slope 2.00"]
    np.testing.assert_allclose(display.fits_[0].get_ydata(), [0.03, 0.3])


def test_what_no_logarithm_shows_is_left_out(ax):
    errors = np.array([0.1, np.nan, 0.025, 0.0])
    display = ConvergenceDisplay(STEPS, {"e": errors}).plot(ax)
    assert display.orders["e"] == pytest.approx(1.0)
    np.testing.assert_array_equal(display.lines_[0].get_xdata(), [0.1, 0.025])


@pytest.mark.parametrize("errors", [[0.1, 0, 0, 0], [0, 0, 0, 0]])
def test_no_order_of_fewer_than_two_points(errors, ax):
    display = ConvergenceDisplay(STEPS, {"e": errors}).plot(ax)
    assert np.isnan(display.orders["e"])
    assert display.fits_ == []


def test_wrong_arguments():
    for steps in ([], [0.0, 1.0], [np.nan, 1.0]):
        with pytest.raises(ValueError, match="steps must be positive and finite"):
            ConvergenceDisplay(steps, {"e": np.ones(len(steps))})
    with pytest.raises(ValueError, match=r"errors\['e'\] must have 4 entries"):
        ConvergenceDisplay(STEPS, {"e": [1.0]})
    with pytest.raises(ValueError, match=r"errors\['e'\] has negative entries"):
        ConvergenceDisplay(STEPS, {"e": -STEPS})
