"""Images: one of each class classifies all, by a flow of their pixels and by one of their scattering.

The flow of pixels is that of MNIST and Fashion-MNIST in the talk about the paper.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from kflow.datasets import Dataset
from kflow.demos import Options
from kflow.demos.fooling import add_fooling
from kflow.demos.geometry import add_geometry
from kflow.demos.image_errors import (
    WINDOW,
    MeasuredFlow,
    add_errors,
    error_numbers,
    measured_flow,
)
from kflow.demos.image_flow import (
    FEATURES,
    Draws,
    FlowOfImages,
    image_settings,
    load_images,
    one_per_class,
)
from kflow.demos.image_projections import add_projections
from kflow.demos.pictures import has_colours
from kflow.demos.remaining_errors import add_remaining_errors
from kflow.demos.report import Report, percent
from kflow.plotting import ClassDistanceDisplay, ImageStripDisplay, LossDisplay, SpreadDisplay

__all__ = ["cifar_10", "digits", "fashion_mnist", "mnist"]

# Number of draws of one image per class.
_DRAWS = 200

# Test images by which geometry is measured.
_MEASURED, _MEASURED_QUICK = 2000, 300

# How many of them are perturbed. A replay of photographs takes ten times as long as one of others.
_FOOLED = {"max_points": 100}
_FOOLED_IN_COLOUR = {"max_points": 30}
_FOOLED_QUICK = {"max_points": 10, "n_candidates": 3, "n_refinements": 2}

_TITLES = {
    "digits": "Digits",
    "mnist": "MNIST",
    "fashion-mnist": "Fashion-MNIST",
    "cifar-10": "CIFAR-10",
}

Flows = Mapping[str, MeasuredFlow]


def digits(options: Options) -> Report:
    """Return the report of flows of scikit-learn's handwritten digits."""
    return _report("digits", options)


def mnist(options: Options) -> Report:
    """Return the report of flows of MNIST."""
    return _report("mnist", options)


def fashion_mnist(options: Options) -> Report:
    """Return the report of flows of Fashion-MNIST."""
    return _report("fashion-mnist", options)


def cifar_10(options: Options) -> Report:
    """Return the report of flows of CIFAR-10."""
    return _report("cifar-10", options)


class _Clock:
    """How long the parts of a demo took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure a part."""
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


def _report(name: str, options: Options) -> Report:
    clock = _Clock()
    with clock.part("reading the images"):
        data = load_images(name, options)
    flows = {}
    for features in FEATURES:
        with clock.part(f"flow of {features}, with its errors"):
            flows[features] = measured_flow(data, image_settings(name, features, options), options)
    images = {features: measured.images for features, measured in flows.items()}
    report = Report(
        f"{_TITLES[name]}: one image per class classifies the others",
        _summary(flows),
        options.command(name),
    )
    report.settings.update(_settings(images))
    for features, measured in flows.items():
        report.numbers[features] = {
            "n_layers": measured.images.flow.n_layers_,
            **error_numbers(measured),
        }
    add_errors(report, name, flows)
    rng = np.random.default_rng([options.seed, 7])
    most = _MEASURED_QUICK if options.quick else _MEASURED
    rows = np.sort(rng.permutation(len(data.y_test))[:most])
    parts: dict[str, Callable[[], Any]] = {
        "one image per class": lambda: _one_per_class(report, images, options),
        "remaining errors": lambda: report.numbers.update(
            remaining_errors=add_remaining_errors(report, images, options.seed)
        ),
        "fooling": lambda: report.numbers.update(
            fooling=add_fooling(report, images, rows, _fooled(data, options), options.seed)
        ),
        "the loss": lambda: _loss(report, flows),
        "distances of classes": lambda: _class_distances(report, flows),
        "images on their way": lambda: _strips(report, images["pixels"], options),
    }
    for features, flow in images.items():
        parts[f"projections of {features}"] = partial(add_projections, report, flow, options)
    for features, flow in images.items():
        parts[f"geometry of {features}"] = partial(_geometry, report, flow, rows, options)
    with options.steps(len(parts), "part") as done:
        for part, add in parts.items():
            with clock.part(part):
                add()
            done()
    _times(report, clock, flows)
    return report


