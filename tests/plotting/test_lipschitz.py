from __future__ import annotations

import numpy as np
import pytest

from kflow.analysis import (
    lipschitz,
)
from kflow.plotting import LipschitzDisplay

N = [0, 5, 10]


@pytest.mark.parametrize("slope", [0.01, 20.0])
def test_lipschitz_constants_below_a_bound(slope, rng, ax):
    local = 10.0 ** rng.uniform(-0.5, 0.5, (3, 40))
    display = LipschitzDisplay(N, local, slope * np.array(N)).plot(ax)
    median = np.median(np.log10(local), axis=1)
    np.testing.assert_allclose(display.line_.get_ydata(), median)
    np.testing.assert_array_equal(display.bound_line_.get_ydata(), slope * np.array(N))
    # The constants have at least a third of the height, however large the bound.
    low, high = ax.transAxes.inverted().transform(ax.transData.transform([(0, -0.5), (0, 0.5)]))[
        :, 1
    ]
    assert high - low > 0.2
    assert (ax.get_yscale() == "function") == (slope > 1)


@pytest.mark.parametrize("bound", [None, [0.0, 3.0, np.inf]])
def test_lipschitz_constants_without_a_finite_bound(bound, ax):
    pairs = [[1.0, np.nan], [0.0, 2.0], [np.nan, np.nan]]
    display = LipschitzDisplay(N, np.ones((3, 2)), bound, within=pairs, between=pairs).plot(ax)
    assert (display.bound_line_ is None) == (bound is None)
    assert len(display.pair_lines_) == 2


def test_lipschitz_constants_of_an_estimator(classifier, data, ax):
    display = LipschitzDisplay.from_estimator(
        classifier, *data, layers=[0, 10], max_points=4, ax=ax
    )
    result = lipschitz(classifier, *data, layers=[0, 10], max_points=4)
    np.testing.assert_array_equal(display.local, result.local)
    np.testing.assert_array_equal(display.log10_bound, result.log10_bound)
    np.testing.assert_array_equal(display.within, result.within)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="local has entries that are negative or not finite"):
        LipschitzDisplay(N, -np.ones((3, 2)))
    with pytest.raises(ValueError, match="log10_bound must have 3 entries"):
        LipschitzDisplay(N, np.ones((3, 2)), [1.0])
