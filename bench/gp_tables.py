"""How well does a Gaussian process with its defaults predict ordinary tables, next to others?

    $ python bench/gp_tables.py --uci DIR --results FILE --json FILE
    $ python bench/gp_tables.py --uci DIR --results FILE --again "kflow" --json FILE

The sets of regression of `table_sets.py`, in the folds of `tables.py`: five, or of more than 2500 rows three
random parts of three quarters for training. Every method has the same rows, standardised columns
if it wants them, standardised targets but for kflow, which looks at their units, and one thread. Those of `tables.py` choose among a grid or take their defaults;
besides there are

* kflow.GPRegressor and, as "kflow, stacked", kflow.StackedGPRegressor, with their defaults,
* scikit-learn's GaussianProcessRegressor, ConstantKernel * Matern(nu=2.5, a length scale for each column) +
  WhiteKernel by marginal likelihood, up to 850 training rows,
* GPyTorch's ExactGP, ScaleKernel(MaternKernel(nu=2.5, a length scale for each column)) by 100 steps of
  Adam at rate 0.1, up to 850 training rows, if it is installed,
* scikit-learn's BayesianRidge, which has deviations.

"rmse" is the error over the deviation of the test targets; "nlpd" the mean negative log density of these
in units of the deviation of the training targets, "inside" the part of them within their 95 %
interval, for methods that have deviations; "seconds" is the median of the processor's for a fit. A fold that takes
more than two minutes, or fails, is a failure of the method on the set.

Of the sets that all methods have tried, "best" are those on which a method has the lowest rmse of all, or at most 1 % more; "likely" those
on which it has the lowest nlpd, or at most 0.01 more; "ratio" is the geometric mean of rmse over the best of the set.
Part A are sets on which defaults were developed; part B was looked at when they were settled.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Table, best_blas, parser, restart_with, write_json
from regression import Peer
from sklearn.base import BaseEstimator
from sklearn.linear_model import BayesianRidge
from sklearn.preprocessing import StandardScaler
from table_methods import METHODS, scaled
from table_sets import Sample, samples
from tables import ONE_THREAD, in_folds

import kflow

ROWS_OF_PEERS = 850
CLOSE = 0.01


class GPyTorch(BaseEstimator):
    """An exact process, as its first tutorial has it, on standardised columns."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> GPyTorch:
        import gpytorch
        import torch

        torch.manual_seed(0)
        self._scaler = StandardScaler().fit(X)
        points, targets = torch.as_tensor(self._scaler.transform(X)), torch.as_tensor(y)

        class Process(gpytorch.models.ExactGP):
            def __init__(self, likelihood: Any) -> None:
                super().__init__(points, targets, likelihood)
                self.mean_module = gpytorch.means.ConstantMean()
                matern = gpytorch.kernels.MaternKernel(nu=2.5, ard_num_dims=X.shape[1])
                self.covar_module = gpytorch.kernels.ScaleKernel(matern)

            def forward(self, x: Any) -> Any:
                mean, covariance = self.mean_module(x), self.covar_module(x)
                return gpytorch.distributions.MultivariateNormal(mean, covariance)

        likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
        model = Process(likelihood).double()
        model.train()
        likelihood.train()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        likelihood_of = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
        for _ in range(100):
            optimizer.zero_grad()
            loss = -likelihood_of(model(points), targets)
            loss.backward()
            optimizer.step()
        self._parts = model.eval(), likelihood.eval()
        return self

    def predict(self, X: np.ndarray, return_std: bool) -> Any:
        import torch

        assert return_std

        model, likelihood = self._parts
        with torch.no_grad():
            found = likelihood(model(torch.as_tensor(self._scaler.transform(X))))
        return found.mean.numpy(), found.variance.sqrt().numpy()


Method = tuple[Callable[[int], Any], bool, float]
PROBABILISTIC: dict[str, Method] = {
    "kflow": (lambda _: kflow.GPRegressor(random_state=0), True, math.inf),
    "kflow, stacked": (lambda _: kflow.StackedGPRegressor(random_state=0), True, math.inf),
    "scikit-learn": (lambda _: Peer(0, 0), True, ROWS_OF_PEERS),
    "GPyTorch": (lambda _: GPyTorch(), True, ROWS_OF_PEERS),
    "Bayesian ridge": (lambda _: scaled(BayesianRidge()), True, math.inf),
}
OTHERS = ("ridge", "SVR, grid", "kernel ridge, grid", "random forest", "gradient boosting", "xRFM")


def methods() -> dict[str, Method]:
    """Return what makes each method, whether it has deviations, and up to how many rows it takes part."""
    known = METHODS["regression"]
    found = {**PROBABILISTIC, **{n: (known[n], False, math.inf) for n in OTHERS if n in known}}
    if not find_spec("gpytorch"):
        del found["GPyTorch"]
    return found


