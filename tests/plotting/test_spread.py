from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow.plotting import SpreadDisplay
from kflow.plotting.spread import bin_edges
from kflow.presets import FIXED


def test_a_row_for_each_name(rng, ax):
    errors = {10: rng.binomial(100, 0.2, 40) / 100, "all": np.full(7, 0.1)}
    display = SpreadDisplay(errors).plot(ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["10", "all"]
    assert len(display.histograms_) == 2
    for mean, values in zip(display.means_, errors.values(), strict=True):
        assert mean.get_xdata()[0] == pytest.approx(np.mean(values))
    assert ax.texts[1].get_text() == "10.00 ± 0.00 %"


@pytest.mark.parametrize("bins", [None, 1, 5])
def test_every_error_is_in_a_bin(bins, rng):
    errors = {"a": rng.binomial(37, 0.3, 200) / 37, "b": rng.binomial(37, 0.1, 50) / 37}
    edges = bin_edges(errors, bins)
    for values in errors.values():
        assert np.histogram(values, edges)[0].sum() == len(values)
    # Bins hold the same number of possible errors.
    np.testing.assert_allclose(np.diff(edges) * 37, round(np.diff(edges)[0] * 37))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_no_value_is_lost(seed, ax):
    rng = np.random.default_rng(seed)
    low, n_values = rng.uniform(0, 0.5), rng.integers(1, 130)
    if seed % 2:  # multiples of one over the number of test points
        values = (np.arange(n_values) + rng.integers(10)) / rng.integers(40, 10_001)
    else:
        values = low + 10.0 ** rng.integers(-9, 0) * rng.random(n_values)
    errors = {"all": values, "largest": np.full(n_values, values.max()), "least": [values.min()]}
    display = SpreadDisplay(errors).plot(ax)
    for bins in (None, 1, 2, int(rng.integers(3, 80))):
        edges = bin_edges(display.errors, bins)
        assert (np.diff(edges) > 0).all()
        for sample in display.errors.values():
            assert np.histogram(sample, edges)[0].sum() == len(sample)


def test_the_largest_error_is_in_the_last_bin(ax):
    display = SpreadDisplay({"a": np.arange(126) * 0.001, "b": np.full(126, 0.125)}).plot(ax)
    heights = display.histograms_[1].get_paths()[0].vertices[:, 1]
    assert heights.max() - heights.min() == pytest.approx(0.7)


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_errors_that_are_all_the_same(value, ax):
    SpreadDisplay({"a": [value] * 3}).plot(ax)


def test_spread_of_an_estimator(rng, ax):
    y = np.arange(60) % 3
    X = rng.normal(size=(60, 4)) + np.eye(3, 4)[y]
    classifier = kflow.KernelFlowClassifier(**{**FIXED, "n_layers": 5, "random_state": 0}).fit(X, y)
    display = SpreadDisplay.from_estimator(
        classifier, X, y, X + 0.1, y, n_interpolation=(30, 3), n_draws=4, ax=ax
    )
    assert list(display.errors) == ["30 points", "3 points"]
    assert all(len(values) == 4 for values in display.errors.values())
    assert display.errors["3 points"].std() > 0
    again = SpreadDisplay.from_estimator(
        classifier, X, y, X + 0.1, y, n_interpolation=(30, 3), n_draws=4, n_layers=5, ax=ax
    )
    np.testing.assert_array_equal(display.errors["3 points"], again.errors["3 points"])


def test_classes_of_the_wrong_shape(rng):
    X, y = rng.normal(size=(20, 3)), np.arange(20) % 2
    flow = kflow.KernelFlow(n_layers=1, batch_size=10, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match=r"y must have shape \(20,\), got \(10, 2\)"):
        SpreadDisplay.from_estimator(flow, X, y.reshape(10, 2), X, y)


def test_wrong_errors():
    for wrong in ([0.1], {}):
        with pytest.raises(TypeError, match="errors must map names to arrays, one at least"):
            SpreadDisplay(wrong)
    for wrong in ([], [np.nan], [np.inf]):
        with pytest.raises(ValueError, match=r"errors\['a'\] is empty or has NaN or infinity"):
            SpreadDisplay({"a": wrong})
