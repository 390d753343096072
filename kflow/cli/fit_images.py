"""The images of `kflow fit` as coordinates of a flow."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kflow._base.array_types import FloatArray
from kflow.cli.fit_options import FitOptions
from kflow.datasets import Dataset
from kflow.estimators.image_pipeline import ImagePipeline, make_image_pipeline
from kflow.features.augmentation import Augmentation
from kflow.features.copies import copies_encoded, iterate_views, targets_of_copies
from kflow.features.image_encoder import ImageEncoder
from kflow.presets import Preset

__all__ = ["FitImages", "encoded_images", "preset_for"]

# Images with a side of fewer pixels have one scale only.
_SIDE_OF_TWO_SCALES = 16


@dataclass(frozen=True, eq=False)
class FitImages:
    """Images, ready for a fit.

    Attributes
    ----------
    points : Dataset
        The coordinates of the training images and their copies, and those of all views of the test
        images, one view after the other; the targets of the former, and one target for each test image.
    encoder : ImageEncoder
        What makes coordinates of images, fitted to the training images.
    training_rows : ndarray, shape (N, pixels)
        The training images, for fits to some of them.
    augmentation : Augmentation or None
        What makes copies of images.
    n_views : int
        Views of an image over which predictions are averaged.
    """

    points: Dataset
    encoder: ImageEncoder
    training_rows: FloatArray
    augmentation: Augmentation | None
    n_views: int

    def model(self, estimator: Any) -> ImagePipeline:
        """Return an estimator for coordinates as one for images."""
        return make_image_pipeline(
            estimator,
            encoder=self.encoder,
            augmentation=self.augmentation,
            n_views=self.n_views,
        )


def preset_for(image_shape: tuple[int, ...] | None) -> Preset:
    """Return what encodes the images of a user, whose borders need not be empty."""
    assert image_shape is not None
    n_scales = 2 if min(image_shape[:2]) >= _SIDE_OF_TWO_SCALES else 1
    return Preset({"J": n_scales, "padding": "reflect"})


def encoded_images(
    images: Dataset, preset: Preset, options: FitOptions, tell: Callable[[str], None]
) -> FitImages:
    """Encode the images of a data set, and tell how.

    Parameters
    ----------
    images : Dataset
        The images.
    preset : Preset
        Parameters of the encoder, copies and views.
    options : FitOptions
        The options, of which the encoder has the seed and the number of threads.
    tell : callable
        Tells the user a line.
    """
    encoder = ImageEncoder(
        **preset.encoder,
        image_shape=images.image_shape,
        random_state=options.seed,
        n_threads=options.parameters.get("n_threads"),
    )
    given = preset.augmentation
    augmentation = None if given is None else Augmentation.from_dict(given)
    start = time.perf_counter()
    n_train, n_test = len(images.X_train), len(images.X_test)
    encoder.fit(images.X_train)
    train = copies_encoded(encoder, augmentation, images.X_train)
    test = np.concatenate(list(iterate_views(encoder, augmentation, preset.n_views, images.X_test)))
    seconds = time.perf_counter() - start
    classes, counts = np.unique(images.y_train, return_counts=True)
    tell(
        f"{images.name}: {n_train} images for training and {n_test} for the test, of "
        f"{' x '.join(map(str, encoder.scattering_.image_shape_))}, in {len(classes)} classes of "
        f"{counts.min()} to {counts.max()}"
    )
    if augmentation is not None:
        tell(
            f"Copies: {augmentation.n_copies} of each image for training; predictions are averages "
            f"over {preset.n_views} views"
        )
    tell(
        f"{_maps(encoder)} for each of {len(train) + len(test)} "
        f"{'images' if augmentation is None else 'images, copies and views'}, then "
        f"{train.shape[1]} coordinates without {100 * encoder.energy_dropped_:.1f} % of the sum of "
        f"squares, in {seconds:.0f} s"
    )
    points = replace(
        images,
        X_train=train,
        y_train=targets_of_copies(augmentation, images.y_train),
        X_test=test,
        image_shape=None,
    )
    return FitImages(points, encoder, images.X_train, augmentation, preset.n_views)


def _maps(encoder: ImageEncoder) -> str:
    """Say what is made of an image."""
    sources = {"scattering": encoder.scattering_, "resemblance to patches": encoder.patches_}
    return " and ".join(
        f"{source.map_shape_[0]} maps of {source.map_shape_[1]} x {source.map_shape_[2]} by {name}"
        for name, source in sources.items()
        if source is not None
    )
