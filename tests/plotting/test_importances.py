from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import kflow
from kflow.plotting import ImportanceDisplay


def shown(ax):
    return [text.get_text() for text in ax.get_yticklabels()]


def test_the_largest_is_on_top(ax):
    display = ImportanceDisplay([0.2, 0.5, 0.3]).plot(ax)
    assert display.ax_ is ax
    assert shown(ax) == ["x1", "x2", "x0"]
    assert [bar.get_width() for bar in display.bars_] == [0.5, 0.3, 0.2]
    assert ax.yaxis_inverted()


def test_the_least_are_left_out(ax):
    ImportanceDisplay([0.2, 0.5, 0.3], ["a", "b", "c"]).plot(ax, most=2)
    assert shown(ax) == ["b", "c"]


def test_of_an_estimator(ax, rng):
    X = pd.DataFrame(rng.normal(size=(60, 3)), columns=["length", "width", "height"])
    model = kflow.KernelFlowRegressor(n_layers=0, random_state=0).fit(X, np.sin(X["width"]))
    display = ImportanceDisplay.from_estimator(model, ax=ax)
    assert shown(ax)[0] == "width"
    np.testing.assert_array_equal(display.importances, model.feature_importances_)
    metric = kflow.GradientMetric(targets="numbers").fit(X.to_numpy(), X["width"])
    assert ImportanceDisplay.from_estimator(metric).names == ["x0", "x1", "x2"]


def test_wrong_arguments():
    with pytest.raises(ValueError, match="names must have 2 entries, got 1"):
        ImportanceDisplay([0.5, 0.5], ["a"])
    with pytest.raises(ValueError, match="most"):
        ImportanceDisplay([1.0]).plot(most=0)
    with pytest.raises(AttributeError, match="feature_importances_"):
        ImportanceDisplay.from_estimator(object())
