"""A list of kernels of many kinds, from which sparse kernel flows choose."""

from __future__ import annotations

from kflow._base.arguments import as_positive
from kflow.kernels import (
    Cauchy,
    Gaussian,
    InverseMultiquadric,
    Kernel,
    Laplacian,
    Linear,
    Matern32,
    Matern52,
    Periodic,
    Polynomial,
    RationalQuadratic,
)

__all__ = ["dictionary"]


def dictionary(length_scale: float = 1.0, *, period: float | None = None) -> list[Kernel]:
    """Return kernels of many kinds, from which `learn_sparse_kernel` takes a few.

    Parameters
    ----------
    length_scale : float
        Length scale of all kernels, in the units of the points: for example the median distance of
        the rows.
    period : float, optional
        Period of the periodic kernels; 4 `length_scale` if not given.

    Returns
    -------
    list of Kernel
        Gaussian, Laplacian, Matern, rational quadratic, inverse multiquadric and Cauchy kernels, a
        linear, a quadratic and a cubic one, a periodic and a locally periodic one. All are positive
        definite, or semi-definite, in every dimension.

    Examples
    --------
    >>> from kflow.timeseries import dictionary
    >>> dictionary(2.0)[:2]
    [Gaussian(length_scale=2), Laplacian(length_scale=2)]
    """
    length = as_positive(length_scale, "length_scale")
    repeat = 4.0 * length if period is None else as_positive(period, "period")
    return [
        Gaussian(length),
        Laplacian(length),
        Matern32(length),
        Matern52(length),
        RationalQuadratic(length),
        InverseMultiquadric(length),
        Cauchy(length),
        Linear(length),
        Polynomial(length, degree=2),
        Polynomial(length, degree=3),
        Periodic(1.0, repeat),
        Periodic(1.0, repeat) * Gaussian(2.0 * length),
    ]
