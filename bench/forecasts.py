"""How long do forecasts of chaotic systems hold, beside those of reservoirs?

    $ python bench/forecasts.py --systems Lorenz --candidates 3        # a minute: does it run?
    $ python bench/forecasts.py --systems development
    $ python bench/forecasts.py --json forecasts.json

Systems are those of the package dysts (W. Gilpin), which must be installed. They are chosen by `systems`
without regard to any result: those of the test, and some others on which kflow's choice was developed.
Each is learned from `--train` states and forecast from `--starts` places of a second trajectory.

Every method chooses its settings from the training series alone, by the same rule and with the same
number of fits: candidates are fitted to the first three quarters and forecast the last from eight places,
and the least mean logarithm of the error counts. The winner is fitted to all of the series.

settings    coarse: 20 states to a dominant period, fine: 60, both without noise. noise: coarse, with 1 % of
            each column's deviation, in training and in the histories of forecasts. first: coarse, and
            the first coordinate alone is seen.
valid       valid prediction time in Lyapunov times (error below 0.4 deviations): median and quartiles
lost        forecasts that ran away
seconds     of the search and the last fit
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from measuring import Table, check_close, parser, write_json
from reservoirs import (
    EchoStateNetwork,
    NextGenerationReservoir,
    Persistence,
    ridge_regression,
)

from kflow.kernels import Gaussian
from kflow.timeseries import (
    Forecaster,
    choose_forecaster,
    delay_embedding,
    henon_map,
    valid_prediction_time,
)
from kflow.timeseries.held_out import HeldOut

Array = np.ndarray

# Forecasts are not followed for longer.
MOST_LYAPUNOV_TIMES = 20.0
# Observations before a forecast, from which a reservoir finds its state.
N_HISTORY = 200
# Periods that pass before a trajectory counts.
N_TRANSIENT = 20

# States to a dominant period, noise over the deviation of each column, and columns that are seen.
SETTINGS: dict[str, tuple[int, float, slice]] = {
    "coarse": (20, 0.0, slice(None)),
    "noise": (20, 0.01, slice(None)),
    "first": (20, 0.0, slice(1)),
    "fine": (60, 0.0, slice(None)),
}

# ---- systems ----------------------------------------------------------------------------------


def systems() -> tuple[list[str], list[str]]:
    """Return the names of the systems of the test, and of those on which methods are developed.

    From the autonomous systems of three dimensions without unbounded coordinates whose largest exponent,
    as dysts has it, is 0.2 to 4 per dominant period, by the alphabet and without Lorenz's: the first 22
    of each third are of the test, and each ninth of the others, and Lorenz's, of the development.
    """
    text = resources.files("dysts").joinpath("data/chaotic_attractors.json").read_text()
    names = []
    for name, system in sorted(json.loads(text).items()):
        usual = system["embedding_dimension"] == 3 and not system["nonautonomous"]
        if not usual or system["unbounded_indices"] or system["delay"]:
            continue
        if 0.2 <= (system["maximum_lyapunov_estimated"] or 0.0) * system["period"] <= 4.0:
            names.append(name)
    names.remove("Lorenz")
    return names[::3][:22], ["Lorenz", *names[1::9]]


@dataclass(frozen=True)
class Problem:
    """A system as it is seen: a series to learn from, histories, and what follows them."""

    name: str
    setting: str
    train: Array  # (T, q)
    histories: Array  # (s, N_HISTORY, q)
    true: Array  # (s, steps, q), without noise
    time_step: float  # in Lyapunov times

    @classmethod
    def of(cls, name: str, setting: str, args: argparse.Namespace) -> Problem:
        model = dysts_model(name)
        points, noise, columns = SETTINGS[setting]
        step = float(model.period) / points
        lyapunov = float(model.maximum_lyapunov_estimated)
        n_steps = math.ceil(MOST_LYAPUNOV_TIMES / (lyapunov * step))
        n_test = N_HISTORY + n_steps + args.starts * points * 4
        train = trajectory(model, args.train, step, 0)[:, columns]
        test = trajectory(model, n_test, step, 1)[:, columns]
        rng = np.random.default_rng(0)
        deviation = noise * train.std(axis=0)
        seen = test + deviation * rng.standard_normal(test.shape)
        train = train + deviation * rng.standard_normal(train.shape)
        starts = N_HISTORY + np.linspace(0, n_test - n_steps - N_HISTORY, args.starts).astype(int)
        return cls(
            name,
            setting,
            train,
            np.stack([seen[s - N_HISTORY : s] for s in starts]),
            np.stack([test[s : s + n_steps] for s in starts]),
            lyapunov * step,
        )


def dysts_model(name: str) -> Any:
    """Return a system of dysts, with its usual parameters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dysts import flows

        return getattr(flows, name)()


