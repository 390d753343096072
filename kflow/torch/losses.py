"""The losses of `kflow.losses` as differentiable functions of a kernel matrix.

Formulas and names are those of `kflow.losses`. A result is one number, in the precision of K, at least
float32, and is computed in float64. Only the symmetric part of K counts, so that gradients with respect to
K are those of `kflow.losses`; the gradient with respect to the targets comes besides.

All raise `kflow.SingularKernelError` for a matrix that is numerically singular, and TypeError or ValueError
for arguments of the wrong kind or shape, naming them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from kflow.errors import SingularKernelError
from kflow.torch.arguments import (
    as_float64,
    as_targets,
    folds_of,
    halves_of,
    in_dtype_of,
    pairs_of,
)

__all__ = ["LOSSES", "e2", "kfold", "leave_one_out", "loo", "lyapunov", "mmd", "nlml", "rho"]

_TINY = torch.finfo(torch.float64).tiny


def _as_matrix(K: Any) -> torch.Tensor:
    """Return the symmetric part of K in float64."""
    if not isinstance(K, torch.Tensor) or not K.is_floating_point():
        raise TypeError(f"K must be a tensor of floating-point numbers, got {type(K).__name__}")
    if K.ndim != 2 or K.shape[0] != K.shape[1] or len(K) == 0:
        raise ValueError(
            f"K must be square, the kernel matrix of the batch's points; got shape {tuple(K.shape)}"
        )
    k = as_float64(K)
    return (k + k.T) / 2


def _cholesky(k: torch.Tensor) -> torch.Tensor:
    """Return Cholesky factors, (..., n, n)."""
    try:
        return torch.linalg.cholesky(k)
    except torch.linalg.LinAlgError:
        if not bool(k.isfinite().all()):
            raise ValueError(
                "the kernel matrix contains NaN or infinity, and so do the points or the kernel's "
                "parameters: a smaller learning rate may help"
            ) from None
        raise SingularKernelError(
            f"the kernel matrix of {k.shape[-1]} points is numerically singular: remove duplicates, "
            "pass a larger nugget, or a kernel with a shorter length scale"
        ) from None


def _forward(factor: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return L^-1 y."""
    return torch.linalg.solve_triangular(factor, y, upper=False)


