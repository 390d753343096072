"""How well do Gaussian processes predict whose kernel was learned by each loss, and in what time?

    $ python bench/regression.py                   # all data, N = 300 and 1000, five seeds
    $ python bench/regression.py --n 20000 --seeds 1 --data friedman1 borehole --peer-limit 0
    $ python bench/regression.py --set '{"optimizer": "lbfgs", "n_steps": 50}'

`kflow.GPRegressor` with its defaults but for the loss, beside scikit-learn's GaussianProcessRegressor
by marginal likelihood, with ConstantKernel * Matern(nu=2.5, a length scale per column) + WhiteKernel,
standardised columns and targets, and 0 and 1 restarts. All get the same rows.

"rmse" is that on test rows over the deviation of their targets; "nlpd" the mean negative log density
of these targets, in units of their deviation; "inside" the part of them inside their 95 % interval.
All are means over seeds; "seconds" is the median time of a fit. The test targets have noise where
the training targets do.

friedman1, friedman2, friedman3: J. Friedman, Multivariate adaptive regression splines, Ann. Statist.
19 (1991), with noise of deviation 1, 125 and 0.1, a signal-to-noise ratio of about 3 for the latter.
borehole: W. Harper and S. Gupta, Sensitivity/uncertainty analysis of a borehole scenario (1983), with
the ranges of M. Morris, T. Mitchell and D. Ylvisaker, Technometrics 35 (1993). wing: the weight of a
light aircraft's wing, A. Forrester, A. Sobester and A. Keane, Engineering Design via Surrogate
Modelling (2008), section 1.1. Both are without noise. diabetes: 353 of scikit-learn's 442 rows.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from measuring import Table, median, parser, write_json
from sklearn.datasets import load_diabetes, make_friedman1, make_friedman2, make_friedman3
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import kflow

N_TEST = 2000

Data = tuple[np.ndarray, np.ndarray]


# ---- data -------------------------------------------------------------------------------------


def in_box(low: list[float], high: list[float], n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, (n, len(low)))


def borehole(n: int, seed: int) -> Data:
    """Flow of water through a borehole, m^3 / year."""
    low = [0.05, 100.0, 63070.0, 990.0, 63.1, 700.0, 1120.0, 9855.0]
    high = [0.15, 50000.0, 115600.0, 1110.0, 116.0, 820.0, 1680.0, 12045.0]
    X = in_box(low, high, n, seed)
    rw, r, Tu, Hu, Tl, Hl, L, Kw = X.T
    log_ratio = np.log(r / rw)
    resistance = 1.0 + 2.0 * L * Tu / (log_ratio * rw**2 * Kw) + Tu / Tl
    return X, 2.0 * np.pi * Tu * (Hu - Hl) / (log_ratio * resistance)


def wing(n: int, seed: int) -> Data:
    """Weight of a wing, lb."""
    low = [150.0, 220.0, 6.0, -10.0, 16.0, 0.5, 0.08, 2.5, 1700.0, 0.025]
    high = [200.0, 300.0, 10.0, 10.0, 45.0, 1.0, 0.18, 6.0, 2500.0, 0.08]
    X = in_box(low, high, n, seed)
    Sw, Wfw, A, sweep, q, taper, tc, Nz, Wdg, Wp = X.T
    cosine = np.cos(np.radians(sweep))
    structure = 0.036 * Sw**0.758 * Wfw**0.0035 * (A / cosine**2) ** 0.6 * q**0.006 * taper**0.04
    return X, structure * (100.0 * tc / cosine) ** -0.3 * (Nz * Wdg) ** 0.49 + Sw * Wp


def friedman(make: Callable[..., Data], noise: float) -> Callable[[int, int], Data]:
    return lambda n, seed: make(n, noise=noise, random_state=seed)


SIMULATORS: dict[str, Callable[[int, int], Data]] = {
    "friedman1": friedman(make_friedman1, 1.0),
    "friedman2": friedman(make_friedman2, 125.0),
    "friedman3": friedman(make_friedman3, 0.1),
    "borehole": borehole,
    "wing": wing,
}
DATA = ("diabetes", *SIMULATORS)


def split(name: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training and test points, training and test targets."""
    if name == "diabetes":
        X, y = load_diabetes(return_X_y=True)
        sizes = {"train_size": min(n, 353), "test_size": 89}
        return tuple(train_test_split(X, y, random_state=seed, **sizes))
    X, y = SIMULATORS[name](n + N_TEST, seed)
    return X[:n], X[n:], y[:n], y[n:]


