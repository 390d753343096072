"""The loss of an interpolant when half of the points are left out."""

from __future__ import annotations

import numpy.typing as npt

from kflow.losses.arguments import as_halves, as_kernel_matrix, as_targets
from kflow.losses.evaluate import Result, evaluate

__all__ = ["rho"]


def rho(
    K: npt.ArrayLike,
    Y: npt.ArrayLike,
    halves: npt.ArrayLike,
    *,
    gradient: bool = True,
    n_threads: int | None = None,
) -> Result:
    r"""Return the relative loss of interpolating only the coarse points instead of all.

    .. math:: \rho = 1 - \frac{\operatorname{tr}(Y_c^\top K_{cc}^{-1} Y_c)}{\operatorname{tr}(Y^\top K^{-1} Y)},

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
    It takes one Cholesky factorisation, n^3 / 3 flops, and one of n_coarse rows for each half but the
    first. With :math:`D = \operatorname{tr}(Y^\top K^{-1} Y)`, :math:`\hat y = K^{-1} Y`, and
    :math:`\hat z = K_{cc}^{-1} Y_c` on the coarse rows and zero elsewhere, the gradient for one half is
    :math:`G = -((1 - \rho)\, \hat y \hat y^\top - \hat z \hat z^\top) / D`, which takes 2 n^2 m flops more.

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
    k = as_kernel_matrix(K)
    y, rows = as_targets(Y, len(k)), as_halves(halves, len(k))
    return evaluate("rho", k, y, rows, gradient=gradient, n_threads=n_threads)
