"""Responses to whitened patches of training images, summed over the cells of a grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from kflow._base.arguments import as_count, as_nonnegative, as_positive
from kflow._base.array_types import Doubles, FloatArray
from kflow._base.workers import Workers
from kflow.engine.threads import resolve_n_threads, single_threaded_blas
from kflow.features.images import as_covectors, as_image_shape, as_images

__all__ = ["Patches"]

# Number of patches from which mean and whitening are learned.
_SAMPLE = 100_000

# Images that a thread takes at a time.
_A_FEW = 8

# Patches with less than this part of the average variance have hardly any contrast: it is not raised
# to that of the others, and none of them becomes a filter. So for the lengths of whitened patches.
_FLOOR = 0.01


class _Whitened(NamedTuple):
    """What is made of the patches of an image, one row each: their contrast first, then all of it."""

    normalised: FloatArray
    deviations: FloatArray
    directions: FloatArray
    lengths: FloatArray


class Patches(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    r"""How much the patches of an image resemble patches of training images.

    Each patch p of an image, less its mean and over its standard deviation, is whitened and scaled to
    length 1, which gives a vector w. Filters f_k are such vectors of patches that are drawn from the
    training images. The features are the averages of

    .. math:: \max(f_k \cdot w - t, 0) \quad \text{and} \quad \max(-f_k \cdot w - t, 0)

    over the patches in each cell of a grid.

    Parameters
    ----------
    n_filters : int
        Number K of filters.
    size : int
        Height and width of a patch in pixels.
    n_cells : int
        The grid has ``n_cells`` x ``n_cells`` cells.
    threshold : float
        The threshold t, a cosine: filters are silent for patches that resemble them less.
    regularisation : float
        What is added to the variances of normalised patches before these are whitened; the variances
        are 1 on average.
    image_shape : tuple of int, optional
        Height, width and, for images in colour, the number of colours; needed if images are rows of a
        matrix.
    random_state : int
        Seed of the draws of patches.
    n_threads : int, optional
        The largest number of threads; by default that of `kflow.get_num_threads`. Results do not
        depend on it.

    Attributes
    ----------
    mean_ : ndarray of float64, shape (p,)
        Mean of the normalised patches, of p = size^2 pixels times the colours.
    whitening_ : ndarray of float64, shape (p, p)
        The symmetric matrix that whitens them.
    filters_ : ndarray of float64, shape (K, p)
        The filters.
    floors_ : tuple of float
        What is added to the variance of a patch and to the squared length of a whitened one, so that
        noise in patches without contrast is not raised.
    map_shape_ : tuple of int
        2 K channels, and height and width of the grid. The K channels of max(f w - t, 0) come first.
    image_shape_ : tuple of int
        Height, width and, for images in colour, the number of colours.
    n_features_in_ : int
        Number of pixels of an image, times its colours.

    Notes
    -----
    An image with n patches takes 2 n p (K + p) flops for the responses, and two products of n K
    numbers for the grid. Recipe: A. Coates, A. Y. Ng and H. Lee, An analysis of single-layer networks in
    unsupervised feature learning, AISTATS 2011, with patches as filters, of length 1.

    Examples
    --------
    >>> import numpy as np
    >>> from kflow.features import Patches
    >>> images = np.random.default_rng(0).random((10, 8, 8))
    >>> Patches(5, size=3, n_cells=2).fit_transform(images).shape
    (10, 40)
    """

    def __init__(
        self,
        n_filters: int = 512,
        *,
        size: int = 6,
        n_cells: int = 4,
        threshold: float = 0.25,
        regularisation: float = 0.1,
        image_shape: tuple[int, ...] | None = None,
        random_state: int = 0,
        n_threads: int | None = None,
    ) -> None:
        self.n_filters = n_filters
        self.size = size
        self.n_cells = n_cells
        self.threshold = threshold
        self.regularisation = regularisation
        self.image_shape = image_shape
        self.random_state = random_state
        self.n_threads = n_threads

    def fit(self, X: Any, y: Any = None) -> Patches:  # noqa: ARG002
        """Draw filters from images, and learn the whitening.

        Parameters
        ----------
        X : array_like, shape (N, height, width), (N, height, width, colours) or (N, pixels)
            Training images.
        y : object
            Not used; scikit-learn passes it.

        Returns
        -------
        Patches
            The transformer itself.

        Raises
        ------
        TypeError, ValueError
            For parameters that are not valid, for images of other shapes, smaller than a patch or
            without contrast, and for none.
        """
        self.set_shape(as_image_shape(X, self.image_shape))
        images = as_images(X, self.image_shape_)
        if not len(images):
            raise ValueError("X is empty: filters are patches of images")
        regularisation = as_positive(self.regularisation, "regularisation")
        rng = np.random.default_rng(as_count(self.random_state, "random_state", 0))
        drawn = self._drawn(images, _SAMPLE, rng)
        variances = drawn.var(axis=1)
        floor = _FLOOR * float(variances.mean())
        has_contrast = variances > floor
        if not has_contrast.any():
            raise ValueError("X has no patches with contrast, which could become filters")
        P = _normalised(drawn[has_contrast], floor)[0]
        self.mean_ = P.mean(axis=0)
        values, vectors = np.linalg.eigh((P - self.mean_).T @ (P - self.mean_) / len(P))
        self.whitening_ = (vectors / np.sqrt(np.maximum(values, 0.0) + regularisation)) @ vectors.T
        W = (P - self.mean_) @ self.whitening_
        squares = np.square(W).sum(axis=1)
        self.floors_ = floor, _FLOOR * float(squares.mean())
        chosen = rng.permutation(len(W))[: self.n_filters]
        if len(chosen) < self.n_filters:
            raise ValueError(
                f"n_filters is {self.n_filters}, but there are only {len(chosen)} patches with contrast"
            )
        self.filters_ = W[chosen] / np.maximum(np.sqrt(squares[chosen]), _FLOOR)[:, None]
        return self

    def set_shape(self, image_shape: tuple[int, ...]) -> None:
        """Check the parameters, and set the shapes of images and of features.

        Raises
        ------
        TypeError, ValueError
            For parameters that are not valid, or do not fit the images.
        """
        n_filters = as_count(self.n_filters, "n_filters", 1)
        size, n_cells = as_count(self.size, "size", 1), as_count(self.n_cells, "n_cells", 1)
        as_nonnegative(self.threshold, "threshold")
        least = size + n_cells - 1
        if min(image_shape[:2]) < least:
            raise ValueError(
                f"images of {image_shape[0]} x {image_shape[1]} pixels are too small for patches of size "
                f"{size} in {n_cells} x {n_cells} cells, which need {least} x {least}"
            )
        self.image_shape_ = image_shape
        self.map_shape_ = (2 * n_filters, n_cells, n_cells)
        self.n_features_in_ = int(np.prod(image_shape))

    def set_learned(
        self,
        image_shape: tuple[int, ...],
        mean: Doubles,
        whitening: Doubles,
        filters: Doubles,
        *,
        floors: Sequence[float],
    ) -> None:
        """Set what `fit` would have learned.

        Raises
        ------
        TypeError, ValueError
            If the parts do not fit each other or the parameters.
        """
        self.set_shape(image_shape)
        n_pixels = self.size**2 * self._n_colours
        if mean.shape != (n_pixels,) or whitening.shape != (n_pixels, n_pixels):
            raise ValueError("the whitening of patches does not fit their size")
        if filters.shape != (self.n_filters, n_pixels):
            raise ValueError("the filters do not fit their number and size")
        variance, length = (as_nonnegative(floor, "floors") for floor in floors)
        self.mean_, self.whitening_, self.filters_ = mean, whitening, filters
        self.floors_ = variance, length

    def transform(self, X: Any) -> FloatArray:
        """Return the features of images, (n, 2 K n_cells^2), in the dtype of floating-point images.

        Parameters
        ----------
        X : array_like, shape (n, height, width), (n, height, width, colours) or (n, pixels)
            The images to transform.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            For images of another shape or with NaN.
        """
        check_is_fitted(self)
        images = as_images(X, self.image_shape_)
        out = np.empty((len(images), self._n_features_out), images.dtype)
        learned, grid = self._learned(images.dtype), self._grid(images.dtype)

        def transform(rows: range) -> None:
            # Memory that is given back and taken again for each image would cost more than the sums.
            responses = np.empty((grid.shape[1], len(learned.filters)), images.dtype)
            rectified = np.empty_like(responses)
            for i in rows:
                directions = learned.whitened(self._of(images[i])).directions
                np.matmul(directions, learned.filters.T, out=responses)
                positive, negative = out[i].reshape(2, -1, len(grid))
                np.subtract(responses, learned.threshold, out=rectified)
                positive[:] = (grid @ np.maximum(rectified, 0.0, out=rectified)).T
                np.add(responses, learned.threshold, out=rectified)
                negative[:] = -(grid @ np.minimum(rectified, 0.0, out=rectified)).T

        self._each(transform, len(images))
        return out

    def pull_back(self, X: Any, covectors: Any) -> FloatArray:
        """Multiply covectors by the transposed derivative of `transform`.

        Parameters
        ----------
        X : array_like, shape (n, height, width), (n, height, width, colours) or (n, pixels)
            The images to transform.
        covectors : array_like, shape (n, 2 K n_cells^2)
            For each image the derivative of some number by its features.

        Returns
        -------
        ndarray, shape (n, pixels)
            The derivatives by the pixels, in the dtype of the images. Where a response is at the
            threshold, 0 is taken for its derivative.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            For arrays of other shapes, or with NaN.
        """
        check_is_fitted(self)
        images = as_images(X, self.image_shape_)
        A = as_covectors(covectors, (len(images), self._n_features_out), images.dtype)
        out = np.empty_like(images)
        learned, grid = self._learned(images.dtype), self._grid(images.dtype)

        def pull_back(rows: range) -> None:
            for i in rows:
                found = learned.whitened(self._of(images[i]))
                responses = found.directions @ learned.filters.T
                positive, negative = A[i].reshape(2, -1, len(grid))
                by_responses = (grid.T @ positive.T) * (responses > learned.threshold)
                by_responses -= (grid.T @ negative.T) * (-responses > learned.threshold)
                by_patches = learned.pulled_back(found, by_responses @ learned.filters)
                out[i] = self._added(by_patches)

        self._each(pull_back, len(images))
        return out

    def _each(self, function: Callable[[range], None], n: int) -> None:
        """Call a function with the numbers of a few images at a time, on several threads."""
        parts = [range(start, min(start + _A_FEW, n)) for start in range(0, n, _A_FEW)]
        with single_threaded_blas, Workers(resolve_n_threads(self.n_threads)) as workers:
            for _ in workers.map(function, parts):
                pass

    def _windows(self, image: FloatArray) -> FloatArray:
        """Return the patches of an image as a view, (rows, columns, colours, size, size)."""
        pixels = image.reshape(*self.image_shape_[:2], -1)
        sides = (self.size, self.size)
        return np.lib.stride_tricks.sliding_window_view(pixels, sides, axis=(0, 1))

    def _of(self, image: FloatArray) -> FloatArray:
        """Return the patches of an image, one row each."""
        windows = self._windows(image)
        return windows.reshape(windows.shape[0] * windows.shape[1], -1)

    def _added(self, patches: FloatArray) -> FloatArray:
        """Return an image of the sums of what its patches have at each pixel: the adjoint of `_of`."""
        pixels = np.zeros((*self.image_shape_[:2], self._n_colours), patches.dtype)
        height, width = (side - self.size + 1 for side in self.image_shape_[:2])
        parts = patches.reshape(height, width, self._n_colours, self.size, self.size)
        for row in range(self.size):
            for column in range(self.size):
                pixels[row : row + height, column : column + width] += parts[..., row, column]
        return pixels.reshape(-1)

    def _drawn(self, images: FloatArray, n: int, rng: np.random.Generator) -> Doubles:
        """Draw patches: of all places alike, or all that there are if these are fewer."""
        height, width = (side - self.size + 1 for side in self.image_shape_[:2])
        per_image = height * width
        n_all = len(images) * per_image
        places = np.arange(n_all) if n_all <= n else np.sort(rng.integers(0, n_all, n))
        drawn = np.empty((len(places), self.size**2 * self._n_colours))
        for number, place in enumerate(places):
            image, within = divmod(int(place), per_image)
            windows = self._windows(images[image])
            drawn[number] = windows[divmod(within, width)].reshape(-1)
        return drawn

    def _learned(self, dtype: np.dtype[Any]) -> _Learned:
        return _Learned(
            self.mean_.astype(dtype),
            self.whitening_.astype(dtype),
            self.filters_.astype(dtype),
            *self.floors_,
            float(self.threshold),
        )

    def _grid(self, dtype: np.dtype[Any]) -> FloatArray:
        """Return the matrix that averages over cells, (cells, patches)."""
        n_cells = self.map_shape_[1]
        places = [_cells(side - self.size + 1, n_cells, dtype) for side in self.image_shape_[:2]]
        return np.asarray(np.kron(*places))

    @property
    def _n_colours(self) -> int:
        return self.image_shape_[2] if len(self.image_shape_) > 2 else 1

    @property
    def _n_features_out(self) -> int:
        return int(np.prod(self.map_shape_))


class _Learned(NamedTuple):
    """What was learned, in one dtype."""

    mean: FloatArray
    whitening: FloatArray
    filters: FloatArray
    variance_floor: float
    length_floor: float
    threshold: float

    def whitened(self, patches: FloatArray) -> _Whitened:
        """Return the directions of whitened patches, and what its derivative needs."""
        normalised, deviations = _normalised(patches, self.variance_floor)
        W = (normalised - self.mean) @ self.whitening
        lengths = np.sqrt(np.square(W).sum(axis=1, keepdims=True) + self.length_floor)
        W /= lengths
        return _Whitened(normalised, deviations, W, lengths)

    def pulled_back(self, found: _Whitened, covectors: FloatArray) -> FloatArray:
        """Return derivatives by patches of what has these derivatives by their directions."""
        along = (covectors * found.directions).sum(axis=1, keepdims=True)
        by_normalised = ((covectors - along * found.directions) / found.lengths) @ self.whitening
        along = (by_normalised * found.normalised).mean(axis=1, keepdims=True)
        mean = by_normalised.mean(axis=1, keepdims=True)
        return np.asarray((by_normalised - mean - along * found.normalised) / found.deviations)


def _normalised(patches: npt.NDArray[Any], floor: float) -> tuple[FloatArray, FloatArray]:
    """Return patches less their means and over their deviations, and the deviations."""
    centred = patches - patches.mean(axis=1, keepdims=True)
    deviations = np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + floor)
    centred /= deviations
    return centred, deviations


def _cells(n_places: int, n_cells: int, dtype: np.dtype[Any]) -> FloatArray:
    """Return the matrix that averages over cells of places in a row, which differ by one at most."""
    out = np.zeros((n_cells, n_places), dtype)
    ends = [round(cell * n_places / n_cells) for cell in range(n_cells + 1)]
    for cell, (start, stop) in enumerate(pairwise(ends)):
        out[cell, start:stop] = 1.0 / (stop - start)
    return out
