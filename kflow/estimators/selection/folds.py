"""Folds: rows to learn from, and rows that are predicted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles
from kflow.engine.threads import single_threaded_blas
from kflow.errors import SingularKernelError
from kflow.kernels import Kernel
from kflow.layers.moments import mean_squared_distance
from kflow.linear.factor import cholesky_factor, solve_factored

__all__ = ["N_FOLDS", "Fold", "Rows", "folds_of", "proportional_rows", "scale_of"]

N_FOLDS = 4


@dataclass(frozen=True)
class Rows:
    """Points with their targets and weights.

    Attributes
    ----------
    points : ndarray of float64, shape (n, d)
        Points.
    targets : ndarray of float64, shape (n, q)
        Targets.
    weights : ndarray of float64, shape (n,), or None
        Positive weights; None if all count alike.
    """

    points: Doubles
    targets: Doubles
    weights: Doubles | None = None

    def __getitem__(self, rows: npt.NDArray[np.intp]) -> Rows:
        """Return some of the rows."""
        weights = None if self.weights is None else self.weights[rows]
        return Rows(self.points[rows], self.targets[rows], weights)


@dataclass
class Fold:
    """Rows to learn from, and rows left out.

    Attributes
    ----------
    kept, left_out : Rows
        The rows that an interpolant learns from, and those that it predicts.
    """

    kept: Rows
    left_out: Rows
    _kernel: Kernel | None = field(default=None, init=False, repr=False)
    _gram: Doubles = field(init=False, repr=False)
    _cross: Doubles = field(init=False, repr=False)

    def moved(self, kept: Doubles, left_out: Doubles) -> Fold:
        """Return the fold with other points in the place of its own."""
        return Fold(replace(self.kept, points=kept), replace(self.left_out, points=left_out))

    def predictions(self, kernel: Kernel, nugget: float) -> Doubles | None:
        """Predict the targets of the rows left out.

        Parameters
        ----------
        kernel, nugget : Kernel and float
            Those of the interpolant. Kernel matrices are kept until another kernel is asked for.

        Returns
        -------
        ndarray, shape (n, q), or None
            None if the kernel matrix is numerically singular.
        """
        if kernel != self._kernel:
            self._gram = np.asarray(kernel(self.kept.points, n_threads=1), np.float64)
            cross = kernel(self.left_out.points, self.kept.points, n_threads=1)
            self._cross = np.asarray(cross, np.float64)
            self._kernel = kernel
        try:
            factor = cholesky_factor(self._gram.copy(), nugget, self.kept.weights)
        except SingularKernelError:
            return None
        coefficients = solve_factored(factor, self.kept.targets)
        with single_threaded_blas:
            return np.asarray(self._cross @ coefficients)


def scale_of(points: Doubles) -> float:
    """Return the root of half the mean squared distance of points: the spread of their features."""
    return float(np.sqrt(mean_squared_distance(points) / 2.0))


def folds_of(
    rows: Rows, codes: npt.NDArray[np.intp] | None, rng: np.random.Generator
) -> list[Fold]:
    """Divide rows into folds, each row left out by one of them.

    Parameters
    ----------
    rows : Rows
        All rows.
    codes : ndarray of int, shape (n,), or None
        Classes. Each fold then has its share of each class.
    rng : numpy.random.Generator
        Source of the order.

    Returns
    -------
    list of Fold
        `N_FOLDS` of them.
    """
    n = len(rows.points)
    order = rng.permutation(n)
    if codes is not None:
        order = order[np.argsort(codes[order], kind="stable")]
    number = np.empty(n, dtype=int)
    number[order] = np.arange(n) % N_FOLDS
    return [
        Fold(rows[np.flatnonzero(number != k)], rows[np.flatnonzero(number == k)])
        for k in range(N_FOLDS)
    ]


def proportional_rows(
    n: int, most: int, codes: npt.NDArray[np.intp] | None, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Draw at most so many of n rows, of each class its share.

    Parameters
    ----------
    n, most : int
        Number of rows, and how many may be drawn.
    codes : ndarray of int, shape (n,), or None
        Classes, if there are any.
    rng : numpy.random.Generator
        Source of the draw.

    Returns
    -------
    ndarray of int
        The rows in ascending order.
    """
    if n <= most:
        return np.arange(n, dtype=np.intp)
    order = rng.permutation(n)
    if codes is not None:
        order = order[np.argsort(codes[order], kind="stable")]
    # Evenly spaced in the order by classes: each class gets its share, up to one row.
    places = (np.arange(most) + 0.5) * (n / most)
    return np.sort(order[places.astype(np.intp)]).astype(np.intp)
