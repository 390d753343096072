"""The public name of `kflow.estimators.gp_regressor`."""

from __future__ import annotations

from kflow.estimators.gp_regressor import GPRegressor

__all__ = ["GPRegressor"]
