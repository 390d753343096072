"""The images of `kflow fit` as coordinates of a flow."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kflow._base.array_types import FloatArray
from kflow.cli.fit_options import FitOptions
from kflow.datasets import Dataset
from kflow.estimators.image_pipeline import ImagePipeline, make_image_pipeline
from kflow.features.image_encoder import ImageEncoder

__all__ = ["FitImages", "encoded_images", "settings_for"]

# Images with a side of fewer pixels have one scale only.
_SIDE_OF_TWO_SCALES = 16


@dataclass(frozen=True, eq=False)
class FitImages:
    """Images, ready for a fit.

    Attributes
    ----------
    points : Dataset
        The coordinates of the training and of the test images, and their targets.
    encoder : ImageEncoder
        What makes coordinates of images, fitted to the training images.
    training_rows : ndarray, shape (N, pixels)
        The training images, for fits to some of them.
    """

    points: Dataset
    encoder: ImageEncoder
    training_rows: FloatArray

    def model(self, estimator: Any) -> ImagePipeline:
        """Return an estimator for coordinates as one for images."""
        return make_image_pipeline(estimator, encoder=self.encoder)


def settings_for(image_shape: tuple[int, ...] | None) -> dict[str, Any]:
    """Return parameters of an encoder for the images of a user, whose borders need not be empty."""
    assert image_shape is not None
    n_scales = 2 if min(image_shape[:2]) >= _SIDE_OF_TWO_SCALES else 1
    return {"J": n_scales, "padding": "reflect"}


def encoded_images(
    images: Dataset, settings: Mapping[str, Any], options: FitOptions, tell: Callable[[str], None]
) -> FitImages:
    """Encode the images of a data set, and tell how.

    Parameters
    ----------
    images : Dataset
        The images.
    settings : mapping
        Parameters of the encoder.
    options : FitOptions
        The options, of which the encoder has the seed and the number of threads.
    tell : callable
        Tells the user a line.
    """
    encoder = ImageEncoder(
        **settings,
        image_shape=images.image_shape,
        random_state=options.seed,
        n_threads=options.parameters.get("n_threads"),
    )
    start = time.perf_counter()
    train = encoder.fit(images.X_train).transform(images.X_train)
    test = encoder.transform(images.X_test)
    channels, height, width = encoder.scattering_.map_shape_
    classes, counts = np.unique(images.y_train, return_counts=True)
    tell(
        f"{images.name}: {len(train)} images for training and {len(test)} for the test, of "
        f"{' x '.join(map(str, encoder.scattering_.image_shape_))}, in {len(classes)} classes of "
        f"{counts.min()} to {counts.max()}"
    )
    tell(
        f"Scattering: {channels} maps of {height} x {width} for each of {len(train) + len(test)} images, "
        f"then {train.shape[1]} coordinates without {100 * encoder.energy_dropped_:.1f} % of the sum of "
        f"squares, in {time.perf_counter() - start:.0f} s"
    )
    points = replace(images, X_train=train, X_test=test, image_shape=None)
    return FitImages(points, encoder, images.X_train)
