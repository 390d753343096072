"""Gaussian-process regression: the name under which `kflow.estimators.gp_regressor` is documented."""

from __future__ import annotations

from kflow.estimators.gp_regressor import GPRegressor

__all__ = ["GPRegressor"]
