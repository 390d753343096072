"""What the estimators' defaults do on data that nobody tuned for: `python bench/defaults.py`.

Five-fold cross-validated accuracy (classifier) and R^2 (regressor) of the defaults beside the same
interpolant without a flow (n_layers=0) and a plain peer of scikit-learn on standardised features.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_circles,
    make_friedman1,
    make_friedman2,
    make_friedman3,
    make_moons,
)
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import kflow


def noisy_exclusive_or() -> tuple[np.ndarray, np.ndarray]:
    X = np.random.RandomState(1).normal(size=(400, 10))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


CLASSES = {
    "iris": load_iris(return_X_y=True),
    "wine": load_wine(return_X_y=True),
    "breast cancer": load_breast_cancer(return_X_y=True),
    "moons": make_moons(300, noise=0.25, random_state=0),
    "circles": make_circles(300, noise=0.15, factor=0.5, random_state=0),
    "exclusive or": noisy_exclusive_or(),
    "digits": load_digits(return_X_y=True),
}
NUMBERS = {
    "diabetes": load_diabetes(return_X_y=True),
    "Friedman 1": make_friedman1(400, noise=1.0, random_state=0),
    "Friedman 2": make_friedman2(400, noise=50.0, random_state=0),
    "Friedman 3": make_friedman3(400, noise=0.1, random_state=0),
}


def compare(data: dict, estimators: dict, folds: object) -> None:
    print(f"{'':15s}" + "".join(f"{name:>12s}" for name in estimators))
    for name, (X, y) in data.items():
        scores = [cross_val_score(e, X, y, cv=folds).mean() for e in estimators.values()]
        assert all(np.isfinite(scores))
        print(f"{name:15s}" + "".join(f"{score:12.4f}" for score in scores))


def main() -> None:
    shuffled = {"shuffle": True, "random_state": 0}
    compare(
        CLASSES,
        {
            "flow": kflow.KernelFlowClassifier(random_state=0),
            "no flow": kflow.KernelFlowClassifier(random_state=0, n_layers=0),
            "SVC": make_pipeline(StandardScaler(), SVC()),
        },
        StratifiedKFold(5, **shuffled),
    )
    compare(
        NUMBERS,
        {
            "flow": kflow.KernelFlowRegressor(random_state=0),
            "no flow": kflow.KernelFlowRegressor(random_state=0, n_layers=0),
            "kernel ridge": make_pipeline(StandardScaler(), KernelRidge(kernel="rbf")),
        },
        KFold(5, **shuffled),
    )


if __name__ == "__main__":
    main()
