"""Categories of images that a formula defines: letters, and curved manifolds of any dimension."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import (
    as_choice,
    as_count,
    as_generator,
    as_nonnegative,
    as_number,
)
from kflow._base.array_types import Doubles, Rows
from kflow._base.short_repr import ShortRepr
from kflow.data.arrays import as_matrix

__all__ = ["ImageManifolds", "letter_images"]

_SIDE = 10

# The two strokes of each letter, as slices of rows and columns.
_STROKES = {
    "T": (np.s_[1:3, 1:9], np.s_[3:9, 4:6]),
    "L": (np.s_[1:7, 1:3], np.s_[7:9, 1:9]),
}

# Directions are mixed of the longest waves, so many for each dimension of the manifold.
_WAVES = 4


def letter_images(n: int, letter: str = "T", random_state: Any = None) -> Doubles:
    """Return images of a letter whose two strokes have any brightness: two dimensions in 100 pixels.

    Parameters
    ----------
    n : int
        Number of images.
    letter : {"T", "L"}
        The letter.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of the brightness of each stroke, which is between 0 and 1.

    Returns
    -------
    ndarray, shape (n, 100)
        Images of 10 times 10 pixels, one in each row. All images of a letter are in a plane through the
        origin, whose coordinates are the brightnesses.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or value, naming them.

    References
    ----------
    J. Hopcroft, Research in deep learning (talk, 2019): the T category of images.

    Examples
    --------
    >>> import numpy as np
    >>> from kflow.datasets import letter_images
    >>> X = letter_images(50, random_state=0)
    >>> X.shape, int(np.linalg.matrix_rank(X))
    ((50, 100), 2)
    """
    strokes = np.zeros((2, _SIDE, _SIDE))
    name = as_choice(letter, "letter", tuple(_STROKES))
    for stroke, place in zip(strokes, _STROKES[name], strict=True):
        stroke[place] = 1.0
    brightness = as_generator(random_state).uniform(size=(as_count(n, "n", 1), 2))
    images: Doubles = brightness @ strokes.reshape(2, -1)
    return images


def _as_part(value: Any, name: str) -> float:
    """Return `value` as a float between 0 and 1."""
    part = as_nonnegative(value, name)
    if part > 1.0:
        raise ValueError(f"{name} must be between 0 and 1, got {value!r}")
    return part


class ImageManifolds(ShortRepr):
    r"""Categories of images that are curved manifolds of a chosen dimension, without symmetry.

    The images of category c are

    .. math:: x = b_c + T_c t + N_c \left(f(U_c t) - \mathrm{E} f(U_c t)\right) + \text{noise},
              \qquad f(s) = \frac{\kappa}{2} s^2 + \frac{\kappa^2}{6} s^3,

    where t holds m normally distributed numbers, T_c and N_c have orthonormal columns, m tangents and m
    normals of the manifold at its centre, and U_c is orthogonal. The manifold bends in m directions,
    with the curvature :math:`\kappa` at the centre, each towards another normal. The cube makes one
    side of it different from the other. Tangents and normals are random mixtures of long waves, so that
    images are smooth.

    Parameters
    ----------
    image_shape : (int, int)
        Rows and columns of the images, whose product is d.
    n_classes : int
        Number of categories.
    dimension : int
        Dimension m of each manifold, 1 <= m <= d / 2.
    curvature : float
        The curvature kappa of each manifold at its centre; 0 for planes. Images have distances of about 1
        from the centre, and lie within about :math:`m^{-1/2}` of it in each direction.
    overlap : float
        The part of the tangents, in [0, 1], that all categories have in common, those of the largest variance
        first.
    distance : float
        Distance between the centres of any two categories.
    tangential : float
        The part of the squared distance, in [0, 1], that lies along the tangents that all categories have
        in common, each weighed by its deviation: there categories overlap. The rest is orthogonal to these.
        0: the way from one centre to another is a random mixture of waves. More than 0 needs as many common
        tangents as categories.
    decay : float
        The variance of the j-th coordinate of t is proportional to :math:`j^{-\text{decay}}`. The sum of all
        is 1.
    noise : float
        Root mean square of the length of the noise, which has the same variance in all pixels.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of the directions.

    Attributes
    ----------
    centres : ndarray, shape (n_classes, d)
        The centres b_c, whose mean is 0.
    tangents, normals : ndarray, shape (n_classes, m, d)
        The columns of T_c and N_c as images.
    deviations : ndarray, shape (m,)
        Standard deviations of the coordinates t, largest first.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or value, naming them.

    References
    ----------
    The question whether such categories behave like those of CIFAR-10: J. Hopcroft, Research in deep
    learning (talk, 2019).

    Examples
    --------
    >>> from kflow.datasets import ImageManifolds
    >>> manifolds = ImageManifolds((32, 32), dimension=200, curvature=5.0, random_state=0)
    >>> X, y = manifolds.draw(100, random_state=1)
    >>> X.shape, y[:4].tolist()
    ((100, 1024), [0, 1, 0, 1])
    """

    centres: Doubles
    tangents: Doubles
    normals: Doubles
    deviations: Doubles

    def __init__(
        self,
        image_shape: Sequence[int] = (32, 32),
        n_classes: int = 2,
        *,
        dimension: int = 200,
        curvature: float = 1.0,
        overlap: float = 0.5,
        distance: float = 0.0,
        tangential: float = 0.0,
        decay: float = 0.0,
        noise: float = 0.0,
        random_state: Any = None,
    ) -> None:
        try:
            rows, columns = image_shape
        except (TypeError, ValueError):
            raise TypeError(
                f"image_shape must be two whole numbers (rows, columns), got {image_shape!r}"
            ) from None
        self.image_shape = (
            as_count(rows, "image_shape[0]", 1),
            as_count(columns, "image_shape[1]", 1),
        )
        d = math.prod(self.image_shape)
        self.n_classes = as_count(n_classes, "n_classes", 1, d // 2)
        self.dimension = as_count(dimension, "dimension", 1, d // 2)
        self.curvature = as_nonnegative(curvature, "curvature")
        self.overlap = _as_part(overlap, "overlap")
        self.distance = as_nonnegative(distance, "distance")
        self.tangential = _as_part(tangential, "tangential")
        if self.tangential > 0.0 and round(self.overlap * self.dimension) < self.n_classes:
            raise ValueError(
                f"tangential={tangential!r} needs {self.n_classes} common tangents, one for each category: "
                "raise overlap or dimension, or pass tangential=0"
            )
        self.decay = as_number(decay, "decay")
        self.noise = as_nonnegative(noise, "noise")
        variances = np.arange(1.0, self.dimension + 1.0) ** -self.decay
        self.deviations = np.sort(np.sqrt(variances / variances.sum()))[::-1]
        self._place(as_generator(random_state))

    def _place(self, rng: np.random.Generator) -> None:
        """Draw the centres and the directions."""
        m, waves = self.dimension, self._long_waves()
        n_shared = round(self.overlap * m)
        shared = rng.normal(size=(len(waves), n_shared))
        both = []
        self._bends: list[Doubles] = []
        for _ in range(self.n_classes):
            own = rng.normal(size=(len(waves), 2 * m - n_shared))
            # The first columns of an orthogonal factor depend on the first columns of the matrix alone.
            both.append(np.linalg.qr(np.hstack([shared, own]))[0].T @ waves)
            self._bends.append(np.linalg.qr(rng.normal(size=(m, m)))[0])
        directions = np.array(both)
        self.tangents, self.normals = directions[:, :m], directions[:, m:]
        corners = self._corners(len(waves), np.linalg.qr(shared)[0], rng) @ waves
        self.centres = self.distance / math.sqrt(2.0) * (corners - corners.mean(axis=0))

    def _corners(self, n_waves: int, shared: Doubles, rng: np.random.Generator) -> Doubles:
        """Return a direction for each category, orthonormal, (n_classes, n_waves)."""
        out = rng.normal(size=(n_waves, self.n_classes))
        if self.tangential == 0.0:
            return np.linalg.qr(out)[0].T
        n_shared = shared.shape[1]
        weights = self.deviations[:n_shared, None] * rng.normal(size=(n_shared, self.n_classes))
        out -= shared @ (shared.T @ out)
        both = np.linalg.qr(np.hstack([shared @ weights, out]))[0]
        inside, outside = both[:, : self.n_classes], both[:, self.n_classes :]
        corners = math.sqrt(self.tangential) * inside + math.sqrt(1.0 - self.tangential) * outside
        return corners.T

    def _long_waves(self) -> Doubles:
        """Return the orthonormal cosine waves of which directions are mixed, (n_waves, d)."""
        from scipy.fft import idctn

        d = math.prod(self.image_shape)
        i, j = np.divmod(np.arange(d), self.image_shape[1])
        order = np.argsort((i / self.image_shape[0]) ** 2 + (j / self.image_shape[1]) ** 2)
        longest = order[: max(_WAVES * self.dimension, 2 * self.n_classes)]
        coefficients = np.eye(d)[longest].reshape(-1, *self.image_shape)
        waves: Doubles = idctn(coefficients, axes=(1, 2), norm="ortho").reshape(-1, d)
        return waves

    def draw(self, n: int, random_state: Any = None) -> tuple[Doubles, Rows]:
        """Return random images and their categories, which take turns.

        Parameters
        ----------
        n : int
            Number of images.
        random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
            Source of the draw.

        Returns
        -------
        X : ndarray, shape (n, d)
            The images.
        y : ndarray of int, shape (n,)
            Their categories.

        Raises
        ------
        TypeError, ValueError
            If `n` is no positive number.

        Notes
        -----
        It costs 3 n m d flops, for m d numbers of each direction.
        """
        count = as_count(n, "n", 1)
        rng = as_generator(random_state)
        y = np.arange(count) % self.n_classes
        coordinates = rng.normal(size=(count, self.dimension)) * self.deviations
        X = np.empty((count, self.centres.shape[1]))
        for category in range(min(self.n_classes, count)):
            X[y == category] = self.images(category, coordinates[y == category])
        if self.noise > 0.0:
            X += rng.normal(scale=self.noise / math.sqrt(X.shape[1]), size=X.shape)
        return X, y.astype(np.intp)

    def images(self, category: int, coordinates: npt.ArrayLike) -> Doubles:
        """Return the images of a category with given coordinates t, without noise.

        Parameters
        ----------
        category : int
            The category.
        coordinates : array_like, shape (n, m)
            The coordinates; 0 near the centre.

        Returns
        -------
        ndarray, shape (n, d)

        Raises
        ------
        TypeError, ValueError
            For arguments of the wrong kind, shape or value, naming them.
        """
        c = as_count(category, "category", 0, self.n_classes - 1)
        t = as_matrix(coordinates, "coordinates", dtype=np.float64, n_columns=self.dimension)
        along = t @ self._bends[c].T
        mean = 0.5 * self.curvature * (self._bends[c] ** 2 @ self.deviations**2)
        bent = 0.5 * self.curvature * along**2 + self.curvature**2 / 6.0 * along**3 - mean
        images: Doubles = self.centres[c] + t @ self.tangents[c] + bent @ self.normals[c]
        return images
