"""A fitted classifier, what may stand before it, and the points on which it was fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow.analysis._sample import as_labels
from kflow.features.copies import copies_encoded, targets_of_copies
from kflow.features.images import as_images
from kflow.flow.estimator_flow import estimator_flow
from kflow.operations import one_hot

__all__ = ["Model", "as_model", "interpolation_points", "training_data"]

# Number of interpolation points that are compared with those of the classifier.
_N_COMPARED = 16


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted classifier, and the encoder of images in front of it if there is one.

    Attributes
    ----------
    classifier : KernelFlowClassifier
        The classifier.
    encoder : ImageEncoder or None
        What makes the classifier's points of images.
    augmentation : Augmentation or None
        What made copies of the training images.
    """

    classifier: Any
    encoder: Any = None
    augmentation: Any = None

    def rows(self, X: npt.ArrayLike, name: str = "X") -> FloatArray:
        """Return points as the rows of a matrix; for an encoder these are the pixels of images.

        Raises
        ------
        TypeError, ValueError
            For wrong shapes or values, naming the argument.
        """
        if self.encoder is None:
            return estimator_flow(self.classifier).checked(X, name)
        return as_images(X, self.encoder.scattering_.image_shape_, name)

    def encoded(self, X: npt.ArrayLike) -> Any:
        """Return what the classifier takes for X: X itself without an encoder."""
        return X if self.encoder is None else self.encoder.transform(X)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the labels that are predicted for X."""
        labels: npt.NDArray[Any] = self.classifier.predict(self.encoded(X))
        return labels

    def scaled(self, X: npt.ArrayLike) -> FloatArray:
        """Return the points that the flow moves, in its dtype.

        Raises
        ------
        TypeError, ValueError
            For wrong shapes or values.
        """
        return self._scaled(self.encoded(X))

    def scaled_training(
        self, X: npt.ArrayLike, y: npt.ArrayLike
    ) -> tuple[FloatArray, npt.NDArray[Any]]:
        """Return the points that the flow moved when it was fitted to X, copies too, and their labels.

        Raises
        ------
        TypeError, ValueError
            For wrong shapes or values.
        """
        if self.augmentation is None:
            return self.scaled(X), np.asarray(y)
        points = self._scaled(copies_encoded(self.encoder, self.augmentation, X))
        return points, targets_of_copies(self.augmentation, y)

    def _scaled(self, points: Any) -> FloatArray:
        source = estimator_flow(self.classifier)
        return source.scaled(points).astype(source.flow.dtype, copy=False)


def as_model(model: Any) -> Model:
    """Return a fitted classifier, or the encoder and the classifier of a pipeline of images.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If it has not been fitted.
    TypeError
        If it is something else.
    ValueError
        If its predictions are averages over several views of an image.
    """
    from sklearn.utils.validation import check_is_fitted

    from kflow.estimators.classifier import KernelFlowClassifier
    from kflow.estimators.image_pipeline import ImagePipeline

    is_pipeline = isinstance(model, ImagePipeline)
    classifier = model.estimator if is_pipeline else model
    if not isinstance(classifier, KernelFlowClassifier):
        place = "the estimator of the pipeline" if is_pipeline else "classifier"
        raise TypeError(
            f"{place} must be a KernelFlowClassifier, got {type(classifier).__name__}"
            + ("" if is_pipeline else ": or pass what make_image_pipeline makes of one")
        )
    check_is_fitted(classifier)
    if not is_pipeline:
        return Model(classifier)
    if model.n_views != 1:
        raise ValueError(
            f"the predictions of this pipeline are averages over {model.n_views} views of an image, and "
            "one view is analysed: pass a pipeline with n_views=1, as by model.set_params(n_views=1)"
        )
    return Model(classifier, model.encoder, model.augmentation)


def interpolation_points(
    model: Model, X: npt.ArrayLike, y: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return a classifier's interpolation points before the flow, scaled, and their one-hot values.

    Parameters
    ----------
    model : Model
        The fitted classifier.
    X, y : array_like, shape (N, d) and (N,)
        The data on which it was fitted.

    Returns
    -------
    points, values : ndarray, shape (m, d) and (m, n_classes)
        The scaled points, and one-hot rows.

    Raises
    ------
    TypeError, ValueError
        As for `unflowed`.
    """
    points, codes = training_data(model, X, y)
    rows = model.classifier.interpolation_rows_
    return points[rows], one_hot(codes)[rows]


def training_data(
    model: Model, X: npt.ArrayLike, y: npt.ArrayLike
) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """Return the scaled points, and the position of each label among a classifier's classes.

    Raises
    ------
    TypeError, ValueError
        As for `unflowed`: among others if the classifier was fitted on other data.
    """
    classifier = model.classifier
    source = estimator_flow(classifier)
    points, labels = model.scaled_training(X, y)
    classes, codes = as_labels(labels, len(points))
    other = "the classifier was fitted on other data: pass the X and y that it was fitted on"
    if not np.array_equal(classes, classifier.classes_):
        raise ValueError(f"y: {other}")
    if not hasattr(classifier, "interpolation_rows_"):
        raise ValueError(
            "the classifier comes from a file of an early version, which does not say on which rows "
            "it interpolates: fit it again"
        )
    rows = classifier.interpolation_rows_
    if len(points) < len(source.flow.targets_) or rows.max() >= len(points):
        raise ValueError(f"X: {other}")
    # A replay of a few points shows whether they are the same. Not all of them need to agree, as a
    # flow may magnify the rounding errors of some.
    moved = source.flow.transform(points[rows[:_N_COMPARED]], reduced=True)
    centres = classifier.interpolant_.centres[:_N_COMPARED]
    size = max(float(np.abs(centres).max()), 1.0)
    if np.median(np.abs(moved - centres).max(axis=1)) > 1e-2 * size:
        raise ValueError(f"X: {other}")
    return points, codes
