"""The error of predictions from half of the points."""

from __future__ import annotations

import numpy.typing as npt

from kflow.losses.arguments import as_halves, as_kernel_matrix, as_targets
from kflow.losses.evaluate import Result, evaluate

__all__ = ["e2"]


def e2(
    K: npt.ArrayLike,
    Y: npt.ArrayLike,
    halves: npt.ArrayLike,
    *,
    gradient: bool = True,
    n_threads: int | None = None,
) -> Result:
    r"""Return the squared error of what the coarse points predict for the others.

    .. math:: e_2 = \lvert K_{pc} K_{cc}^{-1} Y_c - Y_p \rvert^2,

    the sum of squares over the rows p outside the half c, averaged over the halves.

    Parameters
    ----------
    K, Y, halves, gradient, n_threads
        As for `rho`.

    Returns
    -------
    value : float
        The loss, which is at least 0.
    gradient : ndarray, shape (n, n), float64, or None
        The gradient by the kernel matrix, as for `rho`.

    Raises
    ------
    SingularKernelError
        If some K_cc is numerically singular.
    TypeError, ValueError
        As for `rho`.

    Notes
    -----
    It takes n_coarse^3 / 3 flops for each half; K itself is not factored. With
    :math:`a = K_{cc}^{-1} Y_c`, :math:`R = K_{pc}\, a - Y_p` and :math:`B = K_{cc}^{-1} K_{cp} R`,

    .. math:: \mathrm d e_2 = 2 \langle R a^\top, \mathrm dK_{pc} \rangle
        - 2 \langle B a^\top, \mathrm dK_{cc} \rangle.
    """
    k = as_kernel_matrix(K)
    y, rows = as_targets(Y, len(k)), as_halves(halves, len(k))
    return evaluate("e2", k, y, rows, gradient=gradient, n_threads=n_threads)
