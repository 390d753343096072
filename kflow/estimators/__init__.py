"""Estimators with the interface of scikit-learn."""

from __future__ import annotations

from kflow.estimators.classifier import KernelFlowClassifier
from kflow.estimators.regressor import KernelFlowRegressor

__all__ = ["KernelFlowClassifier", "KernelFlowRegressor"]
