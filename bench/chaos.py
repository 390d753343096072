"""How well are chaotic systems forecast with kernels learnt by which loss?

    $ python bench/chaos.py --preset smallest                 # seconds: does it run?
    $ python bench/chaos.py --json chaos.json --pictures docs/images
    $ python bench/chaos.py --system lorenz --noise 0.01 --seeds 5
    $ python bench/chaos.py --preset full --dysts Rossler Thomas HyperRossler   # with dysts installed

Each system is learnt from one trajectory, and tried on another: with a single kernel (a Gaussian)
and with a sum of four, as they start (the median distance of the rows for a length scale, amplitudes
of 1) and learnt by each loss from there. All losses see the same rows, with the same nugget and the
same optimiser, L-BFGS; nlml is what Gaussian processes usually maximise. In one row scikit-learn's
GaussianProcessRegressor does so, to check that. The sparse rows choose among a dictionary of twelve.

one step    root mean square error of one-step forecasts, over the attractor's deviation
valid       valid prediction time in Lyapunov times: median and quartiles over starts and seeds
energy      energy distance of a long forecast to the attractor, over that of a second true
            trajectory: 1 cannot be told from the truth
hausdorff   the same by the Hausdorff distance
exponent    largest Lyapunov exponent of the learnt map, over the system's
lost        long forecasts that ran away to infinity
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Table, check_close, parser, write_json

from kflow.errors import DivergenceError, SingularKernelError
from kflow.kernels import Gaussian, Kernel, Matern52, Polynomial, RationalQuadratic
from kflow.timeseries import (
    LYAPUNOV,
    Forecaster,
    attractor_distance,
    delay_embedding,
    dictionary,
    henon_map,
    learn_sparse_kernel,
    logistic_map,
    lorenz63,
    lyapunov_exponent,
    valid_prediction_time,
)

Array = np.ndarray

PRESETS: dict[str, dict[str, float]] = {
    "smallest": {"train": 0.2, "seeds": 1, "starts": 3, "long": 60, "steps": 3},
    "quick": {"train": 0.5, "seeds": 1, "starts": 20, "long": 1000, "steps": 60},
    "full": {"train": 1.0, "seeds": 3, "starts": 40, "long": 3000, "steps": 60},
}
LEARNERS = [
    "none",
    "rho",
    "e2",
    "loo",
    "nlml",
    "lyapunov",
    "scikit-learn",
    "sparse-rho",
    "sparse-e2",
]

# ---- systems ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class System:
    """A system, how it is observed, and how much of it."""

    name: str
    trajectory: Callable[[int, int], Array]  # of so many states, from a seed
    lyapunov: float  # per unit of time
    time_step: float
    delay: int
    n_train: int
    unit: str = "time"

    @property
    def horizon(self) -> int:
        """Steps in 20 Lyapunov times, after which no forecast is valid."""
        return math.ceil(20.0 / (self.lyapunov * self.time_step))


def own_systems() -> list[System]:
    logistic, henon, lorenz = (LYAPUNOV[n] for n in ("logistic_map", "henon_map", "lorenz63"))

    def lorenz_states(n: int, seed: int) -> Array:
        return lorenz63(n, time_step=0.1, random_state=seed)

    def lorenz_x(n: int, seed: int) -> Array:
        return lorenz_states(n, seed)[:, :1]

    return [
        System(
            "logistic",
            lambda n, seed: logistic_map(n, random_state=seed)[:, None],
            logistic,
            1.0,
            1,
            200,
            "steps",
        ),
        System(
            "henon", lambda n, seed: henon_map(n, random_state=seed), henon, 1.0, 1, 400, "steps"
        ),
        System(
            "henon x",
            lambda n, seed: henon_map(n, random_state=seed)[:, :1],
            henon,
            1.0,
            2,
            400,
            "steps",
        ),
        System("lorenz", lorenz_states, lorenz, 0.1, 1, 1000),
        System("lorenz x", lorenz_x, lorenz, 0.1, 5, 1000),
    ]


def dysts_system(name: str) -> System:
    """Return a system of the package dysts (W. Gilpin), 20 states to a period."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dysts import flows

        model = getattr(flows, name)()
    from scipy.integrate import solve_ivp

    step = float(model.period) / 20.0

    def trajectory(n: int, seed: int) -> Array:
        start = np.asarray(model.ic, float)
        start = start * (1.0 + 1e-3 * np.random.default_rng(seed).standard_normal(len(start)))
        times = np.concatenate([[0.0], (400 + np.arange(n)) * step])  # 20 periods pass first
        solution = solve_ivp(
            lambda t, x: np.asarray(model.rhs(x, t), float),
            (0.0, times[-1]),
            start,
            method="DOP853",
            t_eval=times,
            rtol=1e-9,
            atol=1e-9,
        )
        assert solution.success, solution.message
        return np.ascontiguousarray(solution.y.T[1:])

    return System(name, trajectory, float(model.maximum_lyapunov_estimated), step, 1, 1000)