def _geometry(
    report: Report, images: FlowOfImages, rows: npt.NDArray[np.intp], options: Options
) -> None:
    found = add_geometry(report, images, rows, options)
    report.numbers[images.features]["geometry"] = found


def _fooled(data: Dataset, options: Options) -> Mapping[str, int]:
    if options.quick:
        return _FOOLED_QUICK
    return _FOOLED_IN_COLOUR if has_colours(data) else _FOOLED


def _figure(height: float, width: float = 7.0) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _settings(images: Mapping[str, FlowOfImages]) -> dict[str, Any]:
    """Return the settings of all flows: once where they are the same."""
    described = {features: flow.described() for features, flow in images.items()}
    names = dict.fromkeys(name for settings in described.values() for name in settings)
    told: dict[str, Any] = {}
    for name in names:
        values = {f: settings[name] for f, settings in described.items() if name in settings}
        if len(values) == len(described) and len({repr(value) for value in values.values()}) == 1:
            told[name] = next(iter(values.values()))
        else:
            told.update({f"{name} ({features})": value for features, value in values.items()})
    return told


def _summary(flows: Flows) -> str:
    data = flows["pixels"].images.data
    told = []
    for features, measured in flows.items():
        before, after = measured.errors_before[-1], measured.window.summary()[-1]
        told.append(
            f"with {percent(after.average)} errors if it moves the images' {features} (through "
            f"{measured.images.flow.n_layers_} layers; {percent(before.average)} with the same kernel "
            "before the flow)"
        )
    return (
        f"A flow of {len(data.y_train)} images learns a kernel with which {after.n_interpolation} of "
        f"them, one of each class and drawn at random, classify the {len(data.y_test)} test images: on "
        f"average {', and '.join(told)}."
    )


def _loss(report: Report, flows: Flows) -> None:
    figure = _figure(3.2)
    axes = figure.subplots(1, len(flows), sharey=True)
    told = []
    for ax, (features, measured) in zip(axes, flows.items(), strict=True):
        flow = measured.images.flow
        LossDisplay.from_estimator(flow, ax=ax)
        ax.set_title(features, fontsize=10)
        ax.label_outer()
        told.append(f"{flow.batch_size} images for {features}")
        rho = flow.history_["rho"]
        ends = {"first": float(rho[0]), "last": float(rho[-WINDOW:].mean())}
        report.numbers[features]["rho"] = ends
    report.section(
        "The loss",
        "A kernel is good if half of a batch predicts as well as all of it: the loss "
        "rho is the part of the interpolant's squared norm that is lost with the other half. Each "
        f"layer descends rho on a batch of {', and of '.join(told)}.",
    ).figure(figure, "loss", "The loss rho of each layer's batch, and its running mean.")


def _class_distances(report: Report, flows: Flows) -> None:
    figure = _figure(3.2)
    axes = figure.subplots(1, len(flows))
    told = []
    for ax, (features, measured) in zip(axes, flows.items(), strict=True):
        distances, (within, between) = measured.distances, measured.distances_before
        series = (
            [0, *distances.layers],
            [within, *distances.within],
            [between, *distances.between],
        )
        ClassDistanceDisplay(*series).plot(ax)
        ax.set_title(features, fontsize=10)
        first, last = (series[1][end] / series[2][end] for end in (0, -1))
        told.append(f"from {first:.2f} to {last:.3g} for {features}")
        report.numbers[features]["class_distances"] = dict(
            zip(("layers", "within", "between"), series, strict=True)
        )
    report.section(
        "Distances within and between classes",
        "Classes collapse: the mean squared distance between two test images of one class, over "
        f"that between images of different classes, falls {', and '.join(told)}.",
    ).figure(
        figure,
        "class-distances",
        "Mean squared distances between test images of one class, and of different classes, in the "
        "coordinates that move.",
    )


