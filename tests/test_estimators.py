from __future__ import annotations

from sklearn.utils.estimator_checks import parametrize_with_checks

from kflow import KernelFlowClassifier, KernelFlowRegressor


@parametrize_with_checks(
    [
        KernelFlowClassifier(n_layers=30, random_state=0),
        KernelFlowRegressor(n_layers=30, random_state=0),
    ]
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)
