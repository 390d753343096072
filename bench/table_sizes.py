"""How long does a table of N rows take, and how much memory: `python bench/table_sizes.py`.

Two overlapping classes in 20 features, of which five matter. For each N a process of its own fits the
classifier with its defaults, and beside it scikit-learn's SVC up to 30 000 rows, and tells seconds of the
processor for the fit, microseconds for a predicted row, by how much the fit raised the largest memory,
and the part of 10 000 further rows that is labelled wrongly. It checks that the classifier's
error is at most a tenth above that of the SVC.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from typing import Any

import numpy as np
from measuring import Table, parser, write_json
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import kflow

METHODS = {
    "kflow": lambda: kflow.KernelFlowClassifier(random_state=0),
    "SVC": lambda: make_pipeline(StandardScaler(), SVC()),
}
LARGEST_SVC = 30_000
N_TEST = 10_000


def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 20))
    value = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2]) + X[:, 3] - 0.5 * X[:, 4]
    return X, (value + 0.5 * rng.normal(size=n) > 0).astype(int)


def measured(method: str, n: int) -> dict[str, Any]:
    X, y = rows(n, 0)
    X_test, y_test = rows(N_TEST, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    model = METHODS[method]().fit(X, y)
    fit_s = time.process_time() - start
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    start = time.process_time()
    predicted = model.predict(X_test)
    return {
        "n": n,
        "method": method,
        "fit_s": fit_s,
        "predict_us": (time.process_time() - start) / N_TEST * 1e6,
        "megabytes": megabytes,
        "error": float((predicted != y_test).mean()),
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--n", type=int, nargs="+", default=[100, 1000, 10_000, 100_000, 10**6])
    args = options.parse_args()
    table = Table(
        {"rows": "8d", "method": "6s", "fit s": "8.2f", "predict us": "10.1f"}
        | {"MB": "8.0f", "error": "7.2%"}
    )
    out = []
    for n in args.n:
        errors = {}
        for method in METHODS:
            if method == "SVC" and n > LARGEST_SVC:
                continue
            # A process of its own, because memory that was freed is not given back.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                row = pool.apply(measured, (method, n))
            table.row(
                *(row[k] for k in ("n", "method", "fit_s", "predict_us", "megabytes", "error"))
            )
            out.append(row)
            errors[method] = row["error"]
        if "SVC" in errors and n >= 1000:
            assert errors["kflow"] <= 1.1 * errors["SVC"]
    write_json(args, rows=out)


if __name__ == "__main__":
    main()
