"""The conductivity b, and the integral S of 1/b, as functions of the weights of log b."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles, FloatArray

__all__ = ["Integral", "log_conductivities", "log_conductivity"]

Waves: TypeAlias = npt.NDArray[np.complex128]

# Fourier coefficients of 1/b below this part of its maximum are left out.
_RESOLVED = 1e-14
_LARGEST_GRID = 2**16


def log_conductivity(
    x: npt.ArrayLike, cosine_weights: npt.ArrayLike, sine_weights: npt.ArrayLike
) -> Doubles:
    """Return log b(x).

    Parameters
    ----------
    x : array_like
        The points, from 0 to 1.
    cosine_weights, sine_weights : array_like, shape (n_modes,)
        W^c and W^s: the parameters of `greens_kernel`.

    Returns
    -------
    ndarray, shape of x
        Its mean over [0, 1] is 0.
    """
    points = np.asarray(x, np.float64)
    pair = np.array([cosine_weights, sine_weights], np.float64)
    return log_conductivities(points.ravel(), pair[None]).reshape(points.shape)


def log_conductivities(x: Doubles, weights: Doubles) -> Doubles:
    """Return log b(x) for weights (n, 2, n_modes), as (n, len(x))."""
    waves = _waves(x, weights.shape[2])
    values: Doubles = np.einsum("nk,xk->nx", weights[:, 0] - 1j * weights[:, 1], waves).real
    return values


class Integral:
    """S(x) = int_0^x dt / b(t) at points, and the chain rule from S to the weights.

    With the Fourier coefficients c_k of 1/b and e_k(x) = exp(2 pi i k x),

        S(x) = c_0 x + sum_{k != 0} c_k (e_k(x) - 1) / (2 pi i k).

    Sums are einsum's, which calls no BLAS: results do not depend on its threads.

    Attributes
    ----------
    values : ndarray, shape (n,)
        S at the points.
    total : float
        S(1).
    """

    def __init__(self, X: FloatArray, cosine_weights: Doubles, sine_weights: Doubles) -> None:
        self._n_modes = len(cosine_weights)
        self._reciprocal, coefficients = _reciprocal(cosine_weights, sine_weights)
        self._x = _as_points(X)
        self._k = np.arange(1, len(coefficients) - 1)
        self._waves = _waves(self._x, len(self._k))
        # Terms of negative k are conjugates of those of positive k: the sum over k > 0 is doubled.
        terms = coefficients[1:-1] / (1j * np.pi * self._k)
        oscillation = np.einsum("nk,k->n", self._waves, terms) - terms.sum()
        self.total = float(coefficients[0].real)
        self.values: Doubles = self.total * self._x + oscillation.real

    def pull_back(self, d_s: Doubles, d_total: float) -> tuple[Doubles, Doubles]:
        """Return dLoss / dW^c and dLoss / dW^s, given dLoss / dS(x_i) and dLoss / dS(1).

        dS(x)/dW = -int_0^x phi / b for a mode phi. The result is -int q phi / b for all modes at once,
        where q(t) is dLoss / dS(1) plus the sum of dLoss / dS(x_i) over x_i > t. Only those Fourier
        coefficients of q matter that 1/b times a mode has, too.
        """
        size = len(self._reciprocal)
        q = np.zeros(size // 2 + 1, np.complex128)
        q[0] = (d_s * self._x).sum() + d_total
        sums = np.einsum("n,nk->k", d_s, self._waves).conj() - d_s.sum()
        q[1:-1] = sums / (-2j * np.pi * self._k)
        integrand = np.fft.irfft(size * q, size) * self._reciprocal
        result = -np.fft.rfft(integrand)[1 : self._n_modes + 1] / size
        return result.real, -result.imag


def _reciprocal(cosine_weights: Doubles, sine_weights: Doubles) -> tuple[Doubles, Waves]:
    """Return 1/b on an equidistant grid that resolves it, and its Fourier coefficients, k >= 0."""
    n_modes = len(cosine_weights)
    spectrum = np.concatenate([[0.0], 0.5 * (cosine_weights - 1j * sine_weights)])
    size = 8 * n_modes
    while size <= max(_LARGEST_GRID, 32 * n_modes):
        with np.errstate(over="ignore"):
            reciprocal = np.exp(-np.fft.irfft(size * spectrum, size))
        if not np.isfinite(reciprocal).all():
            break
        coefficients: Waves = np.fft.rfft(reciprocal) / size
        # Derivatives multiply 1/b by a mode: the last n_modes coefficients must vanish.
        if np.abs(coefficients[-n_modes - 1 :]).max() <= _RESOLVED * reciprocal.max():
            return reciprocal, coefficients
        size *= 2
    raise ValueError(
        "the weights of log b are too large to integrate 1/b: pass smaller ones, narrower bounds "
        "or, in learning, a smaller learning_rate"
    )


def _as_points(X: FloatArray) -> Doubles:
    """Return points of [0, 1] as a vector."""
    if X.shape[1] != 1:
        raise ValueError(f"X must have one column of points in [0, 1], got shape {X.shape}")
    x = X[:, 0].astype(np.float64)
    if len(x) and not (x.min() >= 0.0 and x.max() <= 1.0):
        raise ValueError(
            f"X must lie in [0, 1], where the equation holds, got {x.min():g} to {x.max():g}"
        )
    return x


def _waves(x: Doubles, n: int) -> Waves:
    """Return exp(2 pi i k x) for k = 1, ..., n, as (len(x), n).

    Each is a product of two: a product costs much less than an exponential.
    """
    step = max(1, int(np.sqrt(n)))
    fast = np.exp(2j * np.pi * np.multiply.outer(x, np.arange(1, step + 1)))
    slow = np.exp(2j * np.pi * np.multiply.outer(x, step * np.arange(-(-n // step))))
    waves: Waves = (slow[:, :, None] * fast[:, None, :]).reshape(len(x), -1)
    return waves[:, :n]
