"""Do ensembles of forecasts spread as far as forecasts are wrong?

    $ python bench/forecast_intervals.py --json FILE
    $ python bench/forecast_intervals.py --system --picture docs/images/forecast-fan.svg

Each system is learned from one trajectory. From 60 places of another one, ensembles of 100 members are
drawn, and 90 % intervals are taken at each horizon: they should hold 90 % of what happened. This is done
without a calibration and after one by a third trajectory, of 400 states and 20 steps. Noise is 5 % of the
deviation of each column, on all trajectories; what happened is then what was observed.

inside      percent of what happened inside of the 90 % intervals, at each horizon
spread      deviations of the ensembles over errors of their means, root mean squares, at each horizon
factor      the spread's factor, 1 before the calibration
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Table, parser, write_json

from kflow.timeseries import Forecaster, henon_map, logistic_map, lorenz63

Array = np.ndarray
Series = tuple[Array, Array | None]  # states, and times if they are irregular

HORIZONS = (1, 2, 5, 10, 20, 40)


@dataclass(frozen=True)
class System:
    """A system, and the settings of its forecaster."""

    name: str
    series: Callable[[int, int], Series]  # of so many states, from a seed
    n_train: int
    settings: dict[str, Any] = field(default_factory=dict)


def autoregression(n: int, seed: int) -> Series:
    rng = np.random.default_rng(seed)
    x = np.zeros(n + 100)
    for k in range(2, len(x)):
        x[k] = 1.5 * x[k - 1] - 0.8 * x[k - 2] + 0.3 * rng.standard_normal()
    return x[100:, None], None


def logistic(n: int, seed: int) -> Series:
    return logistic_map(n, random_state=seed)[:, None], None


def henon(n: int, seed: int) -> Series:
    return henon_map(n, random_state=seed), None


def lorenz(n: int, seed: int) -> Series:
    return lorenz63(n, time_step=0.1, random_state=seed), None


def lorenz_x(n: int, seed: int) -> Series:
    return lorenz(n, seed)[0][:, :1], None


def irregular(n: int, seed: int) -> Series:
    times = np.cumsum(np.random.default_rng(seed).uniform(0.02, 0.1, n))
    return lorenz63(times=times, random_state=seed), times


def noisy(series: Callable[[int, int], Series]) -> Callable[[int, int], Series]:
    def disturbed(n: int, seed: int) -> Series:
        states, times = series(n, seed)
        noise = np.random.default_rng([seed, 1]).standard_normal(states.shape)
        return states + 0.05 * states.std(axis=0) * noise, times

    return disturbed


SYSTEMS = [
    System("autoregression", autoregression, 300, {"delay": 2, "nugget": 0.1}),
    System("logistic", logistic, 200),
    System("henon", henon, 400),
    System("lorenz", lorenz, 1000, {"increments": True, "nugget": 1e-10}),
    System("lorenz x", lorenz_x, 1000, {"delay": 5, "nugget": 1e-6}),
    System("lorenz, irregular", irregular, 1000, {"increments": True, "nugget": 1e-6}),
    System("logistic, noise", noisy(logistic), 400, {"nugget": 0.01}),
    System("lorenz, noise", noisy(lorenz), 1000, {"delay": 3, "nugget": 0.01}),
]


def judged(
    forecaster: Forecaster, test: Series, n_starts: int, n_members: int
) -> tuple[Array, Array, Array]:
    """Return coverage, deviations and errors at each horizon."""
    states, times = test
    n, delay = max(HORIZONS), forecaster.delay
    starts = np.linspace(delay, len(states) - n, n_starts).astype(int)
    histories = [states[k - delay : k] for k in starts]
    clocks = None if times is None else [times[k - delay : k + n] for k in starts]
    members = forecaster.sample(n, histories, clocks, n_samples=n_members)
    true = np.stack([states[k : k + n] for k in starts])
    assert members.shape == (n_starts, n_members, *true.shape[1:])
    low, high = np.nanquantile(members, [0.05, 0.95], axis=1)
    inside = ((low <= true) & (true <= high)).mean(axis=(0, 2))
    mean, std = np.nanmean(members, axis=1), np.nanstd(members, axis=1, ddof=1)
    scale = states.std(axis=0)
    spread = np.sqrt(np.square(std / scale).mean(axis=(0, 2)))
    errors = np.sqrt(np.square((true - mean) / scale).mean(axis=(0, 2)))
    return inside, spread, errors


def draw(file: Path) -> None:
    """Draw an ensemble of forecasts of Lorenz's z, of a model that has seen few states."""
    from matplotlib.figure import Figure

    from kflow.plotting import ForecastDisplay

    states, _ = lorenz(410, 3)
    forecaster = Forecaster(nugget=1e-6, random_state=0).fit(states[:300])
    axes = Figure(figsize=(6.4, 3.2), layout="constrained").subplots()
    display = ForecastDisplay.from_estimator(
        forecaster, 110, column=2, observed=states[300:, 2], noise=0.1, ax=axes
    )
    display.ax_.set_ylabel("z of Lorenz's system")
    display.figure_.savefig(file)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--system", nargs="*", default=[system.name for system in SYSTEMS])
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--starts", type=int, default=60)
    options.add_argument("--members", type=int, default=100)
    options.add_argument("--picture", metavar="FILE", type=Path, help="draw a fan here")
    args = options.parse_args()
    if args.picture is not None:
        draw(args.picture)
    columns = {"system": "<20", "calibrated": "<10", "factor": "6.2f"}
    columns |= {f"h={h}": "5.1f" for h in HORIZONS}
    table, rows = Table({**columns, "seconds": "7.2f"}), []
    for system in (s for s in SYSTEMS if s.name in args.system):
        found: dict[bool, list[Any]] = {False: [], True: []}
        for seed in range(args.seeds):
            series, times = system.series(system.n_train, seed)
            forecaster = Forecaster(**system.settings, random_state=seed).fit(series, times)
            test = system.series(2000, 2000 + seed)
            for calibrated in found:
                start = time.perf_counter()
                if calibrated:
                    forecaster.calibrate(*system.series(400, 1000 + seed))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", RuntimeWarning)  # members that are lost
                    numbers = judged(forecaster, test, args.starts, args.members)
                seconds = time.perf_counter() - start
                found[calibrated].append((*numbers, forecaster.spread_factor_, seconds))
        for calibrated, several in found.items():
            inside, spread, errors = (
                np.mean([one[i] for one in several], axis=0) for i in range(3)
            )
            row = {
                "system": system.name,
                "calibrated": "yes" if calibrated else "no",
                "factor": float(np.median([one[3] for one in several])),
                "seconds": float(np.median([one[4] for one in several])),
            }
            for h in HORIZONS:
                row[f"inside_{h}"] = 100.0 * float(inside[h - 1])
                row[f"error_{h}"] = float(errors[h - 1])
                row[f"spread_{h}"] = float(spread[h - 1] / errors[h - 1])
            rows.append(row)
            table.row(
                system.name,
                row["calibrated"],
                row["factor"],
                *(row[f"inside_{h}"] for h in HORIZONS),
                row["seconds"],
            )
    write_json(args, rows=rows)


if __name__ == "__main__":
    main()
