"""Wavelet scattering of images, as a transformer of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from kflow._base.arguments import as_choice, as_count
from kflow._base.array_types import FloatArray
from kflow.engine import HOST
from kflow.engine.interface import ScatteringOperator
from kflow.engine.threads import resolve_n_threads
from kflow.features.colours import COLOURS, colour_channels, colour_channels_back
from kflow.features.filters import PADDINGS, make_filters, map_shape
from kflow.features.images import as_covectors, as_image_shape, as_images, image_chunks

__all__ = ["Scattering"]

# More scales or angles are a mistyped number: filters take room for each.
_MOST = 64


class Scattering(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    r"""Wavelet scattering: smoothed moduli of an image's wavelet transforms.

    With Morlet wavelets :math:`\psi_{j,\theta}` of the scales :math:`2^j`, :math:`0 \le j < J`, and L
    angles, and a Gaussian :math:`\phi_J` of the width :math:`0.8 \cdot 2^{J-1}`, the features of an
    image x are

    .. math::

        S_0 = x * \phi_J, \quad
        S_1(\lambda) = |x * \psi_\lambda| * \phi_J, \quad
        S_2(\lambda, \mu) = \bigl||x * \psi_\lambda| * \psi_\mu\bigr| * \phi_J

    for pairs :math:`\lambda = (j, \theta)` and :math:`\mu = (j', \theta')` with :math:`j < j'`, all taken
    at every :math:`2^J`-th pixel in each direction. They hardly change when the image is moved or
    deformed a little, and keep what tells images apart.

    Parameters
    ----------
    J : int
        Number of scales; the features are averages over about :math:`2^J` pixels.
    L : int
        Number of angles in a half-turn.
    max_order : {1, 2}
        Whether the features end with :math:`S_1` or with :math:`S_2`.
    image_shape : tuple of int, optional
        Height and width of an image, and the number of its colours if it has some. Needed if images
        are given as rows of a matrix; images of shape (n, height, width) or (n, height, width, 3)
        have it already.
    padding : {"reflect", "zero"}
        What lies around an image: its mirror image, as for photographs, or zeros, as for figures on
        an empty background. Mirrored images are continued by between :math:`2^J / 2` and
        :math:`2^J` pixels on each side.
    colours : {"yuv", "rgb"}
        What images of three colours are transformed as, each of the three alone: brightness and two
        differences of colours, or the colours themselves.
    n_threads : int, optional
        The largest number of threads; by default that of `kflow.get_num_threads`. Results do not
        depend on it.

    Attributes
    ----------
    image_shape_ : tuple of int
        Height, width and, for images in colour, 3.
    map_shape_ : tuple of int
        The features of an image as (channels, height, width): those of the first colour first, and
        for each colour :math:`S_0`, then :math:`S_1` by scale and angle, then :math:`S_2` by
        :math:`\lambda`, then :math:`\mu`.
    n_features_in_ : int
        Number of pixels of an image, times its colours.

    Notes
    -----
    An image of 32 x 32 pixels with J = 2 and L = 8 takes about 3 million flops. Features are computed
    for as many images side by side as a register of the processor holds numbers. The dtype of the
    features is that of the images: float32 stays, everything else becomes float64.

    Definitions, widths and frequencies: S. Mallat, Group invariant scattering, Comm. Pure Appl. Math.
    65 (2012); J. Bruna and S. Mallat, Invariant scattering convolution networks, IEEE Trans. PAMI 35
    (2013).

    Examples
    --------
    >>> import numpy as np
    >>> from kflow.features import Scattering
    >>> images = np.random.default_rng(0).random((3, 28, 28))
    >>> scattering = Scattering(J=2).fit(images)
    >>> scattering.map_shape_
    (81, 7, 7)
    >>> scattering.transform(images).shape
    (3, 3969)
    """

    def __init__(
        self,
        J: int = 2,
        L: int = 8,
        *,
        max_order: int = 2,
        image_shape: tuple[int, ...] | None = None,
        padding: str = "reflect",
        colours: str = "yuv",
        n_threads: int | None = None,
    ) -> None:
        self.J = J
        self.L = L
        self.max_order = max_order
        self.image_shape = image_shape
        self.padding = padding
        self.colours = colours
        self.n_threads = n_threads

    def fit(self, X: Any, y: Any = None) -> Scattering:  # noqa: ARG002
        """Check the parameters, and take the shape of the images; nothing is learned.

        Parameters
        ----------
        X : array_like, shape (n, height, width), (n, height, width, 3) or (n, pixels)
            The images to transform.
        y : object
            Not used; scikit-learn passes it.

        Returns
        -------
        Scattering
            The transformer itself.

        Raises
        ------
        TypeError, ValueError
            For parameters that are not valid, and for images of another shape than `image_shape`.
        """
        J, L = as_count(self.J, "J", 1, _MOST), as_count(self.L, "L", 1, _MOST)
        max_order = as_count(self.max_order, "max_order", 1, 2)
        padding = as_choice(self.padding, "padding", PADDINGS)
        known_colours = as_choice(self.colours, "colours", COLOURS)
        resolve_n_threads(self.n_threads)
        shape = as_image_shape(X, self.image_shape)
        if min(shape[:2]) < 2**J:
            raise ValueError(
                f"J={J} needs images of at least {2**J} x {2**J} pixels, got {shape[0]} x {shape[1]}: "
                "choose a smaller J"
            )
        filters = shape[:2], J, L, max_order, padding
        n_channels, height, width = map_shape(*filters)
        n_colours = as_count(shape[2], "the number of colours", 1) if len(shape) > 2 else 1
        # Parameters that are set later count from the next fit on.
        self._filters, self._colours = filters, known_colours
        self.image_shape_ = shape
        self.map_shape_ = (n_colours * n_channels, height, width)
        self.n_features_in_ = int(np.prod(shape))
        self._operators: dict[str, ScatteringOperator] = {}
        return self

    def transform(self, X: Any) -> FloatArray:
        """Return the features of images.

        Parameters
        ----------
        X : array_like, shape (n, height, width), (n, height, width, 3) or (n, pixels)
            Images, of the shape of those in `fit`.

        Returns
        -------
        ndarray, shape (n, channels * height * width)
            The features, in the order that `map_shape_` explains; float32 for images of float32,
            else float64.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            For images of another shape or with NaN, and if features overflow.
        """
        check_is_fitted(self)
        images = as_images(X, self.image_shape_)
        n_features = self._n_features_out
        out = np.empty((len(images), n_features), images.dtype)
        operator, n_threads = self._operator(images.dtype), resolve_n_threads(self.n_threads)
        for rows in image_chunks(len(images), n_features):
            planes = colour_channels(images[rows], self.n_colours, self._colours)
            operator.transform(planes, out[rows].reshape(len(planes), -1), n_threads)
        if not HOST.all_finite(out, n_threads):
            raise ValueError(
                f"X has values too large for features of {out.dtype}: scale the images"
            )
        return out

    def pull_back(self, X: Any, covectors: Any) -> FloatArray:
        """Multiply covectors by the transposed derivative of `transform`.

        Parameters
        ----------
        X : array_like, shape (n, height, width), (n, height, width, 3) or (n, pixels)
            The images to transform.
        covectors : array_like, shape (n, channels * height * width)
            For each image the derivative of some number by its features.

        Returns
        -------
        ndarray, shape (n, pixels)
            The derivatives by the pixels, in the dtype of the images. Where a modulus is 0, 0 is taken
            for its derivative.

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
        planes = colour_channels(images, self.n_colours, self._colours)
        gradients = np.empty_like(planes)
        operator = self._operator(images.dtype)
        parts = A.reshape(len(planes), -1)
        operator.pull_back(planes, parts, gradients, resolve_n_threads(self.n_threads))
        return colour_channels_back(gradients, self.n_colours, self._colours)

    @property
    def n_colours(self) -> int:
        """How many numbers a pixel has."""
        return self.image_shape_[2] if len(self.image_shape_) > 2 else 1

    @property
    def _n_features_out(self) -> int:
        return int(np.prod(self.map_shape_))

    def _operator(self, dtype: np.dtype[Any]) -> ScatteringOperator:
        if dtype.name not in self._operators:
            self._operators[dtype.name] = HOST.scattering(make_filters(*self._filters, dtype.name))
        return self._operators[dtype.name]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what the engine has made: it is made again."""
        state: dict[str, Any] = super().__getstate__()
        return {**state, "_operators": {}} if "_operators" in state else state
