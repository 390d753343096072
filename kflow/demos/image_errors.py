"""The test errors of flows of images on their way, and as a section of a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from kflow.datasets import Dataset
from kflow.demos import Options
from kflow.demos.image_flow import FlowOfImages, ImageSettings, fitted_flow
from kflow.demos.published import PUBLISHED
from kflow.demos.report import Report, percent
from kflow.evaluation import (
    N_INTERPOLATION,
    ErrorCurve,
    ErrorWindow,
    InterpolationError,
    class_distances,
    interpolation_errors,
)
from kflow.flow.kernel_flow import KernelFlow
from kflow.plotting import ErrorDisplay

__all__ = [
    "WINDOW",
    "ClassDistances",
    "MeasuredFlow",
    "add_errors",
    "error_numbers",
    "measured_flow",
]

# The errors in the tables are those of so many last layers, with one draw for each layer.
WINDOW = 20


class ClassDistances:
    """Callback that measures the squared distances within and between classes of the test points.

    Attributes
    ----------
    layers : list of int
        The numbers of layers after which it has measured.
    within, between : list of float
        The mean squared distances.
    """

    def __init__(self, labels: npt.NDArray[Any], every: int) -> None:
        self._labels = labels
        self._every = every
        self.layers: list[int] = []
        self.within: list[float] = []
        self.between: list[float] = []

    def __call__(self, flow: KernelFlow) -> None:
        """Measure, if it is time to."""
        if flow.n_layers_ % self._every == 0:
            within, between = class_distances(flow.positions().sets["test"], self._labels)
            self.layers.append(flow.n_layers_)
            self.within.append(within)
            self.between.append(between)


@dataclass(frozen=True, eq=False)
class MeasuredFlow:
    """A flow, what was measured while it ran, and what before the first layer."""

    images: FlowOfImages
    curve: ErrorCurve
    window: ErrorWindow
    distances: ClassDistances
    errors_before: list[InterpolationError]
    distances_before: tuple[float, float]


def measured_flow(data: Dataset, settings: ImageSettings, options: Options) -> MeasuredFlow:
    """Fit a flow to images, and measure errors and distances on its way."""
    n_layers = settings.estimator["n_layers"]
    nugget = settings.estimator["interpolation_nugget"]
    sizes = N_INTERPOLATION[1:] if options.quick else N_INTERPOLATION

    def rng(number: int) -> np.random.Generator:
        return np.random.default_rng([options.seed, number])

    curve = ErrorCurve(
        data.y_train,
        data.y_test,
        nugget=nugget,
        every=max(1, n_layers // 20),
        rng=rng(1),
        n_interpolation=sizes,
        n_draws=1,
    )
    window = ErrorWindow(
        data.y_train,
        data.y_test,
        nugget=nugget,
        first=n_layers - WINDOW + 1,
        last=n_layers,
        rng=rng(2),
        n_interpolation=sizes,
    )
    distances = ClassDistances(data.y_test, max(1, n_layers // 100))
    images = fitted_flow(data, settings, options, (curve, window, distances))
    train, test = images.unmoved()
    errors_before = interpolation_errors(
        train,
        data.y_train,
        test,
        data.y_test,
        kernel=images.flow.kernel_,
        nugget=nugget,
        rng=rng(3),
        n_interpolation=sizes,
        n_threads=options.n_threads,
    )
    before = class_distances(test, data.y_test)
    return MeasuredFlow(images, curve, window, distances, errors_before, before)


def add_errors(report: Report, name: str, flows: Mapping[str, MeasuredFlow]) -> None:
    """Add a section with the test errors of the flows of all features, against the layer and at the end."""
    figure = Figure(figsize=(7.0, 3.6), layout="constrained")
    axes = figure.subplots(1, len(flows), sharey=True)
    for ax, (features, measured) in zip(axes, flows.items(), strict=True):
        at_start = {row.n_interpolation: row.average for row in measured.errors_before}
        ErrorDisplay(
            [0, *measured.curve.layers],
            {size: [at_start[size], *errors] for size, errors in measured.curve.errors.items()},
        ).plot(ax)
        ax.set_title(features, fontsize=10)
        ax.label_outer()
    section = report.section(
        "The test error",
        "The test images are classified by interpolation of the labels of N_I training images, drawn "
        "at random, the same number of each class, with the kernel "
        "K_n(x, x') = K_1(F_n(x), F_n(x')).",
    ).figure(figure, "errors", "Test error against the layer, for several numbers N_I of images.")
    table = []
    for features, measured in flows.items():
        n = measured.images.flow.n_layers_
        rows = measured.window.summary()
        table += [_row(f"{features}, n = {n - WINDOW + 1} to {n}", row) for row in rows]
    for features, measured in flows.items():
        table += [_row(f"{features}, n = 0", row) for row in measured.errors_before]
    for when, published in PUBLISHED.get(name, {}).items():
        table += [
            _row(f"Owhadi and Yoo, {when}", InterpolationError(size, *numbers))
            for size, numbers in published.items()
        ]
    section.table(
        ["kernel", "N_I", "average", "min", "max", "standard deviation"],
        table,
        f"Test errors over the last {WINDOW} layers, one draw of images for each, before the flow "
        "(five draws)" + (", and as published." if name in PUBLISHED else "."),
    )


def error_numbers(measured: MeasuredFlow) -> dict[str, Any]:
    """Return the errors of a flow for the JSON file."""
    n_layers = measured.images.flow.n_layers_
    return {
        "errors_before": [asdict(row) for row in measured.errors_before],
        "errors": [asdict(row) for row in measured.window.summary()],
        "window": [n_layers - WINDOW + 1, n_layers],
        "curve": {"layers": measured.curve.layers, "errors": measured.curve.errors},
    }


def _row(kernel: str, row: InterpolationError) -> list[str]:
    shares = (row.average, row.min, row.max)
    return [
        kernel,
        str(row.n_interpolation),
        *(percent(share) for share in shares),
        f"{100.0 * row.std:.3f} %",
    ]
