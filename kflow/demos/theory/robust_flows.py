"""Robust flows: ways to make a flow harder to fool, and what each costs in errors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from kflow._base.array_types import Doubles
from kflow.analysis import AdversarialDistances, adversarial_distance
from kflow.datasets import load_dataset
from kflow.demos import Options
from kflow.demos.report import Report
from kflow.demos.theory.capped_flow import capped_flow
from kflow.demos.theory.claims import Claim, add_claims
from kflow.demos.theory.spread import spread
from kflow.demos.theory.unit_images import UnitImages
from kflow.estimators.classifier import KernelFlowClassifier
from kflow.presets import PRESETS

__all__ = ["run"]

_ALONE, _FLOW = "no flow", "flow"

# Copies of each training image that are made noisy.
_N_COPIES = 2

# Errors in excess of those without a flow that a robust setting may have, in standard errors.
_ALLOWED = 1.0


@dataclass(frozen=True)
class _Size:
    """How large the experiment is."""

    n_train: int
    n_held_out: int
    n_points: int
    n_seeds: int
    n_layers: int
    batch_size: int
    per_family: int


_DIGITS = _Size(1000, 400, 30, 3, 100, 200, 3)
_FASHION = _Size(1000, 1000, 30, 3, 100, 200, 3)
_QUICK = _Size(250, 200, 8, 1, 24, 60, 1)

_ATTACK: dict[str, Any] = {"n_candidates": 2, "n_refinements": 3, "max_iterations": 15}


@dataclass(frozen=True)
class _Setting:
    """One way to fit a classifier.

    Attributes
    ----------
    family : str
        What is changed.
    value : str
        The value that it has.
    changes : dict
        Parameters of the classifier that differ from those of the flow.
    noise : float
        Length of the noise in the copies of the training images; 0 for no copies.
    most : float
        Bound of the flow's Lipschitz constant; infinite for none.
    """

    family: str
    value: str
    changes: Mapping[str, Any]
    noise: float = 0.0
    most: float = math.inf

    @property
    def name(self) -> str:
        """Family and value."""
        return f"{self.family}, {self.value}" if self.value else self.family


@dataclass(frozen=True, eq=False)
class _Found:
    """Errors on the images held out, and adversarial distances of some of them, for each seed."""

    errors: Doubles
    attacks: tuple[AdversarialDistances, ...]

    @property
    def medians(self) -> Doubles:
        """Median distance of the images that are classified rightly, for each seed."""
        distances = [attack.distances for attack in self.attacks]
        return np.array([np.nanmedian(one[one > 0.0]) for one in distances])

    def ratios(self, other: _Found) -> Doubles:
        """Return the median ratio to other distances of the same images, for each seed."""
        pairs = [
            (mine.distances, theirs.distances)
            for mine, theirs in zip(self.attacks, other.attacks, strict=True)
        ]
        return np.array(
            [
                np.nanmedian(mine[both] / theirs[both])
                for mine, theirs, both in (
                    (mine, theirs, (mine > 0.0) & (theirs > 0.0)) for mine, theirs in pairs
                )
            ]
        )


def run(options: Options) -> Report:
    """Return the report, of digits or, with a folder of data, of Fashion-MNIST."""
    name = "digits" if options.data_dir is None else "fashion-mnist"
    size = _QUICK if options.quick else _DIGITS if name == "digits" else _FASHION
    data = load_dataset(name, options.data_dir)
    draws = [
        UnitImages.draw(data, size.n_train, size.n_held_out, options.seed + number)
        for number in range(size.n_seeds)
    ]
    settings = list(_settings(size))
    bases = [_base(name, size, images, options) for images in draws]
    found, models = {}, {}
    with options.steps(len(settings), "setting") as done:
        for setting in settings:
            fitted = [
                _fitted(setting, base, images, options.seed + number)
                for number, (base, images) in enumerate(zip(bases, draws, strict=True))
            ]
            measured = [
                _measured(model, images.held_out, size, options.seed + number)
                for number, (model, images) in enumerate(zip(fitted, draws, strict=True))
            ]
            found[setting.name] = _Found(
                np.array([error for error, _ in measured]),
                tuple(attack for _, attack in measured),
            )
            models[setting.name] = fitted
            done()
    best = _best(settings, found, size)
    flows = [one for one in settings if _ALONE not in one.family]
    fewest = min(flows, key=lambda one: float(found[one.name].errors.mean()))
    kept = dict.fromkeys((_ALONE, _FLOW, best.name, fewest.name))
    tested = {each: _tested(models[each], draws, size, options.seed) for each in kept}
    report = Report(
        "What makes a flow harder to fool?",
        _summary(name, best, found, tested),
        options.command("robust-flows"),
    )
    report.settings.update(
        data=name,
        training_images=size.n_train,
        held_out=f"{size.n_held_out} of the training images, by which settings are compared",
        test=f"looked at once, for {len(kept)} settings",
        attacked_images=size.n_points,
        seeds=size.n_seeds,
        **{key: value for key, value in bases[0].items() if key not in ("kernel", "n_threads")},
    )
    _trade_off(report, settings, found)
    _table(report, settings, found, tested, best)
    _claims(report, settings, found, tested, best)
    alone = found[_ALONE]
    report.numbers.update(
        best=best.name,
        held_out={
            each: {
                "error": one.errors,
                "median_distance": one.medians,
                "ratio_to_no_flow": one.ratios(alone),
            }
            for each, one in found.items()
        },
        test={
            each: {"error": one.errors, "median_distance": one.medians}
            for each, one in tested.items()
        },
    )
    return report


def _base(name: str, size: _Size, images: UnitImages, options: Options) -> dict[str, Any]:
    """Return the parameters of the flow: those of the preset with fewer layers.

    The kernel is the one for the images without copies, so that all settings have the same.
    """
    preset = PRESETS[name]
    part = size.n_layers / preset["n_layers"]
    settings: dict[str, Any] = {
        key: {round(part * first): each for first, each in value.items()}
        if isinstance(value, dict)
        else value
        for key, value in preset.items()
        if key not in ("rank", "shrink_every", "shrink_tolerance", "n_interpolation")
    }
    settings |= {
        "n_layers": size.n_layers,
        "batch_size": size.batch_size,
        "interpolation_nugget": 0.1 if name == "digits" else 1.0,
        "scaling": None,
        "dtype": "float64",
        "n_threads": options.n_threads,
    }
    alone = KernelFlowClassifier(**{**settings, "n_layers": 0}).fit(*images.train)
    return {**settings, "kernel": alone.flow_.kernel_}


def _settings(size: _Size) -> Iterator[_Setting]:
    """Yield the settings that are compared."""
    n, few = size.n_layers, size.per_family
    smooth = {"step": "rms", "step_size": 0.02, "gradient_cap": math.inf}
    yield _Setting(_ALONE, "", {"n_layers": 0})
    yield _Setting(_FLOW, "", {})
    for nugget in (10.0, 3.0)[:few]:
        changes = {"n_layers": 0, "interpolation_nugget": nugget}
        yield _Setting(_ALONE, f"interpolation nugget {nugget:g}", changes)
    for part in (8, 4, 2)[:few]:
        yield _Setting("stops early", f"{n // part} layers", {"n_layers": n // part})
    for cap in (0.5, 2.0)[:few]:
        yield _Setting("gradient cap", f"{cap:g}", {"gradient_cap": cap})
    for nugget in (4.0, 1.0, 16.0)[:few]:
        yield _Setting("large nugget", f"{nugget:g}", {**smooth, "nugget": nugget})
    for most in (math.e, math.e**3)[:few]:
        yield _Setting("capped layers", f"{most:.1f}", {}, most=most)
    for noise in (0.3, 0.1, 0.6)[:few]:
        yield _Setting("noisy copies", f"{noise:g}", {}, noise)
    for noise in (0.3, 0.6)[:few]:
        yield _Setting("noisy copies, no flow", f"{noise:g}", {"n_layers": 0}, noise)


def _fitted(
    setting: _Setting, base: Mapping[str, Any], images: UnitImages, seed: int
) -> KernelFlowClassifier:
    X, y = _with_copies(*images.train, setting.noise, seed)
    if math.isfinite(setting.most):
        names = ("batch_size", "n_halves", "dtype", "n_threads", "interpolation_nugget")
        own = {
            **{each: base[each] for each in names},
            "nugget": 1.0,
            "step": "rms",
            "step_size": 0.05,
        }
        return capped_flow(X, y, base["kernel"], own, n_layers=20, most=setting.most, seed=seed)
    return KernelFlowClassifier(**{**base, **setting.changes}, random_state=seed).fit(X, y)


def _with_copies(
    X: Doubles, y: npt.NDArray[Any], noise: float, seed: int
) -> tuple[Doubles, npt.NDArray[Any]]:
    """Return points with copies of them, each moved by Gaussian noise of about this length."""
    if noise == 0.0:
        return X, y
    rng = np.random.default_rng([seed, 13])
    moved = [X + noise / math.sqrt(X.shape[1]) * rng.normal(size=X.shape) for _ in range(_N_COPIES)]
    return np.concatenate([X, *moved]), np.concatenate([y] * (_N_COPIES + 1))


def _measured(
    model: KernelFlowClassifier,
    images: tuple[Doubles, npt.NDArray[Any]],
    size: _Size,
    seed: int,
) -> tuple[float, AdversarialDistances]:
    attack = adversarial_distance(
        model, *images, max_points=size.n_points, random_state=seed, **_ATTACK
    )
    return 1.0 - float(model.score(*images)), attack


def _tested(
    models: list[KernelFlowClassifier], draws: list[UnitImages], size: _Size, seed: int
) -> _Found:
    measured = [
        _measured(model, images.test, size, seed + number)
        for number, (model, images) in enumerate(zip(models, draws, strict=True))
    ]
    return _Found(
        np.array([error for error, _ in measured]), tuple(attack for _, attack in measured)
    )


def _best(settings: list[_Setting], found: Mapping[str, _Found], size: _Size) -> _Setting:
    """Return the flow with the largest distances of those with about as few errors as no flow."""
    error = float(found[_ALONE].errors.mean())
    allowed = error + _ALLOWED * math.sqrt(
        max(error * (1.0 - error), 1e-3) / (size.n_held_out * size.n_seeds)
    )
    flows = [one for one in settings if _ALONE not in one.family]
    good = [one for one in flows if float(found[one.name].errors.mean()) <= allowed]
    return max(good or flows, key=lambda one: float(found[one.name].medians.mean()))


def _summary(
    name: str, best: _Setting, found: Mapping[str, _Found], tested: Mapping[str, _Found]
) -> str:
    alone, flow, robust = (tested[each] for each in (_ALONE, _FLOW, best.name))
    images = "digits" if name == "digits" else "Fashion-MNIST"
    harder = max(found, key=lambda each: float(found[each].medians.mean()))
    return (
        f"Of the flows of {images} with about as few errors as no flow, the one that is hardest to fool "
        f"({best.name}) has {spread(robust.ratios(flow))} times the adversarial distance of the flow "
        f"of the preset and {spread(robust.ratios(alone))} times that of no flow at all, with "
        f"{spread(100 * robust.errors, '.1f')} % test errors next to {spread(100 * flow.errors, '.1f')} % and "
        f"{spread(100 * alone.errors, '.1f')} %. The flow of the preset has "
        f"{spread(flow.ratios(alone))} times the distance of no flow. Of all settings, {harder} is the "
        "hardest to fool, with "
        f"{spread(100 * found[harder].errors, '.1f')} % errors on the images held out."
    )


def _trade_off(report: Report, settings: list[_Setting], found: Mapping[str, _Found]) -> None:
    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    ax = figure.subplots()
    families = list(dict.fromkeys(one.family for one in settings))
    for number, family in enumerate(families):
        chosen = [found[one.name] for one in settings if one.family == family]
        errors = [100.0 * float(one.errors.mean()) for one in chosen]
        order = np.argsort(errors)
        ax.errorbar(
            np.array(errors)[order],
            np.array([one.medians.mean() for one in chosen])[order],
            xerr=np.array([100.0 * one.errors.std() for one in chosen])[order],
            yerr=np.array([one.medians.std() for one in chosen])[order],
            fmt="o-" if len(chosen) > 1 else "o",
            color=f"C{number}",
            markersize=4.0,
            linewidth=1.0,
            elinewidth=0.6,
            label=family,
        )
    ax.set(
        xlabel="error on the images held out, in %",
        ylabel="median adversarial distance",
    )
    ax.legend(fontsize="small")
    report.section(
        "Errors against adversarial distances",
        "Images are scaled to norm 1, and distances are parts of that norm. Each point is one setting of the "
        "flow, or of no flow; those of one family are joined. Better is further up and further left. A "
        "kernel without a flow becomes harder to fool by a larger nugget of its interpolant alone: a flow "
        "has to lie above that line to be worth something for robustness.",
    ).figure(
        figure,
        "trade-off",
        "Error on images held out against the median length of the smallest perturbations found, of the images "
        "that are classified rightly. Bars are standard deviations over seeds.",
    )


def _table(
    report: Report,
    settings: list[_Setting],
    found: Mapping[str, _Found],
    tested: Mapping[str, _Found],
    best: _Setting,
) -> None:
    others = "minus no flow's", "median distance", "ratio to no flow"
    section = report.section("All settings")
    section.table(
        ["setting", "error in %", *others],
        [_row(setting.name, found[setting.name], found[_ALONE]) for setting in settings],
        "On images held out; the ratio is the median over the images that both classify rightly; ± is the "
        "standard deviation over seeds, of which each draws its training images.",
    )
    section.table(
        ["setting", "test error in %", *others],
        [_row(name, one, tested[_ALONE]) for name, one in tested.items()],
        "The same on test images, for no flow, the flow of the preset, and the flows chosen by the images held "
        f"out: the one that is hardest to fool of those with about as few errors as no flow ({best.name}), "
        "and the one with the fewest errors.",
    )


def _row(name: str, one: _Found, alone: _Found) -> list[str]:
    return [
        name,
        spread(100 * one.errors, ".1f"),
        spread(100 * (one.errors - alone.errors), ".1f"),
        spread(one.medians, ".3f"),
        spread(one.ratios(alone)),
    ]


def _claims(
    report: Report,
    settings: list[_Setting],
    found: Mapping[str, _Found],
    tested: Mapping[str, _Found],
    best: _Setting,
) -> None:
    alone, flow = tested[_ALONE], tested[_FLOW]
    chosen = tested[best.name].ratios(flow)
    noisy = [one for one in settings if one.family == "noisy copies"]
    loudest = max(noisy, key=lambda one: one.noise)
    gain = found[loudest.name].ratios(found[_FLOW])
    alike = max(
        (one for one in settings if one.family == "noisy copies, no flow"),
        key=lambda one: one.noise,
    )
    same = found[alike.name]
    add_claims(
        report,
        [
            Claim(
                "Small but malicious perturbations change the class: can we robustify the network? "
                "(deck on the mysteries of deep learning)",
                "-",
                f"{best.name}: {spread(chosen)} times the distance of the flow of the preset",
                _above(chosen),
            ),
            Claim(
                "Algorithms are not robust to adversarial examples (Owhadi); a flow makes it worse",
                "-",
                f"the flow has {spread(flow.ratios(alone))} times the distance of no flow",
                _below(flow.ratios(alone)),
            ),
            Claim(
                "Noise in the training images makes a classifier harder to fool",
                "-",
                f"noise {loudest.noise:g}: {spread(gain)} times the distance of the flow; without a flow "
                f"{spread(same.ratios(found[_ALONE]))} times that of no flow",
                _above(gain),
            ),
        ],
        new="Which settings of a kernel flow are robust had not been measured. Next to the same kernel "
        "without a flow it shows what is due to the flow, and what to a smoother interpolant.",
    )


def _above(ratios: Doubles) -> str:
    """Return whether ratios are above 1, by their mean and standard deviation."""
    mean, deviation = float(ratios.mean()), float(ratios.std())
    return (
        "yes" if mean - deviation > 1.0 else "no" if mean + deviation < 1.0 else "within the spread"
    )


def _below(ratios: Doubles) -> str:
    """Return whether ratios are below 1."""
    return _above(1.0 / ratios)
