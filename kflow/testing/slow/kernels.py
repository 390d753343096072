"""Slow kernel matrices: the formulas, one after the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kflow.kernels import (
    Constant,
    FunctionKernel,
    Kernel,
    Linear,
    OnColumns,
    Periodic,
    Polynomial,
    Product,
    Radial,
    Scaled,
    Sum,
    check_isotropic,
)
from kflow.testing.slow.linear import Array, as_working

__all__ = ["gram", "kernel_slope", "kernel_value", "squared_distances"]


def squared_distances(X: Array, Z: Array) -> Array:
    """Return |x_i - z_j|^2, shape (n, m), summed over differences: nothing cancels."""
    r2 = np.zeros((len(X), len(Z)), X.dtype)
    for k in range(X.shape[1]):
        r2 += (X[:, k, None] - Z[None, :, k]) ** 2
    return r2


def kernel_value(kernel: Kernel, r2: npt.ArrayLike) -> Array:
    """Return k(r) from the squared distance.

    Parameters
    ----------
    kernel : kflow.kernels.Kernel
        A radial kernel with one length scale; the formula is its own.
    r2 : array_like
        Squared distances r^2, of any shape.

    Returns
    -------
    ndarray, the shape of `r2`
    """
    (squares,) = as_working(r2)
    radial = check_isotropic(kernel)
    return radial.formula(squares, squares.dtype.type(radial.profile.length_scale))


def kernel_slope(kernel: Kernel, r2: npt.ArrayLike) -> Array:
    """Return the slope dk/d(r^2); for the Laplacian, which has none at r = 0, zero there.

    Parameters
    ----------
    kernel : kflow.kernels.Kernel
        A radial kernel with one length scale; the formula is its own.
    r2 : array_like
        Squared distances r^2, of any shape.

    Returns
    -------
    ndarray, the shape of `r2`
    """
    (squares,) = as_working(r2)
    radial = check_isotropic(kernel)
    slope = radial.slope_formula(squares, squares.dtype.type(radial.profile.length_scale))
    # The kink of the Laplacian, where its gradient is taken as zero.
    return np.where((squares == 0) & np.isneginf(slope), 0, slope)


def gram(X: npt.ArrayLike, Z: npt.ArrayLike | None = None, *, kernel: Kernel) -> Array:
    """Return K(X, Z), shape (n, m).

    Parameters
    ----------
    X : array_like, shape (n, d)
        Points.
    Z : array_like, shape (m, d), optional
        Other points; X itself if not given.
    kernel : kflow.kernels.Kernel
        The kernel.
    """
    x, z = as_working(X, X if Z is None else Z)
    return _matrix(kernel, x, z)


def _matrix(kernel: Kernel, x: Array, z: Array) -> Array:
    """Return K(x, z) of any kernel, part by part."""
    real = x.dtype.type
    if isinstance(kernel, (Sum, Product)):
        parts = np.stack([_matrix(part, x, z) for part in kernel.kernels])
        return np.asarray(parts.sum(axis=0) if isinstance(kernel, Sum) else parts.prod(axis=0))
    if isinstance(kernel, Scaled):
        return real(kernel.amplitude) * _matrix(kernel.kernel, x, z)
    if isinstance(kernel, OnColumns):
        columns = list(kernel.columns)
        return _matrix(kernel.kernel, x[:, columns], z[:, columns])
    if isinstance(kernel, Constant):
        return np.full((len(x), len(z)), kernel.value, x.dtype)
    if isinstance(kernel, FunctionKernel):
        return np.asarray(kernel.function(x, z, **kernel.parameters))
    if isinstance(kernel, Radial) and not isinstance(kernel.length_scale, tuple):
        return kernel_value(kernel, squared_distances(x, z))
    assert isinstance(kernel, (Radial, Linear, Periodic))
    length = np.asarray(kernel.length_scale, x.dtype)
    if isinstance(kernel, Radial):
        return kernel.formula(squared_distances(x / length, z / length), real(1))
    if isinstance(kernel, Periodic):
        angles = np.pi * (x[:, None] - z[None]) / np.asarray(kernel.period, x.dtype)
        return np.asarray(np.exp(-2 * ((np.sin(angles) / length) ** 2).sum(axis=2)))
    products = np.asarray((x / length) @ (z / length).T)
    if isinstance(kernel, Polynomial):
        return np.asarray((products + real(kernel.offset)) ** kernel.degree)
    return products
