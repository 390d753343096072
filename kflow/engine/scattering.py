"""What a scattering transform is made of, and what an engine makes of it.

`kflow.engine.interface` has the rules for all arrays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from kflow._base.array_types import FloatArray

__all__ = ["ScatteringFilters", "ScatteringOperator"]


class ScatteringFilters(NamedTuple):
    """The filters of a scattering transform with J scales and L angles; all arrays have one dtype.

    Images are padded to R x C pixels, multiples of 2^J, and continued periodically. A map of level l
    has R / 2^l rows and C / 2^l columns.

    Attributes
    ----------
    image : tuple of int
        Height and width of an image.
    row_of, col_of : sequence of int
        Of R and of C numbers: the row and the column of the image that stands in each row and column
        of the padded image; -1 stands for zeros.
    n_scales, n_angles : int
        J and L.
    max_order : int
        1 or 2.
    out : tuple of int
        Height and width of a smoothed map.
    waves : sequence of ndarray, shape (n_l, R / 2^l, C / 2^l)
        For each level l, the spectra of the wavelets of the scales j = 0, ..., J - 1 for l = 0, else
        l + 1, ..., J - 1, and of all angles for each, as the discrete Fourier transform at that level
        orders them. The spectra are real.
    smooth_rows, smooth_cols : sequence of ndarray, shape (height, R / 2^l) and (width, C / 2^l)
        For each level, the two matrices A, B for which A U B' is the smoothed map of a map U.
    """

    image: tuple[int, int]
    row_of: Sequence[int]
    col_of: Sequence[int]
    n_scales: int
    n_angles: int
    max_order: int
    out: tuple[int, int]
    waves: Sequence[FloatArray]
    smooth_rows: Sequence[FloatArray]
    smooth_cols: Sequence[FloatArray]

    @property
    def n_channels(self) -> int:
        """How many smoothed maps an image has: 1 + J L, and for order 2 also J (J - 1) / 2 L^2."""
        J, L = self.n_scales, self.n_angles
        return 1 + J * L + (J * (J - 1) // 2 * L * L if self.max_order > 1 else 0)

    @property
    def n_features(self) -> int:
        """How many numbers the smoothed maps of an image have."""
        return self.n_channels * self.out[0] * self.out[1]


class ScatteringOperator(ABC):
    """The scattering transform of images with given filters.

    With x * w for the convolution with a wavelet w of scale j, at the level j, and smooth for the
    product with the matrices of a level: S0 = smooth(x), S1 = smooth(|x * w1|) and
    S2 = smooth(||x * w1| * w2|) for all w2 of larger scales than w1. A convolution multiplies the
    spectrum at the level of its map by that of the wavelet, and takes every 2^k-th element of the
    result in each direction, where k is the difference of the levels.
    """

    @abstractmethod
    def transform(self, images: FloatArray, out: FloatArray, n_threads: int) -> None:
        """Write the maps of images (n, height width) to `out`, (n, n_features).

        S0 comes first, then S1 by scale and angle, then S2 by those of w1, then of w2. A row depends
        on its image alone, to the last bit.
        """

    @abstractmethod
    def pull_back(
        self, images: FloatArray, covectors: FloatArray, out: FloatArray, n_threads: int
    ) -> None:
        """Write the gradient of the sum of covectors * transform(images) by images to `out`.

        `covectors` is (n, n_features), `images` and `out` are (n, height width). Where a modulus is 0,
        0 is taken for its derivative.
        """
