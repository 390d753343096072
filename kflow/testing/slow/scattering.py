"""Wavelet scattering by its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles
from kflow.engine.interface import ScatteringFilters

__all__ = ["scattering"]


def _convolved(
    filters: ScatteringFilters, U: Doubles, level: int, scale: int, angle: int
) -> npt.NDArray[np.complex128]:
    """Return a map of a level convolved with a wavelet, at every 2^(scale - level)-th element."""
    first = 0 if level == 0 else level + 1
    wave = filters.waves[level][(scale - first) * filters.n_angles + angle].astype(np.float64)
    step = 2 ** (scale - level)
    return np.asarray(np.fft.ifft2(np.fft.fft2(U) * wave)[::step, ::step])


def scattering(filters: ScatteringFilters, images: npt.NDArray[Any]) -> Doubles:
    """Return the features of images, one image and one map after the other.

    Parameters
    ----------
    filters : ScatteringFilters
        The filters.
    images : ndarray, shape (n, height * width)
        Images.
    """

    def smooth(U: Doubles, level: int) -> Doubles:
        rows, cols = filters.smooth_rows[level], filters.smooth_cols[level]
        return np.asarray(rows.astype(np.float64) @ U @ cols.astype(np.float64).T)

    J, L = filters.n_scales, filters.n_angles
    out = []
    for image in images:
        # A border of zeros on two sides, which the number -1 finds.
        bordered = np.pad(image.astype(np.float64).reshape(filters.image), ((0, 1), (0, 1)))
        x = bordered[np.ix_(filters.row_of, filters.col_of)]
        first, second = [smooth(x, 0)], []
        for j in range(J):
            for angle in range(L):
                U = np.abs(_convolved(filters, x, 0, j, angle))
                first.append(smooth(U, j))
                for k in range(j + 1, J if filters.max_order > 1 else 0):
                    for other in range(L):
                        second.append(smooth(np.abs(_convolved(filters, U, j, k, other)), k))
        out.append(np.concatenate([maps.ravel() for maps in first + second]))
    return np.array(out).reshape(len(images), filters.n_features)
