"""What a flow of images did to their geometry: `kflow.analysis`, as sections of a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from kflow.analysis import class_margins, effective_dimension, lipschitz
from kflow.demos import Options
from kflow.demos.image_flow import FlowOfImages
from kflow.demos.report import Report, Section
from kflow.estimators.classifier import KernelFlowClassifier
from kflow.plotting import DimensionDisplay, LipschitzDisplay, MarginDisplay

__all__ = ["add_geometry"]

# Images at which the local Lipschitz constant is measured.
_LOCAL, _LOCAL_QUICK = 50, 5

# Numbers of layers after which measurements are made.
_LAYERS, _LAYERS_QUICK = 11, 5


@dataclass(frozen=True, eq=False)
class _Subject:
    """A fitted classifier, and the test images by which it is measured."""

    classifier: KernelFlowClassifier
    X: npt.NDArray[Any]
    y: npt.NDArray[Any]
    training: tuple[npt.NDArray[Any], npt.NDArray[Any]]
    layers: npt.NDArray[np.intp]
    n_local: int
    seed: int
    features: str


def add_geometry(
    report: Report, images: FlowOfImages, rows: npt.NDArray[np.intp], options: Options
) -> dict[str, Any]:
    """Add a section on dimension, margins and Lipschitz constants, and return what was found.

    Parameters
    ----------
    report : Report
        The report.
    images : FlowOfImages
        The flow. Lipschitz constants are those of a flow of pixels only: along hundreds of coordinates
        of scattering they would take longer than everything else.
    rows : ndarray of int
        The test images by which it is measured.
    options : Options
        The options of the demo.
    """
    n_layers = _LAYERS_QUICK if options.quick else _LAYERS
    layers = np.unique(np.linspace(0, images.flow.n_layers_, n_layers).round().astype(np.intp))
    train, test = images.inputs
    subject = _Subject(
        images.classifier,
        test[rows],
        images.data.y_test[rows],
        (train, images.data.y_train),
        layers,
        _LOCAL_QUICK if options.quick else _LOCAL,
        options.seed,
        images.features,
    )
    of = "scaled images, whose norm is 1"
    if images.encoder is not None:
        of = "coordinates of images, whose norm is 1 at most"
    section = report.section(
        f"Geometry before and after the flow of {images.features}",
        f"Measurements of `kflow.analysis` on {len(rows)} test images drawn at random. Lengths are "
        f"those of {of}.",
    )
    table: list[list[str]] = []
    measures = {"dimension": _dimension, "margins": _margins}
    if images.encoder is None:
        measures["lipschitz"] = _lipschitz
    found = {}
    for name, measure in measures.items():
        found[name] = measure(section, table, subject)
    section.table(
        ["measure", "before", "after"], table, "Before the flow, and after all its layers."
    )
    return found


def _figure(height: float, columns: int = 1) -> tuple[Figure, Any]:
    figure = Figure(figsize=(7.0, height), layout="constrained")
    return figure, figure.subplots(1, columns)


def _dimension(section: Section, table: list[list[str]], subject: _Subject) -> dict[str, Any]:
    section.text(
        "Classes that have collapsed, each to a point of its own, span as many directions as there "
        "are classes, less one. What is left within a class is small then, whatever its dimension."
    )
    found = effective_dimension(
        subject.classifier,
        subject.X,
        subject.y,
        layers=subject.layers,
        random_state=subject.seed,
    )
    share = f"{100.0 * found.share:g} %"
    measures = {
        "participation": ("participation ratio of the variances", found.participation),
        "explained": (f"directions for {share} of the variance", found.explained),
        "neighbours": ("dimension from nearest neighbours", found.neighbours),
    }
    for name, (text, values) in measures.items():
        figure, ax = _figure(3.2)
        DimensionDisplay(found.layers, values, found.classes, measure=text).plot(ax)
        section.figure(
            figure,
            f"dimension-{name}-{subject.features}",
            f"Effective dimension of F_n(X) against the layer: {text}, of all images and of those of "
            "each class.",
        )
        within = found.within_classes(name)
        table.append([f"{text}, all images", _number(values[0, 0]), _number(values[-1, 0])])
        table.append([f"{text}, mean over classes", _number(within[0]), _number(within[-1])])
    return found.summary()


def _margins(section: Section, table: list[list[str]], subject: _Subject) -> dict[str, Any]:
    found = class_margins(subject.classifier, subject.X, subject.y, training=subject.training)
    names = {
        "interpolant": "margin of the interpolant",
        "hypothesis": "hypothesis margin over the rms distance",
    }
    section.text(
        "The margin of the interpolant is its value of the right class minus the largest other one: "
        "an image with a negative margin is misclassified. The hypothesis margin is that of the "
        "nearest neighbour: half of the distance to the nearest image of another class minus that to "
        "the nearest of the same class."
    )
    figure, axes = _figure(3.2, 2)
    for ax, (name, text) in zip(axes, names.items(), strict=True):
        # An image alone in its class has no nearest one.
        before, after = (values[~np.isnan(values)] for values in getattr(found, name))
        MarginDisplay({"before": before, "after": after}, xlabel=text).plot(ax)
        table.append([f"{text}, median", _number(np.median(before)), _number(np.median(after))])
        wrong = [f"{100.0 * float((values <= 0.0).mean()):.2f} %" for values in (before, after)]
        table.append([f"{text}, part that is not positive", *wrong])
    section.figure(
        figure,
        f"margins-{subject.features}",
        "Part of the images with at most that margin, of the interpolant and of the nearest "
        "neighbour.",
    )
    return found.summary()


def _lipschitz(section: Section, table: list[list[str]], subject: _Subject) -> dict[str, Any]:
    section.text(
        "The local Lipschitz constant of F_n at an image is the largest stretch over all directions. "
        "Directions in which nothing moves count, so that it is hardly below 1 where all others are "
        "squeezed. The bound holds for any two points, by the layers' norms alone: far from sharp."
    )
    found = lipschitz(
        subject.classifier,
        subject.X,
        subject.y,
        layers=subject.layers,
        max_points=subject.n_local,
        random_state=subject.seed,
    )
    figure, ax = _figure(3.6)
    LipschitzDisplay(
        found.layers, found.local, found.log10_bound, within=found.within, between=found.between
    ).plot(ax)
    section.figure(
        figure,
        "lipschitz",
        f"Lipschitz constants of F_n: local ones at {len(found.rows)} images, by finite differences; how "
        "much distances to the nearest image have grown; and a bound from the layers' norms.",
    )
    ends = (0, -1)
    local = [found.local[end] for end in ends]
    table.append(
        ["local Lipschitz constant, median", *(_number(np.median(each)) for each in local)]
    )
    table.append(["local Lipschitz constant, largest", *(_number(each.max()) for each in local)])
    for name, text in (("within", "of the same class"), ("between", "of another class")):
        growth = [_number(np.nanmedian(getattr(found, name)[end])) for end in ends]
        table.append([f"growth of the distance to the nearest image {text}", *growth])
    bounds = [_number(found.log10_bound[end]) for end in ends]
    table.append(
        [
            "log10 of a proven bound on the Lipschitz constant, which is far too large to say anything",
            *bounds,
        ]
    )
    return found.summary()


def _number(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "undefined"
