"""How good a learned kernel is: test errors of its interpolants, and how far its classes collapsed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow._base.generators import generator_state, set_generator_state
from kflow.errors import SingularKernelError
from kflow.kernels import Kernel
from kflow.linear.interpolant import Interpolant, balanced_subset
from kflow.operations import one_hot

if TYPE_CHECKING:
    from kflow.flow.kernel_flow import KernelFlow

__all__ = [
    "N_INTERPOLATION",
    "ErrorCurve",
    "ErrorWindow",
    "InterpolationError",
    "average_error",
    "class_distance_ratio",
    "class_distances",
    "interpolation_errors",
    "regression_errors",
    "sizes_that_fit",
]

# The sizes in the tables of Owhadi and Yoo.
N_INTERPOLATION = (6000, 600, 60, 10)


@dataclass(frozen=True)
class InterpolationError:
    """Part of the test points that interpolants from `n_interpolation` points get wrong."""

    n_interpolation: int
    average: float
    min: float
    max: float
    std: float

    @classmethod
    def of(cls, n_interpolation: int, errors: Sequence[float]) -> InterpolationError:
        """Summarise the errors of several interpolants."""
        return cls(
            n_interpolation,
            float(np.mean(errors)),
            float(np.min(errors)),
            float(np.max(errors)),
            float(np.std(errors)),
        )


def sizes_that_fit(labels: npt.NDArray[Any], sizes: Iterable[int]) -> list[int]:
    """Return the sizes for which every class has points enough; none below one for each class.

    If none fits, the largest that does stands for them.
    """
    counts = np.unique(labels, return_counts=True)[1]
    largest = len(counts) * int(counts.min())
    raised = {max(size, len(counts)) for size in sizes}
    fitting = [size for size in raised if size <= largest]
    return sorted(fitting, reverse=True) or [largest]


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
    labels, test_labels : ndarray, shape (N,) and (n,)
        Their classes.
    kernel : kflow.kernels.Kernel
        The flow's `kernel_`.
    nugget : float
        Nugget of the interpolants.
    rng : numpy.random.Generator
        Draws the interpolation points, as many of each class as of the others.
    n_interpolation : iterable of int
        How many. Numbers for which a class has too few points are left out, or replaced by the
        largest that fits if that leaves none; numbers below one point for each class are raised to
        that.
    n_draws : int
        Interpolants for each number.
    n_threads : int, optional
        Threads; see `kflow.get_num_threads`.

    Returns
    -------
    list of InterpolationError
        Largest number of points first.

    Raises
    ------
    SingularKernelError
        If the nugget is too small for these points.
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
            predicted = classes[interpolant(test_points).argmax(axis=1)]
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
    """Return the average error of interpolants of a flow that goes on whatever comes out.

    As `interpolation_errors`, for one number of points that fits, with the flow's kernel and
    threads; NaN if the kernel matrix is singular.
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
    except SingularKernelError:  # no reason to end a run
        return math.nan
    return row.average


def class_distances(points: FloatArray, labels: npt.NDArray[Any]) -> tuple[float, float]:
    """Mean squared distances between two points of one class, and between two of different ones.

    Parameters
    ----------
    points : ndarray, shape (N, d)
        All points.
    labels : ndarray, shape (N,)
        Their classes.

    Returns
    -------
    tuple of float
        Within and between classes; NaN where there are no such two points.

    Notes
    -----
    With n_c points of class c, mean m_c and scatter V_c = sum |x - m_c|^2, N points in all and
    the origin at their mean, the sums of |x - x'|^2 over ordered pairs are sum_c 2 n_c V_c
    within classes and sum_c 2 ((N - n_c) V_c + N n_c |m_c|^2) between them: N d operations.
    """
    codes = np.unique(labels, return_inverse=True)[1]
    counts = np.bincount(codes).astype(np.float64)
    origin = points.mean(axis=0, dtype=np.float64)
    total, means, scatter = float(len(points)), [], []
    for code in range(len(counts)):
        members = points[codes == code].astype(np.float64) - origin
        means.append(members.mean(axis=0))
        members -= means[-1]
        scatter.append(np.einsum("ij,ij->", members, members))
    V = np.array(scatter)
    squares = np.einsum("ij,ij->i", means, means)
    within = 2.0 * float((counts * V).sum())
    between = 2.0 * float(((total - counts) * V + total * counts * squares).sum())
    n_within = float((counts * (counts - 1.0)).sum())
    n_between = float((counts * (total - counts)).sum())
    return (
        within / n_within if n_within else math.nan,
        between / n_between if n_between else math.nan,
    )


def class_distance_ratio(points: FloatArray, labels: npt.NDArray[Any]) -> float:
    """Mean squared distance between two points of one class over that between classes.

    Parameters
    ----------
    points : ndarray, shape (N, d)
        All points.
    labels : ndarray, shape (N,)
        Their classes.

    Returns
    -------
    float
        0 when every class has collapsed to a point of its own; NaN where there are no two points
        of one class, or of different ones.
    """
    within, between = class_distances(points, labels)
    return within / between if between else math.nan


def regression_errors(y_true: npt.NDArray[Any], y_predicted: npt.NDArray[Any]) -> dict[str, float]:
    """Return ``rmse`` and ``r2`` (NaN for constant truth) of a prediction."""
    residual = np.asarray(y_predicted, np.float64) - np.asarray(y_true, np.float64)
    variance = float(np.var(np.asarray(y_true, np.float64)))
    mean_square = float((residual**2).mean())
    return {
        "rmse": math.sqrt(mean_square),
        "r2": 1.0 - mean_square / variance if variance > 0.0 else math.nan,
    }


