"""The earlier place of the estimators with a flow."""

from __future__ import annotations

from kflow.estimators.classifier import KernelFlowClassifier
from kflow.estimators.regressor import KernelFlowRegressor

__all__ = ["KernelFlowClassifier", "KernelFlowRegressor"]
