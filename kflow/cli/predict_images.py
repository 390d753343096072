"""The predictions of a model of images for image files, as a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kflow.cli.output import note
from kflow.cli.predict_table import PredictedTable
from kflow.data.image_folder import read_image_folder
from kflow.estimators.image_pipeline import ImagePipeline

__all__ = ["predicted_images"]


def predicted_images(model: ImagePipeline, path: Path) -> PredictedTable:
    """Predict for the image files of a folder or a ZIP file.

    Parameters
    ----------
    model : ImagePipeline
        The model.
    path : Path
        The folder or the ZIP file; folders inside do not matter.

    Raises
    ------
    ImportError, OSError, ValueError
        If the images cannot be read, or are not of the model's shape.
    """
    folder = read_image_folder(path)
    if folder.n_ignored:
        note(f"{path}: {folder.n_ignored} files are no .png or .jpg files and are left out")
    shape, images = model.encoder.scattering_.image_shape_, folder.images
    if len(shape) == 3 and images.ndim == 3:  # these happen to be in grey
        images = np.repeat(images[..., None], 3, axis=3)
    if images.shape[1:] != shape:
        found, known = (" x ".join(map(str, sides)) for sides in (images.shape[1:], shape))
        raise ValueError(f"{path}: its images are {found}, and those of the model {known}")
    pixels = images.astype(np.float32)
    y = model.predict(pixels)
    if not hasattr(model.estimator, "predict_proba"):
        return PredictedTable("file", folder.names, y)
    return PredictedTable("file", folder.names, y, model.classes_, model.predict_proba(pixels))
