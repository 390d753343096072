from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from kflow.cli.cross_validation import baseline, cross_validated, told_cross_validation


def test_classes_as_scikit_learn_does_it(rng):
    X = rng.normal(size=(90, 2))
    y = np.where(X[:, 0] + 0.5 * rng.normal(size=90) > 0.3, "a", "b")
    got = cross_validated(KNeighborsClassifier, X, y, "classification", 4, 7)
    folds = StratifiedKFold(4, shuffle=True, random_state=7)
    wrong = cross_val_predict(KNeighborsClassifier(), X, y, cv=folds) != y
    assert got["error"] == pytest.approx(wrong.mean())
    of_folds = [wrong[test].mean() for _, test in folds.split(X, y)]
    assert got["std"] == pytest.approx(np.std(of_folds))
    constant = cross_val_predict(DummyClassifier(), X, y, cv=folds) != y
    assert got["baseline"] == pytest.approx(constant.mean())


def test_numbers_as_scikit_learn_does_it(rng):
    X = rng.normal(size=(50, 2))
    y = X[:, 0] + 0.1 * rng.normal(size=50)
    got = cross_validated(LinearRegression, X, y, "regression", 5, 0)
    folds = KFold(5, shuffle=True, random_state=0)
    for name, model in (("rmse", LinearRegression()), ("baseline", DummyRegressor())):
        residual = cross_val_predict(model, X, y, cv=folds) - y
        assert got[name] == pytest.approx(np.sqrt(np.mean(residual**2)))


def test_a_class_of_fewer_rows_than_folds(rng):
    y = np.repeat([0, 1, 2], [20, 20, 2])
    X = rng.normal(size=(42, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = cross_validated(KNeighborsClassifier, X, y, "classification", 5, 0)
    assert 0 < got["error"] < 1
    assert got["smallest_class"] == 2
    told = told_cross_validation(got, 42, "classification")
    assert told.endswith("; not all folds have the smallest class (rows: 2)")
    enough = cross_validated(KNeighborsClassifier, X[:40], y[:40], "classification", 5, 0)
    assert "smallest class" not in told_cross_validation(enough, 40, "classification")


@pytest.mark.parametrize("n_rare", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_rare_classes_are_spread_over_the_folds(n_rare, seed, rng):
    y = np.repeat([0, 1], [9, n_rare])
    got = cross_validated(
        LogisticRegression, rng.normal(size=(len(y), 2)), y, "classification", 4, seed
    )
    assert 0 < got["error"] < 1


def test_leave_one_out(rng):
    y = np.repeat([0, 1], 6)
    X = rng.normal(size=(12, 2)) + 5 * y[:, None]
    got = cross_validated(LogisticRegression, X, y, "classification", 12, 0)
    assert got["error"] < 0.2


def test_baselines():
    assert baseline(np.array([1.0, 3.0]), np.array([2.0, 4.0]), "regression") == np.sqrt(2.0)
    train, test = np.array(["a", "a", "b"]), np.array(["a", "b", "b", "b"])
    assert baseline(train, test, "classification") == 0.75


@pytest.mark.slow
def test_it_is_told_before_the_fit(run, small, clouds, wave):
    result = run("fit", "--data", clouds, *small, "--cv", 3, "--no-save", "--json")
    assert "3-fold cross-validation on the 120 training points: error " in result.stderr
    assert result.stderr.index("cross-validation") < result.stderr.index("training and")
    found = json.loads(result.stdout)["cross_validation"]
    assert found["folds"] == 3
    assert found["error"] < 0.5 < found["baseline"]
    result = run("fit", "--data", wave, "--target", "height", *small, "--cv", 3, "--no-save")
    assert "RMSE" in result.stderr
    assert "; of the mean 1." in result.stderr
    assert "RMSE of the mean" in result.stdout