def fold(has_deviations: bool, in_units: bool) -> Callable[..., dict[str, Any]]:
    """Return the function that measures a method on one fold, with targets in units or standardised."""

    def measured(make: Any, sample: Sample, train: np.ndarray, test: np.ndarray) -> dict[str, Any]:
        X, y, X_new, y_new = sample.X[train], sample.y[train], sample.X[test], sample.y[test]
        mean, spread = y.mean(), y.std()
        centre, unit = (mean, spread) if in_units else (0.0, 1.0)
        y, y_new = (y - mean) / spread, (y_new - mean) / spread
        model = make(X.shape[1])
        start = time.process_time()
        model.fit(X, sample.y[train] if in_units else y)
        out = {"seconds": time.process_time() - start}
        if has_deviations:
            values, std = model.predict(X_new, return_std=True)
            assert (std > 0).all(), "deviations that are not positive"
            values, std = (values - centre) / unit, std / unit
            error = (values - y_new) / std
            out["nlpd"] = float(np.mean(0.5 * np.log(2.0 * np.pi * std**2) + 0.5 * error**2))
            out["inside"] = float(np.mean(np.abs(error) <= 1.96))
        else:
            values = model.predict(X_new)
        assert np.isfinite(values).all(), "predictions that are no numbers"
        out["rmse"] = float(np.sqrt(np.mean((values - y_new) ** 2)) / y_new.std())
        return out

    return measured


def measure(sample: Sample, name: str, method: Method) -> dict[str, Any]:
    n, d = sample.X.shape
    about = {"set": sample.name, "part": sample.part, "rows": n, "columns": d, "by": name}
    make, has_deviations, most = method
    n_train = n * (0.75 if n > 2500 else 0.8)
    if n_train > most:
        return {**about, "failed": f"not run with more than {most} rows"}
    in_units = name.startswith("kflow")
    found = in_folds(make, sample, False, fold(has_deviations, in_units))
    if isinstance(found, str):
        return {**about, "failed": found}
    means = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
    return {**about, **means, "seconds": float(np.median([one["seconds"] for one in found]))}


def summary(rows: list[dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    """Count the sets, of those that all methods have done, on which each is the best or close to it."""
    out = []
    for part in ("A", "B", "both"):
        sets: dict[str, dict[str, dict[str, Any]]] = {}
        for row in rows:
            if part in (row["part"], "both"):
                sets.setdefault(row["set"], {})[row["by"]] = row
        sets = {name: of for name, of in sets.items() if of.keys() >= set(names)}
        for name in names:
            mine = {s: of[name] for s, of in sets.items() if name in of and "rmse" in of[name]}
            if not mine:
                continue
            best = {s: min(r["rmse"] for r in sets[s].values() if "rmse" in r) for s in mine}
            least = {
                s: min(r["nlpd"] for r in sets[s].values() if "nlpd" in r)
                for s, r in mine.items()
                if "nlpd" in r
            }
            ratios = [np.log(row["rmse"] / best[s]) for s, row in mine.items()]
            likely = sum(mine[s]["nlpd"] <= value + CLOSE for s, value in least.items())
            out.append(
                {
                    "part": part,
                    "by": name,
                    "sets": len(mine),
                    "best": sum(mine[s]["rmse"] <= (1 + CLOSE) * best[s] for s in mine),
                    "ratio": float(np.exp(np.mean(ratios))),
                    "likely": str(likely) if least else "-",
                    "inside": f"{np.mean([mine[s]['inside'] for s in least]):.1%}"
                    if least
                    else "-",
                    "seconds": float(np.median([row["seconds"] for row in mine.values()])),
                }
            )
    return out


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--uci", help="folder of folders with data.txt")
    options.add_argument("--results", metavar="FILE", help="what was measured, kept as JSON")
    options.add_argument("--again", nargs="+", default=[], metavar="METHOD")
    options.add_argument("--methods", nargs="+", default=[], metavar="METHOD")
    options.add_argument("--sets", nargs="+", default=[], metavar="SET")
    options.add_argument("--part", choices=("A", "B"))
    args = options.parse_args()
    restart_with(**ONE_THREAD, **best_blas())
    kflow.set_num_threads(1)
    file = Path(args.results) if args.results else None
    rows = json.loads(file.read_text()) if file and file.exists() else []
    known = methods()
    columns = {"set": "<22s", "rows": "5d", "by": "<18s", "rmse": "8.4f", "nlpd": "8.3f"}
    table = Table({**columns, "inside": "7.1%", "seconds": "8.2f"})
    for sample in samples(args.uci):
        unwanted = args.part not in (None, sample.part) or (
            args.sets and sample.name not in args.sets
        )
        if sample.task != "regression" or unwanted:
            continue
        for name, method in known.items():
            if args.methods and name not in args.methods:
                continue
            same = [r for r in rows if r["set"] == sample.name and r["by"] == name]
            if same and name not in args.again:
                continue
            row = measure(sample, name, method)
            rows = [r for r in rows if r not in same] + [row]
            if file:
                file.write_text(json.dumps(rows, indent=1) + "\n")
            cells = [row.get(key) for key in ("rmse", "nlpd", "inside", "seconds")]
            table.row(row["set"], row["rows"], name, *cells, note=row.get("failed", ""))
    print()
    rows.sort(key=lambda row: (row["part"], row["rows"], row["set"], [*known].index(row["by"])))
    summaries = summary(rows, [*known])
    over = Table(
        {
            "part": "<8s",
            "by": "<18s",
            "sets": "4d",
            "best": "4d",
            "ratio": "6.3f",
            "likely": "6s",
            "inside": "7s",
            "seconds": "8.3f",
        }
    )
    for row in summaries:
        over.row(*row.values())
    modules = {"scikit-learn": "sklearn", "xrfm": "xrfm", "gpytorch": "gpytorch", "torch": "torch"}
    packages = [name for name, module in modules.items() if find_spec(module)]
    done, not_done = ([r for r in rows if ("rmse" in r) == there] for there in (True, False))
    write_json(args, packages, summary=summaries, rows=done, failures=not_done)


if __name__ == "__main__":
    main()
