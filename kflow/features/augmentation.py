"""Changed copies of images: shifted, mirrored, turned and deformed a little."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from kflow._base.arguments import as_choice, as_count, as_flag, as_nonnegative
from kflow._base.array_types import Doubles, FloatArray
from kflow.features.images import as_image_shape, as_images, image_chunks

__all__ = ["Augmentation"]

# How the values beyond the border are named in SciPy, for turns and deformations.
_OUTSIDE = {"zero": "constant", "reflect": "mirror"}

_COUNTS = ("n_copies", "shift", "random_state")
_LENGTHS = ("rotation", "elastic", "elastic_length")

# What one chunk of images may have of pixels and of the splines through them.
_ROOM = 4


@dataclass(frozen=True)
class Augmentation:
    """Changed copies of training images, from which a classifier learns what makes no difference.

    The copies of an image are its mirror image and its shifts by whole pixels, the nearest first, so
    that no two of them are the same. If there are turns or deformations, each copy is also turned
    and deformed at random.

    Parameters
    ----------
    n_copies : int
        Number of copies of each image, besides the image itself.
    shift : int
        Largest shift in pixels, up or down and to the left or right. Nearer shifts come first: of 4
        copies with ``shift`` 1, each is moved by one pixel in one of the four directions.
    mirror : bool
        Whether left and right are exchanged in half of the copies; the first copy is the mirror image.
    rotation : float
        Largest angle of a turn around the centre, in degrees; angles are uniform on both sides.
    elastic : float
        Standard deviation, in pixels, of how far an elastic deformation moves a pixel along each axis.
    elastic_length : float
        Distance in pixels over which neighbouring pixels move together: the standard deviation of
        the Gaussian that smooths the random field of displacements.
    padding : {"zero", "reflect"}
        What comes in at the borders: zeros, or the mirror image.
    random_state : int
        Seed of angles and deformations. They depend on the number of the image and of the copy only.

    Raises
    ------
    TypeError, ValueError
        For parameters that are not valid; if there are fewer different copies than ``n_copies``.

    Notes
    -----
    Turned and deformed images are read from cubic splines through the pixels
    (`scipy.ndimage.map_coordinates`), which takes some 0.1 ms for an image of 28 x 28. Deformation:
    P. Y. Simard, D. Steinkraus and J. C. Platt, Best practices for convolutional neural networks
    applied to visual document analysis, ICDAR 2003.

    Examples
    --------
    >>> import numpy as np
    >>> from kflow.features import Augmentation
    >>> image = np.arange(6.0).reshape(1, 2, 3)
    >>> Augmentation(1, mirror=True).copy_of(image, 1)
    array([[[2., 1., 0.],
            [5., 4., 3.]]])
    """

    n_copies: int = 1
    shift: int = 0
    mirror: bool = False
    rotation: float = 0.0
    elastic: float = 0.0
    elastic_length: float = 4.0
    padding: str = "zero"
    random_state: int = 0

    def __post_init__(self) -> None:
        """Check the parameters."""
        checked: dict[str, Any] = {
            **{name: as_count(getattr(self, name), name, 0) for name in _COUNTS},
            **{name: as_nonnegative(getattr(self, name), name) for name in _LENGTHS},
            "mirror": as_flag(self.mirror, "mirror"),
            "padding": as_choice(self.padding, "padding", _OUTSIDE),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if self.elastic > 0.0 and self.elastic_length == 0.0:
            raise ValueError("elastic_length must be positive: neighbouring pixels move together")
        if not self.is_random and self.n_copies >= len(self._moves()):
            raise ValueError(
                f"n_copies is {self.n_copies}, but there are only {len(self._moves()) - 1} different copies: "
                "raise shift, or pass mirror, rotation or elastic"
            )

    @property
    def is_random(self) -> bool:
        """Whether copies are turned or deformed."""
        return self.rotation > 0.0 or self.elastic > 0.0

    def chunks(
        self, X: Any, image_shape: tuple[int, ...] | None = None
    ) -> Iterator[tuple[slice, npt.NDArray[Any]]]:
        """Iterate over all images and then over their copies, a few at a time.

        Parameters
        ----------
        X : array_like, shape (N, height, width), (N, height, width, colours) or (N, pixels)
            The images; an array that is mapped from a file is read chunk by chunk.
        image_shape : tuple of int, optional
            The shape of an image, if images are rows.

        Yields
        ------
        rows : slice
            Which of the N (n_copies + 1) rows these are: row k N + i is copy k of image i, and copy 0
            is the image itself.
        images : ndarray of float32 or float64, shape (rows, pixels)
            The images.
        """
        shape = as_image_shape(X, image_shape)
        X = X if hasattr(X, "shape") else np.asarray(X)
        pixels = math.prod(shape)
        for k in range(self.n_copies + 1):
            for part in image_chunks(len(X), _ROOM * pixels):
                images = as_images(X[part], shape)
                first = part.start
                changed = self._copy(images.reshape(len(images), *shape), k, first)
                start = k * len(X) + first
                yield slice(start, start + len(images)), changed.reshape(len(images), pixels)

    def copy_of(self, images: npt.NDArray[Any], k: int, *, same: bool = False) -> FloatArray:
        """Return copy k of images, which is a new array; copy 0 is the images themselves.

        Parameters
        ----------
        images : array_like, shape (n, height, width) or (n, height, width, colours)
            The images; float32 stays, the rest becomes float64.
        k : int
            The number of the copy, up to ``n_copies``.
        same : bool
            Whether all images are turned and deformed in the same way, as if each were the first.

        Raises
        ------
        TypeError, ValueError
            For arrays of other shapes, with NaN, and if there is no such copy.
        """
        k = as_count(k, "k", 0)
        if k > self.n_copies:
            raise ValueError(f"k is {k}, but there are {self.n_copies} copies")
        shape = as_image_shape(images, None)
        rows = as_images(images, shape)
        return self._copy(rows.reshape(len(rows), *shape), k, None if same else 0)

    def _copy(self, images: FloatArray, k: int, first: int | None) -> FloatArray:
        """Return copy k of images whose numbers begin with `first`, or all of which have number 0."""
        if self.shift >= min(images.shape[1:3]):
            raise ValueError(
                f"shift is {self.shift}, but images have {images.shape[1]} x {images.shape[2]} pixels"
            )
        if k == 0:
            return images.copy()
        moves = self._moves()
        (down, right), mirrored = moves[k % len(moves)]
        out = _shifted(images[:, :, ::-1] if mirrored else images, down, right, self.padding)
        if not self.is_random:
            return out
        shape = images.shape[1], images.shape[2]
        positions = self._positions(shape, [k, 0])
        for i, image in enumerate(out):
            if first is not None:
                positions = self._positions(shape, [k, first + i])
            planes = image.reshape(*image.shape[:2], -1)
            for c in range(planes.shape[2]):
                planes[:, :, c] = ndimage.map_coordinates(
                    planes[:, :, c], positions, order=3, mode=_OUTSIDE[self.padding]
                )
        return out

    def _moves(self) -> list[tuple[tuple[int, int], bool]]:
        """Return all shifts, mirrored or not, the image itself first and far ones last."""
        steps = range(-self.shift, self.shift + 1)
        shifts = sorted(product(steps, steps), key=lambda move: move[0] ** 2 + move[1] ** 2)
        sides = (False, True) if self.mirror else (False,)
        return [(move, mirrored) for move in shifts for mirrored in sides]

    def _positions(self, shape: tuple[int, int], of: list[int]) -> Doubles:
        """Return from where each pixel of a turned and deformed image comes, (2, height, width)."""
        rng = np.random.default_rng([self.random_state, *of])
        rows, columns = np.indices(shape, dtype=np.float64)
        angle = math.radians(self.rotation) * rng.uniform(-1.0, 1.0)
        middle = (shape[0] - 1) / 2.0, (shape[1] - 1) / 2.0
        down, right = rows - middle[0], columns - middle[1]
        turned = np.stack(
            [
                middle[0] + math.cos(angle) * down - math.sin(angle) * right,
                middle[1] + math.sin(angle) * down + math.cos(angle) * right,
            ]
        )
        if self.elastic > 0.0:
            noise = rng.standard_normal((2, *shape))
            sigma = self.elastic_length
            smooth = ndimage.gaussian_filter(noise, (0.0, sigma, sigma), mode="wrap")
            turned += self.elastic / _smoothed_deviation(shape, sigma) * smooth
        return turned

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters as JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, parameters: Mapping[str, Any]) -> Augmentation:
        """Return the augmentation of which `to_dict` told.

        Raises
        ------
        TypeError, ValueError
            For other parameters.
        """
        unknown = set(parameters) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"an augmentation has no {sorted(unknown)}")
        return cls(**parameters)


def _shifted(images: FloatArray, down: int, right: int, padding: str) -> FloatArray:
    """Return images moved by whole pixels."""
    height, width = images.shape[1:3]
    most = max(abs(down), abs(right))
    around = ((0, 0), (most, most), (most, most), *((0, 0),) * (images.ndim - 3))
    padded = np.pad(images, around, mode="reflect" if padding == "reflect" else "constant")
    top, left = most - down, most - right
    return np.ascontiguousarray(padded[:, top : top + height, left : left + width])


@lru_cache  # every image asks
def _smoothed_deviation(shape: tuple[int, int], sigma: float) -> float:
    """Return the standard deviation of white noise of variance 1 after a Gaussian smoothed it."""
    peak = np.zeros(shape)
    peak[0, 0] = 1.0
    return float(np.linalg.norm(ndimage.gaussian_filter(peak, sigma, mode="wrap")))
