from __future__ import annotations

import numpy as np
import pytest

from kflow.analysis import (
    class_margins,
)
from kflow.plotting import MarginDisplay


def names(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_margins(ax):
    display = MarginDisplay({"before": [-1.0, 0.5, 1.0, 2.0], "after": [3.0]}).plot(ax)
    assert names(ax) == ["before", "after"]
    line = display.lines_[0]
    np.testing.assert_array_equal(line.get_xdata(), [-1, -1, 0.5, 1, 2])
    np.testing.assert_array_equal(line.get_ydata(), [0, 0.25, 0.5, 0.75, 1])
    with pytest.raises(ValueError, match=r"margins\['a'\] is empty or has NaN"):
        MarginDisplay({"a": [np.nan]})


def test_margins_of_an_estimator(classifier, data, ax):
    display = MarginDisplay.from_estimator(classifier, *data, training=data, ax=ax)
    result = class_margins(classifier, *data, training=data)
    np.testing.assert_array_equal(display.margins["n = 0"], result.interpolant[0])
    np.testing.assert_array_equal(display.margins["n = 10"], result.interpolant[1])
    only_after = MarginDisplay.from_estimator(classifier, *data, ax=ax)
    assert list(only_after.margins) == ["n = 10"]
    geometric = MarginDisplay.from_estimator(classifier, *data, measure="hypothesis", ax=ax)
    assert list(geometric.margins) == ["n = 0", "n = 10"]
    with pytest.raises(ValueError, match="measure must be one of"):
        MarginDisplay.from_estimator(classifier, *data, measure="soft")
    with pytest.raises(ValueError, match="pass training"):
        MarginDisplay.from_estimator(classifier, *data, layers=[0])
