"""By which loss should a Gaussian process learn its kernel, with and without noise, when data are few?

    $ python bench/model_selection.py                        # N = 50, 100 and 300, eight seeds
    $ python bench/model_selection.py --n 1000 --seeds 3
    $ python bench/model_selection.py --loss auto e2 --set '{"nugget_bounds": [1e-8, 1e4]}'

`kflow.GPRegressor` with its defaults but for the loss, on the data of `regression.py` and four more:
"smooth" is Friedman's first function without noise, "loud" the same with noise of deviation 5, about as
large as the signal; "plane" and "line" are products and sums of sines and exponentials of two columns and of
one, without noise. All test rows are new, and noisy where the training rows are.

"rmse" is the error over the deviation of the test targets, "nlpd" the mean negative log density of
these in units of their deviation, "inside" the part within their 95 % interval, each with its standard
error over the seeds (but for diabetes, whose draws overlap). "worst" is the largest rmse of a seed:
losses differ most by the draws on which they fail. "ratio" is the geometric mean over all
data, with or without noise, of the rmse over that of the best loss for the same data and N.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from measuring import Table, median, parser, write_json
from regression import N_TEST, SIMULATORS, Data, split
from sklearn.datasets import make_friedman1

import kflow

LOSSES = ["auto", "e2", "loo", "kfold", "nlml", "rho"]

NOISY = ("diabetes", "friedman1", "friedman2", "friedman3", "loud")


def plane(n: int, seed: int) -> Data:
    X = np.random.default_rng(seed).uniform(size=(n, 2))
    return X, np.sin(8.0 * X[:, 0]) * np.cos(6.0 * X[:, 1])


def line(n: int, seed: int) -> Data:
    X = np.random.default_rng(seed).uniform(0.0, 6.0, (n, 1))
    return X, np.sin(2.0 * X[:, 0]) + np.exp(-X[:, 0])


def friedman(noise: float) -> Callable[[int, int], Data]:
    return lambda n, seed: make_friedman1(n, noise=noise, random_state=seed)


MORE: dict[str, Callable[[int, int], Data]] = {
    "loud": friedman(5.0),
    "smooth": friedman(0.0),
    "plane": plane,
    "line": line,
}
DATA = ("diabetes", *SIMULATORS, *MORE)


def rows_of(name: str, n: int, seed: int) -> tuple[np.ndarray, ...]:
    """Training and test points, training and test targets."""
    if name not in MORE:
        return split(name, n, seed)
    X, y = MORE[name](n + N_TEST, seed)
    return X[:n], X[n:], y[:n], y[n:]


def measure(name: str, n: int, loss: str, seed: int, options: dict[str, Any]) -> dict[str, Any]:
    """Fit, predict, and compare."""
    X, X_test, y, y_test = rows_of(name, n, seed)
    model = kflow.GPRegressor(learn=loss, random_state=seed, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.perf_counter()
        model.fit(X, y)
        elapsed = time.perf_counter() - start
    mean, std = model.predict(X_test, return_std=True)
    error, std = (mean - y_test) / y_test.std(), std / y_test.std()
    return {
        "data": name,
        "n": n,
        "loss": loss,
        "seed": seed,
        "rmse": float(np.sqrt(np.mean(error**2))),
        "nlpd": float(np.mean(0.5 * np.log(2.0 * np.pi * std**2) + 0.5 * (error / std) ** 2)),
        "inside": float(np.mean(np.abs(error) <= 1.96 * std)),
        "nugget": model.nugget_,
        "seconds": elapsed,
        "warnings": sorted({warning.category.__name__ for warning in caught}),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, and their standard errors."""
    mean = {key: rows[0][key] for key in ("data", "n", "loss")}
    for key in ("rmse", "nlpd", "inside"):
        values = np.array([row[key] for row in rows])
        mean[key] = float(values.mean())
        mean[f"{key}_error"] = float(values.std(ddof=1) / np.sqrt(len(values)))
    mean["worst"] = max(row["rmse"] for row in rows)
    mean["seconds"] = median([row["seconds"] for row in rows])
    mean["warned"] = sum(bool(row["warnings"]) for row in rows)
    return mean


def ratios(means: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Errors over those of the best loss, as geometric means over data."""
    best: dict[tuple[str, int], float] = {}
    for mean in means:
        key = mean["data"], mean["n"]
        best[key] = min(best.get(key, np.inf), mean["rmse"])
    result = []
    for noisy in (True, False):
        for loss in dict.fromkeys(mean["loss"] for mean in means):
            logarithms = [
                np.log(mean["rmse"] / best[mean["data"], mean["n"]])
                for mean in means
                if mean["loss"] == loss and (mean["data"] in NOISY) == noisy
            ]
            if logarithms:
                ratio, worst = np.exp([np.mean(logarithms), np.max(logarithms)])
                result.append(
                    {"noise": noisy, "loss": loss, "ratio": float(ratio), "worst": float(worst)}
                )
    return result


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    options.add_argument("--n", nargs="+", type=int, default=[50, 100, 300], help="training rows")
    options.add_argument("--seeds", type=int, default=8, help="so many different draws, at least 2")
    options.add_argument("--loss", nargs="+", default=LOSSES, help="of kflow")
    options.add_argument(
        "--set", type=json.loads, default={}, help="of GPRegressor, as a JSON object"
    )
    args = options.parse_args()
    rows: list[dict[str, Any]] = []
    means: list[dict[str, Any]] = []
    table = Table(
        {
            "data": "<10s",
            "N": "5d",
            "loss": "<6s",
            "rmse": "8.5f",
            "+-": "8.5f",
            "nlpd": "8.3f",
            "+- ": "6.3f",
            "inside": "7.1%",
            "worst": "8.5f",
            "seconds": "8.2f",
            "warned": "6d",
        }
    )
    for n in args.n:
        for name in args.data:
            for loss in args.loss:
                mine = [measure(name, n, loss, seed, args.set) for seed in range(args.seeds)]
                rows += mine
                mean = summary(mine)
                means.append(mean)
                shown = ("data", "n", "loss", "rmse", "rmse_error", "nlpd", "nlpd_error")
                table.row(*(mean[key] for key in (*shown, "inside", "worst", "seconds", "warned")))
    print()
    over = Table({"noise": "<6s", "loss": "<6s", "ratio": "7.3f", "worst": "7.2f"})
    overall = ratios(means)
    for row in overall:
        over.row("yes" if row["noise"] else "no", *list(row.values())[1:])
    write_json(args, ["scikit-learn"], means=means, ratios=overall, rows=rows)


if __name__ == "__main__":
    main()