# ---- kernels ----------------------------------------------------------------------------------


# Learners that do not start from both of `kernels`.
KERNELS_OF = {"scikit-learn": ["single"], "sparse-rho": ["sparse"], "sparse-e2": ["sparse"]}


def kernels(length: float) -> dict[str, Kernel]:
    """Return the kernels that learning starts from."""
    return {
        "single": Gaussian(length),
        "sum": 1.0 * Gaussian(length)
        + 1.0 * Matern52(length)
        + 1.0 * RationalQuadratic(length)
        + 1.0 * Polynomial(length),
    }


def rows_of(series: Array, delay: int) -> tuple[Array, Array]:
    """Return the scaled pairs that a Forecaster learns from."""
    X, Y = delay_embedding((series - series.mean(axis=0)) / series.std(axis=0), delay)
    return X, (Y - Y.mean(axis=0)) / Y.std(axis=0)


def by_scikit_learn(X: Array, Y: Array, length: float, nugget: float) -> Kernel:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF

    process = GaussianProcessRegressor(RBF(length), alpha=nugget)
    return Gaussian(float(process.fit(X, Y).kernel_.length_scale))


def learn(
    learner: str,
    start: str,
    length: float,
    series: Array,
    delay: int,
    nugget: float,
    seed: int,
    args: argparse.Namespace,
) -> Forecaster:
    """Return a forecaster whose kernel a learner has found, fitted to a series."""
    X, Y = rows_of(series, delay)
    loss, options = None, {}
    if learner == "scikit-learn":
        kernel = by_scikit_learn(X, Y, length, nugget)
    elif learner.startswith("sparse"):
        kernel = learn_sparse_kernel(
            dictionary(length),
            X,
            Y,
            loss=learner.removeprefix("sparse-"),
            penalty=args.penalty,
            nugget=nugget,
            learn_options={"n_steps": args.steps},
            max_steps=5 * args.steps,
            random_state=seed,
        ).kernel
    else:
        kernel = kernels(length)[start]
        if learner != "none":
            loss = learner
            # All rows, if possible: then every loss sees the same as nlml.
            size = min(len(X), args.batch)
            options = {"optimizer": "lbfgs", "n_steps": args.steps, "batch_size": size}
            options["n_halves"] = 8
    forecaster = Forecaster(
        kernel,
        delay=delay,
        nugget=nugget,
        learn=loss,
        learn_options=options,
        random_state=seed,
    )
    return forecaster.fit(series)


# ---- measures ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """A system's truth, by which forecasts are judged."""

    system: System
    test: Array
    starts: Array
    size: float  # root mean square deviation
    n_long: int
    distances: dict[str, float]  # between two true trajectories

    @classmethod
    def of(cls, system: System, seed: int, n_starts: int, n_long: int) -> Trial:
        n_test = max(n_long, n_starts * 10) + system.horizon + system.delay
        test = system.trajectory(n_test, 1000 + seed)
        last = n_test - system.horizon - system.delay
        starts = np.linspace(0, last, n_starts).astype(int)
        second = system.trajectory(n_long, 2000 + seed)
        size = float(np.sqrt(test.var(axis=0).sum()))
        distances = {
            measure: attractor_distance(test[:n_long], second, measure=measure)
            for measure in ("energy", "hausdorff")
        }
        return cls(system, test, starts, size, n_long, distances)

    def forecasts(self, forecaster: Forecaster) -> tuple[Array, Array]:
        """Return what happened after the starts, and what was forecast, (n_starts, horizon, q)."""
        delay, horizon = self.system.delay, self.system.horizon
        histories = np.stack([self.test[s : s + delay] for s in self.starts])
        true = np.stack([self.test[s + delay : s + delay + horizon] for s in self.starts])
        return true, quietly(lambda: forecaster.predict(horizon, histories))

    def judge(self, forecaster: Forecaster) -> dict[str, Any]:
        system = self.system
        _, errors = forecaster.one_step(self.test)
        times = [
            valid_prediction_time(
                true,
                predicted,
                time_step=system.time_step,
                lyapunov=system.lyapunov,
                scale=self.size,
            )
            for true, predicted in zip(*self.forecasts(forecaster), strict=True)
        ]
        start = self.test[: system.delay]
        long = quietly(lambda: forecaster.predict(self.n_long, start[None]))[0]
        kept = long[np.isfinite(long).all(axis=1)]
        row: dict[str, Any] = {
            "one_step": float(np.sqrt(np.square(errors).sum(axis=1).mean())) / self.size,
            "valid_times": times,
            "lost": len(kept) < self.n_long,
        }
        for measure, least in self.distances.items():
            row[measure] = None
            if len(kept) == self.n_long:
                distance = attractor_distance(kept, self.test[: self.n_long], measure=measure)
                row[measure] = distance / least
        try:
            exponent = lyapunov_exponent(forecaster, start, self.n_long, time_step=system.time_step)
            row["exponent"] = exponent / system.lyapunov if math.isfinite(exponent) else None
        except DivergenceError:
            row["exponent"] = None
        return row


