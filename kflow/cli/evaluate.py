"""The test error of an estimator: while its flow runs, and at the end."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow.cli.room import Estimator
from kflow.datasets import Dataset
from kflow.estimators.classifier import KernelFlowClassifier
from kflow.evaluation import (
    ErrorCurve,
    class_distance_ratio,
    interpolation_errors,
    regression_errors,
    view_average,
)
from kflow.flow.kernel_flow import KernelFlow
from kflow.linear.interpolant import Interpolant
from kflow.operations import one_hot

__all__ = ["ErrorsOnTheWay", "error_before", "evaluate", "predict_columns"]


def evaluate(
    estimator: Estimator, points: Dataset, n_draws: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Return the test errors of a fitted estimator, as the results hold them.

    Parameters
    ----------
    estimator : KernelFlowClassifier or KernelFlowRegressor
        Fitted. A classifier's flow has carried the test points along under the name ``"test"``.
    points : Dataset
        The data: its targets and, for regression, its test points.
    n_draws : int
        Number of random interpolants behind each error of a classifier.
    rng : numpy.random.Generator
        Source of these draws.
    """
    if points.task == "regression":
        predicted = predict_columns(estimator, points.X_test)
        return {"errors": regression_errors(points.y_test, predicted)}
    return _classification_errors(estimator, points, n_draws, rng)


def _classification_errors(
    estimator: Estimator, points: Dataset, n_draws: int, rng: np.random.Generator
) -> dict[str, Any]:
    flow = estimator.flow_
    positions = flow.positions()
    train, test = positions.training, positions.followed["test"]
    labels = _labels(estimator, flow)
    values = view_average(estimator.interpolant_(test), len(points.y_test))
    predicted = estimator.classes_[values.argmax(axis=1)]
    errors = interpolation_errors(
        train,
        labels,
        test,
        points.y_test,
        kernel=flow.kernel_,
        nugget=estimator.interpolation_nugget_,
        rng=rng,
        n_draws=n_draws,
        n_threads=estimator.n_threads,
    )
    return {
        "errors": [asdict(row) for row in errors],
        "model_error": float((predicted != points.y_test).mean()),
        "class_distance_ratio": class_distance_ratio(train, labels),
    }


def error_before(estimator: Estimator, points: Dataset) -> float:
    """Return the test error of the model's interpolant without its flow.

    It has the same points, kernel and nugget, but at the places before the first layer.

    Parameters
    ----------
    estimator : KernelFlowClassifier or KernelFlowRegressor
        Fitted.
    points : Dataset
        The data, training points included.

    Returns
    -------
    float
        The part of the test points that is misclassified, or the root mean squared error.
    """
    rows, model = estimator.interpolation_rows_, estimator.interpolant_

    def unmoved(X: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return next(estimator.flow_.trajectory(estimator.scaling_(X), (0,), reduced=True))

    y = points.y_train[rows]
    is_regression = points.task == "regression"
    mean = points.y_train.mean() if is_regression else 0.0
    interpolant = Interpolant(
        unmoved(points.X_train[rows]),
        y - mean if is_regression else one_hot(y),
        kernel=model.kernel,
        nugget=model.nugget,
        sample_weight=model.sample_weight,
        n_threads=estimator.n_threads,
    )
    values = interpolant(unmoved(points.X_test))
    if is_regression:
        return regression_errors(points.y_test, values[:, 0] + mean)["rmse"]
    values = view_average(values, len(points.y_test))
    return float((np.unique(y)[values.argmax(axis=1)] != points.y_test).mean())


def _labels(estimator: Estimator, flow: KernelFlow) -> npt.NDArray[Any]:
    """Return the classes of a flow's points, which need not be all of the training points."""
    labels: npt.NDArray[Any] = estimator.classes_[flow.targets_.argmax(axis=1)]
    return labels


def predict_columns(estimator: Estimator, X: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Predict for columns in the model's order.

    An estimator that knows the names of its columns would make scikit-learn warn that an array has
    none.
    """
    names = estimator.__dict__.pop("feature_names_in_", None)
    try:
        return estimator.predict(X)
    finally:
        if names is not None:
            estimator.feature_names_in_ = names


class ErrorsOnTheWay:
    """Callback that measures the test error after some of the layers.

    Parameters
    ----------
    estimator : KernelFlowClassifier
        The estimator that is being fitted.
    test_labels : ndarray, shape (n_test,)
        Classes of the test points, which the flow carries along.
    seed : int
        Source of the draws.
    n_draws : int
        Number of random interpolants behind each error.
    """

    # Checkpoints tell callbacks by the names of their classes, and earlier ones have this name.
    __qualname__ = "_TestErrors"

    def __init__(
        self,
        estimator: KernelFlowClassifier,
        test_labels: npt.NDArray[Any],
        seed: int,
        n_draws: int,
    ) -> None:
        self._estimator = estimator
        self._test_labels = test_labels
        self._seed = seed
        self._n_draws = n_draws
        self._curve: ErrorCurve | None = None
        self._state: Any = None

    def __call__(self, flow: KernelFlow) -> None:
        """Measure the error after a layer, if it is time to."""
        self._curve_of(flow)(flow)

    def curve(self, flow: KernelFlow) -> ErrorCurve | None:
        """Return the errors so far; None if no layer was seen."""
        if self._curve is None and self._state is None:
            return None
        return self._curve_of(flow)

    def _curve_of(self, flow: KernelFlow) -> ErrorCurve:
        # Which rows are held out for early stopping is not known before the flow runs.
        if self._curve is None:
            self._curve = ErrorCurve(
                _labels(self._estimator, flow),
                self._test_labels,
                nugget=self._estimator.interpolation_nugget_,
                every=max(1, self._estimator.n_layers_ // 20),
                rng=np.random.default_rng([self._seed, 1]),
                n_draws=self._n_draws,
            )
            if self._state is not None:
                self._curve.from_state(self._state)
        return self._curve

    def to_state(self) -> Any:
        """Return the errors so far as JSON data."""
        return self._state if self._curve is None else self._curve.to_state()

    def from_state(self, state: Any) -> None:
        """Go on from what `to_state` returned."""
        self._state = state
