from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow.analysis import (
    adversarial_distance,
    class_margins,
    effective_dimension,
    lipschitz,
    unflowed,
)
from kflow.plotting import AdversarialDisplay, DimensionDisplay, LipschitzDisplay, MarginDisplay

N = [0, 5, 10]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    return rng.normal(size=(60, 4)) + 3 * np.eye(3, 4)[y], np.array(["a", "b", "c"])[y]


@pytest.fixture(scope="module")
def classifier(data):
    return kflow.KernelFlowClassifier(n_layers=10, batch_size=30, random_state=0).fit(*data)


def names(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


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


@pytest.mark.parametrize("measure", ["participation", "explained", "neighbours"])
def test_dimensions_of_an_estimator(measure, classifier, data, ax):
    display = DimensionDisplay.from_estimator(
        classifier, *data, measure=measure, layers=[0, 10], n_neighbours=(3, 6), ax=ax
    )
    result = effective_dimension(classifier, *data, layers=[0, 10], n_neighbours=(3, 6))
    np.testing.assert_array_equal(display.dimensions, getattr(result, measure))
    with pytest.raises(ValueError, match="measure must be one of"):
        DimensionDisplay.from_estimator(classifier, *data, measure="fractal")


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


def test_distances_of_an_estimator(classifier, data, ax):
    X, y = data
    display = AdversarialDisplay.from_estimator(
        classifier, X, y, training=data, max_points=5, ax=ax
    )
    for name, each in (("n = 0", unflowed(classifier, X, y)), ("n = 10", classifier)):
        expected = adversarial_distance(each, X, y, max_points=5).distances
        np.testing.assert_array_equal(display.distances[name], expected)
    assert names(ax) == ["n = 0", "n = 10"]


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
    with pytest.raises(ValueError, match=r"dimensions must have shape \(3, m\)"):
        DimensionDisplay(N, np.ones((2, 2)))
    with pytest.raises(ValueError, match="classes must name 1 classes"):
        DimensionDisplay(N, np.ones((3, 2)), ["a", "b"])
    with pytest.raises(ValueError, match="local has entries that are negative or not finite"):
        LipschitzDisplay(N, -np.ones((3, 2)))
    with pytest.raises(ValueError, match="log10_bound must have 3 entries"):
        LipschitzDisplay(N, np.ones((3, 2)), [1.0])
