"""An encoder of images and an estimator, as one estimator that is saved in one file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from kflow.errors import ModelFileError
from kflow.estimators.classifier import KernelFlowClassifier
from kflow.estimators.saved_pipeline import SavedPipeline
from kflow.features.image_encoder import ImageEncoder
from kflow.storage.model_file import ModelReader

__all__ = ["ImagePipeline", "make_image_pipeline"]


class ImagePipeline(SavedPipeline):
    """The pipeline that `make_image_pipeline` returns: scikit-learn's, which can be saved."""

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
        reader : kflow.storage.model_file.ModelReader
            The file, open.
        read_estimator : callable
            Returns the estimator of a reader.

        Raises
        ------
        ModelFileError
            If what the file holds is no pipeline, or its parts do not fit each other.
        """
        names = ("encoder_mean", "encoder_scale", "encoder_components")
        arrays = {name: reader.array(name) for name in names}
        encoder = ImageEncoder.from_parts(reader.settings.get("encoder", {}), arrays)
        estimator = read_estimator(reader.within("estimator"))
        if estimator.n_features_in_ != encoder.components_.shape[1]:
            raise ModelFileError("the model's image encoder does not fit its estimator")
        return _pipeline(encoder, estimator)


def _pipeline(encoder: ImageEncoder, estimator: Any) -> ImagePipeline:
    return ImagePipeline([("encoder", encoder), ("estimator", estimator)])


def make_image_pipeline(
    estimator: Any = None, *, encoder: ImageEncoder | None = None
) -> ImagePipeline:
    """Return an estimator for images: their scattering coordinates, then a flow.

    Parameters
    ----------
    estimator : estimator, optional
        A classifier or regressor. By default a `KernelFlowClassifier`.
    encoder : ImageEncoder, optional
        By default one with its defaults. It needs `image_shape` if images are rows of a matrix.

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
    return _pipeline(
        ImageEncoder() if encoder is None else encoder,
        KernelFlowClassifier() if estimator is None else estimator,
    )
