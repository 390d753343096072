"""Errors of what a learned kernel predicts: interpolants from a few points, and regressions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow.errors import SingularKernelError
from kflow.flow.kernel_flow import KernelFlow
from kflow.kernels import Kernel
from kflow.linear.interpolant import Interpolant, balanced_subset
from kflow.operations import one_hot

__all__ = [
    "N_INTERPOLATION",
    "InterpolationError",
    "average_error",
    "interpolation_errors",
    "regression_errors",
    "sizes_that_fit",
    "view_average",
]

# The sizes in the tables of Owhadi and Yoo.
N_INTERPOLATION = (6000, 600, 60, 10)


@dataclass(frozen=True)
class InterpolationError:
    """The part of the test points that interpolants from `n_interpolation` points get wrong.

    Attributes
    ----------
    n_interpolation : int
        Number of interpolation points.
    average, min, max, std : float
        Average, extremes and standard deviation of the error over several interpolants.
    """

    n_interpolation: int
    average: float
    min: float
    max: float
    std: float

    @classmethod
    def of(cls, n_interpolation: int, errors: Sequence[float]) -> InterpolationError:
        """Summarise the errors of several interpolants."""
        least, most = float(np.min(errors)), float(np.max(errors))
        return cls(
            n_interpolation,
            float(np.clip(np.mean(errors), least, most)),  # rounding may lead a little beyond
            least,
            most,
            float(np.std(errors)),
        )


def sizes_that_fit(labels: npt.NDArray[Any], sizes: Iterable[int]) -> list[int]:
    """Return the numbers of interpolation points that the classes have, largest first.

    Parameters
    ----------
    labels : ndarray, shape (N,)
        Classes of the points. As many are drawn of each class as of the others.
    sizes : iterable of int
        Numbers of interpolation points. Those below one point for each class are raised to that.

    Returns
    -------
    list of int
        The largest number that the classes have if they have none of `sizes`.
    """
    counts = np.unique(labels, return_counts=True)[1]
    largest = len(counts) * int(counts.min())
    raised = {max(size, len(counts)) for size in sizes}
    fitting = [size for size in raised if size <= largest]
    return sorted(fitting, reverse=True) or [largest]


def view_average(values: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    """Average values over the views of what they belong to.

    Parameters
    ----------
    values : ndarray, shape (n_views n, m)
        Values for the first view of each of n points, then for the second view of each.
    n : int
        Number of points.

    Returns
    -------
    ndarray, shape (n, m)

    Raises
    ------
    ValueError
        If the number of values is no multiple of n.
    """
    if n == 0 or len(values) % n:
        raise ValueError(f"there are {len(values)} values, which are no views of {n} points")
    return values if len(values) == n else values.reshape(-1, n, values.shape[1]).mean(axis=0)


def interpolation_errors(
    points: FloatArray,
    labels: npt.NDArray[Any],
    test_points: FloatArray,
    test_labels: npt.NDArray[Any],
    *,
    kernel: Kernel,
    nugget: float,
    rng: np.random.Generator,
    n_interpolation: Iterable[int] = N_INTERPOLATION,
    n_draws: int = 5,
    n_threads: int | None = None,
) -> list[InterpolationError]:
    """Classify test points by interpolation from a few training points drawn at random.

    The class is the argmax of the interpolant of one-hot values.

    Parameters
    ----------
    points, test_points : ndarray, shape (N, d) and (n, d)
        A flow's `reduced_points_` and the test points carried along by it, in the same coordinates.
        Several views of each test point may follow each other: those of the first view, which are n
        points, then those of the second. The interpolants' values are then averaged over the views.
    labels, test_labels : ndarray, shape (N,) and (n,)
        Classes of the points.
    kernel : kflow.kernels.Kernel
        The flow's `kernel_`.
    nugget : float
        Nugget of the interpolants.
    rng : numpy.random.Generator
        Draws the interpolation points, as many of each class as of the others.
    n_interpolation : iterable of int
        Numbers of interpolation points. Those for which a class has too few points are left out;
        if that leaves none, the largest that the classes have takes their place. Numbers below one
        point for each class are raised to that.
    n_draws : int
        Interpolants for each number.
    n_threads : int, optional
        Threads; see `kflow.get_num_threads`.

    Returns
    -------
    list of InterpolationError
        One for each number of points, the largest first.

    Raises
    ------
    SingularKernelError
        If the nugget is too small for these points.

    Notes
    -----
    For each interpolant from m points m^3 / 3 flops, and m evaluations of the kernel for each test
    point.
    """
    classes = np.unique(labels)
    rows = []
    for size in sizes_that_fit(labels, n_interpolation):
        errors = []
        for _ in range(n_draws):
            subset = balanced_subset(labels, size, rng)
            interpolant = Interpolant(
                points[subset],
                one_hot(labels[subset]),
                kernel=kernel,
                nugget=nugget,
                n_threads=n_threads,
            )
            predicted = classes[
                view_average(interpolant(test_points), len(test_labels)).argmax(axis=1)
            ]
            errors.append(float((predicted != test_labels).mean()))
        rows.append(InterpolationError.of(size, errors))
    return rows


def average_error(
    flow: KernelFlow,
    points: FloatArray,
    labels: npt.NDArray[Any],
    test_points: FloatArray,
    test_labels: npt.NDArray[Any],
    *,
    nugget: float,
    rng: np.random.Generator,
    n_interpolation: int,
    n_draws: int,
) -> float:
    """Return the average error of interpolants, for a flow that goes on whatever the error is.

    Parameters
    ----------
    flow : KernelFlow
        The flow, whose kernel and number of threads are used.
    points, labels, test_points, test_labels, nugget, rng, n_draws
        As in `interpolation_errors`.
    n_interpolation : int
        Number of interpolation points, which the classes must have.

    Returns
    -------
    float
        NaN if the kernel matrix is singular.
    """
    try:
        (row,) = interpolation_errors(
            points,
            labels,
            test_points,
            test_labels,
            kernel=flow.kernel_,
            nugget=nugget,
            rng=rng,
            n_interpolation=(n_interpolation,),
            n_draws=n_draws,
            n_threads=flow.n_threads,
        )
    except SingularKernelError:
        return math.nan
    return row.average


def regression_errors(y_true: npt.NDArray[Any], y_predicted: npt.NDArray[Any]) -> dict[str, float]:
    """Return the errors of a regression.

    Parameters
    ----------
    y_true, y_predicted : array_like, shape (n,)
        Targets, and predictions of them.

    Returns
    -------
    dict of str to float
        ``rmse``, the root mean squared error, and ``r2``, the part of the variance that is
        explained; ``r2`` is NaN for targets without variance.
    """
    residual = np.asarray(y_predicted, np.float64) - np.asarray(y_true, np.float64)
    variance = float(np.var(np.asarray(y_true, np.float64)))
    mean_square = float((residual**2).mean())
    return {
        "rmse": math.sqrt(mean_square),
        "r2": 1.0 - mean_square / variance if variance > 0.0 else math.nan,
    }
