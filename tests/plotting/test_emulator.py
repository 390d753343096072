from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow.emulator import HeldOutErrors
from kflow.plotting import EmulatorDisplay


def errors(m):
    ones = np.ones(m)
    level = np.linspace(0.1, 0.99, 11)
    return HeldOutErrors(7, 0.1 * ones, ones, 0.0 * ones, 0.95 * ones, np.ones(2), level)


def test_lines_and_image():
    display = EmulatorDisplay(errors(12)).plot()
    assert len(display.axes_) == 2
    assert display.image_ is None
    np.testing.assert_allclose(display.lines_[0].get_ydata(), 0.1)
    display = EmulatorDisplay(errors(12), (3, 4)).plot()
    assert len(display.lines_) == 3
    display = EmulatorDisplay(errors(24), (12, 2)).plot()
    assert display.image_.get_array().shape == (12, 2)
    assert display.lines_ == []


def test_of_an_emulator(rng):
    X = rng.normal(size=(20, 2))
    Y = np.column_stack([X, np.ones(20)])  # one is constant
    emulator = kflow.Emulator(n_steps=3, random_state=0).fit(X, Y)
    display = EmulatorDisplay.from_estimator(emulator)
    assert np.isnan(display.lines_[0].get_ydata()[2])
    assert display.errors is emulator.held_out_


def test_wrong_arguments():
    with pytest.raises(TypeError, match="errors must be the held_out_ of an emulator, got list"):
        EmulatorDisplay([])
    with pytest.raises(ValueError, match=r"grid_shape=\(2, 3\) is no grid of 5 outputs"):
        EmulatorDisplay(errors(5), (2, 3))
