"""The members of a stack of Gaussian processes: their kernels, and what each predicts."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles
from kflow.estimators.gp_learning import flexible_kernel
from kflow.estimators.gp_regressor import GPRegressor
from kflow.kernels import Kernel, Linear, Matern32, Matern52, OnColumns, RationalQuadratic
from kflow.kernels.base import Scaled, Sum

__all__ = ["Member", "default_kernels"]

# Up to so many columns there is an additive kernel, which has a part for each of them.
_MOST_ADDED = 16

# A process of logarithms predicts at most so many times the largest target: trends that go on in
# logarithms run away.
_HIGHEST = 2.0

# The largest variance of a logarithm, whose exponential stays a number.
_LARGEST_VARIANCE = 100.0


def default_kernels(d: int) -> list[Kernel]:
    """Return the kernels of scaled points with d columns between which a stack decides.

    They differ in what they take for granted: that some columns matter more than others, with and
    without a way back; that all are alike; that the function is rough; that columns do not
    interact. Each has a linear part.
    """
    length = math.sqrt(d)
    linear = Scaled(Linear(length_scale_bounds="fixed"), 0.1)
    kernels = [flexible_kernel(d), Sum((Scaled(RationalQuadratic(length)), linear))]
    if d > 1:
        kernels.append(Sum((Scaled(Matern32((length,) * d)), linear)))
    if 1 < d <= _MOST_ADDED:
        parts = [Scaled(OnColumns(Matern52(1.0), (j,)), 1.0 / d) for j in range(d)]
        kernels.append(Sum((*parts, linear)))
    return kernels


@dataclass(frozen=True)
class Member:
    """A Gaussian process of the targets, or of their logarithms.

    Attributes
    ----------
    process : GPRegressor
        The process, fitted.
    highest : ndarray, shape (m,), or None
        None: it is one of the targets themselves. Else of their logarithms, and the largest value of
        each output that it predicts.
    """

    process: GPRegressor
    highest: Doubles | None = None

    @classmethod
    def fitted(
        cls,
        process: GPRegressor,
        X: Doubles,
        y: Doubles,
        weights: Doubles | None,
        *,
        of_logarithms: bool,
    ) -> Member:
        """Fit a process to rows X, (n, d), and targets y, (n,) or (n, m)."""
        if not of_logarithms:
            return cls(process.fit(X, y, weights))
        return cls(process.fit(X, np.log(y), weights), _HIGHEST * _columns(y).max(axis=0))

    def with_rows(self, X: Doubles, y: Doubles, weights: npt.ArrayLike | None) -> Member:
        """Return the member given further rows as well."""
        process = copy(self.process)  # which replaces what it keeps, and writes into nothing
        if self.highest is None:
            return Member(process.add_rows(X, y, weights))
        highest = np.maximum(self.highest, _HIGHEST * _columns(y).max(axis=0))
        return Member(process.add_rows(X, np.log(y), weights), highest)

    # ---- moments ------------------------------------------------------------------------------

    def left_out(self, rows: Any) -> tuple[Doubles, Doubles]:
        """Return mean and variance, (n, m) each, of rows of training, each from the others."""
        mean, std = (_columns(part) for part in self.process.leave_one_out(rows))
        return self._moments(mean, np.square(std), np.square(std))

    def mean(self, X: Doubles) -> Doubles:
        """Return the mean at rows of X, (n, m)."""
        if self.highest is not None:
            return self.moments(X, noise=True)[0]
        return _columns(self.process.predict(X))

    def moments(self, X: Doubles, *, noise: bool) -> tuple[Doubles, Doubles]:
        """Return the mean of observations and the variance at rows of X, (n, m) each.

        The variance is that of observations, or without the noise that of their means given the
        function.
        """
        mean, std = (_columns(part) for part in self.process.predict(X, return_std=True))
        observed = np.square(std)
        variance = observed if noise else np.maximum(observed - self._noise, 0.0)
        return self._moments(mean, observed, variance)

    def covariance(self, X: Doubles, *, noise: bool) -> tuple[Doubles, Doubles]:
        """Return the mean of observations, (n, m), and the covariance of the rows, (n, n, m)."""
        mean, covariance = self.process.predict(X, return_cov=True, include_noise=noise)
        mean = _columns(mean)
        covariance = covariance.reshape(len(mean), len(mean), -1)
        if self.highest is None:
            return mean, covariance
        diagonal = np.einsum("iij->ij", covariance)
        observed = diagonal if noise else diagonal + self._noise
        mean = self._moments(mean, observed, observed)[0]
        growth = np.expm1(np.minimum(covariance, _LARGEST_VARIANCE))
        return mean, mean[:, None] * mean[None, :] * growth

    def samples(self, X: Doubles, n_samples: int, seed: Any, *, noise: bool) -> Doubles:
        """Return joint samples at rows of X, (n, m, n_samples)."""
        drawn = self.process.sample_y(X, n_samples, seed, include_noise=noise)
        drawn = drawn.reshape(len(X), -1, n_samples)
        if self.highest is None:
            return drawn
        if not noise:
            drawn = drawn + 0.5 * self._noise[:, None]
        ceiling = np.log(self.highest)[:, None]
        return np.asarray(np.exp(np.minimum(drawn, ceiling)))

    @property
    def _noise(self) -> Doubles:
        """The variance of the noise of each output, (m,)."""
        return np.asarray(self.process.nugget_ * np.square(self.process.scale_))

    def _moments(
        self, mean: Doubles, observed: Doubles, variance: Doubles
    ) -> tuple[Doubles, Doubles]:
        """Return mean and variance of the targets, given those of their logarithms if need be.

        The moments of the log-normal distribution: exp(m + s^2 / 2), and its square times exp(s^2) - 1.
        """
        if self.highest is None:
            return mean, variance
        exponent = np.minimum(mean + 0.5 * observed, np.log(self.highest))
        targets = np.exp(exponent)
        growth = np.expm1(np.minimum(variance, _LARGEST_VARIANCE))
        return targets, np.square(targets) * growth


def _columns(values: Doubles) -> Doubles:
    """Return values of one or several outputs as columns."""
    return values.reshape(len(values), -1)
