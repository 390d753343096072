"""An encoder of images and an estimator, as one estimator that is saved in one file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.base import is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from kflow.errors import damaged
from kflow.estimators.base import KernelFlowEstimator
from kflow.estimators.classifier import KernelFlowClassifier
from kflow.estimators.saved_pipeline import SavedPipeline
from kflow.estimators.selection.wanted import Wanted
from kflow.features.augmentation import Augmentation
from kflow.features.copies import check_views, copies_encoded, iterate_views, targets_of_copies
from kflow.features.image_encoder import ImageEncoder
from kflow.storage.model_file import ModelReader

__all__ = ["ImagePipeline", "make_image_pipeline"]


Method = TypeVar("Method", bound=Callable[..., Any])


def _if_estimator_has(name: str) -> Callable[[Method], Method]:
    """Return a decorator of a method that there is only if the estimator has one of a name."""
    decorator: Callable[[Method], Method] = available_if(
        lambda pipeline: hasattr(pipeline.estimator, name)
    )
    return decorator


class ImagePipeline(SavedPipeline):
    """The pipeline that `make_image_pipeline` returns: scikit-learn's, which can be saved.

    Parameters
    ----------
    steps : list
        The encoder and the estimator, with their names.
    memory, verbose
        As in `sklearn.pipeline.Pipeline`.
    augmentation : Augmentation, optional
        Changed copies of the training images from which the estimator learns too.
    n_views : int
        The image itself and the first ``n_views - 1`` copies of the augmentation are predicted for, and
        the average is the prediction for the image.
    """

    def __init__(
        self,
        steps: list[tuple[str, Any]],
        *,
        memory: Any = None,
        verbose: bool = False,
        augmentation: Augmentation | None = None,
        n_views: int = 1,
    ) -> None:
        super().__init__(steps, memory=memory, verbose=verbose)
        self.augmentation = augmentation
        self.n_views = n_views

    def fit(self, X: Any, y: Any = None, **params: Any) -> ImagePipeline:
        """Fit the encoder to images, and the estimator to their coordinates and those of their copies.

        Parameters
        ----------
        X : array_like, shape (N, height, width), (N, height, width, 3) or (N, pixels)
            Training images.
        y : array_like, shape (N,)
            Their labels or targets.
        **params
            Parameters of the `fit` of the steps, as in `sklearn.pipeline.Pipeline`; none if there are
            copies.

        Returns
        -------
        ImagePipeline
            The pipeline itself.

        Raises
        ------
        TypeError, ValueError
            For images, targets and parameters that are not valid. If there are copies, also for an
            estimator that holds out rows, to choose settings or to stop early: copies of an image would
            be on both sides.
        """
        check_views(self.augmentation, self.n_views)
        if self.augmentation is None or not self.augmentation.n_copies:
            super().fit(X, y, **params)
            return self
        if params:
            raise ValueError(f"with copies of images, fit takes no {', '.join(sorted(params))}")
        check_nothing_held_out(self.estimator)
        targets = np.asarray(y)
        if targets.ndim == 0 or len(targets) != len(X):
            raise ValueError(f"y must have one target for each of {len(X)} images")
        points = copies_encoded(self.encoder.fit(X), self.augmentation, X)
        self.estimator.fit(points, targets_of_copies(self.augmentation, targets))
        return self

    def _average(self, method: str, X: Any) -> npt.NDArray[Any]:
        """Return the average over the views of what a method of the estimator returns."""
        check_is_fitted(self)
        function = getattr(self.estimator, method)
        views = iterate_views(self.encoder, self.augmentation, self.n_views, X)
        values = np.asarray(function(next(views)))
        if self.n_views == 1:
            return values
        total = values.astype(np.float64)
        for coordinates in views:
            total += function(coordinates)
        return np.asarray(total / self.n_views)

    @_if_estimator_has("predict")
    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the labels of images, or their targets.

        Parameters
        ----------
        X : array_like, shape (n, height, width), (n, height, width, 3) or (n, pixels)
            Images.
        """
        if self.n_views == 1 or not is_classifier(self.estimator):
            return self._average("predict", X)
        values = self._average("decision_function", X)
        best = (values > 0.0).astype(np.intp) if values.ndim == 1 else values.argmax(axis=1)
        return np.asarray(self.estimator.classes_[best])

    @_if_estimator_has("decision_function")
    def decision_function(self, X: Any) -> npt.NDArray[Any]:
        """Return the values of a classifier for images, averages over their views.

        Parameters
        ----------
        X : array_like, shape (n, height, width), (n, height, width, 3) or (n, pixels)
            Images.
        """
        return self._average("decision_function", X)

    @_if_estimator_has("predict_proba")
    def predict_proba(self, X: Any) -> npt.NDArray[Any]:
        """Return probabilities of the classes of images, averages over their views.

        Parameters
        ----------
        X : array_like, shape (n, height, width), (n, height, width, 3) or (n, pixels)
            Images.
        """
        return self._average("predict_proba", X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the part of images that is classified right, or R squared of a regression."""
        metric = accuracy_score if is_classifier(self.estimator) else r2_score
        return float(metric(y, self.predict(X), sample_weight=sample_weight))

    def own_settings(self) -> dict[str, Any]:
        """Return the augmentation and the number of views for a model file."""
        augmentation = None if self.augmentation is None else self.augmentation.to_dict()
        return {"augmentation": augmentation, "n_views": self.n_views}

    def own_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of the encoder for a model file."""
        arrays: dict[str, npt.NDArray[Any]] = self.encoder.to_arrays()
        return arrays

    @classmethod
    def from_model_file(
        cls, reader: ModelReader, read_estimator: Callable[[ModelReader], Any]
    ) -> ImagePipeline:
        """Return the pipeline that a model file holds: `kflow.load` calls this.

        Parameters
        ----------
        reader, read_estimator
            As in `SavedPipeline.from_model_file`.

        Raises
        ------
        ModelFileError
            If what the file holds is no pipeline, or its parts do not fit each other.
        """
        pipeline: ImagePipeline = super().from_model_file(reader, read_estimator)
        with damaged("augmentation"):
            # Files of versions without augmentation have neither.
            given = reader.settings.get("augmentation")
            pipeline.augmentation = None if given is None else Augmentation.from_dict(given)
            pipeline.n_views = check_views(pipeline.augmentation, reader.settings.get("n_views", 1))
        return pipeline

    @classmethod
    def read_encoder(cls, reader: ModelReader) -> ImageEncoder:
        """Return the encoder that a model file holds."""
        arrays = {name: reader.array(name) for name in ImageEncoder.ARRAYS if name in reader}
        return ImageEncoder.from_parts(reader.settings.get("encoder", {}), arrays)


def check_nothing_held_out(estimator: Any) -> None:
    """Refuse an estimator of kflow that holds out some of the rows, among which are copies of others.

    Raises
    ------
    ValueError
        If it chooses settings by held-out rows, or stops early by them.
    """
    if not isinstance(estimator, KernelFlowEstimator):
        return
    if not Wanted.by(estimator).is_settled or getattr(estimator, "early_stopping", False):
        raise ValueError(
            "with copies of images, nothing can be chosen by held-out rows, since copies of one image "
            "would be on both sides: pass kernel, metric, n_layers and interpolation_nugget, as those "
            'of kflow.presets, not "auto", and no early_stopping'
        )


def make_image_pipeline(
    estimator: Any = None,
    *,
    encoder: ImageEncoder | None = None,
    augmentation: Augmentation | None = None,
    n_views: int = 1,
) -> ImagePipeline:
    """Return an estimator for images: their scattering coordinates, then a flow.

    Parameters
    ----------
    estimator : estimator, optional
        A classifier or regressor. By default a `KernelFlowClassifier`.
    encoder : ImageEncoder, optional
        By default one with its defaults. It needs `image_shape` if images are rows of a matrix.
    augmentation : kflow.features.Augmentation, optional
        Changed copies of the training images from which the estimator learns too. Their coordinates
        are made a few at a time; the estimator has those of all. The encoder learns from the images
        themselves.
    n_views : int
        Predictions are averages over so many views of an image: itself and its first copies. All
        images are then turned and deformed in the same way.

    Returns
    -------
    ImagePipeline
        A `sklearn.pipeline.Pipeline` with the steps ``"encoder"`` and ``"estimator"``, which takes
        images. It also has a method `save`, whose file `kflow.load` reads, if the estimator is one of
        kflow.

    Examples
    --------
    >>> import kflow
    >>> from sklearn.datasets import load_digits
    >>> digits = load_digits()
    >>> encoder = kflow.features.ImageEncoder(J=1, n_components=30)
    >>> flow = kflow.KernelFlowClassifier(**kflow.presets.FIXED, random_state=0)
    >>> model = kflow.make_image_pipeline(flow, encoder=encoder)
    >>> model.fit(digits.images[:1000], digits.target[:1000]).predict(digits.images[1000:1003])
    array([1, 4, 0])
    """
    pipeline: ImagePipeline = ImagePipeline.of(
        ImageEncoder() if encoder is None else encoder,
        KernelFlowClassifier() if estimator is None else estimator,
    )
    pipeline.augmentation, pipeline.n_views = augmentation, n_views
    return pipeline