def curve_state(errors: Mapping[int, Sequence[float]]) -> dict[str, list[float | None]]:
    """Return errors for each number of points as JSON data: null for NaN."""
    return {
        str(size): [None if math.isnan(error) else error for error in several]
        for size, several in errors.items()
    }


def errors_from_state(
    state: Mapping[str, Sequence[float | None]], sizes: Iterable[int]
) -> dict[int, list[float]]:
    """Return what `curve_state` was given.

    Raises
    ------
    ValueError
        If the numbers of interpolation points are not `sizes`.
    """
    errors = {
        int(size): [math.nan if error is None else error for error in several]
        for size, several in state.items()
    }
    if set(errors) != set(sizes):
        raise ValueError(
            f"n_interpolation: the flow was seen with {sorted(errors)} interpolation points, not "
            f"{sorted(sizes)}: resume it with those"
        )
    return errors


def check_every(here: int, there: int) -> None:
    """Raise ValueError if a resumed flow would be looked at more or less often than before."""
    if here != there:
        raise ValueError(
            f"every={here}, but the flow was looked at every {there} layers (early stopping takes a "
            "part of n_layers): resume it with those"
        )


class ErrorCurve:
    """Callback of a flow: the test error after the first layer and every few layers.

    Parameters
    ----------
    labels, test_labels : ndarray
        Classes of the training points, and of those that the flow follows as ``"test"``.
    nugget : float
        Nugget of the interpolants.
    every : int
        Layers from one evaluation to the next.
    rng : numpy.random.Generator
        Draws the interpolation points.
    n_interpolation : iterable of int
        Numbers of interpolation points.
    n_draws : int
        Interpolants for each.

    Attributes
    ----------
    layers : list of int
        Where the error was evaluated.
    errors : dict of list of float
        Number of points to the average error at each of `layers`; NaN where the kernel matrix was
        singular.
    """

    def __init__(
        self,
        labels: npt.NDArray[Any],
        test_labels: npt.NDArray[Any],
        *,
        nugget: float,
        every: int,
        rng: np.random.Generator,
        n_interpolation: Iterable[int] = N_INTERPOLATION[1:],
        n_draws: int = 3,
    ) -> None:
        self._labels = labels
        self._test_labels = test_labels
        self._nugget = nugget
        self._every = every
        self._rng = rng
        self._n_draws = n_draws
        self.layers: list[int] = []
        self.errors: dict[int, list[float]] = {
            size: [] for size in sizes_that_fit(labels, n_interpolation)
        }

    def __call__(self, flow: KernelFlow) -> None:
        """Evaluate, if it is time to."""
        if flow.n_layers_ != 1 and flow.n_layers_ % self._every != 0:
            return
        positions = flow.positions()
        points, test_points = positions.training, positions.sets["test"]
        averages = [self._average(flow, size, points, test_points) for size in self.errors]
        # All or nothing, so that the lists have one length whatever happened before.
        self.layers.append(flow.n_layers_)
        for errors, average in zip(self.errors.values(), averages, strict=True):
            errors.append(average)

    def to_state(self) -> dict[str, Any]:
        """Return what it has seen and how it goes on, as JSON data."""
        return {
            "every": self._every,
            "layers": self.layers,
            "errors": curve_state(self.errors),
            "generator": generator_state(self._rng),
        }

    def from_state(self, state: Mapping[str, Any]) -> None:
        """Go on from where `to_state` was called.

        Raises
        ------
        ValueError
            If `every` or the numbers of interpolation points were others.
        """
        check_every(self._every, state["every"])
        values = errors_from_state(state["errors"], self.errors)
        self.layers[:] = state["layers"]
        for size, errors in values.items():
            self.errors[size][:] = errors
        set_generator_state(self._rng, state["generator"])

    def _average(
        self, flow: KernelFlow, size: int, points: FloatArray, test_points: FloatArray
    ) -> float:
        return average_error(
            flow,
            points,
            self._labels,
            test_points,
            self._test_labels,
            nugget=self._nugget,
            rng=self._rng,
            n_interpolation=size,
            n_draws=self._n_draws,
        )


class ErrorWindow:
    """Callback of a flow: the test error after each of its last layers, with a new draw for each.

    The tables of Owhadi and Yoo summarise such windows.

    Parameters
    ----------
    labels, test_labels, nugget, rng, n_interpolation
        As for `ErrorCurve`.
    first, last : int
        The layers after which the error is evaluated, both included.

    Attributes
    ----------
    errors : dict of list of float
        Number of points to the error after each layer of the window; NaN where the kernel matrix
        was singular.
    """

    def __init__(
        self,
        labels: npt.NDArray[Any],
        test_labels: npt.NDArray[Any],
        *,
        nugget: float,
        first: int,
        last: int,
        rng: np.random.Generator,
        n_interpolation: Iterable[int] = N_INTERPOLATION,
    ) -> None:
        self._layers = range(first, last + 1)
        self._curve = ErrorCurve(
            labels,
            test_labels,
            nugget=nugget,
            every=1,
            rng=rng,
            n_interpolation=n_interpolation,
            n_draws=1,
        )
        self.errors = self._curve.errors

    def __call__(self, flow: KernelFlow) -> None:
        """Evaluate, if the layer is in the window."""
        if flow.n_layers_ in self._layers:
            self._curve(flow)

    def to_state(self) -> dict[str, Any]:
        """Return what it has seen and how it goes on, as JSON data."""
        return self._curve.to_state()

    def from_state(self, state: Mapping[str, Any]) -> None:
        """Go on from where `to_state` was called.

        Raises
        ------
        ValueError
            If the numbers of interpolation points were others.
        """
        self._curve.from_state(state)

    def summary(self) -> list[InterpolationError]:
        """Return average, extremes and standard deviation over the window, for each number."""
        return [
            InterpolationError.of(size, errors) for size, errors in self.errors.items() if errors
        ]
