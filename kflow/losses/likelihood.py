"""The likelihood of a Gaussian process."""

from __future__ import annotations

import numpy.typing as npt

from kflow.losses.arguments import as_kernel_matrix, as_targets
from kflow.losses.evaluate import Result, evaluate

__all__ = ["nlml"]


def nlml(
    K: npt.ArrayLike,
    Y: npt.ArrayLike,
    *,
    gradient: bool = True,
    n_threads: int | None = None,
) -> Result:
    r"""Return the negative log marginal likelihood of Gaussian processes with covariance K.

    .. math::

        \tfrac12 \operatorname{tr}(Y^\top K^{-1} Y) + \tfrac m2 \log\det K + \tfrac{nm}{2} \log 2\pi,

    that of m independent ones, one for each column of Y.

    Parameters
    ----------
    K, Y, gradient, n_threads
        As for `rho`.

    Returns
    -------
    value : float
        The loss, which may have either sign.
    gradient : ndarray, shape (n, n), float64, or None
        The gradient by the kernel matrix, as for `rho`.

    Raises
    ------
    SingularKernelError, TypeError, ValueError
        As for `rho`.

    Notes
    -----
    It takes n^3 / 3 flops. The gradient is :math:`\tfrac12 (m K^{-1} - \alpha \alpha^\top)` with
    :math:`\alpha = K^{-1} Y`; with it, the loss takes three times as many.
    """
    k = as_kernel_matrix(K)
    y = as_targets(Y, len(k))
    return evaluate("nlml", k, y, gradient=gradient, n_threads=n_threads)
