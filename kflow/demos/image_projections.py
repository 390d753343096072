"""The points of a flow of images in the plane, as a section of a report."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from kflow.demos import Options
from kflow.demos.image_flow import FlowOfImages
from kflow.demos.report import Report
from kflow.plotting import FlowAnimation, PointsDisplay

__all__ = ["add_projections"]

# Largest number of points in a scatter plot; more would hide each other.
_DRAWN = 1500

# Number of points in the animation.
_MOVING = 800

_CAPTIONS = {
    "classes": "One linear map of F_n(X), fitted to the classes' places on a circle at the end.",
    "pca": "The two leading principal directions of F_n(X).",
}


def add_projections(report: Report, images: FlowOfImages, options: Options) -> None:
    """Add a section with test images on their way, in projections to the plane."""
    flow, test, labels = images.flow, images.inputs[1], images.data.y_test
    rng = np.random.default_rng([options.seed, 6])
    rows = rng.permutation(len(labels))[:_DRAWN]
    n = flow.n_layers_
    # The large nugget, which collapses the classes, begins with the second phase.
    phases = images.classifier.nugget
    second = max(phases) if isinstance(phases, dict) else n // 2
    layers = (0, second // 3, second, n)
    section = report.section(
        f"The points in the plane: {images.features}",
        f"{len(rows)} test images, drawn at random. The first map is the same for all n: it is "
        f"linear, and takes F_n(X) for n = {n} as near as it can to the classes' places on a circle. "
        "The principal directions are those of F_n(X) itself, for each n. The phase with a small "
        f"nugget ends with layer {second}.",
    )
    section.animation(
        FlowAnimation.from_estimator(
            images.classifier,
            test[rows],
            labels[rows],
            projection="classes",
            n_points=_MOVING,
            n_frames=12 if options.quick else 60,
        ).to_gif(),
        f"points-animated-{images.features}",
        f"{min(_MOVING, len(rows))} of these images on their way from n = 0 to n = {n}. Each frame "
        "shows them a little further on their way, however many layers that takes.",
        alt="Animation: points of all classes mixed at first, which gather in one cluster each.",
    )
    for projection, caption in _CAPTIONS.items():
        figure = Figure(figsize=(7.0, 7.2), layout="constrained")
        PointsDisplay.from_estimator(
            images.classifier,
            test[rows],
            labels[rows],
            layers=layers,
            projection=projection,
            ax=figure.subplots(2, 2),
        )
        section.figure(figure, f"points-{projection}-{images.features}", caption)
