"""Flows of image data sets with their presets, for the demos: of pixels, and of their scattering."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow.analysis import unflowed
from kflow.datasets import Dataset, load_dataset
from kflow.demos import Options
from kflow.estimators.classifier import KernelFlowClassifier
from kflow.estimators.image_pipeline import make_image_pipeline
from kflow.features.image_encoder import ImageEncoder
from kflow.flow.callbacks import Callback
from kflow.flow.estimator_flow import estimator_flow
from kflow.flow.kernel_flow import KernelFlow
from kflow.linear.interpolant import Interpolant, balanced_subset
from kflow.operations import one_hot
from kflow.presets import PRESETS, SCATTERING

__all__ = [
    "FEATURES",
    "Draws",
    "FlowOfImages",
    "ImageSettings",
    "fitted_flow",
    "image_settings",
    "load_images",
    "one_per_class",
]

# What images are to a flow.
FEATURES = ("pixels", "scattering")

# The small form takes one of so many images of large data, and one of so many layers.
_EVERY, _SHORTER = 6, 3


@dataclass(frozen=True)
class ImageSettings:
    """Settings of a flow of images.

    Attributes
    ----------
    features : {"pixels", "scattering"}
        What images are to the flow.
    encoder : dict or None
        Parameters of the encoder; None for pixels.
    estimator : dict
        Parameters of the classifier.
    """

    features: str
    encoder: dict[str, Any] | None
    estimator: dict[str, Any]


@dataclass(frozen=True, eq=False)
class FlowOfImages:
    """A fitted flow of images.

    Attributes
    ----------
    data : Dataset
        The images.
    settings : ImageSettings
        The settings.
    classifier : KernelFlowClassifier
        The fitted classifier. Its flow has carried the test images along under the name ``"test"``.
    encoder : ImageEncoder or None
        What makes the classifier's points of images; None for pixels.
    inputs : (ndarray, ndarray)
        The classifier's points for the training and for the test images.
    encoding_seconds : float
        Time that the encoder took for all images.
    """

    data: Dataset
    settings: ImageSettings
    classifier: KernelFlowClassifier
    encoder: ImageEncoder | None
    inputs: tuple[FloatArray, FloatArray]
    encoding_seconds: float = 0.0

    @property
    def features(self) -> str:
        """What images are to the flow."""
        return self.settings.features

    @property
    def flow(self) -> KernelFlow:
        """The flow of the classifier."""
        return self.classifier.flow_

    @property
    def model(self) -> Any:
        """What classifies images: the classifier, behind the encoder if there is one."""
        return self._behind_encoder(self.classifier)

    def unflowed(self) -> Any:
        """Return the same model without the layers of its flow."""
        before = unflowed(self.classifier, self.inputs[0], self.data.y_train)
        return self._behind_encoder(before)

    def _behind_encoder(self, classifier: KernelFlowClassifier) -> Any:
        if self.encoder is None:
            return classifier
        return make_image_pipeline(classifier, encoder=self.encoder)

    def described(self) -> dict[str, Any]:
        """Return the settings of the flow as a report tells them."""
        hidden = ("kernel", "n_threads")
        estimator = {k: v for k, v in self.settings.estimator.items() if k not in hidden}
        encoder = self.settings.encoder or {}
        return {
            "images": f"{len(self.data.y_train)} for training, {len(self.data.y_test)} for testing",
            **{f"encoder {name}": value for name, value in encoder.items()},
            "kernel": repr(self.flow.kernel_),
            **estimator,
        }

    def unmoved(self) -> tuple[FloatArray, FloatArray]:
        """Return training and test points before the first layer, in the flow's coordinates."""
        source = estimator_flow(self.classifier)
        train, test = (
            next(self.flow.trajectory(source.scaled(X), (0,), reduced=True)) for X in self.inputs
        )
        return train, test

    def moved(self) -> tuple[FloatArray, FloatArray]:
        """Return training and test points after all layers, in the flow's coordinates."""
        return self.flow.reduced_points_, self.flow.reduced_follow_["test"]

    def predicted(self) -> npt.NDArray[Any]:
        """Return the model's predictions for the test images, which the flow has carried along."""
        scores = self.classifier.interpolant_(self.flow.reduced_follow_["test"])
        labels: npt.NDArray[Any] = self.classifier.classes_[scores.argmax(axis=1)]
        return labels

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


def load_images(name: str, options: Options) -> Dataset:
    """Return images; fewer of them in the small form."""
    data = load_dataset(name, options.data_dir)
    if not _is_smaller(name, options):
        return data
    names = ("X_train", "y_train", "X_test", "y_test")
    return replace(data, **{name: getattr(data, name)[::_EVERY].copy() for name in names})


def image_settings(name: str, features: str, options: Options) -> ImageSettings:
    """Return the settings of the flow of a data set; fewer layers in the small form."""
    encoder = None if features == "pixels" else SCATTERING[name].encoder
    estimator = PRESETS[name] if features == "pixels" else SCATTERING[name].estimator
    if _is_smaller(name, options):
        estimator = {key: _shorter(key, value) for key, value in estimator.items()}
    process = {"random_state": options.seed, "n_threads": options.n_threads}
    return ImageSettings(features, encoder, {**estimator, **process})


def _is_smaller(name: str, options: Options) -> bool:
    return options.quick and name != "digits"  # which are few


def _shorter(name: str, value: Any) -> Any:
    if name == "n_layers":
        return value // _SHORTER
    if isinstance(value, dict):
        return {first // _SHORTER: setting for first, setting in value.items()}
    return value


def fitted_flow(
    data: Dataset, settings: ImageSettings, options: Options, callbacks: Iterable[Callback] = ()
) -> FlowOfImages:
    """Fit a classifier to images, behind an encoder or not. Its flow carries the test images along."""
    encoder, inputs, seconds = None, (data.X_train, data.X_test), 0.0
    if settings.encoder is not None:
        start = time.perf_counter()
        encoder = ImageEncoder(
            **settings.encoder,
            image_shape=data.image_shape,
            random_state=options.seed,
            n_threads=options.n_threads,
        ).fit(data.X_train)
        inputs = (encoder.transform(data.X_train), encoder.transform(data.X_test))
        seconds = time.perf_counter() - start
    classifier = KernelFlowClassifier(
        **settings.estimator, callbacks=tuple(callbacks), progress=options.progress
    )
    classifier.fit(inputs[0], data.y_train, follow={"test": inputs[1]})
    return FlowOfImages(data, settings, classifier, encoder, inputs, seconds)


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
