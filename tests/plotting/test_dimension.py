from __future__ import annotations

import numpy as np
import pytest

from kflow.analysis import (
    effective_dimension,
)
from kflow.plotting import DimensionDisplay

N = [0, 5, 10]


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_dimensions(scale, rng, ax):
    dimensions = rng.uniform(2, 4, (3, 3))
    display = DimensionDisplay(N, dimensions, ["a", "b"], measure="rank").plot(
        ax, log=scale == "log"
    )
    np.testing.assert_array_equal(display.line_.get_ydata(), dimensions[:, 0])
    for line, column in zip(display.lines_, dimensions.T[1:], strict=True):
        np.testing.assert_array_equal(line.get_ydata(), column)
    assert {text.get_text() for text in ax.texts} == {"all", "a", "b"}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("layer n", "rank")
    assert ax.get_yscale() == scale


def test_dimensions_that_are_partly_unknown(ax):
    DimensionDisplay(N, [[2, np.nan, 1], [2, np.nan, 1], [2, np.nan, np.nan]]).plot(ax)
    assert {text.get_text() for text in ax.texts} == {"all", "1"}


@pytest.mark.parametrize(("layers", "dimensions"), [([0], [[np.nan]]), ([], np.empty((0, 2)))])
def test_no_dimension_is_known(layers, dimensions, ax):
    DimensionDisplay(layers, dimensions).plot(ax)
    assert not ax.texts


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["participation", "explained", "neighbours"])
def test_dimensions_of_an_estimator(measure, classifier, data, ax):
    display = DimensionDisplay.from_estimator(
        classifier, *data, measure=measure, layers=[0, 10], n_neighbours=(3, 6), ax=ax
    )
    result = effective_dimension(classifier, *data, layers=[0, 10], n_neighbours=(3, 6))
    np.testing.assert_array_equal(display.dimensions, getattr(result, measure))
    with pytest.raises(ValueError, match="measure must be one of"):
        DimensionDisplay.from_estimator(classifier, *data, measure="fractal")


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"dimensions must have shape \(3, m\)"):
        DimensionDisplay(N, np.ones((2, 2)))
    with pytest.raises(ValueError, match="classes must name 1 classes"):
        DimensionDisplay(N, np.ones((3, 2)), ["a", "b"])
