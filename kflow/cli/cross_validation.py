"""The cross-validated error that `kflow fit --cv` tells before the fit."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import KFold, StratifiedKFold

from kflow.data.targets import Task

__all__ = ["baseline", "cross_validated", "told_cross_validation"]

# What the error of each task is called in the results.
_NAMES = {"classification": "error", "regression": "rmse"}


def cross_validated(
    make: Callable[[], Any], rows: Any, y: npt.NDArray[Any], task: Task, n_folds: int, seed: int
) -> dict[str, Any]:
    """Return the error on all rows, each predicted by an estimator that has not seen its fold.

    Parameters
    ----------
    make : callable
        Returns a new estimator, with its encoder if `rows` need one.
    rows : ndarray or pandas.DataFrame, shape (N, d)
        Training rows.
    y : ndarray, shape (N,)
        Their targets.
    task : "classification" or "regression"
        Classes are spread over the folds alike, as far as they have the rows.
    n_folds : int
        Number of folds.
    seed : int
        Source of the folds.

    Returns
    -------
    dict of str to number
        ``folds``, and ``error``, the part of wrong classes, or ``rmse``; ``std``, the standard
        deviation of the folds' errors; ``baseline``, as `baseline` returns it, by the same folds. If a
        class has fewer rows than there are folds, also ``smallest_class``, their number.

    Raises
    ------
    ValueError
        If there are fewer rows than folds.
    """
    counts = np.unique(y, return_counts=True)[1]
    is_rare = task == "classification" and counts.min() < n_folds
    # The folds of StratifiedKFold need one class with as many rows.
    is_stratified = task == "classification" and counts.max() >= n_folds
    folds = (StratifiedKFold if is_stratified else KFold)(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # `told_cross_validation` says so
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        splits = list(folds.split(np.empty(len(y)), y))
    losses, baselines, of_fold = np.empty(len(y)), np.empty(len(y)), []
    for train, test in splits:
        if task == "classification" and len(np.unique(y[train])) == 1:
            predicted = y[train[0]]  # no classifier could be fitted to one class, nor know others
        else:
            predicted = make().fit(_taken(rows, train), y[train]).predict(_taken(rows, test))
        losses[test] = _losses(y[test], predicted, task)
        baselines[test] = _losses(y[test], _constant(y[train], task), task)
        of_fold.append(_error(losses[test], task))
    return {
        "folds": n_folds,
        _NAMES[task]: _error(losses, task),
        "std": float(np.std(of_fold)),
        "baseline": _error(baselines, task),
        **({"smallest_class": int(counts.min())} if is_rare else {}),
    }


def baseline(y_train: npt.NDArray[Any], y_test: npt.NDArray[Any], task: Task) -> float:
    """Return the error of a constant: the most frequent training class, or the mean of the targets."""
    return _error(_losses(y_test, _constant(y_train, task), task), task)


def told_cross_validation(result: dict[str, Any], n_rows: int, task: Task) -> str:
    """Return what `cross_validated` returned, as a line."""
    start = f"{result['folds']}-fold cross-validation on the {n_rows} training points: "
    if task == "regression":
        return (
            f"{start}RMSE {result['rmse']:.6g} (between folds ±{result['std']:.2g}); of the mean "
            f"{result['baseline']:.6g}"
        )
    n_rare = result.get("smallest_class")
    rare = "" if n_rare is None else f"; not all folds have the smallest class (rows: {n_rare})"
    return (
        f"{start}error {100 * result['error']:.2f} % (between folds ±{100 * result['std']:.2f} %); of "
        f"the most frequent class {100 * result['baseline']:.2f} %{rare}"
    )


def _taken(rows: Any, places: npt.NDArray[np.intp]) -> Any:
    return rows.iloc[places] if hasattr(rows, "iloc") else rows[places]


def _constant(y: npt.NDArray[Any], task: Task) -> Any:
    if task == "regression":
        return y.mean()
    classes, counts = np.unique(y, return_counts=True)
    return classes[counts.argmax()]


def _losses(y: npt.NDArray[Any], predicted: Any, task: Task) -> npt.NDArray[np.float64]:
    if task == "regression":
        return np.asarray(np.square(y - predicted), np.float64)
    return np.asarray(y != predicted, np.float64)


def _error(losses: npt.NDArray[np.float64], task: Task) -> float:
    mean = float(losses.mean())
    return math.sqrt(mean) if task == "regression" else mean
