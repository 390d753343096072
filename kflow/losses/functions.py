"""Losses of a kernel: how well its values on a batch explain the targets there.

Every loss is a function of K = K(X, X) + nugget I and Y, and comes with its gradient G with respect
to K: whatever the kernel's parameters are, dL = sum_ij G_ij dK_ij. K must be symmetric; which of two
equal entries is read is not specified.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_flag
from kflow._base.array_types import FloatArray
from kflow.data.arrays import as_matrix
from kflow.engine import HOST
from kflow.engine.interface import NotPositiveDefinite
from kflow.engine.threads import resolve_n_threads
from kflow.errors import SingularKernelError

__all__ = [
    "LOSSES",
    "Loss",
    "e2",
    "get_loss",
    "kfold",
    "leave_one_out",
    "loo",
    "lyapunov",
    "mmd",
    "nlml",
    "rho",
]

_Result: TypeAlias = "tuple[float, FloatArray | None]"
_IntArray: TypeAlias = npt.NDArray[np.intp]


def _as_kernel_matrix(K: npt.ArrayLike, lowest: int = 1) -> FloatArray:
    k = as_matrix(K, "K", dtype=np.float64)
    if k.shape[0] != k.shape[1]:
        raise ValueError(
            f"K must be square, the kernel matrix of the batch's points; got shape {k.shape}"
        )
    if len(k) < lowest:
        raise ValueError(f"K must have at least {lowest} rows, got {len(k)}")
    return k


def _as_targets(Y: npt.ArrayLike, n: int) -> FloatArray:
    return as_matrix(Y, "Y", dtype=np.float64, n_rows=n, column_if_1d=True)


def _as_integers(value: npt.ArrayLike, name: str, what: str) -> npt.NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} has no rectangular shape: {error}") from None
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold {what}, got dtype {array.dtype}")
    return array


def _as_halves(halves: npt.ArrayLike, n: int, lowest: int = 1) -> _IntArray:
    """Return coarse subsets as (n_halves, n_coarse) row numbers."""
    array = _as_integers(halves, "halves", "row numbers of K")
    rows = array[None, :] if array.ndim == 1 else array
    if rows.ndim != 2 or len(rows) == 0:
        raise ValueError(
            f"halves must have shape (n_halves, n_coarse) or (n_coarse,), got {array.shape}"
        )
    if not lowest <= rows.shape[1] < n:
        raise ValueError(
            f"each of the halves must name at least {lowest} and fewer than all {n} rows of K, "
            f"got {rows.shape[1]}"
        )
    if rows.min() < 0 or rows.max() >= n:
        raise ValueError(f"halves names a row outside 0..{n - 1}")
    ordered = np.sort(rows, axis=1)
    twice = np.argwhere(ordered[:, 1:] == ordered[:, :-1])
    if len(twice):
        h, i = twice[0]
        raise ValueError(f"halves names row {ordered[h, i]} twice in half {h}")
    return np.require(rows, np.intp, ["C", "A"])


def _as_folds(folds: npt.ArrayLike, n: int) -> _IntArray:
    numbers = _as_integers(folds, "folds", "the number of each row's fold")
    if numbers.shape != (n,):
        raise ValueError(f"folds must have shape ({n},), got {numbers.shape}")
    if numbers.min() < 0 or numbers.max() >= n:
        raise ValueError(f"folds must be numbers from 0 to at most {n - 1}")
    counts = np.bincount(numbers.astype(np.intp))
    if not counts.all():
        raise ValueError(
            f"folds leaves out number {int(np.argmin(counts))}: number the folds 0, 1, 2, ..."
        )
    if len(counts) < 2:
        raise ValueError("folds must name at least 2 folds")
    return np.require(numbers, np.intp, ["C", "A"])


def _as_pairs(pairs: npt.ArrayLike, halves: _IntArray, y: FloatArray) -> _IntArray:
    """Return pairs as (n_halves n_pairs, 2) row numbers, those of the first half first."""
    array = _as_integers(pairs, "pairs", "row numbers of K")
    n_halves, n = len(halves), len(y)
    rows = np.broadcast_to(array, (n_halves, *array.shape)) if array.ndim == 2 else array
    if rows.ndim != 3 or rows.shape[0] != n_halves or rows.shape[1] == 0 or rows.shape[2] != 2:
        raise ValueError(
            f"pairs must have shape ({n_halves}, n_pairs, 2) or (n_pairs, 2), got {array.shape}"
        )
    if rows.min() < 0 or rows.max() >= n:
        raise ValueError(f"pairs names a row outside 0..{n - 1}")
    inside = np.zeros((n_halves, n), bool)
    np.put_along_axis(inside, halves, True, axis=1)
    wrong = np.argwhere(inside[np.arange(n_halves)[:, None, None], rows])
    if len(wrong):
        h, k, side = wrong[0]
        raise ValueError(
            f"pairs names row {rows[h, k, side]}, which is in half {h}: its target is no prediction"
        )
    equal = np.argwhere((y[rows[..., 0]] == y[rows[..., 1]]).all(axis=-1))
    if len(equal):
        h, k = equal[0]
        raise ValueError(
            f"pairs names rows {rows[h, k, 0]} and {rows[h, k, 1]}, whose targets are equal: "
            "their distance has no logarithm, leave out that pair"
        )
    return np.require(rows.reshape(-1, 2), np.intp, ["C", "A"])


def _singular(error: NotPositiveDefinite, n: int) -> SingularKernelError:
    first, second = error.args
    if first >= 0:
        reason = f"its points {first} and {second} are the same to the kernel"
        remedy = "remove duplicates, or pass a larger nugget"
    else:
        reason = "its points are too close together for the kernel"
        remedy = "pass a larger nugget, or a kernel with a shorter length scale"
    return SingularKernelError(
        f"the kernel matrix of {n} points is numerically singular: {reason}; {remedy}"
    )


def _evaluate(
    name: str,
    k: FloatArray,
    *arguments: FloatArray | _IntArray | None,
    gradient: bool,
    n_threads: int | None,
) -> _Result:
    out = np.empty_like(k) if as_flag(gradient, "gradient") else None
    try:
        return HOST.loss(name, k, arguments, out, resolve_n_threads(n_threads)), out
    except NotPositiveDefinite as error:
        raise _singular(error, len(k)) from None


def rho(
    K: npt.ArrayLike,
    Y: npt.ArrayLike,
    halves: npt.ArrayLike,
    *,
    gradient: bool = True,
    n_threads: int | None = None,
) -> _Result:
    """Return what is lost when only the coarse points are interpolated.

        rho = 1 - tr(Y_c' K_cc^-1 Y_c) / tr(Y' K^-1 Y),

    the squared RKHS distance between the two interpolants over the squared norm of the fine one,
    averaged over the halves c.

    Parameters
    ----------
    K : array_like, shape (n, n)
        Kernel matrix of the batch, symmetric, the nugget on its diagonal; computed with in float64.
    Y : array_like, shape (n, m) or (n,)
        Targets; one-hot rows for classes (`kflow.one_hot`).
    halves : array_like of int, shape (n_halves, n_coarse) or (n_coarse,)
        Rows of the coarse subsets: at least one, not all, in each.
    gradient : bool
        Compute the gradient, too.
    n_threads : int, optional
        Threads; see `kflow.get_num_threads`. The result does not depend on it.

    Returns
    -------
    value : float
        In [0, 1], whatever the scale of the targets; 0 if all of them are 0.
    gradient : ndarray, shape (n, n), float64, or None
        The symmetric G with d value = sum_ij G_ij dK_ij for every symmetric dK.

    Raises
    ------
    SingularKernelError
        If K is numerically singular, as with duplicate points and no nugget.
    TypeError, ValueError
        For arguments of the wrong kind or shape, naming them.

    Notes
    -----
    One Cholesky factorisation, n^3 / 3 flops, and one of n_coarse rows for each half but the first.
    With D = tr(Y' K^-1 Y), y = K^-1 Y, and z = K_cc^-1 Y_c on the coarse rows and zero elsewhere,
    G = -((1 - rho) y y' - z z') / D for one half: 2 n^2 m flops more, for each.

    References
    ----------
    H. Owhadi and G. R. Yoo, Kernel Flows: from learning kernels from data into the abyss,
    J. Comp. Phys. 389 (2019), 22-47.

    Examples
    --------
    >>> from kflow import losses
    >>> value, gradient = losses.rho([[1.0, 0.5], [0.5, 1.0]], [1.0, 1.0], [0])
    >>> round(value, 12), gradient.round(12)
    (0.25, array([[ 0.5 , -0.25],
           [-0.25, -0.25]]))
    """
    k = _as_kernel_matrix(K)
    y, rows = _as_targets(Y, len(k)), _as_halves(halves, len(k))
    return _evaluate("rho", k, y, rows, gradient=gradient, n_threads=n_threads)


def e2(
    K: npt.ArrayLike,
    Y: npt.ArrayLike,
    halves: npt.ArrayLike,
    *,
    gradient: bool = True,
    n_threads: int | None = None,
) -> _Result:
    """Return the squared error of what the coarse points predict for the others.

        e2 = |Y_p - K_pc K_cc^-1 Y_c|^2,

    the sum of squares over the rows p outside the half c, averaged over the halves.

    Parameters
    ----------
    K, Y, halves, gradient, n_threads
        As for `rho`.

    Returns
    -------
    value : float
        At least 0.
    gradient : ndarray, shape (n, n), float64, or None
        As for `rho`.

    Raises
    ------
    SingularKernelError
        If some K_cc is numerically singular.
    TypeError, ValueError
        As for `rho`.

    Notes
    -----
    n_coarse^3 / 3 flops for each half; K itself is not factored. With a = K_cc^-1 Y_c, R = K_pc a -
    Y_p and B = K_cc^-1 K_cp R, d e2 = 2 <R a', dK_pc> - 2 <B a', dK_cc>.
    """
    k = _as_kernel_matrix(K)
    y, rows = _as_targets(Y, len(k)), _as_halves(halves, len(k))
    return _evaluate("e2", k, y, rows, gradient=gradient, n_threads=n_threads)


def loo(
    K: npt.ArrayLike,
    Y: npt.ArrayLike,
    *,
    gradient: bool = True,
    n_threads: int | None = None,
) -> _Result:
    """Return the sum of squared leave-one-out residuals.

    Row i's residual is Y_i minus its prediction from all other rows, see `leave_one_out`.

    Parameters
    ----------
    K, Y, gradient, n_threads
        As for `rho`.

    Returns
    -------
    value : float
        At least 0.
    gradient : ndarray, shape (n, n), float64, or None
        As for `rho`.

    Raises
    ------
    SingularKernelError, TypeError, ValueError
        As for `rho`.

    Notes
    -----
    2 n^3 / 3 flops, with the gradient 2 n^3. It is `kfold` with n folds.
    """
    k = _as_kernel_matrix(K)
    y = _as_targets(Y, len(k))
    return _evaluate("kfold", k, y, None, gradient=gradient, n_threads=n_threads)


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
    k = _as_kernel_matrix(K)
    y = _as_targets(Y, len(k))
    residuals, variances = np.empty_like(y), np.empty((len(k), 1))
    try:
        HOST.leave_one_out(k, y, residuals, variances, resolve_n_threads(n_threads))
    except NotPositiveDefinite as error:
        raise _singular(error, len(k)) from None
    return residuals.reshape(np.shape(Y)), variances[:, 0]


def kfold(
    K: npt.ArrayLike,
    Y: npt.ArrayLike,
    folds: npt.ArrayLike,
    *,
    gradient: bool = True,
    n_threads: int | None = None,
) -> _Result:
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
        At least 0.
    gradient : ndarray, shape (n, n), float64, or None
        As for `rho`.

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
    k = _as_kernel_matrix(K)
    y, numbers = _as_targets(Y, len(k)), _as_folds(folds, len(k))
    return _evaluate("kfold", k, y, numbers, gradient=gradient, n_threads=n_threads)


def nlml(
    K: npt.ArrayLike,
    Y: npt.ArrayLike,
    *,
    gradient: bool = True,
    n_threads: int | None = None,
) -> _Result:
    """Return the negative log marginal likelihood of Gaussian processes with covariance K.

        nlml = (tr(Y' K^-1 Y) + m log det K + n m log 2 pi) / 2,

    that of m independent ones, one for each column of Y.

    Parameters
    ----------
    K, Y, gradient, n_threads
        As for `rho`.

    Returns
    -------
    value : float
        Of any sign.
    gradient : ndarray, shape (n, n), float64, or None
        As for `rho`.

    Raises
    ------
    SingularKernelError, TypeError, ValueError
        As for `rho`.

    Notes
    -----
    n^3 / 3 flops, with the gradient (m K^-1 - a a') / 2, a = K^-1 Y, three times as many.
    """
    k = _as_kernel_matrix(K)
    y = _as_targets(Y, len(k))
    return _evaluate("nlml", k, y, gradient=gradient, n_threads=n_threads)


def mmd(
    K: npt.ArrayLike,
    Y: npt.ArrayLike | None,  # noqa: ARG001
    halves: npt.ArrayLike,
    *,
    gradient: bool = True,
    n_threads: int | None = None,
) -> _Result:
    """Return the squared maximum mean discrepancy between the batch and a half of it.

    The mean of K_ij over the batch, plus that over the half, minus twice that over i in the batch
    and j in the half; averaged over the halves. All means leave out i = j: the diagonal holds the
    nugget, and without it the mean over all possible halves is 0.

    Parameters
    ----------
    K, gradient, n_threads
        As for `rho`.
    Y : object
        Not used: the discrepancy is one of points, not of targets.
    halves : array_like of int, shape (n_halves, n_coarse) or (n_coarse,)
        Rows of the coarse subsets: at least two, not all, in each.

    Returns
    -------
    value : float
        Of any sign, as an unbiased estimate of something that can be 0 is.
    gradient : ndarray, shape (n, n), float64, or None
        As for `rho`. It does not depend on the values of K.

    Raises
    ------
    TypeError, ValueError
        As for `rho`.

    Notes
    -----
    2 n^2 n_halves flops.

    References
    ----------
    A. Gretton et al., A kernel two-sample test, J. Mach. Learn. Res. 13 (2012), 723-773.
    """
    k = _as_kernel_matrix(K)
    rows = _as_halves(halves, len(k), lowest=2)
    return _evaluate("mmd", k, rows, gradient=gradient, n_threads=n_threads)


def lyapunov(
    K: npt.ArrayLike,
    Y: npt.ArrayLike,
    halves: npt.ArrayLike,
    pairs: npt.ArrayLike,
    *,
    gradient: bool = True,
    n_threads: int | None = None,
) -> _Result:
    """Return the squared difference between the divergence rates of a half's map and of the data.

    Of a map x -> y, neighbouring inputs x_i, x_j diverge at the rate log |y_i - y_j| / |x_i - x_j|;
    its mean over pairs (i, j) is the largest Lyapunov exponent at a finite size, in one step. With
    the predictions u = K_pc K_cc^-1 Y_c of the half c in place of the targets, the inputs cancel:

        lyapunov = (mean log |u_i - u_j| - mean log |Y_i - Y_j|)^2,

    averaged over the halves.

    Parameters
    ----------
    K, Y, halves, gradient, n_threads
        As for `rho`.
    pairs : array_like of int, shape (n_halves, n_pairs, 2) or (n_pairs, 2)
        Rows of neighbouring inputs, both outside the half; with one dimension less the same pairs
        for every half.

    Returns
    -------
    value : float
        At least 0, whatever the scale of the targets. Predictions that coincide count as being the
        smallest normal number apart.
    gradient : ndarray, shape (n, n), float64, or None
        As for `rho`.

    Raises
    ------
    SingularKernelError
        If some K_cc is numerically singular.
    TypeError, ValueError
        As for `rho`, and for pairs whose targets are equal, naming them.

    Notes
    -----
    n_coarse^3 / 3 flops for each half.
    """
    k = _as_kernel_matrix(K)
    y, rows = _as_targets(Y, len(k)), _as_halves(halves, len(k))
    both = _as_pairs(pairs, rows, y)
    return _evaluate("lyapunov", k, y, rows, both, gradient=gradient, n_threads=n_threads)


@dataclass(frozen=True)
class Loss:
    """A loss, and what it is to be given.

    Attributes
    ----------
    function : callable
        ``function(K, Y, *subsets, gradient=True, n_threads=None) -> (value, gradient)``.
    subsets : tuple of str
        Which subsets of the batch the function takes, in order: "halves", "pairs", "folds".
    lowest_coarse : int
        Rows that a half must have at least.
    """

    function: Callable[..., _Result]
    subsets: tuple[str, ...] = ()
    lowest_coarse: int = 1


LOSSES: dict[str, Loss] = {
    "rho": Loss(rho, ("halves",)),
    "e2": Loss(e2, ("halves",)),
    "loo": Loss(loo),
    "kfold": Loss(kfold, ("folds",)),
    "nlml": Loss(nlml),
    "mmd": Loss(mmd, ("halves",), lowest_coarse=2),
    "lyapunov": Loss(lyapunov, ("halves", "pairs")),
}


def get_loss(name: str) -> Loss:
    """Look a loss up.

    Parameters
    ----------
    name : str
        Key of ``LOSSES``, a dict of all of them.

    Returns
    -------
    Loss

    Raises
    ------
    ValueError
        If there is no such loss, naming those there are.
    """
    if not isinstance(name, str) or name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(map(repr, LOSSES))}, got {name!r}")
    return LOSSES[name]
