"""Does the noise of the gradient help? The same descent of rho with noise and without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from kflow._base.array_types import Doubles
from kflow._base.workers import Workers
from kflow.demos import Options
from kflow.demos.report import Report
from kflow.demos.theory.claims import Claim, add_claims
from kflow.demos.theory.digit_points import digit_points
from kflow.demos.theory.noisy_descent import HALVES, LEVELS, NUGGET, Descent, Found, descend
from kflow.demos.theory.spread import percents, spread
from kflow.engine.threads import resolve_n_threads
from kflow.plotting.axes import axes_of, log_scale, percent
from kflow.plotting.colours import MARKERS, PALETTE

__all__ = ["run"]


@dataclass(frozen=True)
class _Sizes:
    """How many images there are, how often they are drawn, and which descents are compared."""

    n_points: int
    n_seeds: int
    steps: tuple[float, ...]
    many_halves: int
    batches: tuple[int, ...]
    finer: float  # how much smaller the step of batches is where their noise is low


_FULL = _Sizes(200, 12, (0.5, 1.0, 2.0, 4.0), 16, (100, 50, 25), 8.0)


_QUICK = _Sizes(100, 3, (0.5, 4.0), 8, (25,), 2.0)


# Step of the descents by batches, where it is not smaller.
_BATCH_STEP = 1.0


def run(options: Options) -> Report:
    """Run the demo.

    Parameters
    ----------
    options : kflow.demos.Options
        Options of the demo. With `quick`, there are fewer images, seeds and descents.

    Returns
    -------
    kflow.demos.report.Report
        The report. Its numbers are errors and flatness of each descent at each level of rho.
    """
    sizes = _QUICK if options.quick else _FULL
    n = sizes.n_points
    whole = [Descent(n, halves, step) for halves in (1, sizes.many_halves) for step in sizes.steps]
    parts = [
        Descent(batch, 1, step)
        for batch in sizes.batches
        for step in (_BATCH_STEP, _BATCH_STEP / sizes.finer)
    ]
    data = digit_points()
    jobs = [(descent, seed) for descent in (*whole, *parts) for seed in range(sizes.n_seeds)]

    def job(one: tuple[Descent, int]) -> Found:
        return descend(data, n, one[0], [options.seed, one[1]])

    found: dict[Descent, list[Found]] = {}
    with (
        options.steps(len(jobs), "descent") as done,
        Workers(resolve_n_threads(options.n_threads)) as workers,
    ):
        for (descent, _), result in zip(jobs, workers.map(job, jobs), strict=True):
            found.setdefault(descent, []).append(result)
            done()
    return _Told(sizes, found, whole, parts).report(options)


@dataclass(frozen=True, eq=False)
class _Told:
    """What was found, as a report."""

    sizes: _Sizes
    found: dict[Descent, list[Found]]
    whole: list[Descent]
    parts: list[Descent]

    def values(self, descent: Descent, name: str, level: int = -1) -> Doubles:
        """Return one measure of all seeds at a level."""
        return np.array([getattr(one, name)[level] for one in self.found[descent]])

    @property
    def calm(self) -> Descent:
        """The descent with the least noise: all points, many halves, the smallest step."""
        return Descent(self.sizes.n_points, self.sizes.many_halves, self.sizes.steps[0])

    def gain(self, descent: Descent) -> tuple[float, float]:
        """Return by how much its error is below the calm one's, and the error of this mean."""
        differences = self.values(self.calm, "error") - self.values(descent, "error")
        differences = differences[np.isfinite(differences)]
        if len(differences) < 2:
            return float("nan"), float("nan")
        return float(differences.mean()), float(differences.std(ddof=1) / len(differences) ** 0.5)

    def correlation(self, descents: list[Descent], name: str = "doubling") -> float:
        """Return the rank correlation of flatness and error, both less the mean of each seed."""
        pairs = np.array(
            [
                (self.values(each, name), self.values(each, "error"))
                for each in descents
                if np.isfinite(self.values(each, name)).all()
            ]
        )
        pairs = pairs - pairs.mean(axis=0)
        return float(spearmanr(pairs[:, 0].ravel(), pairs[:, 1].ravel()).statistic)

    def report(self, options: Options) -> Report:
        """Return the report."""
        sizes, n = self.sizes, self.sizes.n_points
        noisy = [Descent(n, 1, step) for step in sizes.steps]
        gains = {each: self.gain(each) for each in noisy}
        best = max(noisy, key=lambda each: np.nan_to_num(gains[each][0], nan=-1.0))
        worst = min(noisy, key=lambda each: np.nan_to_num(gains[each][0], nan=1.0))
        flat = self.flatness
        flattest = max(flat, key=lambda each: np.nan_to_num(flat[each], nan=0.0))
        correlation = self.correlation([*self.whole, *self.parts])
        relative = self.correlation([*self.whole, *self.parts], "relative")
        level = f"ρ = {LEVELS[-1]:g}"
        report = Report(
            "Does the noise of the gradient find better minima?",
            f"{_answer(gains[best])} At {level} the flattest descent "
            f"({flattest.name(n)}) stands {flat[flattest] / flat[self.calm]:.1f} "
            f"times the random displacement of the one with the least noise, and its error is "
            f"{_change(self.gain(flattest))}. One random half in place of {sizes.many_halves} makes "
            f"the error {_change(gains[best])} with the step {best.step:g}, and "
            f"{_change(gains[worst])} with the step {worst.step:g}. Over all descents, flatness and "
            f"error have a rank correlation of {correlation:+.2f}: were flat minima better, it would "
            "be negative.",
            options.command("gradient-noise"),
        )
        report.settings.update(
            {
                "data": f"{n} images of digits, drawn {sizes.n_seeds} times, in 20 coordinates; "
                "449 test images",
                "flow": f"Gaussian fitted to the distances, nugget {NUGGET:g}, step rule fixed",
                "rho": f"of all {n} points, the mean over {HALVES} halves that are the same always",
                "test images": f"looked at in each of {len(self.found)} descents at "
                f"{len(LEVELS)} levels; nothing was chosen by them",
                "seed": options.seed,
            }
        )
        report.numbers.update(
            levels=list(LEVELS),
            descents={
                each.name(n): {
                    name: [self.values(each, name, level) for level in range(len(LEVELS))]
                    for name in ("rho", "error", "doubling", "relative", "layers")
                }
                for each in self.found
            },
            gains={each.name(n): self.gain(each) for each in self.found},
            rank_correlation=correlation,
            rank_correlation_relative=relative,
        )
        self._explain(report)
        self._show_whole(report)
        self._show_parts(report)
        self._claim(report, gains[best], gains[worst], worst, correlation, relative)
        return report

    @property
    def flatness(self) -> dict[Descent, float]:
        """The mean displacement that doubles rho at the last level, by descent."""
        return {each: float(np.nanmean(self.values(each, "doubling"))) for each in self.found}

    def _claim(
        self,
        report: Report,
        gain: tuple[float, float],
        loss: tuple[float, float],
        noisiest: Descent,
        correlation: float,
        relative: float,
    ) -> None:
        flat = self.flatness
        small = [each for each in self.parts if each.step == _BATCH_STEP]
        add_claims(
            report,
            [
                Claim(
                    "The stochastic gradient usually finds a much better minimum (Hopcroft)",
                    "-",
                    f"{_change(gain)} at best, {_change(loss)} at worst",
                    "a little, where the noise is small; no, where it is large"
                    if gain[0] > 2.0 * gain[1]
                    else "no",
                ),
                Claim(
                    "Noise leads to flatter minima (Keskar; Li)",
                    "-",
                    f"{flat[noisiest] / flat[self.calm]:.2g} times the displacement that "
                    "doubles ρ, with "
                    f"the step {noisiest.step:g} and one half",
                    "yes" if flat[noisiest] > flat[self.calm] else "no",
                ),
                Claim(
                    "Small batches find flatter minima (Keskar; Li)",
                    "-",
                    "; ".join(
                        f"{each.batch_size} points: {flat[each] / flat[self.calm]:.2g} times"
                        for each in small
                    ),
                    "yes" if all(flat[each] > flat[self.calm] for each in small) else "no",
                ),
                Claim(
                    "Flat minima generalise better (Hochreiter)",
                    "a negative correlation",
                    f"rank correlation of flatness and test error {correlation:+.2f}; "
                    f"{relative:+.2f} if lengths are parts of the distance between classes",
                    "yes" if max(correlation, relative) < -0.2 else "no",
                ),
            ],
            "As far as we know, the noise of a flow's random halves had not been separated from its "
            "other causes: here the objective is the same to the digit with one half and with many, "
            "and descents are compared at the same ρ, not after as many layers. A smaller batch is "
            "not only noise: it descends another function, the ρ of few points, and with "
            "less of its noise a part of the difference is left.",
        )

    def _explain(self, report: Report) -> None:
        report.section(
            "Which noise there is",
            "A layer draws a batch, and half of it, and descends the ρ of both. With all points as "
            "the batch, the mean over the halves is exactly the gradient of the mean ρ, so that only "
            "the noise depends on their number. Its effect after a given time is that of the step ε "
            "over the number of halves: small steps average over many layers what many halves "
            "average in one. So there are two ways to less noise, smaller steps and more halves, and "
            "large steps with many halves show what is due to the step alone.\n\n"
            "Each descent is stopped where the mean ρ of all points has fallen to the same level. "
            "Then the test images, which moved along, are classified, and all points are displaced at "
            "random until ρ has doubled: the larger this displacement, the flatter the minimum. "
            "Its natural unit is the length scale l of the kernel, which stays the same. A "
            "flow that only blew its "
            "points up would seem flat, so that it is also told as a part of the root mean square "
            "distance between points of different classes.",
        )

    def _show_whole(self, report: Report) -> None:
        figure = Figure(figsize=(7.0, 3.2), layout="constrained")
        names = {
            "error": f"test error at ρ = {LEVELS[-1]:g}",
            "doubling": "displacement that doubles ρ / l",
        }
        for ax, (name, label) in zip(figure.subplots(1, 2), names.items(), strict=True):
            axes_of(ax, r"step size $\epsilon$", label)
            for number, halves in enumerate((1, self.sizes.many_halves)):
                values = np.array(
                    [
                        self.values(Descent(self.sizes.n_points, halves, step), name)
                        for step in self.sizes.steps
                    ]
                )
                ax.errorbar(
                    self.sizes.steps,
                    np.nanmean(values, axis=1),
                    np.nanstd(values, axis=1) / len(values[0]) ** 0.5,
                    color=PALETTE[number],
                    marker=MARKERS[number],
                    capsize=3.0,
                    label="1 half" if halves == 1 else f"{halves} halves",
                )
            log_scale(ax, self.sizes.steps, "x")
            ax.set_xticks(self.sizes.steps, [f"{step:g}" for step in self.sizes.steps])
            ax.minorticks_off()
            ax.legend(frameon=False)
            if name == "error":
                ax.yaxis.set_major_formatter(percent)
        report.section("The same objective with more and with less noise").figure(
            figure,
            "noise",
            f"Test error and flatness where ρ has fallen to {LEVELS[-1]:g}, against the "
            "step, with one "
            "half a layer and with many. Bars are standard errors of the mean over "
            f"{self.sizes.n_seeds} draws of the images.",
        ).table(*self._table(self.whole, "The descents of all points"))

    def _show_parts(self, report: Report) -> None:
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        ax = axes_of(figure.subplots(), "displacement that doubles ρ / l", "test error")
        groups = {
            "all points, 1 half": [each for each in self.whole if each.n_halves == 1],
            f"all points, {self.sizes.many_halves} halves": [
                each for each in self.whole if each.n_halves > 1
            ],
            **{
                f"batches of {batch}": [each for each in self.parts if each.batch_size == batch]
                for batch in self.sizes.batches
            },
        }
        for number, (name, descents) in enumerate(groups.items()):
            where = [
                (np.nanmean(self.values(each, "doubling")), np.nanmean(self.values(each, "error")))
                for each in descents
            ]
            ax.plot(
                *np.array(where).T,
                color=PALETTE[number],
                marker=MARKERS[number],
                linewidth=0.8,
                label=name,
            )
        ax.yaxis.set_major_formatter(percent)
        ax.legend(frameon=False, fontsize=9)
        report.section(
            "Batches",
            f"Batches of fewer than all points, with the step {_BATCH_STEP:g} and with the step "
            f"{_BATCH_STEP / self.sizes.finer:g}, whose noise is {self.sizes.finer:g} times less.",
        ).figure(
            figure,
            "flatness",
            f"Test error against flatness at ρ = {LEVELS[-1]:g}: means over "
            f"{self.sizes.n_seeds} draws, "
            "one mark for each step. Were flat minima better, the marks would fall to the right.",
        ).table(*self._table(self.parts, "The descents by batches"))

    def _table(self, descents: list[Descent], what: str) -> tuple[list[str], list[Any], str]:
        columns = ["descent", *(f"error at ρ = {level:g}" for level in LEVELS)]
        columns += ["error less than with the least noise", "displacement that doubles ρ / l"]
        columns += ["the same over the distance between classes", "layers"]
        rows = [
            [
                each.name(self.sizes.n_points),
                *(percents(self.values(each, "error", level)) for level in range(len(LEVELS))),
                _points(self.gain(each)),
                spread(self.values(each, "doubling"), ".3f"),
                spread(self.values(each, "relative"), ".3f"),
                spread(self.values(each, "layers"), ".0f"),
            ]
            for each in descents
        ]
        caption = (
            f"{what}: mean ± standard deviation over {self.sizes.n_seeds} draws of the images; the "
            f"last four columns at ρ = {LEVELS[-1]:g}, of which the first is a mean over pairs with "
            "the same images, ± its standard error, in points of percentage."
        )
        return columns, rows, caption


def _points(gain: tuple[float, float]) -> str:
    return f"{100 * gain[0]:+.2f} ± {100 * gain[1]:.2f}"


def _answer(gain: tuple[float, float]) -> str:
    if gain[0] > 2.0 * gain[1]:
        return (
            "**A little noise helps a little, more of it harms a lot, and minima get flatter all the "
            "while: flat is not good.**"
        )
    return "**Noise finds flatter minima, but no better ones: flat is not good.**"


def _change(gain: tuple[float, float]) -> str:
    """Return a change of the error in words."""
    word = "lower" if gain[0] > 0 else "higher"
    return f"{abs(100 * gain[0]):.2f} ± {100 * gain[1]:.2f} points {word}"