def _strips(report: Report, images: FlowOfImages, options: Options) -> None:
    data = images.data
    assert data.image_shape is not None
    figure = _figure(2.9, 9.0)
    ImageStripDisplay.from_estimator(
        images.classifier,
        data.X_test,
        data.y_test,
        image_shape=data.image_shape,
        images_per_class=1,
        random_state=np.random.default_rng([options.seed, 4]),
        ax=figure.subplots(),
    )
    report.section(
        "What happens to an image",
        "One test image x of each class, drawn at random, what the flow of pixels makes of them, and "
        "the difference, in the units of the pixels. Scattering moves in coordinates, which are not "
        "those of an image.",
    ).figure(
        figure,
        "images",
        "x, F_n(x) and F_n(x) - x for one test image of each class.",
        photographs=has_colours(data),
    )


def _one_per_class(report: Report, images: Mapping[str, FlowOfImages], options: Options) -> None:
    draws = {
        # The same images for all features.
        features: one_per_class(flow, _DRAWS, np.random.default_rng([options.seed, 5]))
        for features, flow in images.items()
    }
    pixels = images["pixels"]
    data, rows = pixels.data, draws["pixels"].rows[0]
    assert data.image_shape is not None
    n_classes = len(rows)
    figure = _figure(2.9, 9.0)
    ImageStripDisplay.from_estimator(
        pixels.classifier,
        data.X_train[rows],
        data.y_train[rows],
        image_shape=data.image_shape,
        ax=figure.subplots(),
    )
    first = [
        f"with {percent(draw.flowed[0])} errors by {features} (before the flow "
        f"{percent(draw.unflowed[0])})"
        for features, draw in draws.items()
    ]
    section = report.section(
        f"The {n_classes} images that classify all others",
        f"These {n_classes} training images, the first draw, classify the test images "
        f"{' and '.join(first)}.",
    ).figure(
        figure,
        "one-per-class",
        "One training image x of each class, drawn at random, and F_n(x) and F_n(x) - x of the flow "
        "of pixels.",
        photographs=has_colours(data),
    )
    spread = _figure(4.4)
    for ax, (when, errors) in zip(spread.subplots(2, 1), _spread(draws).items(), strict=True):
        SpreadDisplay(errors).plot(ax, xlabel=f"test error, {when}")
    section.figure(
        spread,
        "one-shot",
        f"Test errors of {_DRAWS} draws of one training image of each class, before the flow and "
        "after it: mean and standard deviation to the right.",
    ).table(
        ["images are, flow", "least", "median", "largest"],
        [
            [f"{features}, {when}", *(percent(float(q)) for q in np.quantile(e, (0.0, 0.5, 1.0)))]
            for when, errors in _spread(draws).items()
            for features, e in errors.items()
        ],
        f"Test errors of these {_DRAWS} draws.",
    )
    for features, draw in draws.items():
        report.numbers[features]["one_per_class"] = {
            "errors": draw.flowed,
            "errors_before": draw.unflowed,
        }


def _spread(draws: Mapping[str, Draws]) -> dict[str, dict[str, Any]]:
    return {
        "before the flow": {features: draw.unflowed for features, draw in draws.items()},
        "after the flow": {features: draw.flowed for features, draw in draws.items()},
    }


def _times(report: Report, clock: _Clock, flows: Flows) -> None:
    """Tell how long everything took."""
    seconds = dict(clock.seconds)
    for features, measured in flows.items():
        flow = measured.images.flow
        seconds[f"layers of {features} alone"] = float(flow.history_["seconds"].sum())
        if measured.images.encoder is not None:
            seconds[f"{features} of all images alone"] = measured.images.encoding_seconds
    report.section(
        "What took how long",
        "Parts that are named with the word alone are contained in others.",
    ).table(
        ["part", "seconds"],
        [[part, f"{value:.1f}"] for part, value in seconds.items()],
        "The parts of this report, in the order in which they were made.",
    )
    report.numbers["seconds"] = seconds
