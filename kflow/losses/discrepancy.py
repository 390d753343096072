"""The discrepancy between a batch and half of it, as two samples."""

from __future__ import annotations

import numpy.typing as npt

from kflow.losses.arguments import as_halves, as_kernel_matrix
from kflow.losses.evaluate import Result, evaluate

__all__ = ["mmd"]


def mmd(
    K: npt.ArrayLike,
    Y: npt.ArrayLike | None,  # noqa: ARG001
    halves: npt.ArrayLike,
    *,
    gradient: bool = True,
    n_threads: int | None = None,
) -> Result:
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
        Of any sign, because it is an unbiased estimate of a number that can be 0.
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
    k = as_kernel_matrix(K)
    rows = as_halves(halves, len(k), lowest=2)
    return evaluate("mmd", k, rows, gradient=gradient, n_threads=n_threads)
