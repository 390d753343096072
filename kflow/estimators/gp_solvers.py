"""How the posterior of a Gaussian process is computed: by Cholesky factors or conjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning

from kflow._base.array_types import Doubles, FloatArray
from kflow._base.warn import warn_user
from kflow.estimators.gp_posterior import Posterior, leave_one_out_scale
from kflow.kernels import Kernel
from kflow.linear.conjugate_gradients import Solution, conjugate_gradients
from kflow.linear.factor import factorise
from kflow.linear.low_rank import LowRank, Preconditioner, low_rank
from kflow.linear.sparse_variance import SparseVariance

__all__ = [
    "IterativeOptions",
    "ScaledRows",
    "by_cholesky",
    "by_conjugate_gradients",
    "chosen_solver",
    "drawn_rows",
    "solved_again",
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
class ScaledRows:
    """Training rows as the solvers take them.

    Attributes
    ----------
    points : ndarray, shape (n, d)
        Scaled points.
    targets : ndarray, shape (n, m)
        Scaled targets.
    weights : ndarray, shape (n,), or None
        Weights, by which the nuggets of the rows are divided; None for 1.
    """

    points: FloatArray
    targets: Doubles
    weights: Doubles | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.points)

    def __getitem__(self, rows: npt.NDArray[np.intp]) -> ScaledRows:
        """Return some of the rows."""
        weights = None if self.weights is None else self.weights[rows]
        return ScaledRows(self.points[rows], self.targets[rows], weights)


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
    kernel: Kernel, nugget: float, data: ScaledRows, n_threads: int | None
) -> tuple[Posterior, Doubles]:
    """Return the posterior given rows (n, d) and targets (n, m), and its amplitudes (m,).

    Raises
    ------
    SingularKernelError
        If the kernel matrix is not positive definite, even with a larger nugget.
    """
    factor = factorise(kernel, data.points, nugget, weights=data.weights, n_threads=n_threads)
    coefficients = factor.solve(data.targets)
    posterior = Posterior(
        kernel, factor.nugget, data.points, data.targets, coefficients, data.weights, factor
    )
    return posterior, leave_one_out_scale(factor, coefficients)


# ---- conjugate gradients ----------------------------------------------------------------------


@dataclass(frozen=True)
class IterativeOptions:
    """How far conjugate gradients go, and what they may take.

    Attributes
    ----------
    subset_size : int
        Rows up to which the variance is exact.
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
    data: ScaledRows,
    rng: np.random.Generator,
    options: IterativeOptions,
    n_threads: int | None,
) -> tuple[Posterior, Doubles]:
    """Return the posterior given rows (n, d) and targets (n, m), and its amplitudes (m,).

    No n x n matrix is formed. Beyond `subset_size` rows the variance is a `SparseVariance` with the
    pivots of the preconditioner, and the amplitudes are those of errors at rows that are held out first.

    Raises
    ------
    SingularKernelError
        If the kernel matrix of the subset is not positive definite, even with a larger nugget.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        If conjugate gradients end above the tolerance.
    """
    n = len(data)
    n_held = 0 if n <= options.subset_size else min(max(1, round(_HELD * n)), _MAX_HELD)
    held = drawn_rows(rng, n, n_held)
    kept = np.setdiff1d(np.arange(n), held)
    some = kept[drawn_rows(rng, len(kept), options.subset_size)]
    subset = data[some]
    factor = factorise(kernel, subset.points, nugget, weights=subset.weights, n_threads=n_threads)
    system = _System.of(kernel, factor.nugget, data, rng, options, n_threads)
    posterior = Posterior(
        kernel, factor.nugget, data.points, data.targets, data.targets, data.weights
    )
    if n_held == 0:
        solution = system.solved(kept)
        scale = leave_one_out_scale(factor, solution.coefficients)
        posterior = replace(posterior, factor=factor, variance_rows=kept)
        n_iterations = solution.n_iterations
    else:
        first = system.solved(kept)
        all_pivots = np.sort(system.approximation.pivots)
        # There is none if all is noise; and all may have been held out.
        all_pivots = all_pivots if len(all_pivots) else some[:1]
        pivots = np.setdiff1d(all_pivots, held)
        pivots = pivots if len(pivots) else some[:1]
        if first.residuals.max() > options.tolerance:
            # Predictions of what is not solved say nothing; the subset's own do.
            scale = leave_one_out_scale(factor, factor.solve(subset.targets))
        else:
            scale = system.held_out_scale(held, kept, first, pivots)
        start = np.zeros_like(data.targets)
        start[kept] = first.coefficients
        solution = system.solved(np.arange(n), start)
        posterior = replace(posterior, pivots=all_pivots)
        n_iterations = first.n_iterations + solution.n_iterations
    _warn_of_residual(solution, options.tolerance)
    posterior = replace(posterior, coefficients=solution.coefficients, n_iterations=n_iterations)
    return posterior, scale