# ---- regressors -------------------------------------------------------------------------------


class Peer:
    """scikit-learn's, on standardised columns."""

    def __init__(self, n_restarts: int, seed: int) -> None:
        self._n_restarts, self._seed = n_restarts, seed

    def fit(self, X: np.ndarray, y: np.ndarray) -> Peer:
        d = X.shape[1]
        kernel = ConstantKernel() * Matern(np.full(d, math.sqrt(d)), nu=2.5) + WhiteKernel(1e-2)
        self._scaler = StandardScaler().fit(X)
        self._model = GaussianProcessRegressor(
            kernel,
            normalize_y=True,
            n_restarts_optimizer=self._n_restarts,
            random_state=self._seed,
        )
        self._model.fit(self._scaler.transform(X), y)
        return self

    def predict(self, X: np.ndarray, return_std: bool) -> Data:
        return self._model.predict(self._scaler.transform(X), return_std=return_std)


def regressors(args: Any, n: int, seed: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        f"kflow {loss}": kflow.GPRegressor(learn=loss, random_state=seed, **args.set)
        for loss in args.loss
    }
    if n <= args.peer_limit:
        for restarts in args.restarts:
            result[f"scikit-learn, {restarts} restarts"] = Peer(restarts, seed)
    return result


def measure(name: str, n: int, by: str, seed: int, model: Any) -> dict[str, Any]:
    """Fit, predict, and compare."""
    X, X_test, y, y_test = split(name, n, seed)
    with warnings.catch_warnings():
        # Length scales of columns without effect end at their bounds.
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = time.perf_counter()
        model.fit(X, y)
        elapsed = time.perf_counter() - start
        mean, std = model.predict(X_test, return_std=True)
    assert np.isfinite(mean).all()
    assert (std > 0).all()
    error, std = (mean - y_test) / y_test.std(), std / y_test.std()
    return {
        "data": name,
        "n": len(X),
        "by": by,
        "seed": seed,
        "rmse": float(np.sqrt(np.mean(error**2))),
        "nlpd": float(np.mean(0.5 * np.log(2.0 * np.pi * std**2) + 0.5 * (error / std) ** 2)),
        "inside": float(np.mean(np.abs(error) <= 1.96 * std)),
        "seconds": elapsed,
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds."""
    first = {key: rows[0][key] for key in ("data", "n", "by")}
    means = {key: float(np.mean([row[key] for row in rows])) for key in ("rmse", "nlpd", "inside")}
    return {**first, **means, "seconds": median([row["seconds"] for row in rows])}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    options.add_argument("--n", nargs="+", type=int, default=[300, 1000], help="training rows")
    options.add_argument("--seeds", type=int, default=5, help="so many different draws")
    options.add_argument(
        "--loss", nargs="+", default=["auto", "rho", "e2", "loo", "kfold", "nlml"], help="of kflow"
    )
    options.add_argument("--restarts", nargs="+", type=int, default=[0, 1], help="of scikit-learn")
    options.add_argument(
        "--peer-limit", type=int, default=1000, help="scikit-learn up to so many rows"
    )
    options.add_argument(
        "--set", type=json.loads, default={}, help="of GPRegressor, as a JSON object"
    )
    args = options.parse_args()
    rows: list[dict[str, Any]] = []
    means: list[dict[str, Any]] = []
    table = Table(
        {
            "data": "<10s",
            "N": "6d",
            "by": "<24s",
            "rmse": "8.4f",
            "nlpd": "8.3f",
            "inside": "7.1%",
            "seconds": "8.1f",
        }
    )
    for name in args.data:
        sizes = sorted({min(n, 353) if name == "diabetes" else n for n in args.n})
        for n in sizes:
            for by in regressors(args, n, 0):
                mine = [
                    measure(name, n, by, seed, regressors(args, n, seed)[by])
                    for seed in range(args.seeds)
                ]
                rows += mine
                mean = summary(mine)
                means.append(mean)
                table.row(*mean.values())
    write_json(args, ["scikit-learn"], means=means, rows=rows)


if __name__ == "__main__":
    main()
