"""The posterior Gaussian process of scaled data, but for its amplitude."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles, FloatArray
from kflow.data.arrays import as_matrix, as_weights
from kflow.engine.threads import single_threaded_blas
from kflow.errors import ModelFileError, SingularKernelError, damaged
from kflow.kernels import Kernel
from kflow.linear.factor import Factor, cholesky_factor, factorise, solve_factored
from kflow.linear.sparse_variance import SparseVariance
from kflow.storage.model_file import ModelReader

__all__ = ["Posterior", "leave_one_out_scale", "read_posterior"]


@dataclass(eq=False)
class Posterior:
    """The posterior process of scaled targets, but for its amplitude.

    Attributes
    ----------
    kernel : Kernel
        The kernel.
    nugget : float
        What was added to the diagonal, for a row of weight 1.
    points : ndarray, shape (n, d)
        The points that predictions are made of.
    targets : ndarray, shape (n, m)
        Their scaled targets.
    coefficients : ndarray, shape (n, m)
        The mean at x is k(x, points) times these.
    weights : ndarray, shape (n,), or None
        The weights of the rows, by which their nuggets are divided; None for 1.
    factor : Factor, SparseVariance or None
        What the variance is made of; None until it is needed.
    variance_rows : ndarray of int, shape (n_v,), or None
        The rows of `points` given which the variance is; None for all of them.
    pivots : ndarray of int, shape (r,), or None
        The rows of `points` from which a `SparseVariance` tells that given all rows; None: there is a
        factor.
    n_iterations : int
        Iterations of conjugate gradients.
    """

    kernel: Kernel
    nugget: float
    points: FloatArray
    targets: Doubles
    coefficients: FloatArray
    weights: Doubles | None = None
    factor: Factor | SparseVariance | None = None
    variance_rows: npt.NDArray[np.intp] | None = None
    pivots: npt.NDArray[np.intp] | None = None
    n_iterations: int = 0

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled and copied: all but the factor, which can be made again."""
        return {**self.__dict__, "factor": None}

    # ---- predictions --------------------------------------------------------------------------

    def mean(self, X: FloatArray, n_threads: int | None) -> Doubles:
        """Return the mean at rows of X, (n, m)."""
        return np.asarray(
            self.kernel.apply(X, self.points, self.coefficients, n_threads=n_threads), np.float64
        )

    def variances(self, X: FloatArray, n_threads: int | None) -> Doubles:
        """Return the variances of the function at rows of X, (n,)."""
        return self._known(n_threads).variances(X)

    def covariance(self, X: FloatArray, n_threads: int | None) -> Doubles:
        """Return the joint covariance of the function at rows of X, (n, n)."""
        return self._known(n_threads).covariance(X)

    def _known(self, n_threads: int | None) -> Factor | SparseVariance:
        """Return what the variance is made of; it is made anew after a file was read."""
        if self.factor is None:
            self.factor = self._made(n_threads)
        return self.factor

    def _made(self, n_threads: int | None) -> Factor | SparseVariance:
        if self.pivots is not None:
            return SparseVariance(
                self.kernel,
                self.points,
                self.pivots,
                self.nugget,
                weights=self.weights,
                n_threads=n_threads,
            )
        rows = slice(None) if self.variance_rows is None else self.variance_rows
        return Factor(
            self.kernel,
            self.points[rows],
            self.nugget,
            weights=None if self.weights is None else self.weights[rows],
            n_threads=n_threads,
        )

    def arrays(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Yield the arrays of a model file, by name; `read_posterior` is the inverse."""
        yield "points", self.points
        yield "targets", self.targets
        yield "coefficients", self.coefficients
        if self.weights is not None:
            yield "weights", self.weights
        if self.variance_rows is not None:
            yield "variance_rows", self.variance_rows
        if self.pivots is not None:
            yield "pivots", self.pivots

    def left_out(
        self, rows: npt.NDArray[np.intp] | None, n_threads: int | None
    ) -> tuple[Doubles, Doubles]:
        """Return mean, (n, m), and variance, (n, 1), of rows that are each predicted from the others.

        The variance is that of the observation: the nugget of the row is in it.

        Parameters
        ----------
        rows : ndarray of int, shape (n,), or None
            Among which rows; None for all of them.
        n_threads : int or None
            Threads.

        Notes
        -----
        y_i - (A^-1 y)_i / (A^-1)_ii and 1 / (A^-1)_ii: n^3 flops, or 2 n^3 / 3 with the factor of all rows at hand.
        C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning (2006), equation 5.12.
        """
        if rows is None:
            factor = self._known(n_threads)
            assert isinstance(factor, Factor)
            targets, solved = self.targets, self.coefficients
        else:
            targets = self.targets[rows]
            factor = Factor(
                self.kernel,
                self.points[rows],
                self.nugget,
                weights=None if self.weights is None else self.weights[rows],
                n_threads=n_threads,
            )
            solved = factor.solve(targets)
        diagonal = factor.inverse_diagonal()[:, None]
        return np.asarray(targets - solved / diagonal), 1.0 / diagonal

    @property
    def is_factored(self) -> bool:
        """Whether the variance is that given all rows, by a factor of their matrix."""
        return self.pivots is None and self.variance_rows is None

    # ---- further rows -------------------------------------------------------------------------

    def extended(
        self, X: FloatArray, Y: Doubles, weights: Doubles | None, n_threads: int | None
    ) -> tuple[Posterior, Doubles]:
        """Return the posterior given further rows as well, and its amplitudes, by a rank update.

        Parameters
        ----------
        X, Y : ndarray, shape (q, d) and (q, m)
            Further points and scaled targets.
        weights : ndarray, shape (q,), or None
            Their weights; None for 1.
        n_threads : int or None
            Threads.

        Raises
        ------
        SingularKernelError
            If the kernel matrix is not positive definite, even with a larger nugget.

        Warns
        -----
        JitterWarning
            If a larger nugget was needed; then the factor is made anew.
        """
        more = self.with_rows(X, Y, weights)
        known = self._known(n_threads)
        assert isinstance(known, Factor)
        try:
            factor = known.extended(X, weights=weights)
        except SingularKernelError:
            factor = factorise(
                self.kernel, more.points, self.nugget, weights=more.weights, n_threads=n_threads
            )
        coefficients = factor.solve(more.targets)
        posterior = replace(more, factor=factor, nugget=factor.nugget, coefficients=coefficients)
        return posterior, leave_one_out_scale(factor, coefficients)

    def with_rows(self, X: FloatArray, Y: Doubles, weights: Doubles | None) -> Posterior:
        """Return a posterior with further rows, whose coefficients are 0 so far.

        Its variance is that given all rows if there are pivots, else that given the rows of before.
        """
        all_weights = None
        if self.weights is not None or weights is not None:
            pairs = ((self.weights, len(self.points)), (weights, len(X)))
            all_weights = np.concatenate([np.ones(n) if w is None else w for w, n in pairs])
        return replace(
            self,
            points=np.concatenate([self.points, X]),
            targets=np.concatenate([self.targets, Y]),
            coefficients=np.concatenate([self.coefficients, np.zeros_like(Y)]),
            weights=all_weights,
            factor=None if self.pivots is not None else self.factor,
        )

    # ---- the likelihood -----------------------------------------------------------------------

    def log_likelihood(
        self,
        kernel: Kernel,
        nugget: float,
        scale: Doubles,
        *,
        gradient: bool,
        n_threads: int | None,
    ) -> tuple[float, Doubles | None]:
        """Return the log marginal likelihood of the targets, and its gradient.

        Parameters
        ----------
        kernel, nugget : Kernel, float
            Those of the prior: they need not be the posterior's own.
        scale : ndarray, shape (m,)
            The amplitude of each output.
        gradient : bool
            Whether to compute the gradient.
        n_threads : int or None
            Threads.

        Returns
        -------
        value : float
            The sum over the outputs of log N(y; 0, s^2 (K + nugget W^-1)).
        gradient : ndarray, shape (p + 1 + m,), or None
            Derivatives with respect to `kernel.theta`, log nugget and the logarithms of the scale.

        Raises
        ------
        SingularKernelError
            If the covariance is not positive definite.
        """
        from scipy.linalg.lapack import dpotri

        n, m = self.targets.shape
        nuggets = np.full(n, nugget) if self.weights is None else nugget / self.weights
        matrix = np.asarray(kernel(self.points, n_threads=n_threads), np.float64)
        factor = cholesky_factor(matrix, nugget, self.weights)
        targets = self.targets / scale
        solved = solve_factored(factor, targets)
        squares = np.einsum("ij,ij->j", targets, solved)
        logarithms = n * np.log(scale) + np.log(np.diagonal(factor)).sum()
        value = -float((0.5 * squares + logarithms).sum() + 0.5 * n * m * math.log(2.0 * math.pi))
        if not gradient:
            return value, None
        with single_threaded_blas:
            inverse = np.tril(dpotri(factor, lower=1, overwrite_c=1)[0])
            G = solved @ solved.T
        inverse += np.tril(inverse, -1).T
        G = 0.5 * (G - m * inverse)
        by_theta, _ = kernel.contract(self.points, G, n_threads=n_threads)
        by_nugget = float(G.diagonal() @ nuggets)
        return value, np.concatenate([by_theta, [by_nugget], squares - n])


def leave_one_out_scale(factor: Factor, coefficients: FloatArray) -> Doubles:
    """Return the amplitudes that give leave-one-out residuals the deviations predicted, (m,)."""
    if len(coefficients) == 1:  # there is nothing to leave out: the amplitude of the kernel
        return np.ones(coefficients.shape[1])
    squares = np.square(coefficients) / factor.inverse_diagonal()[:, None]
    return np.asarray(np.sqrt(squares.mean(axis=0)))


# ---- files ------------------------------------------------------------------------------------


def read_posterior(
    reader: ModelReader, kernel: Kernel, n_features: int, nugget: float, n_iterations: int
) -> Posterior:
    """Return the posterior of a model file, without the factor, which can be made again.

    Raises
    ------
    ModelFileError
        If its arrays are damaged or do not fit each other.
    """

    def read(name: str, **shape: Any) -> Doubles:
        return np.asarray(
            as_matrix(reader.array(name), name, dtype=np.float64, **shape), np.float64
        )

    with damaged("posterior"):
        points = read("points", n_columns=n_features, allow_no_rows=False)
        coefficients = read("coefficients", n_rows=len(points))
        weights = None
        if "weights" in reader:
            weights = as_weights(reader.array("weights"), len(points))
        if "targets" in reader:
            targets = read("targets", n_rows=len(points), n_columns=coefficients.shape[1])
        else:  # files of early versions lack them: they are the system's right-hand sides
            product = kernel.apply(points, points, coefficients)
            targets = np.asarray(product + nugget * coefficients, np.float64)
    rows, pivots = (
        _read_rows(reader, name, len(points)) if name in reader else None
        for name in ("variance_rows", "pivots")
    )
    return Posterior(
        kernel, nugget, points, targets, coefficients, weights, None, rows, pivots, n_iterations
    )


def _read_rows(reader: ModelReader, name: str, n: int) -> npt.NDArray[np.intp]:
    """Return an array of a model file that holds some of n rows."""
    rows = reader.array(name, ndim=1)
    if not len(rows) or rows.dtype.kind not in "iu" or not np.isin(rows, np.arange(n)).all():
        raise ModelFileError(f"the model's {name} are no rows of its points")
    return rows.astype(np.intp)