def quietly(function: Callable[[], Any]) -> Any:
    """Call without the warnings of forecasts that run away: they are counted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return function()


def check_forecasts() -> None:
    """Compare a forecast with the formula, solved by NumPy."""
    series = henon_map(40)
    X, Y = rows_of(series, 2)
    forecaster = Forecaster(Gaussian(1.0), delay=2, nugget=1e-3, learn=None).fit(series)

    def gaussian(points: Array) -> Array:
        return np.exp(-np.square(points[:, None] - X[None]).sum(axis=2) / 2.0)

    coefficients = np.linalg.solve(gaussian(X) + 1e-3 * np.eye(len(X)), Y)
    mean, deviation = series.mean(axis=0), series.std(axis=0)
    raw = delay_embedding((series - mean) / deviation, 2)[1]
    row = ((series[7:9] - mean) / deviation).reshape(1, -1)
    following = gaussian(row) @ coefficients * raw.std(axis=0) + raw.mean(axis=0)
    expected = following * deviation + mean
    check_close(forecaster.predict(1, series[7:9]), expected, 1e-9)


# ---- pictures ---------------------------------------------------------------------------------

# M. Okabe and K. Ito, Color Universal Design (2008): told apart by the colour-blind.
TRUE, UNLEARNT, LEARNT = "0.2", "#E69F00", "#0072B2"
COLOURS = ["#E69F00", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "0.35", "#F0E442"]
LABELS = {"none": "not learnt"}
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*", "<"]


def draw_attractors(trial: Trial, shown: dict[str, Forecaster], file: Path) -> None:
    """Draw the true attractor beside those of some forecasters."""
    from matplotlib.figure import Figure

    system = trial.system
    clouds = {"true": trial.test[: trial.n_long]}
    for name, forecaster in shown.items():
        start = trial.test[: system.delay]
        clouds[name] = quietly(lambda f=forecaster, s=start: f.predict(trial.n_long, s[None]))[0]
    figure = Figure(figsize=(3.2 * len(clouds), 3.2), dpi=150, layout="constrained")
    axes = figure.subplots(1, len(clouds), sharex=True, sharey=True, squeeze=False)[0]
    q = trial.test.shape[1]
    # The last two columns; of a single one, each value against the one before.
    names = ("$x_k$", "$x_{k+1}$") if q == 1 else ("x", "yz"[q > 2])
    flow = system.unit == "time"
    for ax, (name, cloud), colour in zip(
        axes, clouds.items(), (TRUE, UNLEARNT, LEARNT), strict=False
    ):
        points = (cloud[:-1, 0], cloud[1:, 0]) if q == 1 else (cloud[:, 0], cloud[:, min(q, 3) - 1])
        ax.plot(*points, "-" if flow else ".", color=colour, linewidth=0.4, markersize=1.5)
        ax.set_title(name, fontsize="medium")
        ax.set_xlabel(names[0])
    box = clouds["true"]
    span = (box[:, 0], box[:, 0]) if q == 1 else (box[:, 0], box[:, min(q, 3) - 1])
    for values, limit in zip(span, (axes[0].set_xlim, axes[0].set_ylim), strict=True):
        margin = 0.15 * float(np.ptp(values))
        limit(values.min() - margin, values.max() + margin)
    axes[0].set_ylabel(names[1])
    figure.suptitle(f"{system.name}: {trial.n_long} states")
    figure.savefig(file)


def draw_forecasts(trial: Trial, shown: dict[str, Forecaster], file: Path) -> None:
    """Draw a forecast of the first column against the truth."""
    from matplotlib.figure import Figure

    system = trial.system
    figure = Figure(figsize=(7.6, 3.2), dpi=150, layout="constrained")
    ax = figure.subplots()
    results = {name: trial.forecasts(forecaster) for name, forecaster in shown.items()}
    truth = next(iter(results.values()))[0][0]
    clock = (1 + np.arange(len(truth))) * system.time_step * system.lyapunov
    ax.plot(clock, truth[:, 0], "-", color=TRUE, linewidth=2.5, label="true")
    for (name, (_, predicted)), colour, line in zip(
        results.items(), (UNLEARNT, LEARNT), ("--", "-"), strict=False
    ):
        valid = valid_prediction_time(
            truth,
            predicted[0],
            time_step=system.time_step,
            lyapunov=system.lyapunov,
            scale=trial.size,
        )
        ax.plot(
            clock,
            predicted[0][:, 0],
            line,
            color=colour,
            linewidth=1.2,
            label=f"{name}, valid for {valid:.1f}",
        )
        ax.axvline(valid, color=colour, linestyle=":", linewidth=1)
    low, high = trial.test[:, 0].min(), trial.test[:, 0].max()
    margin = 0.1 * float(high - low)
    ax.set_ylim(low - margin, high + margin)
    ax.set_xlabel("time after the last observation (Lyapunov times)")
    ax.set_ylabel("x (units of the system)")
    ax.set_title(system.name)
    figure.legend(loc="outside right center", frameon=False)
    figure.savefig(file)


def draw_times(
    rows: list[dict[str, Any]], args: argparse.Namespace, noise: float, file: Path
) -> None:
    """Draw valid prediction times, median and quartiles, of all systems and learners."""
    from matplotlib.figure import Figure

    rows = [row for row in rows if row["kernel"] in args.shown and row["noise"] == noise]
    systems = list(dict.fromkeys(row["system"] for row in rows))
    learners = list(dict.fromkeys(row["learner"] for row in rows))
    figure = Figure(figsize=(7.6, 1.4 + 0.7 * len(systems)), dpi=150, layout="constrained")
    ax = figure.subplots()
    for i, learner in enumerate(learners):
        mine = [row for row in rows if row["learner"] == learner and row["valid"] is not None]
        places = [systems.index(row["system"]) + 0.7 * (i / len(learners) - 0.5) for row in mine]
        middle = np.array([row["valid"] for row in mine])
        low, high = (np.array([row[name] for row in mine]) for name in ("valid_25", "valid_75"))
        ax.errorbar(
            middle,
            places,
            xerr=[middle - low, high - middle],
            fmt=MARKERS[i % len(MARKERS)],
            color=COLOURS[i % len(COLOURS)],
            markersize=5,
            linewidth=1,
            label=LABELS.get(learner, learner),
        )
    ax.set_yticks(range(len(systems)), systems)
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    ax.set_xlabel("valid prediction time (Lyapunov times), median and quartiles")
    ax.set_title(f"kernel: {args.show_kernel}, noise {noise:g}")
    ax.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside right center", frameon=False)
    figure.savefig(file)


# ---- all of it --------------------------------------------------------------------------------

COLUMNS = {
    "system": "<9s",
    "noise": "5g",
    "kernel": "<6s",
    "learner": "<12s",
    "seconds": "7.2f",
    "one_step": "8.1e",
    "valid_25": "8.2f",
    "valid": "6.2f",
    "valid_75": "8.2f",
    "energy": "6.2f",
    "hausdorff": "9.2f",
    "exponent": "8.3f",
    "lost": "4d",
}


def summary(trials: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians over seeds; valid times over seeds and starts."""

    def median(name: str) -> float | None:
        values = [trial[name] for trial in trials if trial.get(name) is not None]
        return float(np.median(values)) if values else None

    times = [t for trial in trials for t in trial.get("valid_times", [])]
    quartiles = np.percentile(times, [25, 50, 75]).tolist() if times else [None] * 3
    return {
        **{name: median(name) for name in ("seconds", "one_step")},
        **dict(zip(("valid_25", "valid", "valid_75"), quartiles, strict=True)),
        **{name: median(name) for name in ("energy", "hausdorff", "exponent")},
        "lost": sum(trial.get("lost", False) for trial in trials),
        "singular": sum(trial.get("singular", False) for trial in trials),
    }


