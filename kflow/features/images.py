"""Checks of arrays of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count
from kflow._base.array_types import FloatArray
from kflow.data.arrays import as_matrix

__all__ = ["as_covectors", "as_image_shape", "as_images", "image_chunks"]

# Features that exist at a time where not all of them are kept.
_CHUNK_FEATURES = 2**24


def as_image_shape(X: Any, image_shape: Sequence[int] | None) -> tuple[int, ...]:
    """Return the shape of each image of X: height, width and, in colour, the number of colours.

    Parameters
    ----------
    X : array_like, shape (n, height, width), (n, height, width, colours) or (n, pixels)
        Images.
    image_shape : sequence of int, optional
        The shape, which rows of a matrix do not show.

    Raises
    ------
    ValueError
        If it is not known, or not that of X.
    """
    shape: tuple[int, ...] = np.shape(X)
    if image_shape is None:
        if len(shape) not in (3, 4):
            raise ValueError(
                f"X has the shape {shape}, which does not show what an image is: pass image_shape, "
                "the height and the width (and 3 for images in colour)"
            )
        return shape[1:]
    if isinstance(image_shape, str) or not isinstance(image_shape, Sequence):
        raise TypeError(f"image_shape must be a tuple of 2 or 3 numbers, got {image_shape!r}")
    if len(image_shape) not in (2, 3):
        raise ValueError(f"image_shape must have 2 or 3 numbers, got {tuple(image_shape)}")
    wanted = tuple(as_count(side, "image_shape", 1) for side in image_shape)
    if shape[1:] not in (wanted, (int(np.prod(wanted)),)):
        raise ValueError(
            f"X has the shape {shape}, which is not that of images of {' x '.join(map(str, wanted))}"
        )
    return wanted


def as_images(X: Any, shape: tuple[int, ...], name: str = "X") -> FloatArray:
    """Return images as the rows of a C-contiguous matrix; float32 stays, the rest becomes float64.

    Raises
    ------
    TypeError, ValueError
        For another shape, for what are no numbers, for NaN and infinity.
    """
    array = np.asarray(X)
    pixels = int(np.prod(shape))
    if array.ndim < 2 or array.shape[1:] not in (shape, (pixels,)):
        raise ValueError(
            f"{name} must have shape (n, {', '.join(map(str, shape))}) or (n, {pixels}), "
            f"got {array.shape}"
        )
    dtype = np.float32 if array.dtype == np.float32 else np.float64
    if np.ma.isMaskedArray(X):
        array = X  # refused if something is masked
    return as_matrix(array.reshape(len(array), pixels), name, dtype=dtype)


def as_covectors(covectors: Any, shape: tuple[int, int], dtype: npt.DTypeLike) -> FloatArray:
    """Return covectors as a C-contiguous matrix of a shape and a dtype.

    Raises
    ------
    TypeError, ValueError
        For another shape, for what are no numbers, for NaN and infinity.
    """
    if np.shape(covectors) != shape:
        raise ValueError(f"covectors must have shape {shape}, got {np.shape(covectors)}")
    return as_matrix(covectors, "covectors", dtype=dtype)


def image_chunks(n_images: int, n_features: int) -> Iterator[slice]:
    """Iterate over slices of images whose features take a limited amount of memory."""
    step = max(_CHUNK_FEATURES // n_features, 1)
    for start in range(0, n_images, step):
        yield slice(start, start + step)