def trajectory(model: Any, n: int, step: float, seed: int) -> Array:
    """Return n states (n, 3) of a system of dysts, from a start close to its own."""
    from scipy.integrate import solve_ivp

    start = np.asarray(model.ic, float)
    start = start * (1.0 + 1e-3 * np.random.default_rng(seed).standard_normal(len(start)))
    first = N_TRANSIENT * float(model.period)
    times = np.concatenate([[0.0], first + np.arange(n) * step])
    solution = solve_ivp(
        lambda t, x: np.asarray(model.rhs(x, t), float),
        (0.0, times[-1]),
        start,
        method="DOP853",
        t_eval=times,
        rtol=1e-10,
        atol=1e-10,
    )
    assert solution.success, solution.message
    return np.ascontiguousarray(solution.y.T[1:])


# ---- methods ----------------------------------------------------------------------------------


def powers(low: int, high: int) -> list[float]:
    return [10.0**k for k in range(low, high + 1)]


def reservoirs() -> dict[str, list[Any]]:
    return {
        "radius": [0.1, 0.3, 0.6, 0.9, 1.1, 1.3],
        "leak": [0.3, 0.6, 1.0],
        "input_scale": [0.05, 0.1, 0.2, 0.5, 1.0],
        "ridge": powers(-16, -3),
        "increments": [False, True],
    }


def next_generation() -> dict[str, list[Any]]:
    return {
        "delay": [1, 2, 3, 4, 6],
        "skip": [1, 2, 3],
        "order": [2, 3],
        "ridge": powers(-16, -2),
    }


def kernel_ridge() -> dict[str, list[Any]]:
    return {
        "delay": [1, 2, 3, 4, 6],
        "width": [0.5, 1.0, 2.0, 4.0, 8.0],  # times the median distance
        "nugget": powers(-15, -2),
        "increments": [False, True],
    }


