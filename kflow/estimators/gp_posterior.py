"""Posterior Gaussian processes of scaled data, with the amplitudes that calibrate their variance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning

from kflow._base.array_types import FloatArray
from kflow._base.warn import warn_user
from kflow.data.arrays import as_matrix
from kflow.errors import ModelFileError, damaged
from kflow.kernels import Kernel
from kflow.linear.conjugate_gradients import Solution, conjugate_gradients
from kflow.linear.factor import Factor, factorise
from kflow.linear.low_rank import LowRank, Preconditioner, low_rank
from kflow.storage.model_file import ModelReader

__all__ = [
    "IterativeOptions",
    "Posterior",
    "by_cholesky",
    "by_conjugate_gradients",
    "chosen_solver",
    "drawn_rows",
    "posterior_arrays",
    "read_posterior",
]

_SOLVERS = ("auto", "cholesky", "cg", "subset")

# Rank of the preconditioner, if the memory suffices: about where making it costs as much as the
# iterations it saves.
_RANK = 1000

# What the preconditioner may lack, as a part of the nugget.
_LACK = 0.01

# Rows held out to calibrate the variance where no inverse is within reach: a part, and at most so
# many.
_HELD, _MAX_HELD = 0.05, 1000


@dataclass(frozen=True)
class Posterior:
    """The posterior process of scaled targets, but for its amplitude.

    Attributes
    ----------
    points : ndarray, shape (n, d)
        The points that predictions are made of.
    coefficients : ndarray, shape (n, m)
        The mean at x is k(x, points) times these.
    nugget : float
        What was added to the diagonal.
    factor : Factor or None
        The factor of the points that the variance depends on; None if it is still to be made.
    variance_rows : ndarray of int, shape (n_v,), or None
        The rows of `points` that the variance depends on; None for all of them.
    n_iterations : int
        Iterations of conjugate gradients.
    """

    points: FloatArray
    coefficients: FloatArray
    nugget: float
    factor: Factor | None
    variance_rows: npt.NDArray[np.intp] | None = None
    n_iterations: int = 0


def chosen_solver(solver: str, n: int, max_memory: float) -> str:
    """Return the solver for `n` rows: "auto" stands for Cholesky while its matrix has room.

    Raises
    ------
    ValueError
        If there is no such solver.
    """
    if solver not in _SOLVERS:
        raise ValueError(f"solver must be one of {_SOLVERS}, got {solver!r}")
    if solver == "auto":
        return "cholesky" if 8.0 * n * n <= max_memory else "cg"
    return str(solver)


def drawn_rows(rng: np.random.Generator, n: int, size: int) -> npt.NDArray[np.intp]:
    """Draw `size` of `n` rows without replacement, in ascending order; all if there are no more."""
    return np.sort(rng.choice(n, min(size, n), replace=False)).astype(np.intp)


def by_cholesky(
    kernel: Kernel, nugget: float, X: FloatArray, Y: FloatArray, n_threads: int | None
) -> tuple[Posterior, FloatArray]:
    """Return the posterior given points (n, d) and targets (n, m), and its amplitudes (m,).

    Raises
    ------
    SingularKernelError
        If the kernel matrix is not positive definite, even with a larger nugget.
    """
    factor = factorise(kernel, X, nugget, n_threads=n_threads)
    coefficients = factor.solve(Y)
    scale = _leave_one_out_scale(factor, coefficients)
    return Posterior(X, coefficients, factor.nugget, factor), scale


def _leave_one_out_scale(factor: Factor, coefficients: FloatArray) -> FloatArray:
    """Return the amplitudes that give leave-one-out residuals the deviations predicted, (m,)."""
    if len(coefficients) == 1:  # there is nothing to leave out: the amplitude of the kernel
        return np.ones(coefficients.shape[1])
    squares = np.square(coefficients) / factor.inverse_diagonal()[:, None]
    return np.asarray(np.sqrt(squares.mean(axis=0)))


# ---- conjugate gradients ----------------------------------------------------------------------


@dataclass(frozen=True)
class IterativeOptions:
    """How far conjugate gradients go, and what they may take.

    Attributes
    ----------
    subset_size : int
        Rows that the variance depends on.
    max_memory : float
        Bytes of the preconditioner.
    tolerance : float
        The residual at which to end, as a part of the targets.
    max_iterations : int
        Iterations after which to end in any case.
    """

    subset_size: int
    max_memory: float
    tolerance: float
    max_iterations: int


def by_conjugate_gradients(
    kernel: Kernel,
    nugget: float,
    X: FloatArray,
    Y: FloatArray,
    rng: np.random.Generator,
    options: IterativeOptions,
    n_threads: int | None,
) -> tuple[Posterior, FloatArray]:
    """Return the posterior given points (n, d) and targets (n, m), and its amplitudes (m,).

    No n x n matrix is formed. The variance is that given a subset of the rows, and the amplitudes
    make up for it by rows that are held out first.

    Raises
    ------
    SingularKernelError
        If the kernel matrix of the subset is not positive definite, even with a larger nugget.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        If conjugate gradients end above the tolerance.
    """
    n = len(X)
    n_held = 0 if n <= options.subset_size else min(max(1, round(_HELD * n)), _MAX_HELD)
    held = drawn_rows(rng, n, n_held)
    kept = np.setdiff1d(np.arange(n), held)
    variance_rows = kept[drawn_rows(rng, len(kept), options.subset_size)]
    factor = factorise(kernel, X[variance_rows], nugget, n_threads=n_threads)
    rank = max(1, min(_RANK, int(options.max_memory / (8.0 * n))))
    approximation = low_rank(
        kernel, X, rank, rng, tolerance=_LACK * factor.nugget, n_threads=n_threads
    )
    system = _System(kernel, factor.nugget, X, Y, approximation, options, n_threads)
    solution = system.solved(kept)
    n_iterations = solution.n_iterations
    if n_held == 0:
        scale = _leave_one_out_scale(factor, solution.coefficients)
    elif solution.residuals.max() > options.tolerance:
        # Predictions of what is not solved say nothing; the subset's own do.
        scale = _leave_one_out_scale(factor, factor.solve(Y[variance_rows]))
    else:
        scale = system.held_out_scale(held, kept, solution, factor)
    if n_held > 0:
        start = np.zeros_like(Y)
        start[kept] = solution.coefficients
        solution = system.solved(np.arange(n), start)
        n_iterations += solution.n_iterations
    _warn_of_residual(solution, options.tolerance)
    posterior = Posterior(
        X, solution.coefficients, factor.nugget, factor, variance_rows, n_iterations
    )
    return posterior, scale


def _warn_of_residual(solution: Solution, tolerance: float) -> None:
    """Warn of conjugate gradients that ended early, at the line that called `fit`."""
    worst = float(solution.residuals.max())
    if worst > tolerance:
        warn_user(
            f"conjugate gradients ended after {solution.n_iterations} iterations with a residual "
            f"of {worst:.1e} of y, above tolerance={tolerance:g}: pass a larger nugget, "
            "max_iterations or tolerance, or more max_memory for the preconditioner",
            ConvergenceWarning,
        )


@dataclass(frozen=True)
class _System:
    """The linear system (K + nugget I) C = Y, of all rows or of some of them."""

    kernel: Kernel
    nugget: float
    X: FloatArray
    Y: FloatArray
    approximation: LowRank
    options: IterativeOptions
    n_threads: int | None

    def solved(self, rows: npt.NDArray[np.intp], start: FloatArray | None = None) -> Solution:
        """Return the solution for some of the rows."""
        points = self.X[rows]

        def product(V: FloatArray) -> FloatArray:
            K_V = self.kernel.apply(points, points, V, n_threads=self.n_threads)
            return np.asarray(K_V + self.nugget * V)

        return conjugate_gradients(
            product,
            self.Y[rows],
            preconditioner=Preconditioner(self.approximation[rows], self.nugget),
            start=start,
            tolerance=self.options.tolerance,
            max_iterations=self.options.max_iterations,
        )

    def held_out_scale(
        self,
        held: npt.NDArray[np.intp],
        kept: npt.NDArray[np.intp],
        solution: Solution,
        factor: Factor,
    ) -> FloatArray:
        """Return the amplitudes that give the errors at held-out rows the deviations predicted."""
        mean = self.kernel.apply(
            self.X[held], self.X[kept], solution.coefficients, n_threads=self.n_threads
        )
        variances = factor.variances(self.X[held]) + self.nugget
        squares = np.square(self.Y[held] - mean) / variances[:, None]
        return np.asarray(np.sqrt(np.mean(squares, axis=0)))


# ---- files ------------------------------------------------------------------------------------


def posterior_arrays(
    points: FloatArray, coefficients: FloatArray, variance_rows: npt.NDArray[np.intp] | None
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield the arrays of a posterior in a model file, by name; `read_posterior` is the inverse."""
    yield "points", points
    yield "coefficients", coefficients
    if variance_rows is not None:
        yield "variance_rows", variance_rows


def read_posterior(
    reader: ModelReader, n_features: int, nugget: float, n_iterations: int
) -> Posterior:
    """Return the posterior of a model file, without the factor, which can be made again.

    Raises
    ------
    ModelFileError
        If its arrays are damaged or do not fit each other.
    """
    with damaged("posterior"):
        points = as_matrix(
            reader.array("points"),
            "points",
            dtype=np.float64,
            n_columns=n_features,
            allow_no_rows=False,
        )
        coefficients = as_matrix(
            reader.array("coefficients"), "coefficients", dtype=np.float64, n_rows=len(points)
        )
    rows = None
    if "variance_rows" in reader:
        rows = reader.array("variance_rows", ndim=1)
        known = rows.dtype.kind in "iu" and np.isin(rows, np.arange(len(points))).all()
        if not len(rows) or not known:
            raise ModelFileError("the model's variance_rows are no rows of its points")
    return Posterior(points, coefficients, nugget, None, rows, n_iterations)
