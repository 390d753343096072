"""How fast neighbours diverge under a map: the Lyapunov exponent, in one step."""

from __future__ import annotations

import numpy.typing as npt

from kflow.losses.arguments import as_halves, as_kernel_matrix, as_pairs, as_targets
from kflow.losses.evaluate import Result, evaluate

__all__ = ["lyapunov"]


def lyapunov(
    K: npt.ArrayLike,
    Y: npt.ArrayLike,
    halves: npt.ArrayLike,
    pairs: npt.ArrayLike,
    *,
    gradient: bool = True,
    n_threads: int | None = None,
) -> Result:
    r"""Return the squared difference between the divergence rates of a half's map and of the data.

    Of a map x -> y, neighbouring inputs x_i, x_j diverge at the rate log |y_i - y_j| / |x_i - x_j|;
    its mean over pairs (i, j) is the largest Lyapunov exponent at a finite size, in one step. With
    the predictions :math:`u = K_{pc} K_{cc}^{-1} Y_c` of the half c in place of the targets, the inputs
    cancel:

    .. math::

        (\operatorname{mean} \log \lvert u_i - u_j \rvert - \operatorname{mean} \log \lvert Y_i - Y_j \rvert)^2,

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
        At least 0, independent of the scale of the targets. The distance of predictions that coincide
        is taken as the smallest normal number.
    gradient : ndarray, shape (n, n), float64, or None
        The gradient by the kernel matrix, as for `rho`.

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
    k = as_kernel_matrix(K)
    y, rows = as_targets(Y, len(k)), as_halves(halves, len(k))
    both = as_pairs(pairs, rows, y)
    return evaluate("lyapunov", k, y, rows, both, gradient=gradient, n_threads=n_threads)