class GaussianRidge:
    """A Gaussian whose width is a multiple of the median distance, not learned."""

    def __init__(self, width: float, **settings: Any) -> None:
        self.width, self.settings = width, settings

    def fit(self, series: Array) -> Forecaster:
        scaled = (series - series.mean(axis=0)) / series.std(axis=0)
        rows, _ = delay_embedding(scaled, self.settings["delay"])
        some = rows[:: max(1, len(rows) // 500)]
        distances = np.linalg.norm(some[:, None] - some, axis=2)
        kernel = Gaussian(self.width * float(np.median(distances)))
        return Forecaster(kernel, learn=None, **self.settings).fit(series)


# A method is made from settings, of which each has some values to draw from.
TUNED: dict[str, tuple[Callable[..., Any], Callable[[], dict[str, list[Any]]]]] = {
    "reservoir": (EchoStateNetwork, reservoirs),
    "ng-rc": (NextGenerationReservoir, next_generation),
    "kernel ridge": (GaussianRidge, kernel_ridge),
}


def drawn(values: dict[str, list[Any]], n: int, q: int) -> list[dict[str, Any]]:
    """Return n different settings, drawn at random; without more than 600 monomials."""
    rng = np.random.default_rng(0)
    settings: list[dict[str, Any]] = []
    while len(settings) < n:
        one = {name: choices[rng.integers(len(choices))] for name, choices in values.items()}
        if "order" in one and math.comb(one["delay"] * q + one["order"], one["order"]) > 600:
            continue
        if one not in settings:
            settings.append(one)
    return settings


def tuned(method: str, series: Array, args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Return the method with the settings that forecast the end of the series best."""
    make, values = TUNED[method]
    held_out = HeldOut.of(series)
    histories = np.stack(held_out.histories)
    best, least = None, math.inf
    for settings in drawn(values(), args.candidates, series.shape[1]):
        forecaster = make(**settings).fit(held_out.series[0])
        error = held_out.error(forecaster.predict(held_out.true.shape[1], histories))
        if best is None or error < least:
            best, least = settings, error
    assert best is not None
    return make(**best).fit(series), best


def fitted(method: str, series: Array, args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Return a forecaster and what was chosen for it."""
    if method == "persistence":
        return Persistence().fit(series), {}
    if method == "kflow, defaults":
        return Forecaster(random_state=0).fit(series), {}
    if method == "kflow, chosen":
        # Fewer, because free runs of the best take another fit or two.
        choice = choose_forecaster(series, n_fits=args.candidates - 2, random_state=0)
        return choice.forecaster, choice.chosen
    return tuned(method, series, args)


METHODS = ["persistence", *TUNED, "kflow, defaults", "kflow, chosen"]

# ---- checks -----------------------------------------------------------------------------------


def check_methods() -> None:
    """Compare the other methods with what is known of them.

    Henon's map is quadratic, so that its monomials of two degrees forecast it to rounding errors. One step
    of a reservoir is compared with its formula, unit by unit.
    """
    series = henon_map(300, random_state=0)
    exact = NextGenerationReservoir(delay=1, order=2, ridge=1e-16).fit(series[:200])
    check_close(exact.predict(5, series[None, :201])[0], series[201:206], 1e-6)

    network = EchoStateNetwork(n_units=20, ridge=1e-6, leak=0.4, increments=True).fit(series[:200])
    x = (series[:201] - series[:200].mean(axis=0)) / series[:200].std(axis=0)
    W, r = network.W.toarray(), np.zeros(20)
    for state in x:
        drive = [W[i] @ r + network.W_in[i] @ [1.0, *state] for i in range(20)]
        r = np.array([0.6 * r[i] + 0.4 * math.tanh(drive[i]) for i in range(20)])
    step = np.concatenate([[1.0], x[-1], r, r[::2] ** 2]) @ network.weights
    expected = (x[-1] + step) * series[:200].std(axis=0) + series[:200].mean(axis=0)
    check_close(network.predict(1, series[None, :201])[0, 0], expected, 1e-9)

    rng = np.random.default_rng(0)
    F, Y = rng.standard_normal((30, 4)), rng.standard_normal((30, 2))
    normal = np.linalg.solve(F.T @ F + 30 * 0.1 * np.eye(4), F.T @ Y)
    check_close(ridge_regression(F, Y, 0.1), normal, 1e-9)


# ---- all of it --------------------------------------------------------------------------------

COLUMNS = {
    "system": "<22s",
    "setting": "<6s",
    "method": "<16s",
    "seconds": "6.2f",
    "valid_25": "6.2f",
    "valid": "6.2f",
    "valid_75": "6.2f",
    "lost": "4d",
}


def judge(problem: Problem, method: str, args: argparse.Namespace) -> dict[str, Any]:
    """Return a row: how long a method's forecasts of a problem hold."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        begin = time.perf_counter()
        forecaster, chosen = fitted(method, problem.train, args)
        seconds = time.perf_counter() - begin
        predicted = forecaster.predict(problem.true.shape[1], problem.histories)
    size = math.sqrt(problem.true.var(axis=(0, 1)).sum())
    times = [
        valid_prediction_time(true, forecast, time_step=problem.time_step, lyapunov=1.0, scale=size)
        for true, forecast in zip(problem.true, predicted, strict=True)
    ]
    low, middle, high = np.percentile(times, [25, 50, 75]).tolist()
    return {
        "system": problem.name,
        "setting": problem.setting,
        "method": method,
        "seconds": seconds,
        "valid_25": low,
        "valid": middle,
        "valid_75": high,
        "lost": int(np.isnan(predicted[:, -1, 0]).sum()),
        "valid_times": times,
        "chosen": {name: str(value) for name, value in chosen.items()},
    }


def compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how each method fared in each setting, over all systems."""
    table = []
    for setting in dict.fromkeys(row["setting"] for row in rows):
        here = [row for row in rows if row["setting"] == setting]
        by = {m: {r["system"]: r for r in here if r["method"] == m} for m in METHODS}
        by = {method: found for method, found in by.items() if found}
        best = {s: max(f[s]["valid"] for f in by.values()) for s in next(iter(by.values()))}
        for method, found in by.items():
            valid = np.array([row["valid"] for row in found.values()])
            low, middle, high = np.percentile(valid, [25, 50, 75]).tolist()
            mine = by.get("kflow, chosen", found)
            wins = sum(mine[s]["valid"] > found[s]["valid"] for s in best)
            losses = sum(mine[s]["valid"] < found[s]["valid"] for s in best)
            table.append(
                {
                    "setting": setting,
                    "method": method,
                    "n_systems": len(best),
                    "valid_25": low,
                    "valid": middle,
                    "valid_75": high,
                    "best": sum(found[s]["valid"] >= best[s] for s in best),
                    "beaten_by_chosen": wins,
                    "beats_chosen": losses,
                    "lost": sum(row["lost"] for row in found.values()),
                    "seconds": float(np.median([row["seconds"] for row in found.values()])),
                }
            )
    return table


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--systems", nargs="+", default=["test"], metavar="NAME or SET")
    options.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    options.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    options.add_argument("--candidates", type=int, default=24, help="fits of a search")
    options.add_argument("--train", type=int, default=1500, help="states to learn from")
    options.add_argument("--starts", type=int, default=10, help="forecasts of each")
    args = options.parse_args()
    check_methods()
    test, development = systems()
    sets = {"test": test, "development": development}
    names = [name for one in args.systems for name in sets.get(one, [one])]
    table = Table(COLUMNS)
    rows: list[dict[str, Any]] = []
    for setting in args.settings:
        for name in names:
            problem = Problem.of(name, setting, args)
            for method in args.methods:
                row = judge(problem, method, args)
                rows.append(row)
                note = ", ".join(f"{k}={v}" for k, v in row["chosen"].items())
                table.row(*(row[column] for column in COLUMNS), note=note)
        # After each setting, because all of them take long.
        write_json(args, ["scikit-learn", "dysts"], summary=compared(rows), rows=rows)
    for line in compared(rows):
        print(json.dumps(line))


if __name__ == "__main__":
    main()
