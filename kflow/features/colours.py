"""Images in colour as three images in grey, and gradients back."""

from __future__ import annotations

import numpy as np

from kflow._base.array_types import FloatArray

__all__ = ["COLOURS", "colour_channels", "colour_channels_back"]

COLOURS = ("yuv", "rgb")

# Brightness, and blue and red less brightness, of red, green and blue: ITU-R BT.601.
_YUV = np.array([[0.299, 0.587, 0.114], [-0.14713, -0.28886, 0.436], [0.615, -0.51499, -0.10001]])


def _matrix(n_colours: int, colours: str, dtype: np.dtype[np.floating]) -> FloatArray | None:
    return _YUV.astype(dtype) if colours == "yuv" and n_colours == 3 else None


def colour_channels(images: FloatArray, n_colours: int, colours: str) -> FloatArray:
    """Return images (n, pixels * n_colours) as (n * n_colours, pixels): one image for each channel.

    For `colours` "yuv" the channels of three colours are Y, U and V, else the colours themselves.
    """
    if n_colours == 1:
        return images
    pixels = images.reshape(len(images), -1, n_colours)
    matrix = _matrix(n_colours, colours, images.dtype)
    if matrix is not None:
        pixels = pixels @ matrix.T
    return np.ascontiguousarray(pixels.transpose(0, 2, 1)).reshape(-1, pixels.shape[1])


def colour_channels_back(gradients: FloatArray, n_colours: int, colours: str) -> FloatArray:
    """Return gradients by channels (n * n_colours, pixels) as gradients by images."""
    if n_colours == 1:
        return gradients
    by_channel = gradients.reshape(-1, n_colours, gradients.shape[1]).transpose(0, 2, 1)
    matrix = _matrix(n_colours, colours, gradients.dtype)
    if matrix is not None:
        by_channel = by_channel @ matrix
    return np.ascontiguousarray(by_channel).reshape(len(by_channel), -1)