def run_learner(
    learner: str, start: str, system: System, noise: float, seed: int, args: argparse.Namespace
) -> tuple[Forecaster | None, dict[str, Any]]:
    """Return the forecaster that a learner makes of one trajectory, and how it came about."""
    train = system.trajectory(round(args.train * system.n_train), seed)
    deviation = noise * train.std(axis=0)
    train = train + deviation * np.random.default_rng(seed).standard_normal(train.shape)
    nugget = max(args.nugget, noise**2)
    unlearnt = Forecaster(learn=None, delay=system.delay, nugget=nugget, random_state=seed)
    length = float(unlearnt.fit(train).kernel_.length_scale)
    begin = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            forecaster = learn(learner, start, length, train, system.delay, nugget, seed, args)
        except SingularKernelError:
            return None, {"singular": True}
    return forecaster, {
        "singular": False,
        "seconds": time.perf_counter() - begin,
        "learnt": repr(forecaster.kernel_),
        "warnings": sorted({warning.category.__name__ for warning in caught}),
    }


def run_system(
    system: System, noise: float, args: argparse.Namespace, table: Table
) -> tuple[list[dict[str, Any]], Trial, dict[str, Forecaster]]:
    """Return the rows of a system, and what pictures are made of."""
    trials = [Trial.of(system, seed, args.starts, args.long) for seed in range(args.seeds)]
    rows, shown = [], {}
    for learner in args.learner:
        for start in KERNELS_OF.get(learner, ["single", "sum"]):
            results = []
            for seed, trial in enumerate(trials):
                forecaster, result = run_learner(learner, start, system, noise, seed, args)
                if forecaster is not None:
                    result |= trial.judge(forecaster)
                    if seed == 0 and learner in ("none", args.show) and start in args.shown:
                        shown[LABELS.get(learner, learner)] = forecaster
                results.append(result)
            case = {"system": system.name, "noise": noise, "kernel": start, "learner": learner}
            row = {**case, **summary(results), "trials": results}
            rows.append(row)
            table.row(*(row[name] for name in COLUMNS))
    return rows, trials[0], shown


