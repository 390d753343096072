"""Images in grey or in colour as Matplotlib shows them."""

from __future__ import annotations

import numpy as np

from kflow._base.array_types import Doubles, FloatArray

__all__ = ["as_shown", "brightness_limits", "check_images"]


def check_images(images: FloatArray, name: str = "images") -> None:
    """Check that images have the shape (n, height, width) or (n, height, width, 3).

    Raises
    ------
    ValueError
        If they do not, or contain NaN or infinity.
    """
    if images.ndim not in (3, 4) or 0 in images.shape or images.shape[3:] not in ((), (3,)):
        raise ValueError(
            f"{name} must have shape (n, height, width) or (n, height, width, 3), got {images.shape}"
        )
    if not np.isfinite(images).all():
        raise ValueError(f"{name} contains NaN or infinity: leave those images out")


def brightness_limits(images: FloatArray) -> tuple[float, float]:
    """Return zero, or the smallest value if that is negative, and the largest value of images."""
    low, high = min(float(images.min()), 0.0), float(images.max())
    return low, high if high > low else low + 1.0


def as_shown(picture: Doubles, low: float, high: float) -> Doubles:
    """Return a picture (height, width) as it is, and one in colour with values in [0, 1].

    NaN, which Matplotlib does not draw in grey, becomes white in colour.
    """
    if picture.ndim == 2:
        return picture
    scaled = np.clip((picture - low) / (high - low), 0.0, 1.0)
    return np.where(np.isnan(scaled), 1.0, scaled)
