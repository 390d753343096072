"""Slow losses of a kernel matrix; each half, fold or pair by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Rows
from kflow.testing.slow.linear import (
    Array,
    as_working,
    columns,
    log_determinant,
    quadratic_form,
    solve,
)

__all__ = [
    "SLOW_LOSSES",
    "leave_one_out",
    "loss_e2",
    "loss_kfold",
    "loss_lyapunov",
    "loss_mmd",
    "loss_nlml",
    "loss_rho",
    "symmetric_gradient",
]


def _each_half(halves: npt.ArrayLike, loss: Callable[[int, Rows], Any]) -> Any:
    """Return the mean of loss(h, half h)."""
    rows = np.atleast_2d(np.asarray(halves, np.intp))
    return sum(loss(h, half) for h, half in enumerate(rows)) / len(rows)


def _predict(k: Array, y: Array, known: Rows, wanted: Rows) -> Any:
    """Interpolate the rows `wanted` from the rows `known`."""
    return k[np.ix_(wanted, known)] @ solve(k[np.ix_(known, known)], y[known])


def loss_rho(K: npt.ArrayLike, Y: npt.ArrayLike, halves: npt.ArrayLike) -> Any:
    """Return `rho` of a kernel matrix, averaged over coarse subsets.

    Parameters
    ----------
    K : array_like, shape (n, n)
        Kernel matrix, nugget included.
    Y : array_like, shape (n, m) or (n,)
        Targets.
    halves : array_like of int, shape (n_halves, n_coarse) or (n_coarse,)
        Rows of the coarse subsets.
    """
    k, y = as_working(K, columns(Y))
    fine = quadratic_form(k, y)[0]
    return _each_half(
        halves, lambda _, c: 1 - quadratic_form(k[np.ix_(c, c)], y[c])[0] / fine if fine else 0.0
    )


def loss_e2(K: npt.ArrayLike, Y: npt.ArrayLike, halves: npt.ArrayLike) -> Any:
    """Return the squared error of predictions from coarse subsets for all other rows.

    Parameters
    ----------
    K, Y, halves
        As for `loss_rho`.
    """
    k, y = as_working(K, columns(Y))

    def error(_: int, c: Rows) -> Any:
        p = np.setdiff1d(np.arange(len(k)), c)
        return ((y[p] - _predict(k, y, c, p)) ** 2).sum()

    return _each_half(halves, error)


def loss_kfold(K: npt.ArrayLike, Y: npt.ArrayLike, folds: npt.ArrayLike) -> Any:
    """Return the sum of squared errors in cross-validation, every fold left out by itself.

    Parameters
    ----------
    K, Y
        As for `loss_rho`.
    folds : array_like of int, shape (n,)
        The fold of each row.
    """
    k, y = as_working(K, columns(Y))
    numbers = np.asarray(folds)
    total: Any = 0.0
    for fold in np.unique(numbers):
        out, rest = np.flatnonzero(numbers == fold), np.flatnonzero(numbers != fold)
        total += ((y[out] - _predict(k, y, rest, out)) ** 2).sum()
    return total


def leave_one_out(K: npt.ArrayLike, Y: npt.ArrayLike) -> tuple[Array, Array]:
    """Return leave-one-out residuals (n, m) and variances (n,), every row left out by itself.

    Parameters
    ----------
    K, Y
        As for `loss_rho`.
    """
    k, y = as_working(K, columns(Y))
    residuals, variances = np.empty_like(y), np.empty_like(k[0])
    everything = np.arange(len(k))
    for i in everything:
        rest, one = everything[everything != i], everything[[i]]
        residuals[i] = y[i] - _predict(k, y, rest, one)[0]
        variances[i] = k[i, i] - _predict(k, k[:, one], rest, one)[0, 0]
    return residuals, variances


def loss_nlml(K: npt.ArrayLike, Y: npt.ArrayLike) -> Any:
    """Return the negative log density of Y's columns, Gaussian with covariance K.

    Parameters
    ----------
    K, Y
        As for `loss_rho`.
    """
    k, y = as_working(K, columns(Y))
    constant = log_determinant(k) + len(k) * np.log(2 * k.dtype.type(np.pi))
    return (quadratic_form(k, y)[0] + y.shape[1] * constant) / 2


def loss_mmd(K: npt.ArrayLike, halves: npt.ArrayLike) -> Any:
    """Return the squared maximum mean discrepancy of the batch and coarse subsets.

    Parameters
    ----------
    K, halves
        As for `loss_rho`. The diagonal of K is left out.
    """
    (k,) = as_working(K)
    everything = np.arange(len(k))

    def mean(rows: Rows, columns: Rows) -> Any:
        different = rows[:, None] != columns
        return k[np.ix_(rows, columns)][different].sum() / different.sum()

    return _each_half(
        halves,
        lambda _, c: mean(everything, everything) + mean(c, c) - 2 * mean(everything, c),
    )


def loss_lyapunov(
    K: npt.ArrayLike, Y: npt.ArrayLike, halves: npt.ArrayLike, pairs: npt.ArrayLike
) -> Any:
    """Return the squared difference of the divergence rates that predictions and targets have.

    Parameters
    ----------
    K, Y, halves
        As for `loss_rho`.
    pairs : array_like of int, shape (n_halves, n_pairs, 2)
        Rows of neighbouring inputs outside each half.
    """
    k, y = as_working(K, columns(Y))

    def rate(targets: Array, both: Rows) -> Any:
        apart = targets[both[:, 0]] - targets[both[:, 1]]
        return np.log(np.sqrt((apart**2).sum(axis=1))).mean()

    def difference(h: int, c: Rows) -> Any:
        both = np.asarray(pairs)[h]
        return rate(_predict(k, y, c, np.arange(len(k))), both) - rate(y, both)

    return _each_half(halves, lambda h, c: difference(h, c) ** 2)


def symmetric_gradient(loss: Callable[[Array], Any], K: npt.ArrayLike) -> Array:
    """Return the symmetric G with d loss = sum_ij G_ij dK_ij, by central differences.

    Parameters
    ----------
    loss : callable
        Function of a symmetric matrix.
    K : array_like, shape (n, n)
        Where to differentiate. Differences are of fourth order, in longdouble.
    """
    k = np.asarray(K, np.longdouble)
    gradient = np.empty_like(k)
    h = np.longdouble(2.0) ** -16
    for i in range(len(k)):
        for j in range(i + 1):
            direction = np.zeros_like(k)
            direction[i, j] = direction[j, i] = h
            once = loss(k + direction) - loss(k - direction)
            twice = loss(k + 2 * direction) - loss(k - 2 * direction)
            gradient[i, j] = gradient[j, i] = (8 * once - twice) / (12 * h * (1 + (i != j)))
    return gradient


def _loss_loo(K: npt.ArrayLike, Y: npt.ArrayLike) -> Any:
    """Return the sum of squared leave-one-out residuals."""
    return loss_kfold(K, Y, np.arange(len(np.asarray(K))))


def _loss_mmd(K: npt.ArrayLike, Y: npt.ArrayLike, halves: npt.ArrayLike) -> Any:
    """Return `loss_mmd`, which does not depend on the targets."""
    del Y
    return loss_mmd(K, halves)


# By the names of `kflow.losses.LOSSES`; they take a kernel matrix, targets and subsets, as those do.
SLOW_LOSSES: dict[str, Callable[..., Any]] = {
    "rho": loss_rho,
    "e2": loss_e2,
    "loo": _loss_loo,
    "kfold": loss_kfold,
    "nlml": loss_nlml,
    "mmd": _loss_mmd,
    "lyapunov": loss_lyapunov,
}
