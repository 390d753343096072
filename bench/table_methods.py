"""The methods of `tables.py`: the estimators and what others use on tables, each with its defaults.

The grids choose by three folds of the training rows, around a kernel as wide as the points are apart
in standardised columns (gamma = 1 / d). xRFM takes part if it is installed; it gets a fifth of the
training rows to stop by, which it asks for. TabPFN does not take part, as its package comes without
its weights.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

import kflow


class XRFM(BaseEstimator):
    """xRFM with scikit-learn's interface, on columns scaled as its description recommends."""

    def __init__(self, is_classifier: bool) -> None:
        from xrfm import xRFM

        self.is_classifier = is_classifier
        self.model = xRFM(device="cpu", random_state=0, n_threads=1, verbose=False)

    def fit(self, X: np.ndarray, y: np.ndarray) -> XRFM:
        # Columns of zeros and ones stay as they are.
        binary = np.isin(X, (0.0, 1.0)).all(axis=0)
        spread = X.std(axis=0)
        self.scale_ = np.where(binary | (spread == 0), 1.0, spread)
        self.mean_ = np.where(binary, 0.0, X.mean(axis=0))
        classes = y if self.is_classifier else None
        y = y.astype(np.int64 if self.is_classifier else np.float32)
        parts = train_test_split(
            self._scaled(X), y, test_size=0.2, random_state=0, stratify=classes
        )
        points, held, targets, held_targets = parts
        self.model.fit(points, targets, held, held_targets)
        return self

    def _scaled(self, X: np.ndarray) -> np.ndarray:
        return ((X - self.mean_) / self.scale_).astype(np.float32)

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.model.predict(self._scaled(X))).reshape(len(X))

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return self.model.predict_proba(self._scaled(X))


def scaled(estimator: Any) -> Any:
    return make_pipeline(StandardScaler(), estimator)


def grid(estimator: Any, d: int, **choices: Any) -> Any:
    gammas = [factor / d for factor in (0.25, 1.0, 4.0)]
    # Shuffled, as some sets are sorted.
    kind = StratifiedKFold if is_classifier(estimator) else KFold
    inner = kind(3, shuffle=True, random_state=0)
    return scaled(GridSearchCV(estimator, {"gamma": gammas, **choices}, cv=inner))


# What makes an estimator for points with d columns.
Factory = Callable[[int], Any]
METHODS: dict[str, dict[str, Factory]] = {
    "classification": {
        "kflow": lambda _: kflow.KernelFlowClassifier(random_state=0),
        "kflow, no flow": lambda _: kflow.KernelFlowClassifier(n_layers=0, random_state=0),
        "kflow, 30 layers": lambda _: kflow.KernelFlowClassifier(n_layers=30, random_state=0),
        "SVC": lambda _: scaled(SVC()),
        "SVC, grid": lambda d: grid(SVC(), d, C=[0.1, 1.0, 10.0, 100.0, 1000.0]),
        "random forest": lambda _: RandomForestClassifier(random_state=0),
        "gradient boosting": lambda _: HistGradientBoostingClassifier(random_state=0),
        "xRFM": lambda _: XRFM(True),
        "logistic regression": lambda _: scaled(LogisticRegression(max_iter=1000)),
        "10 neighbours": lambda _: scaled(KNeighborsClassifier(10)),
    },
    "regression": {
        "kflow": lambda _: kflow.KernelFlowRegressor(random_state=0),
        "kflow, no flow": lambda _: kflow.KernelFlowRegressor(n_layers=0, random_state=0),
        "kflow, 30 layers": lambda _: kflow.KernelFlowRegressor(n_layers=30, random_state=0),
        "GPRegressor": lambda _: kflow.GPRegressor(random_state=0),
        "ridge": lambda _: scaled(RidgeCV(np.logspace(-3, 3, 13))),
        "SVR, grid": lambda d: grid(SVR(), d, C=[1.0, 10.0, 100.0], epsilon=[0.01, 0.1]),
        "kernel ridge, grid": lambda d: grid(
            KernelRidge(kernel="rbf"), d, alpha=[0.001, 0.01, 0.1, 1.0]
        ),
        "random forest": lambda _: RandomForestRegressor(random_state=0),
        "gradient boosting": lambda _: HistGradientBoostingRegressor(random_state=0),
        "xRFM": lambda _: XRFM(False),
    },
}
if not find_spec("xrfm"):
    for methods in METHODS.values():
        del methods["xRFM"]
