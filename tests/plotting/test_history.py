from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow.evaluation import class_distances, interpolation_errors
from kflow.plotting import ClassDistanceDisplay, ErrorDisplay, LossDisplay
from kflow.plotting.history import running_mean
from kflow.presets import FIXED

N = np.arange(100)
RHO = np.linspace(0.5, 0.1, 100) + 0.05 * (-1.0) ** N


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    return rng.normal(size=(60, 4)) + 2 * np.eye(3, 4)[y], np.array(["a", "b", "c"])[y]


@pytest.fixture(scope="module")
def classifier(data):
    return kflow.KernelFlowClassifier(
        **{**FIXED, "n_layers": 8, "batch_size": 30, "random_state": 0}
    ).fit(*data)


def test_loss_and_its_running_mean(ax):
    display = LossDisplay(N, RHO).plot(ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    raw, mean = display.line_.get_ydata(), display.mean_line_.get_ydata()
    np.testing.assert_array_equal(raw, RHO)
    assert np.abs(np.diff(mean)).max() < 0.5 * np.abs(np.diff(raw)).min()
    assert raw.min() < mean.min() < mean.max() < raw.max()
    assert ax.get_xlabel() == "layer n"
    assert ax.get_ylabel()


def test_the_window_is_a_choice(ax):
    display = LossDisplay(N, RHO).plot(ax, window=1)
    np.testing.assert_allclose(display.mean_line_.get_ydata(), RHO)
    with pytest.raises(ValueError, match="window must be at least 1"):
        LossDisplay(N, RHO).plot(ax, window=0)


@pytest.mark.parametrize("window", [1, 2, 3, 20])
def test_the_mean_is_over_as_many_layers_as_it_says(window):
    values = np.random.default_rng(0).random(40)
    mean = running_mean(values, window)
    for entry in range(window // 2, 40 - (window - 1) // 2):
        around = values[entry - window // 2 :][:window]
        assert len(around) == window
        assert mean[entry] == pytest.approx(around.mean())
    assert mean[-1] == pytest.approx(values[39 - window // 2 :].mean())


def test_loss_of_one_layer(ax):
    display = LossDisplay([0], [0.5]).plot(ax)
    np.testing.assert_array_equal(display.mean_line_.get_ydata(), [0.5])


def test_two_losses_on_the_same_axes(ax):
    for name in ("first", "second"):
        LossDisplay(N, RHO).plot(ax, label=name)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["first", "second"]


def test_loss_of_an_estimator(classifier, ax):
    display = LossDisplay.from_estimator(classifier, ax=ax, window=2)
    np.testing.assert_array_equal(display.line_.get_ydata(), classifier.flow_.history_["rho"])
    np.testing.assert_array_equal(display.layers, np.arange(8))


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="rho must have 100 entries"):
        LossDisplay(N, RHO[:-1])
    with pytest.raises(ValueError, match=r"errors\[10\] must have 3 entries"):
        ErrorDisplay([1, 2, 3], {10: [0.5]})
    for wrong in ([0.1, 0.2, 0.3], {}):
        with pytest.raises(TypeError, match=r"errors must map .* one at least"):
            ErrorDisplay([1, 2, 3], wrong)


def test_errors_have_a_line_for_each_number_of_points(ax):
    ErrorDisplay([1, 10, 20], {10: [0.5, 0.3, 0.2], 600: [0.1, 0.03, np.nan]}).plot(ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["600", "10"]
    assert ax.get_yscale() == "log"
    ax.figure.canvas.draw()
    low, high = ax.get_ylim()
    labels = {
        label.get_text() for label in ax.get_yticklabels() if low <= label.get_position()[1] <= high
    }
    assert {"2 %", "5 %", "10 %", "20 %", "50 %"} == labels


@pytest.mark.parametrize("errors", [[0.1, 0.0], [np.nan, np.nan], []])
def test_errors_that_no_logarithm_can_show(errors, ax):
    ErrorDisplay(range(1, len(errors) + 1), {10: errors}).plot(ax)
    assert ax.get_yscale() == "linear"


def test_errors_on_a_linear_axis(ax):
    ErrorDisplay([1, 2], {10: [0.5, 0.4]}).plot(ax, log=False)
    assert ax.get_yscale() == "linear"


def test_errors_of_an_estimator_are_those_of_its_interpolants(classifier, data, ax):
    X, y = data
    X_test = X + 0.5
    display = ErrorDisplay.from_estimator(
        classifier, X, y, X_test, y, layers=[0, 8], n_interpolation=[3, 30], n_draws=2, ax=ax
    )
    flow, rng = classifier.flow_, np.random.default_rng(0)
    scaled = classifier.scaling_(X), classifier.scaling_(X_test)
    expected = {30: [], 3: []}
    for count in (0, 8):
        points, test_points = (flow.transform(part, n_layers=count) for part in scaled)
        for size, errors in expected.items():
            (row,) = interpolation_errors(
                points,
                y,
                test_points,
                y,
                kernel=flow.kernel_,
                nugget=classifier.interpolation_nugget,
                rng=rng,
                n_interpolation=[size],
                n_draws=2,
            )
            errors.append(row.average)
    assert list(display.errors) == [30, 3]
    for size, errors in expected.items():
        np.testing.assert_array_equal(display.errors[size], errors)


def test_errors_need_classes_of_all_points(classifier, data):
    X, y = data
    with pytest.raises(ValueError, match=r"y_test must have shape \(60,\)"):
        ErrorDisplay.from_estimator(classifier, X, y, X, y[:-1])
    with pytest.raises(ValueError, match=r"y must have shape \(60,\), got \(30, 2\)"):
        ErrorDisplay.from_estimator(classifier, X, y.reshape(30, 2), X, y)


def test_classes_may_be_a_column(classifier, data, ax):
    X, y = data
    options = {"layers": [0, 8], "ax": ax}
    first, second = (
        ErrorDisplay.from_estimator(classifier, X, each, X + 0.5, each, n_draws=1, **options).errors
        for each in (y, y[:, None])
    )
    np.testing.assert_array_equal(list(first.values()), list(second.values()))
    first, second = (
        ClassDistanceDisplay.from_estimator(classifier, X, each, **options).ratio
        for each in (y, y[:, None])
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"n_draws": 0}, ValueError, "n_draws must be at least 1"),
        ({"n_draws": 1.5}, TypeError, "n_draws must be a whole number"),
        ({"nugget": -1.0}, ValueError, "nugget must be finite and not negative"),
        ({"nugget": "small"}, TypeError, "nugget must be a number"),
    ],
)
def test_wrong_draws_and_nuggets(wrong, error, message, classifier, data):
    with pytest.raises(error, match=message):
        ErrorDisplay.from_estimator(classifier, *data, *data, **wrong)


@pytest.mark.parametrize(
    ("ratio", "scale"),
    [
        (np.geomspace(3, 0.1, 100), "log"),
        (np.geomspace(10, 1e-9, 50), "log"),
        (np.array([0.66, 0.65]), "log"),
        (np.full(5, np.nan), "linear"),
    ],
)
def test_ratio_of_class_distances(ratio, scale, ax):
    display = ClassDistanceDisplay(range(len(ratio)), ratio=ratio).plot(ax)
    assert ax.get_yscale() == scale
    (line,) = display.lines_
    np.testing.assert_array_equal(line.get_ydata(), ratio)


def test_distances_within_and_between_classes(classifier, data, ax):
    X, y = data
    display = ClassDistanceDisplay.from_estimator(classifier, X, y, layers=[0, 8], ax=ax)
    flow, scaled = classifier.flow_, classifier.scaling_(X)
    expected = [class_distances(flow.transform(scaled, n_layers=n), y) for n in (0, 8)]
    np.testing.assert_allclose(np.column_stack([display.within, display.between]), expected)
    np.testing.assert_allclose(display.ratio, [w / b for w, b in expected])
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {
        "within classes",
        "between classes",
    }


def test_ratio_of_a_flow_is_that_of_its_batches(classifier, ax):
    display = ClassDistanceDisplay.from_estimator(classifier, ax=ax)
    expected = classifier.flow_.history_["class_distance_ratio"]
    np.testing.assert_array_equal(display.ratio, expected)


def test_class_distances_need_both_or_the_ratio(classifier, data):
    for given in ({}, {"within": [1]}, {"between": [1]}, {"within": [1], "ratio": [1]}):
        with pytest.raises(ValueError, match="pass within and between, or ratio alone"):
            ClassDistanceDisplay([0], **given)
    with pytest.raises(ValueError, match="y is missing"):
        ClassDistanceDisplay.from_estimator(classifier, data[0])
    with pytest.raises(ValueError, match="layers are of use with points only"):
        ClassDistanceDisplay.from_estimator(classifier, layers=[0])
