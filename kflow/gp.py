"""Gaussian-process regression: the names under which the estimators are documented."""

from __future__ import annotations

from kflow.estimators.gp_regressor import GPRegressor
from kflow.estimators.stacked_gp import StackedGPRegressor

__all__ = ["GPRegressor", "StackedGPRegressor"]
