"""The test images that a flow gets wrong, as a section of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from kflow.datasets import Dataset
from kflow.demos.image_flow import FlowOfImages
from kflow.demos.pictures import as_pictures, class_names, has_colours
from kflow.demos.report import Report, percent
from kflow.plotting import ImageGridDisplay

__all__ = ["add_remaining_errors"]

# All errors are shown if there are no more than this, else so many drawn at random.
_ALL, _SOME = 150, 100


def add_remaining_errors(
    report: Report, flows: Mapping[str, FlowOfImages], seed: int
) -> dict[str, Any]:
    """Add a section with the test images that are misclassified, and return how many there are."""
    data = next(iter(flows.values())).data
    predicted = {features: images.predicted() for features, images in flows.items()}
    wrong = {features: np.flatnonzero(p != data.y_test) for features, p in predicted.items()}
    both = sorted(set.intersection(*(set(rows.tolist()) for rows in wrong.values())))
    told = " and ".join(f"{len(rows)} by {features}" for features, rows in wrong.items())
    section = report.section(
        "The errors that remain",
        f"Of the {len(data.y_test)} test images the classifiers, which interpolate from "
        f"{len(next(iter(flows.values())).classifier.interpolation_rows_)} training images, get {told} "
        f"wrong, {len(both)} of them by both. Above each image is its class, then that which is "
        "predicted.",
    )
    for number, (features, rows) in enumerate(wrong.items()):
        if not len(rows):
            continue
        shown = _shown(rows, np.random.default_rng([seed, 8, number]))
        shown = shown[np.lexsort((predicted[features][shown], data.y_test[shown]))]
        titles = _titles(data, data.y_test[shown], predicted[features][shown])
        display = ImageGridDisplay(as_pictures(data, data.X_test[shown]), titles)
        figure = Figure(figsize=display.size(), layout="constrained")
        display.plot(figure.subplots())
        every = len(shown) == len(rows)
        section.figure(
            figure,
            f"remaining-{features}",
            f"{'All' if every else f'A sample of {len(shown)} of the'} test images that are "
            f"misclassified by {features}: {len(rows)}, {percent(len(rows) / len(data.y_test))} of all.",
            photographs=has_colours(data),
        )
    return {
        **{
            features: {"rows": rows, "predicted": predicted[features][rows]}
            for features, rows in wrong.items()
        },
        "by_both": len(both),
    }


def _shown(rows: npt.NDArray[np.intp], rng: np.random.Generator) -> npt.NDArray[np.intp]:
    return rows if len(rows) <= _ALL else rng.choice(rows, _SOME, replace=False)


def _titles(data: Dataset, true: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> Sequence[str]:
    pairs = list(zip(class_names(data, true), class_names(data, predicted), strict=True))
    is_short = max(len(name) for pair in pairs for name in pair) <= 2
    between = " \u2192 " if is_short else "\n\u2192 "
    return [between.join(pair) for pair in pairs]
