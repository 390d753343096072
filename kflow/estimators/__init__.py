"""Estimators with the interface of scikit-learn."""

from __future__ import annotations

from kflow.estimators.flow_estimators import KernelFlowClassifier, KernelFlowRegressor

__all__ = ["KernelFlowClassifier", "KernelFlowRegressor"]
