"""Dynamical systems learned from time series: forecasts by learned kernels, and their errors."""

from __future__ import annotations

from kflow.timeseries.choice import ForecasterChoice, choose_forecaster
from kflow.timeseries.dictionary import dictionary
from kflow.timeseries.embedding import delay_embedding
from kflow.timeseries.filter import FilteredSeries
from kflow.timeseries.forecaster import Forecaster
from kflow.timeseries.measures import (
    attractor_distance,
    lyapunov_exponent,
    valid_prediction_time,
)
from kflow.timeseries.sparse import SparseKernel, learn_sparse_kernel
from kflow.timeseries.systems import LYAPUNOV, henon_map, logistic_map, lorenz63

__all__ = [
    "LYAPUNOV",
    "FilteredSeries",
    "Forecaster",
    "ForecasterChoice",
    "SparseKernel",
    "attractor_distance",
    "choose_forecaster",
    "delay_embedding",
    "dictionary",
    "henon_map",
    "learn_sparse_kernel",
    "logistic_map",
    "lorenz63",
    "lyapunov_exponent",
    "valid_prediction_time",
]
