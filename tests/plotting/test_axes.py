from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from kflow.plotting import LossDisplay
from kflow.plotting.axes import log_scale, panels, plain_number, square_limits


def test_axes_must_be_axes():
    with pytest.raises(TypeError, match="ax must be Matplotlib axes, got str"):
        LossDisplay([0], [0.5]).plot("here")
    with pytest.raises(TypeError, match="sequence"):
        panels(["here", "there"], 2, size=(1, 1))
    with pytest.raises(ValueError, match=r"pass figure.subplots\(1, 3\)"):
        panels(Figure().subplots(1, 2), 3, size=(1, 1))


def test_plain_numbers():
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
