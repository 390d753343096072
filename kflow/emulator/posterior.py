"""The posterior process of one component: given all rows, or by inducing points among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kflow._base.array_types import Doubles, Rows
from kflow.data.chunks import row_chunks
from kflow.emulator.inputs import InputReduction
from kflow.emulator.mean import MeanFunction, MeanFunctions
from kflow.emulator.outputs import OutputReduction
from kflow.emulator.variance import VarianceFunction
from kflow.engine.threads import single_threaded_blas
from kflow.errors import SingularKernelError
from kflow.kernels import Kernel
from kflow.linear.factor import Factor, cholesky_factor, solve_factored
from kflow.linear.jitter import jitters

__all__ = ["HeldOut", "Posterior", "by_inducing_points", "given_all_rows", "mean_functions"]

# What is at least added to the diagonal of the inducing points' matrix, as a part of the mean
# diagonal: with less, coefficients lose the digits that predictions need.
_JITTER = 1e-12


@dataclass(frozen=True)
class HeldOut:
    """Predictions of rows that had no part in them.

    Attributes
    ----------
    errors : ndarray, shape (n,)
        Scores minus their predictions.
    variances : ndarray, shape (n,)
        The variances that were predicted.
    """

    errors: Doubles
    variances: Doubles

    def calibrated(self) -> tuple[HeldOut, float]:
        """Return variances times the number with which squared errors agree in the mean, and it."""
        amplitude = float(np.mean(np.square(self.errors) / self.variances)) or 1.0
        return HeldOut(self.errors, amplitude * self.variances), amplitude


@dataclass
class Posterior:
    """The posterior of one component's scores.

    Attributes
    ----------
    kernel, nugget : Kernel and float
        The learned kernel, and the nugget, larger where the matrix would be singular.
    points : ndarray, shape (M, d)
        The scaled inputs that predictions are made of.
    coefficients : ndarray, shape (M,)
        The mean at x is k(x, points) times these.
    amplitude : float
        By what variances are multiplied, so that held-out errors agree with them.
    noise_factor : ndarray, shape (M, M), or None
        For inducing points the lower Cholesky factor of nugget I + V V', V = L^-1 K(points, X) and
        L L' = K(points, points). None if the posterior is that given the points.
    """

    kernel: Kernel
    nugget: float
    points: Doubles
    coefficients: Doubles
    amplitude: float = 1.0
    noise_factor: Doubles | None = None
    _factor: Factor | None = field(default=None, repr=False)
    _variance: VarianceFunction | None = field(default=None, repr=False)

    @property
    def mean(self) -> MeanFunction:
        """The mean of this component alone; `mean_functions` are those of all."""
        return MeanFunction(self.kernel, self.points, self.coefficients)

    def variances(self, X: Doubles, n_threads: int | None) -> Doubles:
        """Return the variances at scaled inputs, noise included, (n,).

        M^2 flops for each row, 2 M^2 with inducing points. The first call prepares them, 8 M^2 bytes for each
        factor, and after `kflow.load` factorises an M x M matrix.
        """
        if self._variance is None:
            factor, self._factor = self._factor, None
            if factor is None:
                nugget = self.nugget if self.noise_factor is None else 0.0
                factor = _prior_factor(self.kernel, self.points, nugget, n_threads)
            self._variance = VarianceFunction(
                self.kernel,
                self.points,
                self.nugget,
                factor.lower,
                self.noise_factor,
                self.amplitude,
            )
        return self._variance(X, n_threads)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled and copied: all but what can be made again."""
        return {**self.__dict__, "_factor": None, "_variance": None}


def mean_functions(
    posteriors: Sequence[Posterior], inputs: InputReduction, outputs: OutputReduction
) -> MeanFunctions:
    """Return the means of all components, which may be none if all outputs are constant.

    Parameters
    ----------
    posteriors : sequence of Posterior
        The posteriors, with the same points.
    inputs, outputs : InputReduction and OutputReduction
        The reductions between which they stand.
    """
    points, coefficients = np.empty((0, inputs.n_coordinates)), np.empty((0, 0))
    if posteriors:
        points = posteriors[0].points
        coefficients = np.stack([one.coefficients for one in posteriors])
    kernels = [one.kernel for one in posteriors]
    return MeanFunctions(kernels, points, coefficients, outputs.back, outputs.mean)


def _prior_factor(kernel: Kernel, points: Doubles, nugget: float, n_threads: int | None) -> Factor:
    """Return the factor of K(points, points) with a nugget as large as needed."""
    scale = float(np.mean(kernel.diag(points)))
    least = max(nugget, _JITTER * scale)
    for jitter in jitters(scale):
        try:
            return Factor(kernel, points, least + jitter, n_threads=n_threads)
        except SingularKernelError as error:
            reason = error
    raise reason


