from __future__ import annotations

import numpy as np
import pytest

from kflow.analysis import (
    adversarial_distance,
    unflowed,
)
from kflow.plotting import AdversarialDisplay


def names(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_distances_of_points_that_could_not_be_fooled_count(ax):
    display = AdversarialDisplay({"a": [1.0, np.inf, 2.0, np.nan]}).plot(ax)
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), [0, 0.25, 0.5])


@pytest.mark.parametrize(("distances", "scale"), [([1.0, 2.0], "log"), ([0.0, 1.0], "linear")])
def test_distances_on_a_logarithmic_axis(distances, scale, ax):
    AdversarialDisplay({"a": distances}).plot(ax, log=True)
    assert ax.get_xscale() == scale


@pytest.mark.parametrize("distances", [[np.inf], [np.nan, np.nan]])
def test_no_distance_at_all(distances, ax):
    AdversarialDisplay({"a": distances}).plot(ax)


@pytest.mark.slow
def test_distances_of_an_estimator(classifier, data, ax):
    X, y = data
    display = AdversarialDisplay.from_estimator(
        classifier, X, y, training=data, max_points=5, ax=ax
    )
    for name, each in (("n = 0", unflowed(classifier, X, y)), ("n = 10", classifier)):
        expected = adversarial_distance(each, X, y, max_points=5).distances
        np.testing.assert_array_equal(display.distances[name], expected)
    assert names(ax) == ["n = 0", "n = 10"]
