"""Errors along a flow: callbacks that evaluate its kernel after some of the layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow._base.generators import generator_state, set_generator_state
from kflow._base.short_repr import ShortRepr
from kflow.evaluation.errors import (
    N_INTERPOLATION,
    InterpolationError,
    average_error,
    sizes_that_fit,
)
from kflow.flow.kernel_flow import KernelFlow

__all__ = [
    "ErrorCurve",
    "ErrorWindow",
    "check_every",
    "errors_from_state",
    "errors_to_state",
]


def errors_to_state(errors: Mapping[int, Sequence[float]]) -> dict[str, list[float | None]]:
    """Return lists of errors, by the number of points, as JSON data: null stands for NaN."""
    return {
        str(size): [None if math.isnan(error) else error for error in several]
        for size, several in errors.items()
    }


def errors_from_state(
    state: Mapping[str, Sequence[float | None]], sizes: Iterable[int]
) -> dict[int, list[float]]:
    """Return the errors of which `errors_to_state` made JSON data.

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
    """Refuse to evaluate a resumed flow more often or less often than before.

    Raises
    ------
    ValueError
        If the numbers of layers between two evaluations differ.
    """
    if here != there:
        raise ValueError(
            f"every={here}, but the flow was looked at every {there} layers (early stopping takes a "
            "part of n_layers): resume it with those"
        )


class ErrorCurve(ShortRepr):
    """Callback of a flow that evaluates the test error after the first layer and every few layers.

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
        Interpolants for each number.

    Attributes
    ----------
    layers : list of int
        The numbers of layers after which the error was evaluated.
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
        self._labels = np.array(labels)
        self._test_labels = np.array(test_labels)
        self._nugget = nugget
        self._every = every
        self._rng = rng
        self._n_draws = n_draws
        self.layers: list[int] = []
        self.errors: dict[int, list[float]] = {
            size: [] for size in sizes_that_fit(labels, n_interpolation)
        }

    def __call__(self, flow: KernelFlow) -> None:
        """Evaluate the error if the layer is one of those after which it is evaluated."""
        if flow.n_layers_ != 1 and flow.n_layers_ % self._every != 0:
            return
        positions = flow.positions()
        points, test_points = positions.training, positions.sets["test"]
        averages = [self._average(flow, size, points, test_points) for size in self.errors]
        # Only now, so that the lists have one length whatever an evaluation raises.
        self.layers.append(flow.n_layers_)
        for errors, average in zip(self.errors.values(), averages, strict=True):
            errors.append(average)

    def to_state(self) -> dict[str, Any]:
        """Return what the callback has seen, and what it needs to go on, as JSON data."""
        return {
            "every": self._every,
            "layers": self.layers,
            "errors": errors_to_state(self.errors),
            "generator": generator_state(self._rng),
        }

    def from_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `to_state` returned, and go on from there.

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
    """Callback of a flow that evaluates the test error after each of its last layers.

    After each layer new interpolation points are drawn. The tables of Owhadi and Yoo summarise such windows of layers.

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
        """Evaluate the error if the layer is in the window."""
        if flow.n_layers_ in self._layers:
            self._curve(flow)

    def to_state(self) -> dict[str, Any]:
        """Return what the callback has seen, and what it needs to go on, as JSON data."""
        return self._curve.to_state()

    def from_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `to_state` returned, and go on from there.

        Raises
        ------
        ValueError
            If the numbers of interpolation points were others.
        """
        self._curve.from_state(state)

    def summary(self) -> list[InterpolationError]:
        """Return the errors over the window, for each number of points."""
        return [
            InterpolationError.of(size, errors) for size, errors in self.errors.items() if errors
        ]