# ---- given all rows -----------------------------------------------------------------------------


def given_all_rows(
    kernel: Kernel, nugget: float, X: Doubles, z: Doubles, n_threads: int | None
) -> tuple[Posterior, HeldOut]:
    """Return the posterior given all rows, and its leave-one-out predictions.

    Parameters
    ----------
    kernel, nugget : Kernel and float
        The learned kernel and nugget.
    X : ndarray, shape (N, d)
        Scaled inputs.
    z : ndarray, shape (N,)
        Scores.
    n_threads : int or None
        Threads.

    Raises
    ------
    SingularKernelError
        If the kernel matrix is not positive definite, even with a larger nugget.

    Notes
    -----
    N^3 flops. Leave-one-out: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006),
    equation 5.12.
    """
    factor = _prior_factor(kernel, X, nugget, n_threads)
    coefficients = factor.solve(z).astype(np.float64, copy=False)
    inverse = factor.inverse_diagonal().astype(np.float64, copy=False)
    held, amplitude = HeldOut(coefficients / inverse, 1.0 / inverse).calibrated()
    posterior = Posterior(kernel, factor.nugget, X, coefficients, amplitude, _factor=factor)
    return posterior, held


# ---- inducing points ----------------------------------------------------------------------------


def by_inducing_points(
    kernel: Kernel,
    nugget: float,
    X: Doubles,
    z: Doubles,
    inducing: Rows,
    held: Rows,
    n_threads: int | None,
) -> tuple[Posterior, HeldOut]:
    """Return the posterior by inducing points given all rows, and predictions of rows held out first.

    Parameters
    ----------
    kernel, nugget, X, z, n_threads
        As for `given_all_rows`.
    inducing : ndarray of int, shape (M,)
        The rows that are inducing points.
    held : ndarray of int, shape (n,)
        The rows held out, none of which is an inducing point.

    Raises
    ------
    SingularKernelError
        If a matrix is not positive definite, even with a larger nugget.

    Notes
    -----
    The mean is that of the kernel k(x, Z) K(Z, Z)^-1 k(Z, x'), and the variance adds to its own what
    this kernel lacks of k: the "deterministic training conditional" of J. Quinonero-Candela and C. E.
    Rasmussen, A unifying view of sparse approximate Gaussian process regression, J. Mach. Learn. Res.
    6 (2005), 1939-1959. 2 N M^2 flops. What the rows held out add to the system comes last, so that
    nothing is computed twice.
    """
    points = X[inducing]
    factor = _prior_factor(kernel, points, 0.0, n_threads)
    system = _System(factor, nugget)
    kept = np.setdiff1d(np.arange(len(X)), held)
    for rows in row_chunks(len(kept)):
        system.add(X[kept[rows]], z[kept[rows]])
    coefficients, noise_factor = system.solved()
    mean = MeanFunction(kernel, points, coefficients)(X[held], n_threads)
    variances = VarianceFunction(kernel, points, nugget, factor.lower, noise_factor)(
        X[held], n_threads
    )
    predicted, amplitude = HeldOut(z[held] - mean, variances).calibrated()
    system.add(X[held], z[held])
    coefficients, noise_factor = system.solved()
    posterior = Posterior(
        kernel, nugget, points, coefficients, amplitude, noise_factor, _factor=factor
    )
    return posterior, predicted


class _System:
    """The sums V V' and V z over rows, V = L^-1 K(points, X), and what follows from them."""

    def __init__(self, factor: Factor, nugget: float) -> None:
        self._factor, self._nugget = factor, nugget
        n = len(factor.points)
        self._matrix, self._vector = np.zeros((n, n)), np.zeros(n)

    def add(self, X: Doubles, z: Doubles) -> None:
        """Add rows to the sums."""
        V = self._factor.half_solve(self._factor.kernel(self._factor.points, X))
        with single_threaded_blas:
            self._matrix += V @ V.T
            self._vector += V @ z

    def solved(self) -> tuple[Doubles, Doubles]:
        """Return the coefficients of k(x, points), and the factor of nugget I + V V'."""
        noise_factor = self._noise_factor()
        weights = solve_factored(noise_factor, self._vector)
        coefficients = self._factor.half_solve(weights, transposed=True)
        return coefficients.astype(np.float64, copy=False), noise_factor

    def _noise_factor(self) -> Doubles:
        for jitter in jitters(float(self._matrix.diagonal().mean())):
            try:
                return cholesky_factor(self._matrix.copy(), self._nugget + jitter)
            except SingularKernelError as error:
                reason = error
        raise reason
