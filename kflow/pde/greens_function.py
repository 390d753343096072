"""Green's functions of -(b u')' as kernels, with all derivatives: an example of one's own kernel.

S increases, so that S(min(x, y)) = min(S(x), S(y)). A derivative with respect to the matrix is carried
to S, and from S to the weights of log b and to the points.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count
from kflow._base.array_types import Doubles, FloatArray
from kflow.data.arrays import as_matrix
from kflow.kernels import FunctionKernel
from kflow.pde.conductivity import Integral, log_conductivity
from kflow.pde.observations import Function, evaluated

__all__ = ["greens_kernel", "true_greens_kernel"]


def greens_kernel(
    n_modes: int = 64,
    weights: npt.ArrayLike | None = None,
    *,
    bounds: tuple[float, float] = (-10.0, 10.0),
) -> FunctionKernel:
    """Return the Green's function of u -> -(b u')' on [0, 1] with zero boundary values.

    Parameters
    ----------
    n_modes : int
        Modes of log b.
    weights : array_like, shape (2, n_modes), optional
        W^c and W^s, from which learning starts. None: zeros, b = 1.
    bounds : (lower, upper)
        Bounds of each weight in learning.

    Returns
    -------
    kflow.kernels.FunctionKernel
        With the parameters ``cosine_weights`` and ``sine_weights``, (n_modes,) each, which are real
        and learned as they are, and with all derivatives. Points are columns of numbers in [0, 1].

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or shape, naming it; when used, if a point is outside
        [0, 1], or the weights are so large that 1/b cannot be resolved.

    Notes
    -----
    1/b is periodic and smooth, so that the equidistant grid gives its Fourier coefficients, and with
    them S, to rounding errors: the grid is doubled until what it leaves out is below 1e-14 of the
    maximum. K and its derivatives are then exact to about 1e-13 max(1/b).

    With M points on the grid (8 n_modes, or more if b varies much) an evaluation costs
    O(M log M + n M + n^2), and so do all derivatives together, by way of dLoss/dS.

    Examples
    --------
    >>> import numpy as np
    >>> from kflow.pde import greens_kernel
    >>> x = np.array([[0.25], [0.5]])
    >>> np.round(greens_kernel()(x), 12)  # b = 1: min(x, y) (1 - max(x, y))
    array([[0.1875, 0.125 ],
           [0.125 , 0.25  ]])
    """
    n_modes = as_count(n_modes, "n_modes", 1)
    if weights is None:
        cosine_weights, sine_weights = np.zeros((2, n_modes))
    else:
        given = as_matrix(weights, "weights", dtype=np.float64, n_rows=2, n_columns=n_modes)
        cosine_weights, sine_weights = given
    return FunctionKernel(
        _greens_function,
        {"cosine_weights": cosine_weights, "sine_weights": sine_weights},
        positive=(),
        bounds={"cosine_weights": bounds, "sine_weights": bounds},
        gradient=_gradient,
        points_gradient=_points_gradient,
        diagonal=_diagonal,
    )


def true_greens_kernel(truth: Function, n_modes: int = 128) -> FunctionKernel:
    """Return the Green's function of a known conductivity, for comparison.

    Parameters
    ----------
    truth : callable
        The function a, of arrays in [0, 1], periodic; it is divided by its geometric mean.
    n_modes : int
        Modes of log a, which are interpolated at 4 n_modes points.

    Returns
    -------
    kflow.kernels.FunctionKernel

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, naming it.
    """
    n_modes = as_count(n_modes, "n_modes", 1)
    size = 4 * n_modes
    spectrum = 2.0 * np.fft.rfft(np.log(evaluated(truth, np.arange(size) / size))) / size
    wanted = spectrum[1 : n_modes + 1]
    return greens_kernel(n_modes, [wanted.real, -wanted.imag])


def _greens_function(
    X: FloatArray, Z: FloatArray, cosine_weights: Doubles, sine_weights: Doubles
) -> Doubles:
    """Return K_b(X, Z)."""
    at_x = Integral(X, cosine_weights, sine_weights)
    at_z = at_x if Z is X else Integral(Z, cosine_weights, sine_weights)
    # S increases: S(min(x, z)) = min(S(x), S(z)).
    lower = np.minimum(at_x.values[:, None], at_z.values)
    upper = np.maximum(at_x.values[:, None], at_z.values)
    matrix: Doubles = lower * (at_x.total - upper) / at_x.total
    return matrix


def _diagonal(X: FloatArray, cosine_weights: Doubles, sine_weights: Doubles) -> Doubles:
    """Return K_b(x, x)."""
    integral = Integral(X, cosine_weights, sine_weights)
    return integral.values * (integral.total - integral.values) / integral.total


def _gradient(
    X: FloatArray, G: FloatArray, cosine_weights: Doubles, sine_weights: Doubles
) -> dict[str, Doubles]:
    """Return sum_ij G_ij dK_ij / dweights."""
    integral = Integral(X, cosine_weights, sine_weights)
    cosine, sine = integral.pull_back(*_matrix_to_integral(G, integral.values, integral.total))
    return {"cosine_weights": cosine, "sine_weights": sine}


def _points_gradient(
    X: FloatArray, G: FloatArray, cosine_weights: Doubles, sine_weights: Doubles
) -> Doubles:
    """Return sum_ij G_ij dK_ij / dX: dS/dx is 1/b."""
    integral = Integral(X, cosine_weights, sine_weights)
    d_s, _ = _matrix_to_integral(G, integral.values, integral.total)
    return d_s[:, None] * np.exp(-log_conductivity(X, cosine_weights, sine_weights))


def _matrix_to_integral(G: FloatArray, s: Doubles, total: float) -> tuple[Doubles, float]:
    """Return dLoss / dS(x_i) and dLoss / dS(1), given G = dLoss / dK, symmetric.

    K_ij = min(s_i, s_j) - s_i s_j / S(1). Where s_i = s_j the minimum has a kink, on the diagonal
    for one: there sign(0) = 0 takes the mean of both sides, which is right for the diagonal, whose
    two arguments move together.
    """
    G_s = (G * s).sum(axis=1)
    d_s = (G * (1.0 + np.sign(s - s[:, None]))).sum(axis=1) - 2.0 * G_s / total
    return d_s, float((s * G_s).sum()) / total**2
