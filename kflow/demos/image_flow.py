"""Flows of image data sets with their presets, for the demos."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow.datasets import Dataset, load_dataset
from kflow.demos import Options
from kflow.estimators.classifier import KernelFlowClassifier
from kflow.flow.callbacks import Callback
from kflow.flow.estimator_flow import estimator_flow
from kflow.flow.kernel_flow import KernelFlow
from kflow.linear.interpolant import Interpolant, balanced_subset
from kflow.operations import one_hot
from kflow.presets import PRESETS

__all__ = ["Draws", "FlowOfImages", "fitted_flow", "load_images", "one_per_class"]

# The small form takes one of so many images of large data, and one of so many layers.
_EVERY, _SHORTER = 6, 3


@dataclass(frozen=True, eq=False)
class FlowOfImages:
    """A fitted flow of images.

    Attributes
    ----------
    data : Dataset
        The images.
    classifier : KernelFlowClassifier
        The fitted classifier. Its flow has carried the test images along under the name ``"test"``.
    """

    data: Dataset
    classifier: KernelFlowClassifier

    @property
    def flow(self) -> KernelFlow:
        """The flow of the classifier."""
        return self.classifier.flow_

    def described(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return the settings of the flow as a report tells them."""
        return {
            "images": f"{len(self.data.y_train)} for training, {len(self.data.y_test)} for testing",
            "kernel": repr(self.flow.kernel_),
            **{key: value for key, value in settings.items() if key not in ("kernel", "n_threads")},
        }

    def unmoved(self) -> tuple[FloatArray, FloatArray]:
        """Return training and test points before the first layer, in the flow's coordinates."""
        source = estimator_flow(self.classifier)
        train, test = (
            next(self.flow.trajectory(source.scaled(X), (0,), reduced=True))
            for X in (self.data.X_train, self.data.X_test)
        )
        return train, test

    def moved(self) -> tuple[FloatArray, FloatArray]:
        """Return training and test points after all layers, in the flow's coordinates."""
        return self.flow.reduced_points_, self.flow.reduced_follow_["test"]

    def error(
        self,
        rows: npt.NDArray[np.intp],
        points: FloatArray,
        test_points: FloatArray,
        labels: npt.NDArray[Any] | None = None,
    ) -> float:
        """Return the part of the test images that the interpolant at some points gets wrong.

        `labels` are those of the points; the training points' if not given.
        """
        known = self.data.y_train if labels is None else labels
        interpolant = Interpolant(
            points[rows],
            one_hot(known[rows]),
            kernel=self.flow.kernel_,
            nugget=self.classifier.interpolation_nugget,
            n_threads=self.classifier.n_threads,
        )
        predicted = self.classifier.classes_[interpolant(test_points).argmax(axis=1)]
        return float((predicted != self.data.y_test).mean())


def load_images(name: str, options: Options) -> tuple[Dataset, dict[str, Any]]:
    """Return images and the settings of their flow; fewer images and layers in the small form."""
    data = load_dataset(name, options.data_dir)
    settings = {**PRESETS[name], "random_state": options.seed, "n_threads": options.n_threads}
    if options.quick and name != "digits":  # which are few
        some = slice(None, None, _EVERY)
        data = replace(
            data,
            X_train=data.X_train[some],
            y_train=data.y_train[some],
            X_test=data.X_test[some],
            y_test=data.y_test[some],
        )
        settings = {key: _shorter(key, value) for key, value in settings.items()}
    return data, settings


def _shorter(name: str, value: Any) -> Any:
    if name == "n_layers":
        return value // _SHORTER
    if isinstance(value, dict):
        return {first // _SHORTER: setting for first, setting in value.items()}
    return value


def fitted_flow(
    data: Dataset, settings: dict[str, Any], options: Options, callbacks: Iterable[Callback] = ()
) -> FlowOfImages:
    """Fit a classifier to images. Its flow carries the test images along."""
    classifier = KernelFlowClassifier(
        **settings, callbacks=tuple(callbacks), progress=options.progress
    )
    classifier.fit(data.X_train, data.y_train, follow={"test": data.X_test})
    return FlowOfImages(data, classifier)


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws of one training image per class, and what each gets wrong of the test images.

    Attributes
    ----------
    rows : ndarray of int, shape (n_draws, n_classes)
        Rows of the training images.
    flowed, unflowed : ndarray, shape (n_draws,)
        Errors with the learned kernel, and with the same kernel before the flow.
    """

    rows: npt.NDArray[np.intp]
    flowed: npt.NDArray[np.float64]
    unflowed: npt.NDArray[np.float64]


def one_per_class(
    images: FlowOfImages,
    n_draws: int,
    rng: np.random.Generator,
    done: Callable[[], None] = lambda: None,
) -> Draws:
    """Draw one training image per class, many times, and classify the test images by them.

    `done` is called after each draw.
    """
    labels = images.data.y_train
    n_classes = len(images.classifier.classes_)
    rows = np.array([balanced_subset(labels, n_classes, rng) for _ in range(n_draws)])
    moved, unmoved = images.moved(), images.unmoved()
    errors = np.empty((2, n_draws))
    for number, draw in enumerate(rows):
        errors[:, number] = images.error(draw, *moved), images.error(draw, *unmoved)
        done()
    return Draws(rows, *errors)