def main() -> None:
    options = parser(__doc__)
    own = {system.name: system for system in own_systems()}
    options.add_argument("--preset", choices=PRESETS, default="quick")
    options.add_argument("--system", nargs="*", choices=own, default=list(own))
    options.add_argument("--dysts", nargs="+", default=[], metavar="NAME", help="flows of dysts")
    options.add_argument("--learner", nargs="+", choices=LEARNERS, default=LEARNERS)
    options.add_argument("--noise", nargs="+", type=float, default=[0.0], help="of observations")
    options.add_argument("--nugget", type=float, default=1e-8, help="or noise^2, if that is more")
    options.add_argument("--train", type=float, help="part of the rows to learn from")
    options.add_argument("--seeds", type=int, help="trajectories to learn from")
    options.add_argument("--starts", type=int, help="forecasts of each")
    options.add_argument("--long", type=int, help="steps of the forecast for attractors")
    options.add_argument("--steps", type=int, help="of the optimiser at most")
    options.add_argument("--batch", type=int, default=1000, help="rows that a loss sees at most")
    options.add_argument("--penalty", type=float, default=1e-3, help="of the sparse rows")
    options.add_argument("--pictures", type=Path, metavar="DIR", help="draw there")
    options.add_argument("--show", default="rho", choices=LEARNERS[1:], help="in the pictures")
    options.add_argument("--show-kernel", default="sum", choices=["single", "sum"])
    args = options.parse_args()
    for name, value in PRESETS[args.preset].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    args.shown = [args.show_kernel, "sparse"]
    check_forecasts()
    table = Table(COLUMNS)
    rows: list[dict[str, Any]] = []
    for system in [*(own[name] for name in args.system), *map(dysts_system, args.dysts)]:
        for noise in args.noise:
            new, trial, shown = run_system(system, noise, args, table)
            rows += new
            if args.pictures is not None:
                args.pictures.mkdir(parents=True, exist_ok=True)
                name = f"{system.name.replace(' ', '-').lower()}{ending(noise)}.png"
                draw_attractors(trial, shown, args.pictures / f"attractor-{name}")
                draw_forecasts(trial, shown, args.pictures / f"forecast-{name}")
    if args.pictures is not None:
        for noise in args.noise:
            draw_times(rows, args, noise, args.pictures / f"valid-times{ending(noise)}.png")
    args.pictures = None  # a path of this machine
    write_json(args, ["scikit-learn", *(["dysts"] if args.dysts else [])], rows=rows)


def ending(noise: float) -> str:
    return f"-noise-{noise:g}" if noise else ""


if __name__ == "__main__":
    main()