def _coarse(k: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return K_cc of all halves, (n_halves, n_coarse, n_coarse)."""
    return k[rows[:, :, None], rows[:, None, :]]


def _predictions(k: torch.Tensor, y: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return what each half predicts for all rows, (n_halves, n, m)."""
    coefficients = torch.cholesky_solve(y[rows], _cholesky(_coarse(k, rows)))
    return k[:, rows].movedim(1, 0) @ coefficients


def _inside(rows: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return 1 for the rows of each half and 0 for others, (n_halves, n)."""
    return like.new_zeros(len(rows), len(like)).scatter(1, rows, 1.0)


def rho(K: torch.Tensor, Y: torch.Tensor, halves: Any) -> torch.Tensor:
    r"""Return the relative loss of interpolating only the coarse points instead of all.

    Parameters
    ----------
    K : tensor, shape (n, n)
        Kernel matrix of the batch, the nugget on its diagonal.
    Y : tensor, shape (n, m) or (n,)
        Targets, floating-point numbers; one-hot rows for classes.
    halves : array_like of int or tensor, shape (n_halves, n_coarse) or (n_coarse,)
        Rows of the coarse subsets: at least one, not all, in each. They are checked on the host.

    Returns
    -------
    tensor, shape ()
        The value of `kflow.losses.rho`; 0 if all targets are 0.

    Notes
    -----
    :math:`\rho = 1 - \operatorname{tr}(Y_c^\top K_{cc}^{-1} Y_c) / \operatorname{tr}(Y^\top K^{-1} Y)`,
    averaged over the halves c (Owhadi and Yoo, J. Comp. Phys. 389 (2019), 22-47). One Cholesky
    factorisation of n rows, and one of n_coarse rows for each half, those of all halves as one batch.
    """
    k = _as_matrix(K)
    y, rows = as_targets(Y, len(k), k), halves_of(halves, len(k), k)
    # The scale of the targets cancels; large ones must not overflow when squared.
    largest = y.detach().abs().max()
    y = y / torch.where(largest > 0, largest, 1.0)
    fine = _forward(_cholesky(k), y).square().sum()
    coarse = _forward(_cholesky(_coarse(k, rows)), y[rows]).square().sum((1, 2)).mean()
    value = torch.where(fine > 0, 1 - coarse / torch.where(fine > 0, fine, 1.0), 0.0)
    return in_dtype_of(value, K)


def e2(K: torch.Tensor, Y: torch.Tensor, halves: Any) -> torch.Tensor:
    r"""Return the squared error of what the coarse points predict for the others.

    Parameters
    ----------
    K, Y, halves
        As for `rho`.

    Returns
    -------
    tensor, shape ()
        The value of `kflow.losses.e2`, a sum over rows, averaged over halves.

    Notes
    -----
    n_coarse^3 / 3 flops for each half.
    """
    k = _as_matrix(K)
    y, rows = as_targets(Y, len(k), k), halves_of(halves, len(k), k)
    residuals = (_predictions(k, y, rows) - y) * (1 - _inside(rows, k))[..., None]
    return in_dtype_of(residuals.square().sum((1, 2)).mean(), K)


def _inverse_factor(k: torch.Tensor) -> torch.Tensor:
    """Return L^-1, of which blocks of K^-1 are products: cross-validation consists of these."""
    return _forward(_cholesky(k), torch.eye(len(k), dtype=k.dtype, device=k.device))


def leave_one_out(K: torch.Tensor, Y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return leave-one-out residuals and variances, as `kflow.losses.leave_one_out` does.

    Parameters
    ----------
    K, Y
        As for `rho`.

    Returns
    -------
    residuals : tensor, the shape of Y
        Each row of Y minus its prediction from all other rows.
    variances : tensor, shape (n,)
        The variance of the Gaussian process at each row, given all other rows.

    Notes
    -----
    (K^-1 Y)_i / (K^-1)_ii and 1 / (K^-1)_ii (Rasmussen and Williams, Gaussian Processes for Machine
    Learning (2006), equation 5.12); 2 n^3 / 3 flops.
    """
    k = _as_matrix(K)
    y = as_targets(Y, len(k), k)
    w = _inverse_factor(k)
    variances = 1 / w.square().sum(0)
    residuals = (w.T @ (w @ y)) * variances[:, None]
    return in_dtype_of(residuals.reshape(Y.shape), K), in_dtype_of(variances, K)


def loo(K: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
    """Return the sum of squared leave-one-out residuals, see `leave_one_out`.

    Parameters
    ----------
    K, Y
        As for `rho`.

    Returns
    -------
    tensor, shape ()
        The value of `kflow.losses.loo`.
    """
    residuals = leave_one_out(_as_matrix(K), Y)[0]
    return in_dtype_of(residuals.square().sum(), K)


def kfold(K: torch.Tensor, Y: torch.Tensor, folds: Any) -> torch.Tensor:
    """Return the sum of squared residuals in cross-validation.

    Parameters
    ----------
    K, Y
        As for `rho`.
    folds : array_like of int or tensor, shape (n,)
        Number of each row's fold: 0 to k - 1, each at least once, k >= 2.

    Returns
    -------
    tensor, shape ()
        The value of `kflow.losses.kfold`.

    Notes
    -----
    With P = K^-1 the residuals of fold f are (P_ff)^-1 (P Y)_f. P_ff is a product of columns of L^-1,
    the factor's inverse; n^3 flops, and one Cholesky factorisation of n_f rows for each fold.
    """
    k = _as_matrix(K)
    y, parts = as_targets(Y, len(k), k), folds_of(folds, len(k), k)
    w = _inverse_factor(k)
    py = w.T @ (w @ y)
    total = k.new_zeros(())
    for rows in parts:
        own = w[:, rows]
        residuals = torch.cholesky_solve(py[rows], _cholesky(own.T @ own))
        total = total + residuals.square().sum()
    return in_dtype_of(total, K)


def nlml(K: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
    r"""Return the negative log marginal likelihood of Gaussian processes with covariance K.

    Parameters
    ----------
    K, Y
        As for `rho`.

    Returns
    -------
    tensor, shape ()
        The value of `kflow.losses.nlml`.

    Notes
    -----
    :math:`\tfrac12 \operatorname{tr}(Y^\top K^{-1} Y) + \tfrac m2 \log\det K + \tfrac{nm}{2} \log 2\pi`;
    n^3 / 3 flops.
    """
    k = _as_matrix(K)
    y = as_targets(Y, len(k), k)
    factor = _cholesky(k)
    log_det = 2 * factor.diagonal().log().sum()
    constant = log_det + len(k) * math.log(2 * math.pi)
    return in_dtype_of((_forward(factor, y).square().sum() + y.shape[1] * constant) / 2, K)


def mmd(K: torch.Tensor, Y: torch.Tensor | None, halves: Any) -> torch.Tensor:  # noqa: ARG001
    """Return the squared maximum mean discrepancy between the batch and a half of it.

    Parameters
    ----------
    K, halves
        As for `rho`; at least two rows in each half.
    Y : object
        Not used: the discrepancy is one of points, not of targets.

    Returns
    -------
    tensor, shape ()
        The value of `kflow.losses.mmd`, of any sign. The diagonal of K is left out.

    Notes
    -----
    A. Gretton et al., A kernel two-sample test, J. Mach. Learn. Res. 13 (2012), 723-773.
    """
    k = _as_matrix(K)
    n = len(k)
    rows = halves_of(halves, n, k, lowest=2)
    n_coarse = rows.shape[1]
    k = k - torch.diag(k.diagonal())
    fine = k.sum() / (n * (n - 1))
    coarse = _coarse(k, rows).sum((1, 2)).mean() / (n_coarse * (n_coarse - 1))
    across = k[:, rows].sum((0, 2)).mean() / (n_coarse * (n - 1))
    return in_dtype_of(fine + coarse - 2 * across, K)


def _rates(values: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """Return the mean logarithm of the distances of each half's pairs, (n_halves,)."""
    halves = torch.arange(len(values), device=values.device)[:, None]
    apart = values[halves, pairs[..., 0]] - values[halves, pairs[..., 1]]
    # The largest difference is divided by, so that squares neither overflow nor underflow.
    largest = apart.detach().abs().amax(-1)
    differ = largest > 0
    unit = torch.where(differ, largest, 1.0)
    squares = (apart / unit[..., None]).square().sum(-1)
    logarithms = torch.where(differ, squares, 1.0).log() / 2 + unit.log()
    return torch.where(differ, logarithms, math.log(_TINY)).mean(-1)


def lyapunov(K: torch.Tensor, Y: torch.Tensor, halves: Any, pairs: Any) -> torch.Tensor:
    """Return the squared difference between the divergence rates of a half's map and of the data.

    Parameters
    ----------
    K, Y, halves
        As for `rho`.
    pairs : array_like of int or tensor, shape (n_halves, n_pairs, 2) or (n_pairs, 2)
        Rows of neighbouring inputs, both outside the half, of different targets.

    Returns
    -------
    tensor, shape ()
        The value of `kflow.losses.lyapunov`.

    Notes
    -----
    n_coarse^3 / 3 flops for each half.
    """
    k = _as_matrix(K)
    y, rows = as_targets(Y, len(k), k), halves_of(halves, len(k), k)
    both = pairs_of(pairs, rows, y)
    difference = _rates(_predictions(k, y, rows), both) - _rates(y.expand(len(rows), -1, -1), both)
    return in_dtype_of(difference.square().mean(), K)


# By the names of `kflow.losses.LOSSES`, whose subsets they take, in the same order.
LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "rho": rho,
    "e2": e2,
    "loo": loo,
    "kfold": kfold,
    "nlml": nlml,
    "mmd": mmd,
    "lyapunov": lyapunov,
}
