"""Images as the coordinates in which a flow moves them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from kflow._base.arguments import as_count, as_number
from kflow._base.array_types import Doubles, FloatArray
from kflow.data.products import product
from kflow.data.scaling import row_norms
from kflow.engine.threads import resolve_n_threads
from kflow.errors import damaged
from kflow.features.images import as_covectors, as_image_shape, as_images, image_chunks
from kflow.features.leading_directions import leading_directions
from kflow.features.scattering import Scattering
from kflow.layers.subspace import check_orthonormal

__all__ = ["ImageEncoder"]

# Features from which the standardisation and the directions are learned take no more memory.
_SAMPLE_BYTES = 2**30


class ImageEncoder(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Images as coordinates of a few hundred dimensions, in which a flow moves them.

    An image becomes its scattering features (`kflow.features.Scattering`). Each channel, which is one
    smoothed map, is standardised: its mean over the training images and all positions is subtracted,
    and it is divided by its standard deviation. The features of an image are scaled to norm 1, and
    their components in the leading directions of the training images are what is returned.

    Parameters
    ----------
    J, L : int
        Number of scales and of angles of `Scattering`.
    max_order : {1, 2}
        The order up to which it goes.
    image_shape : tuple of int, optional
        Height, width and, for images in colour, 3; needed if images are rows of a matrix.
    padding : {"zero", "reflect"}
        What lies around an image: zeros, or its mirror image.
    colours : {"yuv", "rgb"}
        What images in colour are transformed as.
    n_components : int
        Number of coordinates; fewer if there are fewer images or features.
    random_state : int
        Seed of the images from which the encoder learns, if not all of their features fit into 1 GB,
        and of the search for the leading directions.
    n_threads : int, optional
        The largest number of threads; by default that of `kflow.get_num_threads`. Results do not
        depend on it.

    Attributes
    ----------
    scattering_ : Scattering
        The first step.
    mean_, scale_ : ndarray of float64, shape (channels,)
        Mean and standard deviation of each channel; 1 stands for the deviation of a constant one.
    components_ : ndarray of float64, shape (n_features, n_components)
        Orthonormal directions, those with the most of the sum of squares first.
    energy_dropped_ : float
        Part of the sum of squares of the standardised features outside these directions.
    n_features_in_ : int
        Number of pixels of an image, times its colours.

    Notes
    -----
    Coordinates are float32: those of different images differ in their first digits. No more than 64
    MB of features exist at a time but for the images from which the encoder learns. Recipe: J. Bruna
    and S. Mallat, Invariant scattering convolution networks, IEEE Trans. PAMI 35 (2013), where
    features are reduced by an affine subspace for each class instead.

    Examples
    --------
    >>> import numpy as np
    >>> from kflow.features import ImageEncoder
    >>> images = np.random.default_rng(0).random((40, 16, 16))
    >>> encoder = ImageEncoder(n_components=10).fit(images)
    >>> encoder.transform(images).shape
    (40, 10)
    """

    def __init__(
        self,
        *,
        J: int = 2,
        L: int = 8,
        max_order: int = 2,
        image_shape: tuple[int, ...] | None = None,
        padding: str = "zero",
        colours: str = "yuv",
        n_components: int = 300,
        random_state: int = 0,
        n_threads: int | None = None,
    ) -> None:
        self.J = J
        self.L = L
        self.max_order = max_order
        self.image_shape = image_shape
        self.padding = padding
        self.colours = colours
        self.n_components = n_components
        self.random_state = random_state
        self.n_threads = n_threads

    def fit(self, X: Any, y: Any = None) -> ImageEncoder:  # noqa: ARG002
        """Learn the standardisation and the leading directions.

        Parameters
        ----------
        X : array_like, shape (N, height, width), (N, height, width, 3) or (N, pixels)
            Training images.
        y : object
            Not used; scikit-learn passes it.

        Returns
        -------
        ImageEncoder
            The encoder itself.

        Raises
        ------
        TypeError, ValueError
            For parameters that are not valid, for images of other shapes and for none.
        """
        checked = self._checked()
        n_components, seed = checked["n_components"], checked["random_state"]
        n_threads = resolve_n_threads(self.n_threads)
        scattering = self._scattering(as_image_shape(X, self.image_shape)).fit(X)
        images = as_images(X, scattering.image_shape_)
        if not len(images):
            raise ValueError("X is empty: an encoder learns from images")
        n_features = int(np.prod(scattering.map_shape_))
        most = max(_SAMPLE_BYTES // (4 * n_features), 1)
        if len(images) > most:
            rng = np.random.default_rng(seed)
            images = images[np.sort(rng.choice(len(images), most, replace=False))]
        features = np.empty((len(images), n_features), np.float32)
        for rows in image_chunks(len(images), n_features):
            features[rows] = scattering.transform(images[rows].astype(np.float32, copy=False))
        mean, scale = _standardisation(features, scattering.map_shape_)
        for rows in image_chunks(len(images), n_features):
            standardised = _standardised(features[rows], mean, scale)
            features[rows] = standardised / row_norms(standardised)
        n = min(n_components, *features.shape)
        self.components_, self.energy_dropped_ = leading_directions(features, n, seed, n_threads)
        self.scattering_, self.mean_, self.scale_ = scattering, mean, scale
        self.n_features_in_ = scattering.n_features_in_
        return self

    def transform(self, X: Any) -> FloatArray:
        """Return the coordinates of images, (n, n_components), float32.

        Parameters
        ----------
        X : array_like, shape (n, height, width), (n, height, width, 3) or (n, pixels)
            The images to encode.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            For images of another shape or with NaN.
        """
        check_is_fitted(self)
        images = as_images(X, self.scattering_.image_shape_)
        n_features, n = self.components_.shape
        basis = self.components_.astype(np.float32)
        out = np.empty((len(images), n), np.float32)
        for rows in image_chunks(len(images), n_features):
            features = self.scattering_.transform(images[rows].astype(np.float32, copy=False))
            standardised = _standardised(features, self.mean_, self.scale_)
            out[rows] = product(standardised / row_norms(standardised), basis, self.n_threads)
        return out

    def pull_back(self, X: Any, covectors: Any) -> FloatArray:
        """Multiply covectors by the transposed derivative of `transform`.

        Parameters
        ----------
        X : array_like, shape (n, height, width), (n, height, width, 3) or (n, pixels)
            The images to encode.
        covectors : array_like, shape (n, n_components)
            For each image the derivative of some number by its coordinates.

        Returns
        -------
        ndarray of float32, shape (n, pixels)
            The derivatives of these numbers by the pixels.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            For arrays of other shapes, or with NaN.
        """
        check_is_fitted(self)
        images = as_images(X, self.scattering_.image_shape_).astype(np.float32, copy=False)
        n_features, n = self.components_.shape
        A = as_covectors(covectors, (len(images), n), "float32")
        basis = np.ascontiguousarray(self.components_.T.astype(np.float32))
        scale = _of_features(self.scale_, n_features).astype(np.float32)
        out = np.empty_like(images)
        for rows in image_chunks(len(images), n_features):
            features = self.scattering_.transform(images[rows])
            standardised = _standardised(features, self.mean_, self.scale_)
            norms = row_norms(standardised)
            unit = standardised / norms
            by_unit = product(A[rows], basis, self.n_threads)
            along = (by_unit * unit).sum(axis=1, keepdims=True)
            by_features = (by_unit - along * unit) / norms / scale
            out[rows] = self.scattering_.pull_back(images[rows], by_features)
        return out

    @property
    def n_features_out_(self) -> int:
        """Number of coordinates."""
        return int(self.components_.shape[1])

    @property
    def _n_features_out(self) -> int:
        return self.n_features_out_

    def _checked(self) -> dict[str, int]:
        """Return the parameters that are not those of the scattering."""
        return {
            "n_components": as_count(self.n_components, "n_components", 1),
            "random_state": as_count(self.random_state, "random_state", 0),
        }

    def _scattering(self, image_shape: tuple[int, ...]) -> Scattering:
        return Scattering(
            self.J,
            self.L,
            max_order=self.max_order,
            image_shape=image_shape,
            padding=self.padding,
            colours=self.colours,
            n_threads=self.n_threads,
        )

    # ---- files --------------------------------------------------------------------------------

    def to_settings(self) -> dict[str, Any]:
        """Return what a model file holds of the encoder besides arrays, as JSON data.

        Parameters of the scattering are those of `fit`, even if others have been set since.
        """
        check_is_fitted(self)
        parameters = self.scattering_.get_params()
        del parameters["n_threads"]
        parameters["image_shape"] = list(self.scattering_.image_shape_)
        return {
            "parameters": {**parameters, **self._checked()},
            "energy_dropped": self.energy_dropped_,
        }

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays that a model file holds of the encoder, by name."""
        check_is_fitted(self)
        return {
            "encoder_mean": self.mean_,
            "encoder_scale": self.scale_,
            "encoder_components": self.components_.astype(np.float32),
        }

    @classmethod
    def from_parts(
        cls, settings: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
    ) -> ImageEncoder:
        """Return the encoder of which `to_settings` and `to_arrays` told.

        Raises
        ------
        ModelFileError
            If they describe no encoder.
        """
        with damaged("image encoder"):
            parameters = dict(settings["parameters"])
            shape = tuple(as_count(side, "image_shape", 1) for side in parameters["image_shape"])
            if max(shape) > 2**15:
                raise ValueError(f"images of the shape {shape}")
            encoder = cls(**{**parameters, "image_shape": shape, "n_threads": None})
            if parameters.keys() != encoder.get_params().keys() - {"n_threads"}:
                raise ValueError(f"its parameters are {', '.join(sorted(parameters))}")
            encoder._checked()
            # Nothing is computed for images of this shape before they come.
            encoder.scattering_ = encoder._scattering(shape).fit(np.empty((0, math.prod(shape))))
            channels, height, width = encoder.scattering_.map_shape_
            mean, scale, components = (
                np.asarray(arrays[name], np.float64)
                for name in ("encoder_mean", "encoder_scale", "encoder_components")
            )
            if mean.shape != (channels,) or scale.shape != mean.shape or not (scale > 0.0).all():
                raise ValueError("its standardisation does not fit its channels")
            if components.ndim != 2 or components.shape[0] != channels * height * width:
                raise ValueError("its directions do not fit its features")
            if components.shape[1] > encoder.n_components:
                raise ValueError(f"it has more than {encoder.n_components} directions")
            if not (np.isfinite(mean).all() and np.isfinite(scale).all()):
                raise ValueError("its numbers are not finite")
            check_orthonormal(components)
            encoder.mean_, encoder.scale_, encoder.components_ = mean, scale, components
            encoder.energy_dropped_ = as_number(settings["energy_dropped"], "energy_dropped")
            encoder.n_features_in_ = encoder.scattering_.n_features_in_
        return encoder


def _standardisation(features: FloatArray, map_shape: tuple[int, ...]) -> tuple[Doubles, Doubles]:
    """Return mean and deviation of each channel over all images and positions."""
    maps = features.reshape(len(features), map_shape[0], -1)
    count = len(maps) * maps.shape[2]
    rows = list(image_chunks(len(maps), features.shape[1]))
    mean = sum(maps[part].sum(axis=(0, 2), dtype=np.float64) for part in rows) / count
    squares = (np.square(maps[part] - mean[:, None]).sum(axis=(0, 2)) for part in rows)
    scale = np.sqrt(sum(squares) / count)
    noise = 10.0 * np.finfo(np.float32).eps * np.abs(mean)
    varies = scale > noise
    # By less than this nothing can be divided in float32.
    usable = varies & (scale > np.finfo(np.float32).tiny)
    if varies.any() and not usable.any():
        raise ValueError("X has values too small for features of float32: scale the images")
    return mean, np.where(usable, scale, 1.0)


def _of_features(of_channels: Doubles, n_features: int) -> Doubles:
    return np.repeat(of_channels, n_features // len(of_channels))


def _standardised(features: FloatArray, mean: Doubles, scale: Doubles) -> FloatArray:
    n = features.shape[1]
    shift, factor = _of_features(mean, n), _of_features(1.0 / scale, n)
    return np.asarray((features - shift.astype(np.float32)) * factor.astype(np.float32))
