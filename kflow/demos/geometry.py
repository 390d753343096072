"""What a flow of images did to their geometry: `kflow.analysis`, as sections of a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from kflow.analysis import (
    AdversarialDistances,
    adversarial_distance,
    class_margins,
    effective_dimension,
    lipschitz,
    unflowed,
)
from kflow.demos import Options
from kflow.demos.image_flow import FlowOfImages
from kflow.demos.report import Report, Section
from kflow.estimators.classifier import KernelFlowClassifier
from kflow.plotting import (
    AdversarialDisplay,
    DimensionDisplay,
    LipschitzDisplay,
    MarginDisplay,
)

__all__ = ["add_geometry"]

# Ratios of distances that differ from 1 by less count as equal: distances are found to a few percent.
_LEVEL = 0.03


@dataclass(frozen=True)
class _Sizes:
    """How many test images each measurement takes, and after how many numbers of layers it is made."""

    images: int = 2000
    local: int = 50
    fooled: int = 100
    layers: int = 11


_QUICK = _Sizes(images=300, local=5, fooled=20, layers=5)


@dataclass(frozen=True, eq=False)
class _Subject:
    """A fitted classifier, and the test images by which it is measured."""

    classifier: KernelFlowClassifier
    X: npt.NDArray[Any]
    y: npt.NDArray[Any]
    training: tuple[npt.NDArray[Any], npt.NDArray[Any]]
    layers: npt.NDArray[np.intp]
    sizes: _Sizes
    seed: int


def add_geometry(report: Report, images: FlowOfImages, options: Options) -> None:
    """Add a section on dimension, margins, Lipschitz constants and adversarial distances."""
    sizes = _QUICK if options.quick else _Sizes()
    data = images.data
    rng = np.random.default_rng([options.seed, 7])
    rows = np.sort(rng.permutation(len(data.y_test))[: sizes.images])
    layers = np.unique(np.linspace(0, images.flow.n_layers_, sizes.layers).round().astype(np.intp))
    subject = _Subject(
        images.classifier,
        data.X_test[rows],
        data.y_test[rows],
        (data.X_train, data.y_train),
        layers,
        sizes,
        options.seed,
    )
    section = report.section(
        "Geometry before and after the flow",
        f"Measurements of `kflow.analysis` on {len(rows)} test images drawn at random. Lengths are "
        "those of scaled images, whose norm is 1.",
    )
    table: list[list[str]] = []
    measures = {
        "dimension": _dimension,
        "margins": _margins,
        "lipschitz": _lipschitz,
        "adversarial": _adversarial,
    }
    report.numbers["geometry"] = {}
    with options.steps(len(measures), "measurement") as done:
        for name, measure in measures.items():
            report.numbers["geometry"][name] = measure(section, table, subject)
            done()
    section.table(
        ["measure", "before", "after"], table, "Before the flow, and after all its layers."
    )


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
            f"dimension-{name}",
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
        "margins",
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
        max_points=subject.sizes.local,
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


def _adversarial(section: Section, table: list[list[str]], subject: _Subject) -> dict[str, Any]:
    section.text(
        "The adversarial distance is the length of the smallest perturbation found that makes the "
        "classifier take an image for another class: an upper bound, by gradients through the layers "
        "(DeepFool), by the way to the nearest image of another class, and along the boundary. A "
        "large margin with a small gradient is no robustness: the first-order distance, margin over "
        "gradient, looks at a plateau and misses its edge."
    )
    found: dict[str, AdversarialDistances] = {
        name: adversarial_distance(
            each,
            subject.X,
            subject.y,
            max_points=subject.sizes.fooled,
            random_state=subject.seed,
        )
        for name, each in (
            ("before", unflowed(subject.classifier, *subject.training)),
            ("after", subject.classifier),
        )
    }
    _draw_adversarial(section, subject, found)
    medians = [float(np.nanmedian(each.distances)) for each in found.values()]
    lows = [float(np.nanquantile(each.distances, 0.05)) for each in found.values()]
    table.append(["adversarial distance, median", *map(_number, medians)])
    table.append(["adversarial distance, 5 % quantile", *map(_number, lows)])
    both = np.array([each.distances for each in found.values()])
    robust = np.isfinite(both).all(axis=0) & (both > 0.0).all(axis=0)
    ratios = both[1, robust] / both[0, robust]
    ratio = float(np.median(ratios)) if len(ratios) else np.nan
    section.text(
        f"{robust.sum()} of {robust.size} images are classified rightly before the flow and after "
        f"it. {_verdict(ratios)} The medians of the first-order distances are "
        f"{_number(np.median(found['before'].first_order))} before and "
        f"{_number(np.median(found['after'].first_order))} after the flow."
    )
    return {
        "ratio_median": ratio,
        **{name: each.summary() for name, each in found.items()},
    }


def _draw_adversarial(
    section: Section, subject: _Subject, found: dict[str, AdversarialDistances]
) -> None:
    """Draw the distributions of the distances before the flow and after it."""
    figure, ax = _figure(3.2)
    AdversarialDisplay(
        {name: each.distances for name, each in found.items()},
        xlabel="length of the smallest perturbation found, of images of norm 1",
    ).plot(ax)
    section.figure(
        figure,
        "adversarial",
        f"How little changes the class of {subject.sizes.fooled} images: part of them with at most that "
        "distance to an image that the same classifier takes for another class.",
    )


def _verdict(ratios: npt.NDArray[np.float64]) -> str:
    """Return what the ratios of distances, after over before, say."""
    if not len(ratios):
        return "There is none to compare."
    ratio = float(np.median(ratios))
    kind = "about as hard to fool"
    if abs(ratio - 1.0) >= _LEVEL:
        kind = f"{'harder' if ratio > 1.0 else 'easier'} to fool"
    return (
        f"With the learned kernel their adversarial distance is {ratio:.2f} times that with the same "
        f"kernel before the flow (median of the ratios): it is {kind}. {int((ratios < 1.0).sum())} "
        "of them became easier to fool."
    )


def _number(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "undefined"