def solved_again(
    posterior: Posterior,
    rng: np.random.Generator,
    options: IterativeOptions,
    n_threads: int | None,
) -> Posterior:
    """Return a posterior with the coefficients of its rows, from those that it has.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        If conjugate gradients end above the tolerance.
    """
    data = ScaledRows(posterior.points, posterior.targets, posterior.weights)
    system = _System.of(posterior.kernel, posterior.nugget, data, rng, options, n_threads)
    solution = system.solved(np.arange(len(data)), posterior.coefficients)
    _warn_of_residual(solution, options.tolerance)
    return replace(
        posterior, coefficients=solution.coefficients, n_iterations=solution.n_iterations
    )


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
    """The linear system (K + nugget W^-1) C = Y, of all rows or of some of them.

    With the roots D of the weights it is solved as (D K D + nugget I) D^-1 C = D Y.
    """

    kernel: Kernel
    nugget: float
    data: ScaledRows
    roots: Doubles
    approximation: LowRank
    options: IterativeOptions
    n_threads: int | None

    @classmethod
    def of(
        cls,
        kernel: Kernel,
        nugget: float,
        data: ScaledRows,
        rng: np.random.Generator,
        options: IterativeOptions,
        n_threads: int | None,
    ) -> _System:
        """Return the system of some data, with an approximation of D K D as preconditioner."""
        n = len(data)
        rank = max(1, min(_RANK, int(options.max_memory / (8.0 * n))))
        approximation = low_rank(
            kernel, data.points, rank, rng, tolerance=_LACK * nugget, n_threads=n_threads
        )
        roots = np.ones((n, 1))
        if data.weights is not None:
            roots = np.sqrt(data.weights)[:, None]
            approximation = approximation.scaled(roots[:, 0])
        return cls(kernel, nugget, data, roots, approximation, options, n_threads)

    def solved(self, rows: npt.NDArray[np.intp], start: FloatArray | None = None) -> Solution:
        """Return the solution for some of the rows."""
        data, roots = self.data[rows], self.roots[rows]

        def product(V: FloatArray) -> FloatArray:
            K_V = self.kernel.apply(data.points, data.points, roots * V, n_threads=self.n_threads)
            return np.asarray(roots * K_V + self.nugget * V)

        solution = conjugate_gradients(
            product,
            roots * data.targets,
            preconditioner=Preconditioner(self.approximation[rows], self.nugget),
            start=None if start is None else start / roots,
            tolerance=self.options.tolerance,
            max_iterations=self.options.max_iterations,
        )
        return replace(solution, coefficients=roots * solution.coefficients)

    def held_out_scale(
        self,
        held: npt.NDArray[np.intp],
        kept: npt.NDArray[np.intp],
        solution: Solution,
        pivots: npt.NDArray[np.intp],
    ) -> Doubles:
        """Return the amplitudes that give the errors at held-out rows the deviations predicted."""
        data, others = self.data[held], self.data[kept]
        mean = self.kernel.apply(
            data.points, others.points, solution.coefficients, n_threads=self.n_threads
        )
        known = SparseVariance(
            self.kernel,
            others.points,
            np.searchsorted(kept, pivots),
            self.nugget,
            weights=others.weights,
            n_threads=self.n_threads,
        )
        variances = known.variances(data.points)[:, None] + self.nugget / self.roots[held] ** 2
        return np.asarray(np.sqrt(np.mean(np.square(data.targets - mean) / variances, axis=0)))
