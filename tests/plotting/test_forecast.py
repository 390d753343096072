from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from kflow.plotting import ForecastDisplay
from kflow.timeseries import Forecaster, henon_map


def test_bands_are_quantiles_of_the_members(rng):
    members = rng.normal(size=(101, 4))
    members[:50, 3] = np.nan
    display = ForecastDisplay(members, observed=np.arange(4.0)).plot(Figure().subplots())
    assert len(display.bands_) == 2
    vertices = display.bands_[0].get_paths()[0].vertices
    low, high = np.nanquantile(members, [0.05, 0.95], axis=0)
    for step in range(4):
        heights = vertices[vertices[:, 0] == step + 1.0, 1]
        assert heights.min() == pytest.approx(low[step])
        assert heights.max() == pytest.approx(high[step])
    np.testing.assert_allclose(display.median_.get_ydata(), np.nanmedian(members, axis=0))
    np.testing.assert_array_equal(display.observed_.get_ydata(), np.arange(4.0))
    assert display.ax_.get_xlabel() == "steps ahead"
    assert ForecastDisplay(members).plot(Figure().subplots()).observed_ is None


def test_steps_without_members_are_left_out():
    members = np.ones((5, 3))
    members[:, 2] = np.nan
    display = ForecastDisplay(members, times=[0.5, 0.7, 1.5]).plot(Figure().subplots())
    assert np.isnan(display.median_.get_ydata()[2])
    assert display.ax_.get_xlabel() == "time"


def test_of_a_forecaster():
    series = henon_map(80)
    forecaster = Forecaster(learn=None).fit(series)
    display = ForecastDisplay.from_estimator(
        forecaster, 5, column=1, n_samples=20, noise=0.01, ax=Figure().subplots()
    )
    expected = forecaster.sample(5, n_samples=20, noise=0.01)[..., 1]
    np.testing.assert_array_equal(display.members, expected)
    flat = Forecaster(learn=None).fit(series[:, 0])
    assert ForecastDisplay.from_estimator(flat, 3, ax=Figure().subplots()).members.shape == (200, 3)
    with pytest.raises(ValueError, match="column"):
        ForecastDisplay.from_estimator(forecaster, 5, column=2)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"members must have shape \(n_members, n_steps\)"):
        ForecastDisplay(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match="observed must have 3 entries"):
        ForecastDisplay(np.zeros((2, 3)), observed=[1.0])
    with pytest.raises(ValueError, match="times must have 3 entries"):
        ForecastDisplay(np.zeros((2, 3)), times=[1.0])
