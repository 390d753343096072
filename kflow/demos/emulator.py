"""Five models and their emulators: errors by output, coverage, Jacobians, and a field beside its emulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kflow._base.array_types import Doubles
from kflow.demos import Options
from kflow.demos.report import Report
from kflow.emulator import Emulator
from kflow.plotting import EmulatorDisplay
from kflow.simulators import SIMULATORS, Simulator

__all__ = ["run"]

# The step of central differences, as a part of the range of an input.
_STEP = 1e-4


@dataclass(frozen=True, eq=False)
class _Emulated:
    """A model, its emulator, and runs that the emulator has not seen."""

    simulator: Simulator
    emulator: Emulator
    X: Doubles
    Y: Doubles
    mean: Doubles
    std: Doubles

    @classmethod
    def of(cls, simulator: Simulator, n: int, n_test: int, options: Options) -> _Emulated:
        """Learn an emulator from n runs, and try it on others."""
        rng = np.random.default_rng([options.seed, len(simulator.name)])
        X, T = simulator.draw(n, rng), simulator.draw(n_test, rng)
        emulator = Emulator(random_state=options.seed, n_threads=options.n_threads)
        emulator.fit(X, simulator(X))
        return cls(simulator, emulator, T, simulator(T), *emulator.predict(T, return_std=True))

    def relative(self) -> Doubles:
        """Return the root mean square error of each output over its deviation; 0 for constant ones."""
        errors = np.sqrt(np.square(self.Y - self.mean).mean(axis=0))
        sizes = self.Y.std(axis=0)
        return np.where(sizes > 0.0, errors / np.where(sizes > 0.0, sizes, 1.0), 0.0)

    def inside(self) -> float:
        """Return the part of outputs within their interval of 95 %."""
        return float((np.abs(self.Y - self.mean) <= 1.96 * self.std).mean())

    def jacobian_differences(self, n: int) -> tuple[float, float]:
        """Return how far Jacobians are from differences of the emulator, and of the model.

        Both are root mean squares over outputs, inputs and n runs, with inputs in units of their ranges,
        over that of the differences.
        """
        simulator = self.simulator
        ranges = simulator.upper - simulator.lower
        # Away from the bounds, beyond which the model need not be defined.
        X = np.clip(self.X[:n], simulator.lower + 0.01 * ranges, simulator.upper - 0.01 * ranges)
        exact = self.emulator.jacobian(X) * ranges
        found = []
        for function in (self.emulator.predict, simulator):
            differences = np.stack(
                [function(X + step) - function(X - step) for step in _STEP * np.diag(ranges)],
                axis=2,
            ) / (2.0 * _STEP)
            found.append(
                float(
                    np.sqrt(np.square(exact - differences).mean() / np.square(differences).mean())
                )
            )
        return found[0], found[1]


def run(options: Options) -> Report:
    """Return the report of five models, or of two in the small form."""
    names = ("borehole", "two-stream") if options.quick else tuple(SIMULATORS)
    n, n_test = (120, 100) if options.quick else (500, 1000)
    cases = []
    with options.steps(len(names), "model") as done:
        for name in names:
            cases.append(_Emulated.of(SIMULATORS[name], n, n_test, options))
            done()
    rows, numbers = [], {}
    for name, case in zip(names, cases, strict=True):
        relative = case.relative()
        own, model = case.jacobian_differences(20)
        held_out = float(np.median(case.emulator.held_out_.relative))
        numbers[name] = {
            "median_error": float(np.median(relative)),
            "told_error": held_out,
            "worst_error": float(relative.max()),
            "inside": case.inside(),
            "jacobian_to_differences": own,
            "jacobian_to_model": model,
        }
        rows.append(
            [
                name,
                len(case.simulator.inputs),
                len(relative),
                case.emulator.n_components_,
                *(f"{value:.1e}" for value in (np.median(relative), held_out, relative.max())),
                f"{100.0 * case.inside():.1f}",
                f"{own:.0e}",
                f"{model:.1e}",
            ]
        )
    least, most = (f(number["median_error"] for number in numbers.values()) for f in (min, max))
    report = Report(
        "Fields from a few numbers",
        f"Emulators of {len(names)} computer models, each learned from {n} runs and tried on {n_test} others. "
        f"The median output is predicted with an error of {least:.1e} to {most:.1e} of its deviation. "
        f"{100.0 * min(case.inside() for case in cases):.0f} to "
        f"{100.0 * max(case.inside() for case in cases):.0f} % of the outputs lie within their intervals "
        "of 95 %.",
        options.command("emulator"),
        settings={"runs": n, "runs to try": n_test, "seed": options.seed},
    )
    report.numbers.update(numbers)
    report.section(
        "Errors",
        "The error of an output is the root mean square over the runs that the emulator has not seen, over the "
        "deviation of that output. *Told* is what the emulator itself says of the median output, in "
        "`held_out_`. Jacobians are compared with central differences of the emulator, of which they are "
        "the exact derivatives, and with those of the model, on 20 runs.",
    ).table(
        [
            "model",
            "inputs",
            "outputs",
            "components",
            "median error",
            "told",
            "worst output",
            "inside 95 %, %",
            "Jacobian to the emulator's differences",
            "to the model's",
        ],
        rows,
        f"Five models of `kflow.simulators`, {n} runs each."
        if not options.quick
        else "Two models.",
    )
    for name, case in zip(names, cases, strict=True):
        _show(report, name, case)
    return report


def _show(report: Report, name: str, case: _Emulated) -> None:
    """Add what one emulator says of itself, and a run beside its emulation."""
    shape = case.simulator.grid_shape
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    EmulatorDisplay.from_estimator(case.emulator, grid_shape=shape, ax=list(figure.subplots(1, 2)))
    worst = int(np.square(case.Y - case.mean).sum(axis=1).argmax())
    fields = Figure(figsize=(7.2, 2.8), layout="constrained")
    _draw_run(fields, shape, case.Y[worst], case.mean[worst], case.std[worst])
    report.section(
        name,
        f"{len(case.simulator.inputs)} inputs ({', '.join(case.simulator.inputs)}), "
        f"{' x '.join(map(str, shape))} outputs.",
    ).figure(
        figure,
        f"errors-{name}",
        "What the emulator says of itself: errors of its outputs at rows held out, and how many of them lie "
        "within intervals of each nominal coverage.",
    ).figure(
        fields,
        f"run-{name}",
        f"The run of {len(case.Y)} that is predicted worst, and its emulation with two standard deviations; of a "
        "field, the row in the middle.",
    )


def _draw_run(
    figure: Figure, shape: tuple[int, ...], true: Doubles, mean: Doubles, std: Doubles
) -> None:
    """Draw a row of a field, as it is and as it is predicted."""
    axes: Any = figure.subplots()
    row = len(true) // shape[-1] // 2
    y, m, s = (values.reshape(-1, shape[-1])[row] for values in (true, mean, std))
    x = np.arange(len(y))
    marker = "o" if len(y) == 1 else ""
    axes.fill_between(x, m - 2.0 * s, m + 2.0 * s, alpha=0.3, linewidth=0)
    axes.plot(x, m, marker=marker, label="emulator")
    axes.plot(x, y, "k--", marker=marker, linewidth=1.0, label="model")
    axes.set(xlabel="output", ylabel="value")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
