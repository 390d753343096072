"""How good a learned kernel is: errors of what it predicts, and how far its classes have collapsed."""

from __future__ import annotations

from kflow.evaluation.class_distances import class_distance_ratio, class_distances
from kflow.evaluation.curves import ErrorCurve, ErrorWindow
from kflow.evaluation.errors import (
    N_INTERPOLATION,
    InterpolationError,
    average_error,
    interpolation_errors,
    regression_errors,
    sizes_that_fit,
    view_average,
)

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
    "view_average",
]
