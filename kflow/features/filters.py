"""The filters of wavelet scattering: Morlet wavelets, a Gaussian, and the padding of images.

Formulas: J. Bruna and S. Mallat, Invariant scattering convolution networks, IEEE Trans. PAMI 35 (2013),
with the widths, frequencies and the slant that public implementations use.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles
from kflow.engine.interface import ScatteringFilters

__all__ = ["PADDINGS", "make_filters", "map_shape", "padded_side"]

PADDINGS = ("reflect", "zero")

# A wavelet reaches further than a small image: so many periods on either side are summed.
_PERIODS = 2


def padded_side(size: int, J: int, padding: str) -> int:
    """Return the number of pixels of a side after padding: a multiple of 2^J.

    At least 2^J zeros are added, since what lies beyond one side is the opposite side. Of mirrored
    pixels there are more, so that the maps at the borders can be dropped.
    """
    stride = 1 << J
    if padding == "zero":
        return (-(-size // stride) + 1) * stride
    return ((size + stride) // stride + 1) * stride


def map_shape(
    shape: tuple[int, ...], J: int, L: int, max_order: int, padding: str
) -> tuple[int, int, int]:
    """Return the shape of the features of an image in grey: channels, height, width."""
    borders = 2 if padding == "reflect" else 0
    height, width = ((padded_side(size, J, padding) >> J) - borders for size in shape)
    n_channels = 1 + J * L + (J * (J - 1) // 2 * L**2 if max_order > 1 else 0)
    return n_channels, height, width


def _sources(size: int, J: int, padding: str) -> list[int]:
    """Return the pixel of the image at each place of a padded side, -1 for zeros."""
    total = padded_side(size, J, padding)
    places = np.arange(total) - (total - size) // 2
    if padding == "zero":
        return [int(place) if 0 <= place < size else -1 for place in places]
    period = max(2 * (size - 1), 1)  # an edge is not repeated
    folded = np.abs(places) % period
    return [int(place) for place in np.where(folded < size, folded, period - folded)]


def _periodised(
    rows: int, cols: int, function: Callable[[Doubles, Doubles], npt.NDArray[np.complex128]]
) -> npt.NDArray[np.complex128]:
    """Return the sums of a function over the periods of a grid with its origin in the corner."""
    x = np.arange(-_PERIODS * rows, (_PERIODS + 1) * rows, dtype=np.float64)
    y = np.arange(-_PERIODS * cols, (_PERIODS + 1) * cols, dtype=np.float64)
    values = function(x[:, None], y[None, :])
    periods = 2 * _PERIODS + 1
    return np.asarray(values.reshape(periods, rows, periods, cols).sum(axis=(0, 2)))


def _wave(
    rows: int, cols: int, width: float, angle: float, frequency: float, slant: float
) -> npt.NDArray[np.complex128]:
    """Return a plane wave under a Gaussian of norm 1, which is wider across its direction."""

    def wave(x: Doubles, y: Doubles) -> npt.NDArray[np.complex128]:
        along = x * math.cos(angle) + y * math.sin(angle)
        across = y * math.cos(angle) - x * math.sin(angle)
        exponent = -(along**2 + (slant * across) ** 2) / (2.0 * width**2)
        return np.asarray(np.exp(exponent + 1j * frequency * along))

    return _periodised(rows, cols, wave) * (slant / (2.0 * math.pi * width**2))


def _morlet_spectrum(rows: int, cols: int, j: int, angle: float, L: int) -> Doubles:
    """Return the spectrum of the Morlet wavelet of scale 2^j, which is real."""
    width, frequency, slant = 0.8 * 2**j, 0.75 * math.pi / 2**j, 4.0 / L
    wave = _wave(rows, cols, width, angle, frequency, slant)
    envelope = _wave(rows, cols, width, angle, 0.0, slant)
    # Its sum must be zero: a wavelet does not see a constant.
    return np.asarray(np.fft.fft2(wave - wave.sum() / envelope.sum() * envelope).real)


def _lowest(n: int, level: int) -> npt.NDArray[np.intp]:
    """Return the positions, among n frequencies, of the n / 2^level lowest ones, in their order."""
    kept = n >> level
    return np.concatenate([np.arange(kept // 2), np.arange(n - kept + kept // 2, n)])


def _smoothing(n: int, J: int, level: int, kept: slice) -> Doubles:
    """Return the matrix (kept, n / 2^level) that smooths a line and takes every 2^(J - level)-th."""
    width = 0.8 * 2 ** (J - 1)
    places = np.arange(-_PERIODS * n, (_PERIODS + 1) * n, dtype=np.float64)
    gauss = np.exp(-(places**2) / (2.0 * width**2)) / (math.sqrt(2.0 * math.pi) * width)
    spectrum = np.fft.fft(gauss.reshape(-1, n).sum(axis=0)).real[_lowest(n, level)]
    line = np.fft.ifft(spectrum).real  # symmetric, as the spectrum is
    m = n >> level
    steps = np.arange(0, m, 2 ** (J - level))[kept]
    return np.asarray(line[(steps[:, None] - np.arange(m)) % m])


@lru_cache(maxsize=8)
def make_filters(
    shape: tuple[int, int], J: int, L: int, max_order: int, padding: str, dtype: str
) -> ScatteringFilters:
    """Return the filters for images of a shape.

    Angles are (L - L // 2 - 1 - k) pi / L for k = 0, ..., L - 1, measured from the rows' direction.
    """
    rows, cols = (padded_side(size, J, padding) for size in shape)
    angles = [(L - L // 2 - 1 - k) * math.pi / L for k in range(L)]
    spectra = [[_morlet_spectrum(rows, cols, j, angle, L) for angle in angles] for j in range(J)]

    def waves(level: int) -> npt.NDArray[np.floating]:
        part = np.ix_(_lowest(rows, level), _lowest(cols, level))
        of_level = [
            spectrum[part] for scale in spectra[level + (level > 0) :] for spectrum in scale
        ]
        sides = (rows >> level, cols >> level)
        return np.asarray(np.array(of_level).reshape(-1, *sides), dtype)

    # The maps of mirrored pixels, one on either side, say nothing new.
    kept = slice(1, -1) if padding == "reflect" else slice(None)
    smooth = [
        [_smoothing(side, J, level, kept).astype(dtype) for level in range(J)]
        for side in (rows, cols)
    ]
    return ScatteringFilters(
        image=shape,
        row_of=_sources(shape[0], J, padding),
        col_of=_sources(shape[1], J, padding),
        n_scales=J,
        n_angles=L,
        max_order=max_order,
        out=(len(smooth[0][0]), len(smooth[1][0])),
        waves=[waves(level) for level in range(J)],
        smooth_rows=smooth[0],
        smooth_cols=smooth[1],
    )
