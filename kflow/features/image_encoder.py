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
from kflow.engine.threads import resolve_n_threads
from kflow.errors import damaged
from kflow.features.images import as_covectors, as_image_shape, as_images, image_chunks
from kflow.features.leading_directions import leading_directions
from kflow.features.patches import Patches
from kflow.features.scattering import Scattering
from kflow.features.standardised import ImageFeatures, StandardisedFeatures
from kflow.layers.subspace import check_orthonormal

__all__ = ["ImageEncoder"]

# Features from which the standardisation and the directions are learned take no more memory.
_SAMPLE_BYTES = 2**31

# The arrays of an encoder in a model file, and those of an encoder with patches.
_OF_ALL = ("mean", "scale", "components")
_OF_PATCHES = ("patch_mean", "whitening", "filters")


class ImageEncoder(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Images as coordinates of a few hundred dimensions, in which a flow moves them.

    An image becomes its scattering features (`kflow.features.Scattering`). Each channel, which is one
    smoothed map, is standardised: its mean over the training images and all positions is subtracted,
    and it is divided by its standard deviation. The features of an image are scaled to norm 1, and
    their components in the leading directions of the training images are what is returned. With
    `n_filters`, the resemblance to so many patches (`kflow.features.Patches`), treated in the same way,
    makes up half of the squared norm.

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
    n_filters : int
        Number of filters of `Patches`; 0 for scattering alone.
    patch_size : int
        Height and width of its patches in pixels.
    n_cells : int
        Cells of its grid along each side.
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
        What makes the first of the features.
    patches_ : Patches or None
        What makes the others.
    mean_, scale_ : ndarray of float64, shape (channels,)
        Mean and standard deviation of each channel, those of the scattering first; 1 stands for the
        deviation of a constant one.
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

    # What a model file may hold of an encoder.
    ARRAYS = tuple(f"encoder_{name}" for name in (*_OF_ALL, *_OF_PATCHES))

    def __init__(
        self,
        *,
        J: int = 2,
        L: int = 8,
        max_order: int = 2,
        image_shape: tuple[int, ...] | None = None,
        padding: str = "zero",
        colours: str = "yuv",
        n_filters: int = 0,
        patch_size: int = 6,
        n_cells: int = 4,
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
        self.n_filters = n_filters
        self.patch_size = patch_size
        self.n_cells = n_cells
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
        patches = self._patches(scattering.image_shape_)
        sources: list[ImageFeatures] = [scattering]
        if patches is not None:
            sources.append(patches.fit(images))
        widths = [int(np.prod(source.map_shape_)) for source in sources]
        most = max(_SAMPLE_BYTES // (4 * sum(widths)), 1)
        if len(images) > most:
            rng = np.random.default_rng(seed)
            images = images[np.sort(rng.choice(len(images), most, replace=False))]
        features = np.empty((len(images), sum(widths)), np.float32)
        parts, ends = [], np.cumsum(widths)
        for source, width, end in zip(sources, widths, ends, strict=True):
            out = features[:, end - width : end]
            parts.append(StandardisedFeatures.learned(source, images, out))
        features /= np.float32(math.sqrt(len(parts)))
        n = min(n_components, *features.shape)
        self.components_, self.energy_dropped_ = leading_directions(features, n, seed, n_threads)
        self.scattering_, self.patches_, self._parts = scattering, patches, tuple(parts)
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
        basis = self._basis()
        out = np.empty((len(images), n), np.float32)
        for rows in image_chunks(len(images), n_features):
            some = images[rows].astype(np.float32, copy=False)
            features = np.concatenate([part.transform(some) for part in self._parts], axis=1)
            out[rows] = product(features, basis, self.n_threads)
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
        basis = np.ascontiguousarray(self._basis().T)
        ends = np.cumsum([part.n_features for part in self._parts])[:-1]
        out = np.zeros_like(images)
        for rows in image_chunks(len(images), n_features):
            by_features = np.split(product(A[rows], basis, self.n_threads), ends, axis=1)
            for part, covectors_of_part in zip(self._parts, by_features, strict=True):
                out[rows] += part.pull_back(images[rows], covectors_of_part)
        return out

    @property
    def mean_(self) -> Doubles:
        """Mean of each channel."""
        return np.concatenate([part.mean for part in self._parts])

    @property
    def scale_(self) -> Doubles:
        """Standard deviation of each channel."""
        return np.concatenate([part.scale for part in self._parts])

    def _basis(self) -> FloatArray:
        """Return what features of length 1 are multiplied by: the parts share the length of an image."""
        return np.asarray(
            self.components_.astype(np.float32) / np.float32(math.sqrt(len(self._parts)))
        )

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
            "n_filters": as_count(self.n_filters, "n_filters", 0, 2**16),
            "patch_size": as_count(self.patch_size, "patch_size", 1, 2**10),
            "n_cells": as_count(self.n_cells, "n_cells", 1, 2**10),
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

    def _patches(self, image_shape: tuple[int, ...]) -> Patches | None:
        if self.n_filters == 0:
            return None
        return Patches(
            self.n_filters,
            size=self.patch_size,
            n_cells=self.n_cells,
            image_shape=image_shape,
            random_state=self.random_state,
            n_threads=self.n_threads,
        )

    # ---- files --------------------------------------------------------------------------------

    def to_settings(self) -> dict[str, Any]:
        """Return what a model file holds of the encoder besides arrays, as JSON data.

        Parameters of the scattering and of the patches are those of `fit`, even if others have been set
        since.
        """
        check_is_fitted(self)
        parameters = self.scattering_.get_params()
        del parameters["n_threads"]
        parameters["image_shape"] = list(self.scattering_.image_shape_)
        own, floors = self._checked(), None
        if self.patches_ is None:
            own["n_filters"] = 0
        else:
            n_filters, n_cells, _ = self.patches_.map_shape_
            own |= {
                "n_filters": n_filters // 2,
                "n_cells": n_cells,
                "patch_size": self.patches_.size,
            }
            floors = list(self.patches_.floors_)
        return {
            "parameters": {**parameters, **own},
            "energy_dropped": self.energy_dropped_,
            "patch_floors": floors,
        }

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays that a model file holds of the encoder, by name."""
        check_is_fitted(self)
        arrays: dict[str, npt.NDArray[Any]] = {
            "encoder_mean": self.mean_,
            "encoder_scale": self.scale_,
            "encoder_components": self.components_.astype(np.float32),
        }
        if self.patches_ is not None:
            learned = (self.patches_.mean_, self.patches_.whitening_, self.patches_.filters_)
            arrays.update(
                (f"encoder_{name}", part) for name, part in zip(_OF_PATCHES, learned, strict=True)
            )
        return arrays

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
            # Files of versions without patches know nothing of them.
            parameters = {"n_filters": 0, "patch_size": 6, "n_cells": 4, **parameters}
            encoder = cls(**{**parameters, "image_shape": shape, "n_threads": None})
            if parameters.keys() != encoder.get_params().keys() - {"n_threads"}:
                raise ValueError(f"its parameters are {', '.join(sorted(parameters))}")
            encoder._checked()
            arrays = {name: np.asarray(array, np.float64) for name, array in arrays.items()}
            if not all(np.isfinite(array).all() for array in arrays.values()):
                raise ValueError("its numbers are not finite")
            # Nothing is computed for images of this shape before they come.
            encoder.scattering_ = encoder._scattering(shape).fit(np.empty((0, math.prod(shape))))
            sources: list[ImageFeatures] = [encoder.scattering_]
            encoder.patches_ = encoder._patches(shape)
            if encoder.patches_ is not None:
                sources.append(encoder.patches_)
                learned = [arrays[f"encoder_{name}"] for name in _OF_PATCHES]
                encoder.patches_.set_learned(shape, *learned, floors=settings["patch_floors"])
            n_channels = [source.map_shape_[0] for source in sources]
            mean, scale, components = (arrays[f"encoder_{name}"] for name in _OF_ALL)
            if (
                mean.shape != (sum(n_channels),)
                or scale.shape != mean.shape
                or not (scale > 0.0).all()
            ):
                raise ValueError("its standardisation does not fit its channels")
            ends = np.cumsum(n_channels)[:-1]
            encoder._parts = tuple(
                StandardisedFeatures(*part)
                for part in zip(sources, np.split(mean, ends), np.split(scale, ends), strict=True)
            )
            n_features = sum(part.n_features for part in encoder._parts)
            if components.ndim != 2 or components.shape[0] != n_features:
                raise ValueError("its directions do not fit its features")
            if components.shape[1] > encoder.n_components:
                raise ValueError(f"it has more than {encoder.n_components} directions")
            check_orthonormal(components)
            encoder.components_ = components
            encoder.energy_dropped_ = as_number(settings["energy_dropped"], "energy_dropped")
            encoder.n_features_in_ = encoder.scattering_.n_features_in_
        return encoder
