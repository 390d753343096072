"""Slow linear algebra: Gaussian elimination, in float64 or longdouble."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "as_working", "columns", "log_determinant", "quadratic_form", "solve"]

# Of float64 or longdouble.
Array: TypeAlias = npt.NDArray[np.floating[Any]]


def as_working(*values: npt.ArrayLike) -> list[Array]:
    """Return the arrays in longdouble if one of them is, else in float64."""
    arrays = [np.asarray(value) for value in values]
    longest = any(array.dtype == np.longdouble for array in arrays)
    return [array.astype(np.longdouble if longest else np.float64) for array in arrays]


def columns(Y: npt.ArrayLike) -> Array:
    """Return targets as a matrix, one column if they are a vector."""
    targets = np.asarray(Y)
    return targets[:, None] if targets.ndim == 1 else targets


def solve(A: npt.ArrayLike, B: npt.ArrayLike) -> Array:
    """Return A^-1 B for a symmetric positive definite A, by Gaussian elimination.

    Parameters
    ----------
    A : array_like, shape (n, n)
        The matrix.
    B : array_like, shape (n, q)
        Right-hand sides.

    Returns
    -------
    ndarray, shape (n, q)
    """
    a, b = as_working(A, B)
    if a.dtype == np.float64:
        return np.asarray(np.linalg.solve(a, b))
    n = len(a)
    for i in range(n):
        factors = a[i + 1 :, i : i + 1] / a[i, i]
        a[i + 1 :] -= factors * a[i]
        b[i + 1 :] -= factors * b[i]
    for i in reversed(range(n)):
        b[i] = (b[i] - a[i, i + 1 :] @ b[i + 1 :]) / a[i, i]
    return b


def quadratic_form(A: Array, Y: Array) -> tuple[float, Array]:
    """Return tr(Y' A^-1 Y) and A^-1 Y."""
    solution = solve(A, Y)
    return (Y * solution).sum(), solution


def log_determinant(A: Array) -> Any:
    """Return log det A for a symmetric positive definite A, by Gaussian elimination."""
    a = A.copy()
    for i in range(len(a)):
        a[i + 1 :] -= a[i + 1 :, i : i + 1] / a[i, i] * a[i]
    return np.log(np.diag(a)).sum()
