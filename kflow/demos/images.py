"""Images: one point per class classifies all, as on MNIST and Fashion-MNIST in the paper's talk."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from kflow.demos import Options
from kflow.demos.geometry import add_geometry
from kflow.demos.image_flow import FlowOfImages, fitted_flow, load_images, one_per_class
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
from kflow.plotting import (
    ClassDistanceDisplay,
    ErrorDisplay,
    FlowAnimation,
    ImageStripDisplay,
    LossDisplay,
    PointsDisplay,
)

__all__ = ["PUBLISHED", "digits", "fashion_mnist", "mnist"]

# The errors in the tables are those of so many last layers, with one draw for each layer.
_WINDOW = 20

# Number of draws of one image per class.
_DRAWS = 200

# Largest number of points in a scatter plot; more would hide each other.
_DRAWN = 1500

# Number of points in the animation.
_MOVING = 800

# Errors in the talk of Owhadi and Yoo: N_I to average, least, largest, standard deviation.
PUBLISHED: dict[str, dict[str, dict[int, tuple[float, float, float, float]]]] = {
    "mnist": {
        "n = 12000": {
            6000: (0.014, 0.0136, 0.0143, 1.44e-4),
            600: (0.014, 0.0137, 0.0142, 9.79e-5),
            60: (0.0141, 0.0136, 0.0146, 2.03e-4),
            10: (0.015, 0.0136, 0.0177, 7.13e-4),
        }
    },
    "fashion-mnist": {
        "15000 <= n <= 25000": {
            6000: (0.0969, 0.0944, 0.1, 7.56e-4),
            600: (0.0977, 0.0951, 0.101, 8.57e-4),
            60: (0.114, 0.0958, 0.22, 0.0169),
            10: (0.444, 0.15, 0.722, 0.096),
        },
        "49900 <= n <= 50000": {
            6000: (0.10023, 0.0999, 0.1006, 1.6316e-4),
            600: (0.10013, 0.0999, 0.1004, 1.1671e-4),
            60: (0.10018, 0.0999, 0.1005, 1.445e-4),
            10: (0.10018, 0.0996, 0.1009, 2.2941e-4),
        },
    },
}

_TITLES = {"digits": "Digits", "mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}


def digits(options: Options) -> Report:
    """Return the report of the flow of scikit-learn's handwritten digits."""
    return _report("digits", options)


def mnist(options: Options) -> Report:
    """Return the report of the flow of MNIST."""
    return _report("mnist", options)


def fashion_mnist(options: Options) -> Report:
    """Return the report of the flow of Fashion-MNIST."""
    return _report("fashion-mnist", options)


class _Distances:
    """Callback that measures the squared distances within and between classes of the test points."""

    def __init__(self, labels: npt.NDArray[Any], every: int) -> None:
        self._labels = labels
        self._every = every
        self.layers: list[int] = []
        self.within: list[float] = []
        self.between: list[float] = []

    def __call__(self, flow: KernelFlow) -> None:
        if flow.n_layers_ % self._every == 0:
            within, between = class_distances(flow.positions().sets["test"], self._labels)
            self.layers.append(flow.n_layers_)
            self.within.append(within)
            self.between.append(between)


@dataclass(frozen=True, eq=False)
class _Measured:
    """What was measured while the flow ran, and before the first layer."""

    images: FlowOfImages
    curve: ErrorCurve
    window: ErrorWindow
    distances: _Distances
    errors_before: list[InterpolationError]
    distances_before: tuple[float, float]


