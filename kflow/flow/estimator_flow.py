"""The flow of a fitted estimator: what looks into a flow takes a `KernelFlow` or an estimator."""

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
from kflow.flow.kernel_flow import KernelFlow
from kflow.layers.replay import layer_counts

__all__ = ["EstimatorFlow", "as_layers", "estimator_flow"]


@dataclass(frozen=True)
class EstimatorFlow:
    """A fitted flow and the scaling before it.

    Attributes
    ----------
    flow : KernelFlow
        The flow, of scaled points.
    scaling : Preprocessing
        What happens to points before the flow: nothing where the estimator is a flow itself.
    estimator : KernelFlow, KernelFlowClassifier or KernelFlowRegressor
        Where they come from.
    """

    flow: KernelFlow
    scaling: Preprocessing
    estimator: Any

    def checked(self, X: npt.ArrayLike, name: str = "X") -> FloatArray:
        """Return points as an array (n, d) of floats, or raise an error that names them."""
        if self.estimator is not self.flow and hasattr(X, "columns"):
            from sklearn.utils.validation import validate_data

            # A table: its columns must have the names that they had in fit.
            X = validate_data(self.estimator, X, dtype=[np.float64, np.float32], reset=False)
        return as_matrix(
            X,
            name,
            dtype=common_dtype(X),
            n_columns=self.flow.n_features_in_,
            allow_no_rows=False,
        )

    def scaled(self, X: npt.ArrayLike, name: str = "X") -> FloatArray:
        """Return points (n, d) as the flow takes them."""
        return self.scaling(self.checked(X, name))

    @property
    def nugget(self) -> float:
        """The estimator's nugget for interpolants; that of the last layer for a flow itself."""
        if self.estimator is not self.flow:
            return as_nugget(self.estimator.interpolation_nugget, "interpolation_nugget")
        nuggets = self.flow.history_["nugget"]
        if len(nuggets):
            return float(nuggets[-1])
        return as_nugget(self.flow.schedules()["nugget"](0))


def estimator_flow(estimator: Any) -> EstimatorFlow:
    """Return the flow and the scaling of a fitted estimator.

    Parameters
    ----------
    estimator : KernelFlow, KernelFlowClassifier or KernelFlowRegressor
        Fitted.

    Returns
    -------
    EstimatorFlow

    Raises
    ------
    ValueError
        If it has not been fitted (scikit-learn's NotFittedError for its estimators).
    TypeError
        If it is something else.
    """
    if isinstance(estimator, KernelFlow):
        _ = estimator.state_  # or the error of a flow that has not been fitted
        return EstimatorFlow(estimator, Preprocessing(), estimator)
    flow = getattr(estimator, "flow_", None)
    if isinstance(flow, KernelFlow):
        return EstimatorFlow(flow, estimator.scaling_, estimator)
    if hasattr(estimator, "interpolation_nugget"):
        from sklearn.exceptions import NotFittedError

        raise NotFittedError(f"this {type(estimator).__name__} has no flow yet: call fit first")
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
    """Return numbers of layers in increasing order: None stands for `n_default` evenly spaced ones."""
    if layers is None:
        even = np.linspace(0, flow.n_layers_, n_default)
        return tuple(int(number) for number in np.unique(even.round()))
    numbers = layer_counts(layers, flow.n_layers_)
    if not numbers or any(a == b for a, b in pairwise(numbers)):
        raise ValueError(f"layers must be one or more increasing numbers, got {numbers}")
    return tuple(numbers)
