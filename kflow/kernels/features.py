"""Maps of the points after which every kernel is a function of distances or of scalar products."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kflow._base.array_types import FloatArray

__all__ = ["FeatureMap", "Identity", "Periodicity", "Scaling", "Selection"]


class FeatureMap(ABC):
    """Features u(x) of points x, and the chain rule.

    From dLoss/dU follow the derivatives with respect to the logarithms of the map's parameters and
    with respect to X.
    """

    @property
    def has_parameters(self) -> bool:
        """Whether the map has parameters that can be learned."""
        return True

    @abstractmethod
    def __call__(self, X: FloatArray) -> FloatArray:
        """Return the features, (n, D), C-contiguous, in the dtype of X."""

    @abstractmethod
    def parameters_gradient(self, X: FloatArray, dU: FloatArray) -> Mapping[str, FloatArray]:
        """Return dLoss / dlog p for each parameter p of the map."""

    @abstractmethod
    def points_gradient(self, X: FloatArray, dU: FloatArray) -> FloatArray:
        """Return dLoss / dX."""


@dataclass(frozen=True)
class Identity(FeatureMap):
    """u = x."""

    @property
    def has_parameters(self) -> bool:
        """Whether the map has parameters: it has none."""
        return False

    def __call__(self, X: FloatArray) -> FloatArray:
        """Return X itself."""
        return X

    def parameters_gradient(self, X: FloatArray, dU: FloatArray) -> Mapping[str, FloatArray]:
        """Return nothing: there are no parameters."""
        del X, dU
        return {}

    def points_gradient(self, X: FloatArray, dU: FloatArray) -> FloatArray:
        """Return dU itself."""
        del X
        return dU


@dataclass(frozen=True)
class Scaling(FeatureMap):
    """u_k = (x_k - c_k) / l_k.

    Distances do not depend on the centre c, but their digits do: it should lie among the points.
    """

    length_scale: tuple[float, ...]
    centre: tuple[float, ...] | float = 0.0

    def _rates(self, X: FloatArray) -> FloatArray:
        return np.asarray(1.0 / np.array(self.length_scale), X.dtype)

    def __call__(self, X: FloatArray) -> FloatArray:
        """Return the scaled points."""
        return (X - np.asarray(self.centre, X.dtype)) * self._rates(X)

    def parameters_gradient(self, X: FloatArray, dU: FloatArray) -> Mapping[str, FloatArray]:
        """Return -sum_i u_ik dLoss / du_ik."""
        return {"length_scale": -np.einsum("ik,ik->k", self(X), dU)}

    def points_gradient(self, X: FloatArray, dU: FloatArray) -> FloatArray:
        """Return dU / l."""
        return dU * self._rates(X)


@dataclass(frozen=True)
class Periodicity(FeatureMap):
    """u = (cos(2 pi x_k / p_k), sin(2 pi x_k / p_k)) / l_k, so that |u - u'| = 2 |sin(...)| / l_k.

    p and l are one number, or one for each dimension.
    """

    period: tuple[float, ...]
    length_scale: tuple[float, ...]

    def _angles(self, X: FloatArray) -> FloatArray:
        # Whole periods change nothing but digits.
        turns = X / np.asarray(self.period, X.dtype)
        return np.asarray(2.0 * math.pi * (turns - np.round(turns)), X.dtype)

    def __call__(self, X: FloatArray) -> FloatArray:
        """Return the points on circles."""
        angles, length = self._angles(X), np.asarray(self.length_scale, X.dtype)
        return np.concatenate([np.cos(angles) / length, np.sin(angles) / length], axis=1)

    def _angle_gradient(self, X: FloatArray, dU: FloatArray) -> FloatArray:
        d = X.shape[1]
        U = self(X)
        return U[:, :d] * dU[:, d:] - U[:, d:] * dU[:, :d]

    def parameters_gradient(self, X: FloatArray, dU: FloatArray) -> Mapping[str, FloatArray]:
        """Return the derivatives for the length scales and the periods."""
        d = X.shape[1]
        # The angles' origin is arbitrary: where the data is, few digits cancel.
        angles = 2.0 * math.pi * (X - X.mean(axis=0)) / np.array(self.period)
        radial = self(X) * dU
        return {
            "length_scale": -_folded(
                (radial[:, :d] + radial[:, d:]).sum(axis=0), self.length_scale
            ),
            "period": -_folded((angles * self._angle_gradient(X, dU)).sum(axis=0), self.period),
        }

    def points_gradient(self, X: FloatArray, dU: FloatArray) -> FloatArray:
        """Return the derivatives along the circles."""
        return self._angle_gradient(X, dU) * (2.0 * math.pi / np.array(self.period))


@dataclass(frozen=True)
class Selection(FeatureMap):
    """Another map u of some columns of the points."""

    columns: tuple[int, ...]
    features: FeatureMap

    @property
    def has_parameters(self) -> bool:
        """Whether the other map has parameters."""
        return self.features.has_parameters

    def of(self, X: FloatArray) -> FloatArray:
        """Return the columns, C-contiguous."""
        return np.ascontiguousarray(X[:, self.columns])

    def __call__(self, X: FloatArray) -> FloatArray:
        """Return the features of the columns."""
        return self.features(self.of(X))

    def parameters_gradient(self, X: FloatArray, dU: FloatArray) -> Mapping[str, FloatArray]:
        """Return the derivatives for the other map's parameters."""
        return self.features.parameters_gradient(self.of(X), dU)

    def points_gradient(self, X: FloatArray, dU: FloatArray) -> FloatArray:
        """Return the derivatives in their columns, and zeros elsewhere."""
        gradient = np.zeros_like(X)
        gradient[:, self.columns] = self.features.points_gradient(self.of(X), dU)
        return gradient


def _folded(gradient: FloatArray, parameter: tuple[float, ...]) -> FloatArray:
    """Return the gradient of the dimensions' parameters, summed where they share one."""
    return gradient if len(parameter) > 1 or len(gradient) == 1 else gradient.sum(keepdims=True)