def _measured(name: str, options: Options) -> tuple[_Measured, dict[str, Any]]:
    data, settings = load_images(name, options)
    n_layers = settings["n_layers"]
    nugget = settings["interpolation_nugget"]
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
        first=n_layers - _WINDOW + 1,
        last=n_layers,
        rng=rng(2),
        n_interpolation=sizes,
    )
    distances = _Distances(data.y_test, max(1, n_layers // 100))
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
    return _Measured(images, curve, window, distances, errors_before, before), settings


# ---- the report ---------------------------------------------------------------------------------


def _report(name: str, options: Options) -> Report:
    measured, settings = _measured(name, options)
    images, flow = measured.images, measured.images.flow
    rows = measured.window.summary()
    report = Report(
        f"{_TITLES[name]}: one image per class classifies the others",
        _summary(measured, rows),
        options.command(name),
    )
    report.settings.update(images.described(settings))
    report.numbers["n_layers"] = flow.n_layers_
    _loss(report, flow)
    _errors(report, name, measured, rows)
    _class_distances(report, measured)
    parts = (_strips, _one_per_class, _projections)
    with options.steps(len(parts), "part") as done:
        for part in parts:
            part(report, images, options)
            done()
    add_geometry(report, images, options)
    return report


def _figure(height: float, width: float = 7.0) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _summary(measured: _Measured, rows: list[InterpolationError]) -> str:
    data, flow = measured.images.data, measured.images.flow
    before, after = measured.errors_before[-1], rows[-1]
    return (
        f"A flow of {len(data.y_train)} images through {flow.n_layers_} layers learns a kernel with "
        f"which {after.n_interpolation} images, one of each class and drawn at random, classify the "
        f"{len(data.y_test)} test images with {percent(after.average)} errors on average. With the "
        f"same kernel before the flow they leave {percent(before.average)}."
    )


def _loss(report: Report, flow: KernelFlow) -> None:
    rho = flow.history_["rho"]
    seconds = float(flow.history_["seconds"].sum())
    figure = _figure(3.2)
    LossDisplay.from_estimator(flow, ax=figure.subplots())
    report.section(
        "The loss",
        "A kernel is good if half of a batch predicts as well as all of it: the loss "
        "rho is the part of the interpolant's squared norm that is lost with the other half. Each "
        f"layer descends rho on a batch of {flow.batch_size} images. The layers took "
        f"{seconds:.1f} s.",
    ).figure(figure, "loss", "The loss rho of each layer's batch, and its running mean.")
    report.numbers.update(
        flow_seconds=seconds,
        rho={"first": float(rho[0]), "last": float(rho[-_WINDOW:].mean())},
    )


def _errors(report: Report, name: str, measured: _Measured, rows: list[InterpolationError]) -> None:
    curve, before = measured.curve, measured.errors_before
    figure = _figure(3.6)
    at_start = {row.n_interpolation: row.average for row in before}
    ErrorDisplay(
        [0, *curve.layers],
        {size: [at_start[size], *errors] for size, errors in curve.errors.items()},
    ).plot(figure.subplots())
    n_layers = measured.images.flow.n_layers_
    window = f"n = {n_layers - _WINDOW + 1} to {n_layers}"
    section = report.section(
        "The test error",
        "The test images are classified by interpolation of the labels of N_I training images, drawn "
        "at random, the same number of each class, with the kernel "
        "K_n(x, x') = K_1(F_n(x), F_n(x')).",
    ).figure(figure, "errors", "Test error against the layer, for several numbers N_I of images.")
    table = [_error_row(window, row) for row in rows]
    table += [_error_row("n = 0", row) for row in before]
    for when, published in PUBLISHED.get(name, {}).items():
        table += [
            _error_row(f"Owhadi and Yoo, {when}", InterpolationError(size, *numbers))
            for size, numbers in published.items()
        ]
    section.table(
        ["kernel", "N_I", "average", "min", "max", "standard deviation"],
        table,
        f"Test errors over the last {_WINDOW} layers, one draw of images for each, before the flow "
        "(five draws)" + (", and as published." if name in PUBLISHED else "."),
    )
    report.numbers.update(
        errors_before=[asdict(row) for row in before],
        errors=[asdict(row) for row in rows],
        window=[n_layers - _WINDOW + 1, n_layers],
        curve={"layers": curve.layers, "errors": curve.errors},
    )


def _error_row(kernel: str, row: InterpolationError) -> list[str]:
    shares = (row.average, row.min, row.max)
    return [
        kernel,
        str(row.n_interpolation),
        *(percent(share) for share in shares),
        f"{100.0 * row.std:.3f} %",
    ]


def _class_distances(report: Report, measured: _Measured) -> None:
    distances, (within, between) = measured.distances, measured.distances_before
    series = (
        [0, *distances.layers],
        [within, *distances.within],
        [between, *distances.between],
    )
    ratio = np.array(series[1]) / np.array(series[2])
    figure = _figure(3.2)
    left, right = figure.subplots(1, 2)
    ClassDistanceDisplay(*series).plot(left)
    ClassDistanceDisplay(series[0], ratio=ratio).plot(right)
    report.section(
        "Distances within and between classes",
        f"Classes collapse: the mean squared distance between two test images of one class, over "
        f"that between images of different classes, falls from {ratio[0]:.2f} to "
        f"{ratio[-1]:.3g}.",
    ).figure(
        figure,
        "class-distances",
        "Mean squared distances between test images of one class, and of different classes; right: "
        "their ratio.",
    )
    report.numbers["class_distances"] = dict(
        zip(("layers", "within", "between"), series, strict=True)
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
        "One test image x of each class, drawn at random, what the flow makes of them, and the "
        "difference, in the units of the pixels.",
    ).figure(figure, "images", "x, F_n(x) and F_n(x) - x for one test image of each class.")


def _one_per_class(report: Report, images: FlowOfImages, options: Options) -> None:
    data = images.data
    assert data.image_shape is not None
    n_classes = len(images.classifier.classes_)
    draws = one_per_class(images, _DRAWS, np.random.default_rng([options.seed, 5]))
    flowed, plain = draws.flowed, draws.unflowed
    figure = _figure(2.9, 9.0)
    ImageStripDisplay.from_estimator(
        images.classifier,
        data.X_train[draws.rows[0]],
        data.y_train[draws.rows[0]],
        image_shape=data.image_shape,
        ax=figure.subplots(),
    )
    report.section(
        f"The {n_classes} images that classify all others",
        f"These {n_classes} training images, the first draw, classify the test images with "
        f"{percent(flowed[0])} errors by the learned kernel, and with {percent(plain[0])} by the "
        f"same kernel before the flow. Over {_DRAWS} draws the errors lie between "
        f"{percent(flowed.min())} and {percent(flowed.max())}, with median "
        f"{percent(float(np.median(flowed)))}; before the flow between {percent(plain.min())} and "
        f"{percent(plain.max())}.",
    ).figure(
        figure,
        "one-per-class",
        "One training image x of each class, drawn at random, F_n(x), and F_n(x) - x.",
    )
    report.numbers["one_per_class"] = {"errors": flowed, "errors_before": plain}


def _projections(report: Report, images: FlowOfImages, options: Options) -> None:
    data, flow = images.data, images.flow
    rng = np.random.default_rng([options.seed, 6])
    rows = rng.permutation(len(data.y_test))[:_DRAWN]
    n = flow.n_layers_
    # The large nugget, which collapses the classes, begins with the second phase.
    phases = images.classifier.nugget
    second = max(phases) if isinstance(phases, dict) else n // 2
    layers = (0, second // 3, second, n)
    section = report.section(
        "The points in the plane",
        f"{len(rows)} test images, drawn at random. The first map is the same for all n: it is "
        f"linear, and takes F_n(X) for n = {n} as near as it can to the classes' places on a circle. "
        "The principal directions are those of F_n(X) itself, for each n. The phase with a small "
        f"nugget ends with layer {second}.",
    )
    section.animation(
        FlowAnimation.from_estimator(
            images.classifier,
            data.X_test[rows],
            data.y_test[rows],
            projection="classes",
            n_points=_MOVING,
            n_frames=12 if options.quick else 60,
        ).to_gif(),
        "points-animated",
        f"{min(_MOVING, len(rows))} of these images on their way from n = 0 to n = {n}. Each frame "
        "shows them a little further on their way, however many layers that takes.",
        alt="Animation: points of all classes mixed at first, which gather in one cluster each.",
    )
    captions = {
        "classes": "One linear map of F_n(X), fitted to the classes' places on a circle at the end.",
        "pca": "The two leading principal directions of F_n(X).",
    }
    for projection, caption in captions.items():
        figure = _figure(7.2)
        PointsDisplay.from_estimator(
            images.classifier,
            data.X_test[rows],
            data.y_test[rows],
            layers=layers,
            projection=projection,
            ax=figure.subplots(2, 2),
        )
        section.figure(figure, f"points-{projection}", caption)
