"""The coordinates of images and of their changed copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count
from kflow._base.array_types import FloatArray
from kflow.features.augmentation import Augmentation
from kflow.features.image_encoder import ImageEncoder

__all__ = ["check_views", "copies_encoded", "iterate_views", "targets_of_copies"]


def copies_encoded(encoder: ImageEncoder, augmentation: Augmentation | None, X: Any) -> FloatArray:
    """Return the coordinates of images and of their copies, made a few at a time.

    Parameters
    ----------
    encoder : ImageEncoder
        What makes coordinates of images, fitted.
    augmentation : Augmentation or None
        The copies; None for none.
    X : array_like
        N images, as the encoder takes them.

    Returns
    -------
    ndarray of float32, shape (N (n_copies + 1), n_components)
        Row k N + i belongs to copy k of image i; copy 0 is the image itself.
    """
    if augmentation is None:
        return encoder.transform(X)
    n_rows = len(X) * (augmentation.n_copies + 1)
    out = np.empty((n_rows, encoder.n_features_out_), np.float32)
    for rows, images in augmentation.chunks(X, encoder.scattering_.image_shape_):
        out[rows] = encoder.transform(images)
    return out


def targets_of_copies(augmentation: Augmentation | None, y: Any) -> npt.NDArray[Any]:
    """Return the targets of images and of their copies, in the order of `copies_encoded`.

    Parameters
    ----------
    augmentation : Augmentation or None
        The copies; None for none.
    y : array_like, shape (N,)
        The targets of the images, which are those of their copies.

    Returns
    -------
    ndarray, shape (N (n_copies + 1),)
    """
    n_copies = 0 if augmentation is None else augmentation.n_copies
    return np.concatenate([np.asarray(y)] * (n_copies + 1))


def check_views(augmentation: Augmentation | None, n_views: int) -> int:
    """Return `n_views`, of which all but one are copies.

    Raises
    ------
    TypeError, ValueError
        If it is no number from 1 to the number of copies and one more.
    """
    n_copies = 0 if augmentation is None else augmentation.n_copies
    n_views = as_count(n_views, "n_views", 1)
    if n_views > n_copies + 1:
        raise ValueError(
            f"n_views is {n_views}, but an image has {n_copies} copies: pass an augmentation with more"
        )
    return n_views


def iterate_views(
    encoder: ImageEncoder, augmentation: Augmentation | None, n_views: int, X: Any
) -> Iterator[FloatArray]:
    """Iterate over the coordinates of images and of their first ``n_views - 1`` copies.

    All images are turned and deformed in the same way: what a prediction says of one of them does not
    depend on the others.

    Parameters
    ----------
    encoder, augmentation
        As for `copies_encoded`.
    n_views : int
        Number of arrays.
    X : array_like
        n images, as the encoder takes them.

    Yields
    ------
    ndarray of float32, shape (n, n_components)

    Raises
    ------
    TypeError, ValueError
        As `check_views`; for images that the encoder does not take.
    """
    n_views = check_views(augmentation, n_views)
    yield encoder.transform(X)
    if augmentation is None or n_views == 1:
        return
    shape = encoder.scattering_.image_shape_
    images = np.asarray(X).reshape(-1, *shape)
    for k in range(1, n_views):
        yield encoder.transform(augmentation.copy_of(images, k, same=True))
