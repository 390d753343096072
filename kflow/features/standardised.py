"""Features of images with standardised channels, in rows of length 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from kflow._base.array_types import Doubles, FloatArray
from kflow.data.scaling import row_norms, unit_pull_back
from kflow.features.images import image_chunks

__all__ = ["ImageFeatures", "StandardisedFeatures"]


class ImageFeatures(Protocol):
    """What makes maps of images: `Scattering` and `Patches`.

    Attributes
    ----------
    map_shape_ : tuple of int
        Number of channels, height and width of what is made of an image.
    """

    map_shape_: tuple[int, int, int]

    def transform(self, X: Any) -> FloatArray:
        """Return the maps of images, one row each."""
        ...

    def pull_back(self, X: Any, covectors: Any) -> FloatArray:
        """Multiply covectors by the transposed derivative of `transform`."""
        ...


@dataclass(frozen=True, eq=False)
class StandardisedFeatures:
    """Features, less the mean and over the standard deviation of their channel, in rows of length 1.

    Attributes
    ----------
    source : ImageFeatures
        What makes the features.
    mean, scale : ndarray of float64, shape (channels,)
        Mean and standard deviation of each channel over training images and positions.
    """

    source: ImageFeatures
    mean: Doubles
    scale: Doubles

    @classmethod
    def learned(
        cls, source: ImageFeatures, images: FloatArray, out: FloatArray
    ) -> StandardisedFeatures:
        """Learn means and deviations from images, and put their features into an array.

        Parameters
        ----------
        source : ImageFeatures
            What makes the features.
        images : ndarray, shape (n, pixels)
            The images.
        out : ndarray of float32, shape (n, n_features)
            Receives the standardised features.

        Raises
        ------
        ValueError
            If the images are so dark that float32 does not hold their features.
        """
        n_features = out.shape[1]
        parts = list(image_chunks(len(images), n_features))
        for rows in parts:
            out[rows] = source.transform(images[rows].astype(np.float32, copy=False))
        channels = source.map_shape_[0]
        count = len(images) * (n_features // channels)

        def maps(rows: slice) -> FloatArray:
            return out[rows].reshape(-1, channels, n_features // channels)

        total = sum(maps(rows).sum(axis=(0, 2), dtype=np.float64) for rows in parts)
        mean: Doubles = np.asarray(total) / count
        squares = (np.square(maps(rows) - mean[:, None]).sum(axis=(0, 2)) for rows in parts)
        scale = np.sqrt(sum(squares) / count)
        varies = scale > 10.0 * np.finfo(np.float32).eps * np.abs(mean)
        # By less than this nothing can be divided in float32.
        usable = varies & (scale > np.finfo(np.float32).tiny)
        if varies.any() and not usable.any():
            raise ValueError("X has values too small for features of float32: scale the images")
        learned = cls(source, mean, np.where(usable, scale, 1.0))
        for rows in parts:
            learned._standardise(out[rows])
            out[rows] /= row_norms(out[rows])
        return learned

    @property
    def n_features(self) -> int:
        """Number of features of an image."""
        channels, height, width = self.source.map_shape_
        return channels * height * width

    def transform(self, images: FloatArray) -> FloatArray:
        """Return the features of a few images of float32, (n, n_features)."""
        features = self._standardised(images)
        features /= row_norms(features)
        return features

    def pull_back(self, images: FloatArray, covectors: FloatArray) -> FloatArray:
        """Multiply covectors (n, n_features) by the transposed derivative of `transform`."""
        by_standardised = unit_pull_back(self._standardised(images), covectors)
        return self.source.pull_back(images, by_standardised * self._of_features(1.0 / self.scale))

    def _standardised(self, images: FloatArray) -> FloatArray:
        features = self.source.transform(images)
        self._standardise(features)
        return features

    def _standardise(self, features: FloatArray) -> None:
        """Standardise features where they are."""
        features -= self._of_features(self.mean)
        features *= self._of_features(1.0 / self.scale)

    def _of_features(self, of_channels: Doubles) -> FloatArray:
        """Return what belongs to each channel for each feature, in float32."""
        per_channel = self.n_features // len(of_channels)
        return np.repeat(of_channels.astype(np.float32), per_channel)
