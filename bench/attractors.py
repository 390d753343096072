"""Do long forecasts stay on the attractor if one coordinate alone is seen?

    $ python bench/attractors.py --systems Lorenz          # seconds: does it run?
    $ python bench/attractors.py --json attractors.json

Systems are those on which forecasts.py was developed, of the package dysts, 20 states to a dominant
period, and Lorenz's with states 0.1 apart ("lorenz x", that of chaos.py). Free runs go on for 50 Lyapunov
times. The states of their second halves, as delay vectors of three with the data's deviation for unit, are
compared with a true trajectory.

stay        fraction of the runs whose energy distance to the truth is at most three times that of true
            stretches of the same length (the median of eight)
distance    that distance over that of true stretches: median of the runs; none for those that ran away
exponent    largest Lyapunov exponent of the learned map, over the system's
valid       median valid prediction time in Lyapunov times
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from forecasts import SETTINGS, dysts_model, systems, trajectory
from measuring import Table, parser, write_json

from kflow.errors import DivergenceError
from kflow.timeseries import (
    LYAPUNOV,
    Forecaster,
    attractor_distance,
    choose_forecaster,
    delay_embedding,
    lorenz63,
    lyapunov_exponent,
    valid_prediction_time,
)

Array = np.ndarray

N_LYAPUNOV_TIMES = 50.0
N_HISTORY = 60
MOST_STATES = 800

METHODS: dict[str, Callable[[Array], Forecaster]] = {
    "defaults": lambda series: Forecaster(delay=5, random_state=0).fit(series),
    "stay_near": lambda series: Forecaster(delay=5, stay_near=True, random_state=0).fit(series),
    "chosen": lambda series: choose_forecaster(series, n_fits=22, random_state=0).forecaster,
}


def seen(name: str, n_train: int, n_test: int) -> tuple[Array, Array, float]:
    """Return two trajectories (n, 1) and the time between their states in Lyapunov times."""
    if name == "lorenz x":
        both = [
            lorenz63(n, time_step=0.1, random_state=seed) for n, seed in ((1000, 0), (n_test, 1))
        ]
        return both[0][:, :1], both[1][:, :1], 0.1 * LYAPUNOV["lorenz63"]
    model = dysts_model(name)
    points, _, columns = SETTINGS["first"]
    step = float(model.period) / points
    train, test = (
        trajectory(model, n, step, seed)[:, columns] for n, seed in ((n_train, 0), (n_test, 1))
    )
    return train, test, float(model.maximum_lyapunov_estimated) * step


def cloud(series: Array, truth: Array) -> Array:
    """Return delay vectors of three scaled states, two states apart, and at most 800 of them."""
    scaled = (series - truth.mean()) / truth.std()
    vectors, _ = delay_embedding(scaled, 5)
    return vectors[:: max(1, len(vectors) // MOST_STATES), ::2]


def judge(forecaster: Forecaster, test: Array, step: float, n_runs: int) -> dict[str, Any]:
    n = math.ceil(N_LYAPUNOV_TIMES / step)
    half = n // 2
    whole = cloud(test, test)
    stretches = np.linspace(0, len(test) - half, 8).astype(int)
    usual = float(
        np.median([attractor_distance(cloud(test[s : s + half], test), whole) for s in stretches])
    )
    n_valid = min(math.ceil(20.0 / step), len(test) // 2)
    starts = np.linspace(N_HISTORY, len(test) - n_valid, n_runs).astype(int)
    histories = np.stack([test[s - N_HISTORY : s] for s in starts])
    runs = forecaster.predict(max(n, n_valid), histories)
    distances = [
        attractor_distance(cloud(run[half:n], test), whole) / usual
        for run in runs
        if np.isfinite(run[:n]).all()
    ]
    valid = [
        valid_prediction_time(
            test[s : s + n_valid],
            run[:n_valid],
            time_step=step,
            lyapunov=1.0,
            scale=float(test.std()),
        )
        for s, run in zip(starts, runs, strict=True)
    ]
    try:
        start = test[: forecaster.delay]
        exponent = lyapunov_exponent(forecaster, start, min(n, 2000), time_step=step)
    except DivergenceError:
        exponent = math.nan
    return {
        "stay": sum(distance <= 3.0 for distance in distances) / n_runs,
        "distance": float(np.median(distances)) if distances else None,
        "lost": n_runs - len(distances),
        "exponent": exponent if math.isfinite(exponent) else None,
        "valid": float(np.median(valid)),
    }


COLUMNS = {
    "system": "<22s",
    "method": "<10s",
    "seconds": "6.2f",
    "stay": "5.2f",
    "distance": "8.2f",
    "lost": "4d",
    "exponent": "8.2f",
    "valid": "6.2f",
}


def rows_of(name: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each method."""
    train, test, step = seen(name, args.train, args.test)
    rows = []
    for method, fitted in METHODS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            begin = time.perf_counter()
            forecaster = fitted(train)
            seconds = time.perf_counter() - begin
            found = judge(forecaster, test, step, args.runs)
        rows.append({"system": name, "method": method, "seconds": seconds, **found})
    return rows


def summarised(rows: list[dict[str, Any]], method: str) -> dict[str, Any]:
    """Return the mean fraction that stays, and medians over systems of what is known."""

    def median(name: str) -> float | None:
        known = [row[name] for row in rows if row[name] is not None]
        return float(np.median(known)) if known else None

    stay = float(np.mean([row["stay"] for row in rows]))
    lost = sum(row["lost"] for row in rows)
    medians = {name: median(name) for name in ("seconds", "distance", "exponent", "valid")}
    return {"method": method, "stay": stay, "lost": lost, **medians}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--systems", nargs="+", default=["lorenz x", *systems()[1]])
    options.add_argument("--train", type=int, default=1500, help="states to learn from")
    options.add_argument("--test", type=int, default=6000, help="states of the true attractor")
    options.add_argument("--runs", type=int, default=6, help="free runs of each")
    args = options.parse_args()
    table = Table(COLUMNS)
    rows: list[dict[str, Any]] = []
    for name in args.systems:
        for row in rows_of(name, args):
            rows.append(row)
            table.row(*(row[column] for column in COLUMNS))
        summary = [
            summarised([row for row in rows if row["method"] == method], method)
            for method in METHODS
        ]
        # After each system, because all of them take long.
        write_json(args, ["dysts"], rows=rows, summary=summary)
    for line in summary:
        print(line)


if __name__ == "__main__":
    main()
