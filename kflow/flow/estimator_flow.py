"""The flow of a fitted `KernelFlow` or estimator, and the scaling of points before the flow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_nugget, common_dtype
from kflow._base.array_types import FloatArray
from kflow.data.arrays import as_matrix
from kflow.data.scaling import Preprocessing
from kflow.errors import not_fitted
from kflow.flow.kernel_flow import KernelFlow
from kflow.layers.replay import layer_counts

__all__ = ["EstimatorFlow", "as_layers", "estimator_flow"]


@dataclass(frozen=True)
class EstimatorFlow:
    """A fitted flow and the scaling of points before the flow.

    Attributes
    ----------
    flow : KernelFlow
        The flow; its points are scaled.
    scaling : Preprocessing
        The scaling of points before the flow. It does nothing if the estimator is a flow itself.
    estimator : KernelFlow, KernelFlowClassifier or KernelFlowRegressor
        The estimator that the flow and the scaling belong to.
    """

    flow: KernelFlow
    scaling: Preprocessing
    estimator: Any

    def checked(self, X: npt.ArrayLike, name: str = "X") -> FloatArray:
        """Return points as an array (n, d) of floats.

        Raises
        ------
        TypeError, ValueError
            For a wrong shape or wrong values, naming the argument, and for a table whose columns
            have other names than in `fit`.
        """
        if self.estimator is not self.flow and hasattr(X, "columns"):
            from sklearn.utils.validation import validate_data

            # The columns of a table must have the names that they had in fit.
            X = validate_data(self.estimator, X, dtype=[np.float64, np.float32], reset=False)
        return as_matrix(
            X,
            name,
            dtype=common_dtype(X),
            n_columns=self.flow.n_features_in_,
            allow_no_rows=False,
        )

    def scaled(self, X: npt.ArrayLike, name: str = "X") -> FloatArray:
        """Return scaled points (n, d), which the flow can take.

        Raises
        ------
        TypeError, ValueError
            As for `checked`.
        """
        return self.scaling(self.checked(X, name))

    @property
    def nugget(self) -> float:
        """The nugget of the estimator's interpolant; for a flow itself, that of the last layer."""
        if self.estimator is not self.flow:
            return as_nugget(self.estimator.interpolation_nugget_, "interpolation_nugget")
        nuggets = self.flow.history_["nugget"]
        if len(nuggets):
            return float(nuggets[-1])
        return as_nugget(self.flow.schedules()["nugget"](0))


def estimator_flow(estimator: Any) -> EstimatorFlow:
    """Return the flow and the scaling of a fitted estimator.

    Parameters
    ----------
    estimator : KernelFlow, KernelFlowClassifier or KernelFlowRegressor
        The fitted estimator.

    Returns
    -------
    EstimatorFlow
        Its flow and its scaling.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator has not been fitted.
    TypeError
        If `estimator` is something else, such as a pipeline.
    """
    if isinstance(estimator, KernelFlow):
        _ = estimator.state_  # raises the error of a flow that has not been fitted
        return EstimatorFlow(estimator, Preprocessing(), estimator)
    flow = getattr(estimator, "flow_", None)
    if isinstance(flow, KernelFlow):
        return EstimatorFlow(flow, estimator.scaling_, estimator)
    if hasattr(estimator, "interpolation_nugget"):
        raise not_fitted(f"this {type(estimator).__name__} has no flow yet: call fit first")
    remedy = (
        ": pass its last step, and X as the steps before transform it"
        if hasattr(estimator, "steps")
        else ""
    )
    raise TypeError(
        "estimator must be a KernelFlow, a KernelFlowClassifier or a KernelFlowRegressor, got "
        f"{type(estimator).__name__}{remedy}"
    )


def as_layers(layers: Iterable[int] | None, flow: KernelFlow, n_default: int) -> tuple[int, ...]:
    """Return numbers of layers in increasing order.

    Parameters
    ----------
    layers : iterable of int or None
        The numbers. None stands for `n_default` numbers, evenly spaced from 0 to all layers.
    flow : KernelFlow
        The flow that has the layers.
    n_default : int
        How many numbers None stands for; they are fewer if the flow has fewer layers.

    Raises
    ------
    TypeError, ValueError
        If `layers` are not increasing numbers of layers that the flow has.
    """
    if layers is None:
        even = np.linspace(0, flow.n_layers_, n_default)
        return tuple(int(number) for number in np.unique(even.round()))
    numbers = layer_counts(layers, flow.n_layers_)
    if not numbers or any(a == b for a, b in pairwise(numbers)):
        raise ValueError(f"layers must be one or more increasing numbers, got {numbers}")
    return tuple(numbers)
