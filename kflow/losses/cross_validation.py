"""Cross-validation: errors at points that are left out, one by one or fold by fold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow.engine import HOST
from kflow.engine.interface import NotPositiveDefinite
from kflow.engine.threads import resolve_n_threads
from kflow.losses.arguments import as_folds, as_kernel_matrix, as_targets
from kflow.losses.evaluate import Result, evaluate, singular_matrix_error

__all__ = ["kfold", "leave_one_out", "loo"]


def loo(
    K: npt.ArrayLike,
    Y: npt.ArrayLike,
    *,
    gradient: bool = True,
    n_threads: int | None = None,
) -> Result:
    """Return the sum of squared leave-one-out residuals.

    Row i's residual is Y_i minus its prediction from all other rows, see `leave_one_out`.

    Parameters
    ----------
    K, Y, gradient, n_threads
        As for `rho`.

    Returns
    -------
    value : float
        The loss, which is at least 0.
    gradient : ndarray, shape (n, n), float64, or None
        The gradient by the kernel matrix, as for `rho`.

    Raises
    ------
    SingularKernelError, TypeError, ValueError
        As for `rho`.

    Notes
    -----
    2 n^3 / 3 flops, with the gradient 2 n^3. It is `kfold` with n folds.
    """
    k = as_kernel_matrix(K)
    y = as_targets(Y, len(k))
    return evaluate("kfold", k, y, None, gradient=gradient, n_threads=n_threads)


def leave_one_out(
    K: npt.ArrayLike, Y: npt.ArrayLike, *, n_threads: int | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return leave-one-out residuals and variances.

    Parameters
    ----------
    K, Y, n_threads
        As for `rho`.

    Returns
    -------
    residuals : ndarray, the shape of Y, float64
        Y_i minus the prediction of row i from all other rows, (K^-1 Y)_i / (K^-1)_ii.
    variances : ndarray, shape (n,), float64
        1 / (K^-1)_ii, the variance that the Gaussian process of covariance K, nugget included, has
        at row i given all other rows.

    Raises
    ------
    SingularKernelError, TypeError, ValueError
        As for `rho`.

    Notes
    -----
    2 n^3 / 3 flops.

    References
    ----------
    C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning (2006),
    equation 5.12.
    """
    k = as_kernel_matrix(K)
    y = as_targets(Y, len(k))
    residuals, variances = np.empty_like(y), np.empty((len(k), 1))
    try:
        HOST.leave_one_out(k, y, residuals, variances, resolve_n_threads(n_threads))
    except NotPositiveDefinite as error:
        raise singular_matrix_error(error, len(k)) from None
    return residuals.reshape(np.shape(Y)), variances[:, 0]


def kfold(
    K: npt.ArrayLike,
    Y: npt.ArrayLike,
    folds: npt.ArrayLike,
    *,
    gradient: bool = True,
    n_threads: int | None = None,
) -> Result:
    """Return the sum of squared residuals in cross-validation.

    The residuals of a fold are its targets minus their predictions from all other rows.

    Parameters
    ----------
    K, Y, gradient, n_threads
        As for `rho`.
    folds : array_like of int, shape (n,)
        Number of each row's fold: 0 to k - 1, each at least once, k >= 2.

    Returns
    -------
    value : float
        The loss, which is at least 0.
    gradient : ndarray, shape (n, n), float64, or None
        The gradient by the kernel matrix, as for `rho`.

    Raises
    ------
    SingularKernelError, TypeError, ValueError
        As for `rho`.

    Notes
    -----
    All folds come from one inverse P: the residuals of fold f are e_f = (P_ff)^-1 (P Y)_f. With v_f
    = (P_ff)^-1 e_f, a = P Y and the block-diagonal B of the v_f e_f',
    G = P (B + B') P - (P v) a' - a (P v)'. n^3 flops and n_f^3 / 3 for each fold of n_f rows; the
    gradient costs n^2 sum_f min(2 m, n_f) more.
    """
    k = as_kernel_matrix(K)
    y, numbers = as_targets(Y, len(k)), as_folds(folds, len(k))
    return evaluate("kfold", k, y, numbers, gradient=gradient, n_threads=n_threads)
