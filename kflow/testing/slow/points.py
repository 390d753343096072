"""Slow operations on points: rho and its gradient, moves, step lengths, distances of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kflow.kernels import Kernel
from kflow.testing.slow.kernels import gram, kernel_slope, kernel_value, squared_distances
from kflow.testing.slow.linear import Array, as_working, columns, quadratic_form

__all__ = ["class_distance_ratio", "move", "rho", "rho_gradient", "step_length"]


def rho(
    X: npt.ArrayLike, Y: npt.ArrayLike, coarse: npt.ArrayLike, *, kernel: Kernel, nugget: float
) -> float:
    """Return 1 - tr(Y_c' A_cc^-1 Y_c) / tr(Y' A^-1 Y), A = K(X, X) + nugget I.

    Parameters
    ----------
    X : array_like, shape (n, d)
        Points.
    Y : array_like, shape (n, m) or (n,)
        Targets.
    coarse : array_like of int, shape (n_c,)
        The rows c.
    kernel : kflow.kernels.Kernel
        The kernel.
    nugget : float
        Added to the diagonal.
    """
    return rho_gradient(X, Y, coarse, kernel=kernel, nugget=nugget)[0]


def rho_gradient(
    X: npt.ArrayLike, Y: npt.ArrayLike, coarse: npt.ArrayLike, *, kernel: Kernel, nugget: float
) -> tuple[float, Array]:
    """Return `rho` and its gradient with respect to the points.

    Parameters
    ----------
    X, Y, coarse, kernel, nugget
        As for `rho`.

    Returns
    -------
    rho : float
    gradient : ndarray, shape (n, d)
        The quotient rule on rho = 1 - P / Q with P = tr(Y_c' A_cc^-1 Y_c), Q = tr(Y' A^-1 Y) and
        d tr(Y' A^-1 Y) = -tr(w' dK w), w = A^-1 Y; one point after the other.
    """
    x, y = as_working(X, columns(Y))
    c = np.asarray(coarse)
    r2 = squared_distances(x, x)
    matrix = kernel_value(kernel, r2) + nugget * np.eye(len(x))
    slope = kernel_slope(kernel, r2)
    fine_form, fine = quadratic_form(matrix, y)
    coarse_form, solution = quadratic_form(matrix[np.ix_(c, c)], y[c])
    padded = np.zeros_like(y)
    padded[c] = solution
    if fine_form == 0:
        return 0.0, np.zeros_like(x)

    gradient = np.empty_like(x)
    for i in range(len(x)):
        # Row i of K and its column i move; entry i itself stays 1.
        row = 2 * slope[i, :, None] * (x[i] - x)
        d_fine = -2 * (fine @ fine[i]) @ row
        d_coarse = -2 * (padded @ padded[i]) @ row
        gradient[i] = -(d_coarse * fine_form - coarse_form * d_fine) / fine_form**2
    return 1 - coarse_form / fine_form, gradient


def move(
    X: npt.ArrayLike, Z: npt.ArrayLike, C: npt.ArrayLike, *, kernel: Kernel, step: float = 1.0
) -> Array:
    """Return X with step K(X, Z) C added to its first q columns, shape (n, d).

    Parameters
    ----------
    X : array_like, shape (n, d)
        Points to move.
    Z, C : array_like, shape (m, d) and (m, q), q <= d
        Centres and coefficients.
    kernel : kflow.kernels.Kernel
        The kernel.
    step : float
        Step.
    """
    x, z, c = as_working(X, Z, C)
    x[:, : c.shape[1]] += step * (gram(x, z, kernel=kernel) @ c)
    return x


def step_length(rule: str, size: float, X: npt.ArrayLike, G: npt.ArrayLike) -> float:
    """Return the factor that a step rule puts before the displacement.

    Parameters
    ----------
    rule : {"relative", "rms", "absolute", "fixed"}
        The rules of `kflow.KernelFlow`.
    size : float
        p.
    X, G : array_like, shape (N, d) and (N, q)
        Training points and their displacements before scaling. A point at the origin, or one that
        does not move, has no say in the relative rule.
    """
    x, g = as_working(X, G)
    norms, moves = np.sqrt((x**2).sum(axis=1)), np.sqrt((g**2).sum(axis=1))
    if not moves.any():
        return 0.0
    if rule == "relative":
        both = (norms > 0) & (moves > 0)
        return float(size * (norms[both] / moves[both]).min()) if both.any() else 0.0
    if rule == "rms":
        return float(size * np.sqrt((norms**2).mean() / (moves**2).mean()))
    if rule == "absolute":
        return float(size / moves.max())
    if rule == "fixed":
        return size
    raise ValueError(f"no reference for step={rule!r}")


def class_distance_ratio(X: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the mean squared distance within classes over that between classes.

    Parameters
    ----------
    X : array_like, shape (n, d)
        Points.
    labels : array_like, shape (n,)
        Their classes.
    """
    (x,) = as_working(X)
    classes = np.asarray(labels)
    within: list[Any] = []
    between: list[Any] = []
    for i in range(len(x)):
        for j in range(i):
            pairs = within if classes[i] == classes[j] else between
            pairs.append(((x[i] - x[j]) ** 2).sum())
    return float(np.mean(within) / np.mean(between)) if within and between else float("nan")
