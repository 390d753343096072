"""An encoder of images and an estimator, as one estimator that is saved in one file."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

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
    def read_encoder(cls, reader: ModelReader) -> ImageEncoder:
        """Return the encoder that a model file holds."""
        names = ("encoder_mean", "encoder_scale", "encoder_components")
        arrays = {name: reader.array(name) for name in names}
        return ImageEncoder.from_parts(reader.settings.get("encoder", {}), arrays)


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
    pipeline: ImagePipeline = ImagePipeline.of(
        ImageEncoder() if encoder is None else encoder,
        KernelFlowClassifier() if estimator is None else estimator,
    )
    return pipeline
