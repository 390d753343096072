"""Learning the conductivity of -(a u')' = f from values of u, and an example of one's own kernel.

The kernels are Green's functions. For a conductivity b > 0 on [0, 1] let S(x) be the integral of
1/b from 0 to x. Then -(b u')' = f with u(0) = u(1) = 0 has the solution u(x) = int K_b(x, y) f(y) dy
with

    K_b(x, y) = S(min(x, y)) (S(1) - S(max(x, y))) / S(1),

and the conductivities are b = exp(sum_i W^c_i cos 2 pi i x + W^s_i sin 2 pi i x), i = 1, ..., n_modes.

`greens_kernel` is also meant to be read: it shows how a kernel of one's own, with derivatives, is
made of a few functions of arrays. What it takes is a function ``k(X, Z, **parameters)``, and what
makes it fast is the chain rule in reverse: G = dLoss/dK is carried to S, and from S to the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kflow import losses
from kflow._base.arguments import as_count, as_generator, as_nugget
from kflow._base.array_types import FloatArray
from kflow.data.arrays import as_matrix
from kflow.kernels import FunctionKernel, Kernel, check_kernel
from kflow.learning import learn_kernel
from kflow.learning.run import Callback

__all__ = [
    "LearnedConductivity",
    "conductivity_errors",
    "example_problem",
    "greens_kernel",
    "half_errors",
    "learn_conductivity",
    "log_conductivity",
    "true_greens_kernel",
]

Vector: TypeAlias = npt.NDArray[np.float64]
Waves: TypeAlias = npt.NDArray[np.complex128]
Function: TypeAlias = Callable[..., Any]

# Fourier coefficients of 1/b below this part of its maximum are left out.
_RESOLVED = 1e-14
_LARGEST_GRID = 2**16
# Points of the grid on which conductivities are compared.
_N_COMPARED = 1024


# ---- the kernel ---------------------------------------------------------------------------------


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
        and learnt as they are, and with all derivatives. Points are columns of numbers in [0, 1].

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


def _greens_function(
    X: FloatArray, Z: FloatArray, cosine_weights: Vector, sine_weights: Vector
) -> Vector:
    """Return K_b(X, Z)."""
    at_x = _Integral(X, cosine_weights, sine_weights)
    at_z = at_x if Z is X else _Integral(Z, cosine_weights, sine_weights)
    # S increases: S(min(x, z)) = min(S(x), S(z)).
    lower = np.minimum(at_x.values[:, None], at_z.values)
    upper = np.maximum(at_x.values[:, None], at_z.values)
    matrix: Vector = lower * (at_x.total - upper) / at_x.total
    return matrix


def _diagonal(X: FloatArray, cosine_weights: Vector, sine_weights: Vector) -> Vector:
    """Return K_b(x, x)."""
    integral = _Integral(X, cosine_weights, sine_weights)
    return integral.values * (integral.total - integral.values) / integral.total


def _gradient(
    X: FloatArray, G: FloatArray, cosine_weights: Vector, sine_weights: Vector
) -> dict[str, Vector]:
    """Return sum_ij G_ij dK_ij / dweights."""
    integral = _Integral(X, cosine_weights, sine_weights)
    cosine, sine = integral.pull_back(*_matrix_to_integral(G, integral.values, integral.total))
    return {"cosine_weights": cosine, "sine_weights": sine}


def _points_gradient(
    X: FloatArray, G: FloatArray, cosine_weights: Vector, sine_weights: Vector
) -> Vector:
    """Return sum_ij G_ij dK_ij / dX: dS/dx is 1/b."""
    integral = _Integral(X, cosine_weights, sine_weights)
    d_s, _ = _matrix_to_integral(G, integral.values, integral.total)
    return d_s[:, None] * np.exp(-log_conductivity(X, cosine_weights, sine_weights))


def _matrix_to_integral(G: FloatArray, s: Vector, total: float) -> tuple[Vector, float]:
    """Return dLoss / dS(x_i) and dLoss / dS(1), given G = dLoss / dK, symmetric.

    K_ij = min(s_i, s_j) - s_i s_j / S(1). Where s_i = s_j the minimum has a kink, on the diagonal
    for one: there sign(0) = 0 takes the mean of both sides, which is right for the diagonal, whose
    two arguments move together.
    """
    G_s = (G * s).sum(axis=1)
    d_s = (G * (1.0 + np.sign(s - s[:, None]))).sum(axis=1) - 2.0 * G_s / total
    return d_s, float((s * G_s).sum()) / total**2


# ---- the integral of 1/b ------------------------------------------------------------------------


def log_conductivity(
    x: npt.ArrayLike, cosine_weights: npt.ArrayLike, sine_weights: npt.ArrayLike
) -> Vector:
    """Return log b(x).

    Parameters
    ----------
    x : array_like
        Where.
    cosine_weights, sine_weights : array_like, shape (n_modes,)
        W^c and W^s: the parameters of `greens_kernel`.

    Returns
    -------
    ndarray, shape of x
        Its mean over [0, 1] is 0.
    """
    points = np.asarray(x, np.float64)
    pair = np.array([cosine_weights, sine_weights], np.float64)
    return _log_conductivities(points.ravel(), pair[None]).reshape(points.shape)


def _log_conductivities(x: Vector, weights: Vector) -> Vector:
    """Return log b(x) for weights (n, 2, n_modes), as (n, len(x))."""
    waves = _waves(x, weights.shape[2])
    values: Vector = np.einsum("nk,xk->nx", weights[:, 0] - 1j * weights[:, 1], waves).real
    return values


class _Integral:
    """S(x) = int_0^x dt / b(t) at points, and how derivatives with respect to it reach the weights.

    With the Fourier coefficients c_k of 1/b and e_k(x) = exp(2 pi i k x),

        S(x) = c_0 x + sum_{k != 0} c_k (e_k(x) - 1) / (2 pi i k).

    Sums are einsum's, which calls no BLAS: results do not depend on its threads.

    Attributes
    ----------
    values : ndarray, shape (n,)
        S at the points.
    total : float
        S(1).
    """

    def __init__(self, X: FloatArray, cosine_weights: Vector, sine_weights: Vector) -> None:
        self._n_modes = len(cosine_weights)
        self._reciprocal, coefficients = _reciprocal(cosine_weights, sine_weights)
        self._x = _as_points(X)
        self._k = np.arange(1, len(coefficients) - 1)
        self._waves = _waves(self._x, len(self._k))
        # Those of negative k are the conjugates of the others: the sum over k > 0 is doubled.
        terms = coefficients[1:-1] / (1j * np.pi * self._k)
        oscillation = np.einsum("nk,k->n", self._waves, terms) - terms.sum()
        self.total = float(coefficients[0].real)
        self.values: Vector = self.total * self._x + oscillation.real

    def pull_back(self, d_s: Vector, d_total: float) -> tuple[Vector, Vector]:
        """Return dLoss / dW^c and dLoss / dW^s, given dLoss / dS(x_i) and dLoss / dS(1).

        dS(x)/dW = -int_0^x phi / b for a mode phi, so that what is wanted is -int q phi / b for all
        of them at once, where q(t) is the sum of dLoss / dS(x_i) over x_i > t, and dLoss / dS(1).
        Of q only the Fourier coefficients matter that 1/b times a mode has, too.
        """
        size = len(self._reciprocal)
        q = np.zeros(size // 2 + 1, np.complex128)
        q[0] = (d_s * self._x).sum() + d_total
        sums = np.einsum("n,nk->k", d_s, self._waves).conj() - d_s.sum()
        q[1:-1] = sums / (-2j * np.pi * self._k)
        integrand = np.fft.irfft(size * q, size) * self._reciprocal
        result = -np.fft.rfft(integrand)[1 : self._n_modes + 1] / size
        return result.real, -result.imag


def _reciprocal(cosine_weights: Vector, sine_weights: Vector) -> tuple[Vector, Waves]:
    """Return 1/b on an equidistant grid that resolves it, and its Fourier coefficients, k >= 0."""
    n_modes = len(cosine_weights)
    spectrum = np.concatenate([[0.0], 0.5 * (cosine_weights - 1j * sine_weights)])
    size = 8 * n_modes
    while size <= max(_LARGEST_GRID, 32 * n_modes):
        with np.errstate(over="ignore"):
            reciprocal = np.exp(-np.fft.irfft(size * spectrum, size))
        if not np.isfinite(reciprocal).all():
            break
        coefficients: Waves = np.fft.rfft(reciprocal) / size
        # Derivatives multiply 1/b by a mode: the last n_modes coefficients must vanish.
        if np.abs(coefficients[-n_modes - 1 :]).max() <= _RESOLVED * reciprocal.max():
            return reciprocal, coefficients
        size *= 2
    raise ValueError(
        "the weights of log b are too large to integrate 1/b: pass smaller ones, narrower bounds "
        "or, in learning, a smaller learning_rate"
    )


def _as_points(X: FloatArray) -> Vector:
    """Return points of [0, 1] as a vector."""
    if X.shape[1] != 1:
        raise ValueError(f"X must have one column of points in [0, 1], got shape {X.shape}")
    x = X[:, 0].astype(np.float64)
    if len(x) and not (x.min() >= 0.0 and x.max() <= 1.0):
        raise ValueError(
            f"X must lie in [0, 1], where the equation holds, got {x.min():g} to {x.max():g}"
        )
    return x


def _waves(x: Vector, n: int) -> Waves:
    """Return exp(2 pi i k x) for k = 1, ..., n, as (len(x), n).

    Each is a product of two: a product costs much less than an exponential.
    """
    step = max(1, int(np.sqrt(n)))
    fast = np.exp(2j * np.pi * np.multiply.outer(x, np.arange(1, step + 1)))
    slow = np.exp(2j * np.pi * np.multiply.outer(x, step * np.arange(-(-n // step))))
    waves: Waves = (slow[:, :, None] * fast[:, None, :]).reshape(len(x), -1)
    return waves[:, :n]


# ---- learning -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LearnedConductivity:
    """Result of `learn_conductivity`.

    Attributes
    ----------
    kernel : kflow.kernels.FunctionKernel
        The learned Green's function.
    nugget : float
        The learned nugget, or the given one.
    rho : float
        Mean rho of the steps from which they are.
    history : dict of ndarray
        Of each step: ``rho`` (n_steps,), ``weights`` (n_steps, 2, n_modes) and ``nugget``
        (n_steps,); with a `truth` also the `conductivity_errors`, (n_steps,) each.
    errors : dict of float
        The `conductivity_errors` of the learned b; empty without a `truth`.
    """

    kernel: FunctionKernel
    nugget: float
    rho: float
    history: dict[str, Vector] = field(repr=False)
    errors: dict[str, float]

    def conductivity(self, x: npt.ArrayLike) -> Vector:
        """Return the learned b at x, an array of any shape; its geometric mean is 1."""
        return np.exp(log_conductivity(x, **self.kernel.parameters))


def learn_conductivity(
    x: npt.ArrayLike,
    u: npt.ArrayLike,
    *,
    n_modes: int | None = None,
    nugget: float = 1e-2,
    learn_nugget: bool = True,
    n_steps: int = 350,
    n_halves: int = 4,
    optimizer: str = "adam",
    learning_rate: float | None = None,
    truth: Function | None = None,
    random_state: Any = None,
    callbacks: Iterable[Callback] = (),
    progress: bool = False,
    n_threads: int | None = None,
) -> LearnedConductivity:
    """Learn a, up to a factor, from values of u, where -(a u')' = f and u(0) = u(1) = 0.

    Nothing is known of f. The weights of a Green's function descend rho: how well half of the
    points, drawn anew in each step, interpolates all of them.

    Parameters
    ----------
    x : array_like, shape (n,)
        Where u was observed: n >= 4 distinct points strictly between 0 and 1, in any order.
    u : array_like, shape (n,) or (n, m)
        The values there, or those of m solutions for different f.
    n_modes : int, optional
        Modes of log b. None: n / 4, but 64 at most.
    nugget : float
        Added to the diagonal of K_b to start with. The nugget is a filter: it damps what in u varies
        on scales below pi sqrt(nugget / n). 0 for values that are exact and are to be interpolated.
    learn_nugget : bool
        Whether to learn it, too, as it then must be where there is noise in u. False if it is 0.
    n_steps, n_halves, optimizer, learning_rate, callbacks, progress, n_threads
        As in `kflow.learn_kernel`, but that the learning rate of adam is 0.01 if it is None. More
        steps are not better; see the notes.
    truth : callable, optional
        The function a, of arrays, to compare with.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of the halves.

    Returns
    -------
    LearnedConductivity

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or shape, naming it.

    Notes
    -----
    A constant factor of b changes rho only by way of the nugget, and is not learned: the geometric
    mean of b is 1. Compare conductivities divided by theirs.

    Where u' = 0, b has no effect on what the kernel makes of u, and a cannot be learned there from
    one solution. Nor is rho smallest at a: any b makes u the solution for some f, and rho prefers
    small f, so that with many more steps b goes from a towards 1/|u'|. Descent learns the fast
    variations first, which belong to a, and the slow ones of 1/|u'| last. Solutions for different
    f determine a better.

    Each step costs two evaluations of the kernel and one of its derivatives, n^3/3 flops for the
    fine set, and an eighth of that for each half but the first.

    References
    ----------
    H. Owhadi and G. R. Yoo, Kernel Flows: from learning kernels from data into the abyss, J. Comp.
    Phys. 389 (2019), where log b has 64 modes, learned from W = 0 in 350 steps.

    Examples
    --------
    >>> from kflow.pde import example_problem, learn_conductivity
    >>> x, u, a = example_problem(64, random_state=0)
    >>> learned = learn_conductivity(x, u, n_steps=100, truth=a, random_state=0)
    >>> bool(learned.errors["log_error"] < 0.6 * learned.history["log_error"][0])
    True
    """
    points = _as_observed(x)
    values = as_matrix(u, "u", dtype=np.float64, n_rows=len(points), column_if_1d=True)
    if not values.any():
        raise ValueError("u is zero everywhere, from which no conductivity can be learned")
    if truth is not None:
        _evaluated(truth, points[:, 0])  # a mistake is found before the work, not after it
    if n_modes is None:
        n_modes = min(64, len(points) // 4)
    if learning_rate is None and optimizer == "adam":
        learning_rate = 0.01
    learned = learn_kernel(
        greens_kernel(n_modes),
        points,
        values,
        loss="rho",
        nugget=nugget,
        learn_nugget=learn_nugget,
        batch_size=len(points),
        n_halves=n_halves,
        optimizer=optimizer,
        learning_rate=learning_rate,
        n_steps=n_steps,
        random_state=random_state,
        callbacks=callbacks,
        progress=progress,
        n_threads=n_threads,
    )
    history = {
        "rho": learned.history["loss"],
        "weights": learned.history["theta"].reshape(-1, 2, n_modes),
        "nugget": learned.history["nugget"],
    }
    kernel = learned.kernel
    assert isinstance(kernel, FunctionKernel)
    errors: dict[str, float] = {}
    if truth is not None:
        history.update(conductivity_errors(history["weights"], truth, points, values))
        last = conductivity_errors(kernel.theta.reshape(2, n_modes), truth, points, values)
        errors = {name: float(error) for name, error in last.items()}
    return LearnedConductivity(kernel, learned.nugget, learned.loss, history, errors)


def _as_observed(x: npt.ArrayLike) -> Vector:
    """Return the points of observations as a column."""
    points: Vector = np.asarray(
        as_matrix(x, "x", dtype=np.float64, n_columns=1, column_if_1d=True), np.float64
    )
    if len(points) < 4:
        raise ValueError(f"x must have at least 4 points, got {len(points)}")
    if not (points.min() > 0.0 and points.max() < 1.0):
        raise ValueError(
            "x must lie strictly between 0 and 1: leave out the ends, where u is known to be 0, and "
            "scale other intervals to [0, 1]"
        )
    ordered = np.sort(points[:, 0])
    twice = ordered[1:][np.diff(ordered) == 0.0]
    if len(twice):
        raise ValueError(f"x has the point {twice[0]:g} twice: average the values of u there")
    return points


def conductivity_errors(
    weights: npt.ArrayLike, truth: Function, x: npt.ArrayLike, u: npt.ArrayLike
) -> dict[str, Vector]:
    """Return what is between conductivities b and the true one, both of geometric mean 1.

    Parameters
    ----------
    weights : array_like, shape (..., 2, n_modes)
        W^c and W^s of one b or of many.
    truth : callable
        The function a, of arrays in [0, 1]; it is divided by its geometric mean.
    x, u : array_like, shape (n,) and (n,) or (n, m)
        The observations of which b was made.

    Returns
    -------
    dict of ndarray, shape (...)
        ``log_error``, the root mean square of log b - log a over [0, 1]. ``weighted_log_error``,
        the same with the energy a |u'|^2 as weight, and without the weighted mean: an observed u
        says little of a where its energy is low. ``l2_error``, |b - a| / |a| in L2.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or shape, naming it.
    """
    points = _as_observed(x)[:, 0]
    values = as_matrix(u, "u", dtype=np.float64, n_rows=len(points), column_if_1d=True)
    t = np.arange(_N_COMPARED) / _N_COMPARED
    log_a = np.log(_evaluated(truth, t))
    # Between neighbours the flux a u' hardly changes; a |u'|^2 is its square over a.
    order = np.argsort(points)
    ends = np.concatenate([[0.0], points[order], [1.0]])
    steps = np.diff(np.pad(values[order], ((1, 1), (0, 0))), axis=0)
    flux = steps / np.diff(_antiderivative(lambda t: 1.0 / _evaluated(truth, t), ends))[:, None]
    energy = (flux**2).sum(axis=1)[np.searchsorted(ends, t, side="right") - 1] / np.exp(log_a)
    energy /= energy.sum()

    pairs = np.asarray(weights, np.float64)
    if pairs.ndim < 2 or pairs.shape[-2] != 2:
        raise ValueError(f"weights must have shape (..., 2, n_modes), got {pairs.shape}")
    shape = pairs.shape[:-2]
    log_b = _log_conductivities(t, pairs.reshape(-1, *pairs.shape[-2:]))
    log_a -= log_a.mean()
    difference = log_b - log_a
    mean = (energy * difference).sum(axis=1, keepdims=True)
    squares = {
        "log_error": (difference**2).mean(axis=1),
        "weighted_log_error": (energy * (difference - mean) ** 2).sum(axis=1),
        "l2_error": ((np.exp(log_b) - np.exp(log_a)) ** 2).sum(axis=1) / np.exp(2 * log_a).sum(),
    }
    return {name: np.sqrt(square).reshape(shape) for name, square in squares.items()}


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
    spectrum = 2.0 * np.fft.rfft(np.log(_evaluated(truth, np.arange(size) / size))) / size
    wanted = spectrum[1 : n_modes + 1]
    return greens_kernel(n_modes, [wanted.real, -wanted.imag])


def half_errors(
    kernel: Kernel,
    x: npt.ArrayLike,
    u: npt.ArrayLike,
    *,
    nugget: float,
    n_halves: int = 50,
    random_state: Any = 0,
) -> dict[str, float]:
    """Return how well random halves of the observations interpolate all of them.

    Parameters
    ----------
    kernel : kflow.kernels.Kernel
        A Green's function, say.
    x, u : array_like, shape (n,) and (n,) or (n, m)
        The observations.
    nugget : float
        Added to the diagonal of the kernel matrix.
    n_halves : int
        Halves, over which all is averaged.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of the halves: the default compares kernels on the same ones.

    Returns
    -------
    dict of float
        ``rho``, and ``u_error``, the relative L2 error of u at the points left out.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or shape, naming it.
    """
    points = _as_observed(x)
    values = as_matrix(u, "u", dtype=np.float64, n_rows=len(points), column_if_1d=True)
    n, rng = len(points), as_generator(random_state)
    count = as_count(n_halves, "n_halves", 1)
    halves = np.array([rng.permutation(n)[: n // 2] for _ in range(count)])
    K = check_kernel(kernel)(points) + as_nugget(nugget) * np.eye(n)
    rho = losses.rho(K, values, halves, gradient=False)[0]
    squares = losses.e2(K, values, halves, gradient=False)[0]
    left_out = (values**2).sum() - (values[halves] ** 2).sum(axis=(1, 2)).mean()
    return {"rho": rho, "u_error": float(np.sqrt(squares / left_out))}


def _evaluated(truth: Function, t: Vector) -> Vector:
    """Return the true conductivity at t."""
    if not callable(truth):
        raise TypeError(f"truth must be a function of arrays, got {truth!r}")
    values = np.asarray(truth(t))
    if values.shape != t.shape or values.dtype.kind not in "fiu":
        raise ValueError(f"truth must return an array of shape {t.shape}, as its argument's")
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError("truth must return positive, finite numbers on [0, 1]")
    return values.astype(np.float64)


# ---- the example --------------------------------------------------------------------------------

# Of log a: modes, whose weights fall like i^(-1/2), and root mean square.
_EXAMPLE_MODES = 16
_EXAMPLE_SPREAD = 0.7


def example_problem(
    n_points: int = 128,
    *,
    n_solutions: int = 1,
    noise: float = 0.0,
    random_state: Any = 0,
) -> tuple[Vector, Vector, Function]:
    """Return observations of solutions of -(a u')' = f, for a random conductivity that oscillates.

    log a has 16 random modes and a root mean square of 0.7: a varies by a factor of about 20. The
    first right-hand side is f = 1, the others are cos(pi x), cos(2 pi x), ... The points are
    random, one in each of n_points equal parts of [0, 1].

    Parameters
    ----------
    n_points : int
        Points.
    n_solutions : int
        Solutions u, each for another f.
    noise : float
        Standard deviation of normal noise in u, as a part of the largest |u|.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of a, of the points and of the noise. The default gives the problem of the
        documentation.

    Returns
    -------
    x : ndarray, shape (n_points,)
        Points, in ascending order.
    u : ndarray, shape (n_points,), or (n_points, n_solutions) for several
        Observed solutions, each scaled to a largest value of 1 without noise.
    a : callable
        The conductivity, a function of arrays.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, naming it.

    Notes
    -----
    u(x) = int_0^x (c - F) / a with F' = f and c such that u(1) = 0, integrated by Gauss-Legendre
    quadrature to rounding errors.
    """
    n_points = as_count(n_points, "n_points", 1)
    n_solutions = as_count(n_solutions, "n_solutions", 1)
    noise = as_nugget(noise, "noise")
    rng = as_generator(random_state)
    weights = rng.normal(size=(2, _EXAMPLE_MODES)) / np.sqrt(np.arange(1, _EXAMPLE_MODES + 1))
    weights *= _EXAMPLE_SPREAD / np.sqrt(0.5 * (weights**2).sum())

    def conductivity(t: npt.ArrayLike) -> Vector:
        return np.exp(log_conductivity(t, *weights))

    x = (np.arange(n_points) + rng.uniform(0.1, 0.9, n_points)) / n_points
    ends = np.append(x, 1.0)
    s = _antiderivative(lambda t: 1.0 / conductivity(t), ends)
    solutions = []
    for k in range(n_solutions):

        def source(t: Vector, k: int = k) -> Vector:
            return t if k == 0 else np.sin(k * np.pi * t) / (k * np.pi)  # F for f = cos(k pi t)

        q = _antiderivative(lambda t, F=source: F(t) / conductivity(t), ends)
        u = q[-1] / s[-1] * s[:-1] - q[:-1]
        solutions.append(u / np.abs(u).max())
    u = np.stack(solutions, axis=1)
    u += noise * rng.normal(size=u.shape)
    return x, u[:, 0] if n_solutions == 1 else u, conductivity


def _antiderivative(function: Function, x: Vector) -> Vector:
    """Return the integrals from 0 to x of a smooth function, for ascending x of [0, 1].

    Gauss-Legendre quadrature with 12 nodes between neighbours of x and of a grid of 256 intervals.
    """
    ends = np.union1d(np.linspace(0.0, 1.0, 257), x)
    nodes, weights = np.polynomial.legendre.leggauss(12)
    widths = np.diff(ends)
    t = ends[:-1, None] + 0.5 * widths[:, None] * (nodes + 1.0)
    pieces = 0.5 * widths * (function(t) * weights).sum(axis=1)
    integrals = np.concatenate([[0.0], np.cumsum(pieces)])
    result: Vector = integrals[np.searchsorted(ends, x)]
    return result
