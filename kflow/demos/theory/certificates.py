"""Certificates: how much of its robustness a flow can prove, next to what an attack finds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kflow.analysis import (
    AdversarialDistances,
    CertifiedRadii,
    adversarial_distance,
    certified_radius,
    lipschitz_bound,
)
from kflow.compression import compress
from kflow.datasets import load_dataset
from kflow.demos import Options
from kflow.demos.report import Report, percent
from kflow.demos.theory.capped_flow import capped_flow
from kflow.demos.theory.claims import Claim, add_claims
from kflow.demos.theory.spread import spread
from kflow.demos.theory.unit_images import UnitImages
from kflow.estimators.classifier import KernelFlowClassifier
from kflow.presets import PRESETS

__all__ = ["run"]

# The four classifiers: the interpolant alone, the capped flow, and the whole flow and a compressed one.
_ALONE, _CAPPED, _COMPRESSED = "no flow", "capped flow", "compressed flow"
_KINDS = (_ALONE, _CAPPED, _COMPRESSED)

# Radii at which shares are told, as parts of an image's norm.
_RADII = (0.02, 0.05, 0.1)

_ORDERS = (0, 1, 2)


@dataclass(frozen=True)
class _Size:
    """How large the experiment is."""

    n_train: int
    n_points: int
    n_seeds: int
    n_layers: int
    n_centres: int
    capped_layers: int
    attack: dict[str, Any]


_DIGITS = _Size(1000, 40, 3, 400, 64, 20, {})
_MNIST = _Size(3000, 40, 3, 400, 64, 20, {"n_candidates": 3, "n_refinements": 5})
_QUICK = _Size(300, 8, 2, 60, 32, 4, {"n_candidates": 2, "n_refinements": 2, "max_iterations": 10})

# What the layers of the capped flow may stretch together.
_MOST = math.e

# Of the interpolants, and of the capped flow. A large nugget costs few errors and makes radii larger.
_NUGGET = 1.0


@dataclass(frozen=True, eq=False)
class _Found:
    """What was found about one classifier: errors, radii of each order, and the attack's distances."""

    error: float
    radii: dict[int, CertifiedRadii]
    attack: AdversarialDistances

    @property
    def right(self) -> Any:
        """Which images are classified rightly."""
        return self.attack.distances > 0.0

    def median(self, order: int) -> float:
        """Median certified radius of the images that are classified rightly."""
        return float(np.median(self.radii[order].radii[self.right]))

    @property
    def median_attack(self) -> float:
        """Median distance of the attack for these images."""
        return float(np.nanmedian(self.attack.distances[self.right]))

    @property
    def proved(self) -> float:
        """Median of the certified radius over the distance of the attack, for these images."""
        ratios = self.radii[max(_ORDERS)].radii[self.right] / self.attack.distances[self.right]
        return float(np.nanmedian(ratios))

    @property
    def n_contradictions(self) -> int:
        """Number of images that the attack changed within their certified radius."""
        distances = self.attack.distances
        return sum(int((found.radii > distances).sum()) for found in self.radii.values())


def run(options: Options) -> Report:
    """Return the report, of digits or, with a folder of data, of MNIST."""
    name = "digits" if options.data_dir is None else "mnist"
    size = _QUICK if options.quick else _DIGITS if name == "digits" else _MNIST
    data = load_dataset(name, options.data_dir)
    found: dict[str, list[_Found]] = {kind: [] for kind in _KINDS}
    bounds = []
    with options.steps(size.n_seeds * len(_KINDS), "classifier") as done:
        for number in range(size.n_seeds):
            seed = options.seed + number
            images = UnitImages.draw(data, size.n_train, 0, seed)
            flow = _flow(images, size, seed, options)
            bounds.append(float(lipschitz_bound(flow, layers=[flow.n_layers_])[0]))
            for kind, make in _makers(images, flow, size, seed).items():
                found[kind].append(_measured(make(), images, size, seed))
                done()
    report = Report(
        "What can a flow prove of its robustness?",
        _summary(found, bounds, name),
        options.command("certificates"),
    )
    report.settings.update(
        data=name,
        training_images=size.n_train,
        test_images=f"{size.n_points} of the test images for each seed, looked at once",
        seeds=size.n_seeds,
        coordinates=images.train[0].shape[1],
        layers=size.n_layers,
        compressed=f"1 layer of {size.n_centres} centres",
        capped=f"{size.capped_layers} layers, together at most {_MOST:.3g}",
        interpolation_nugget=_NUGGET,
    )
    _shares(report, found)
    _orders(report, found, bounds)
    _each(report, found)
    _claims(report, found, bounds)
    report.numbers.update(
        {kind.replace(" ", "_"): _numbers(each) for kind, each in found.items()},
        log10_bound=bounds,
        contradictions=sum(one.n_contradictions for each in found.values() for one in each),
    )
    return report


def _flow(images: UnitImages, size: _Size, seed: int, options: Options) -> KernelFlowClassifier:
    """Return the flow that is compressed: that of the preset of digits."""
    half = size.n_layers // 2
    settings = {
        **PRESETS["digits"],
        "n_layers": size.n_layers,
        "nugget": {0: 0.01, half: 1.0},
        "step": {0: "relative", half: "rms"},
        "step_size": {0: 0.1, half: 0.02},
        "interpolation_nugget": _NUGGET,
        "scaling": None,
        "dtype": "float64",
        "n_threads": options.n_threads,
    }
    return KernelFlowClassifier(**settings, random_state=seed).fit(*images.train)


def _makers(
    images: UnitImages, flow: KernelFlowClassifier, size: _Size, seed: int
) -> dict[str, Callable[[], KernelFlowClassifier]]:
    """Return what makes each classifier."""
    kernel = flow.flow_.kernel_
    settings = {
        "batch_size": 200,
        "nugget": _NUGGET,
        "step": "rms",
        "step_size": 0.05,
        "n_halves": 2,
        "dtype": "float64",
        "n_threads": flow.n_threads,
    }

    def alone() -> KernelFlowClassifier:
        return KernelFlowClassifier(
            kernel,
            metric=None,
            n_layers=0,
            scaling=None,
            interpolation_nugget=_NUGGET,
            **settings,
            random_state=seed,
        ).fit(*images.train)

    def capped() -> KernelFlowClassifier:
        return capped_flow(
            *images.train,
            kernel,
            {**settings, "interpolation_nugget": _NUGGET},
            n_layers=size.capped_layers,
            most=_MOST,
            seed=seed,
        )

    def compressed() -> Any:
        return compress(
            flow, images.train[0], n_layers=1, n_centres=size.n_centres, random_state=seed
        ).estimator

    return {_ALONE: alone, _CAPPED: capped, _COMPRESSED: compressed}


def _measured(
    classifier: KernelFlowClassifier, images: UnitImages, size: _Size, seed: int
) -> _Found:
    X, y = images.test
    draw: dict[str, Any] = {"max_points": size.n_points, "random_state": seed}
    return _Found(
        1.0 - float(classifier.score(X, y)),
        {order: certified_radius(classifier, X, y, order=order, **draw) for order in _ORDERS},
        adversarial_distance(classifier, X, y, **draw, **size.attack),
    )


def _numbers(each: list[_Found]) -> dict[str, Any]:
    return {
        "error": [one.error for one in each],
        "median_radius": {str(order): [one.median(order) for one in each] for order in _ORDERS},
        "median_attack": [one.median_attack for one in each],
        "proved": [one.proved for one in each],
        "certified_share": {
            str(radius): [float(one.radii[max(_ORDERS)].share(radius)) for one in each]
            for radius in _RADII
        },
        "withstands_attack": {
            str(radius): [float((one.attack.distances > radius).mean()) for one in each]
            for radius in _RADII
        },
    }


def _mean(each: list[_Found], number: Callable[[_Found], float]) -> float:
    return float(np.mean([number(one) for one in each]))


def _summary(found: dict[str, list[_Found]], bounds: list[float], name: str) -> str:
    proved = {kind: _mean(each, lambda one: one.proved) for kind, each in found.items()}
    share = {
        kind: float(np.mean([one.radii[2].share(_RADII[1]) for one in each]))
        for kind, each in found.items()
    }
    apart = {
        "attack": _mean(found[_COMPRESSED], lambda one: one.median_attack)
        / _mean(found[_ALONE], lambda one: one.median_attack),
        "proof": _mean(found[_COMPRESSED], lambda one: one.median(2))
        / _mean(found[_ALONE], lambda one: one.median(2)),
    }
    return (
        f"A kernel interpolant without a flow proves {100 * proved[_ALONE]:.0f} % of the distance at which an "
        f"attack fools it, and a compressed flow {100 * proved[_COMPRESSED]:.0f} %: local bounds by first and "
        "second derivatives are usable certificates, where the product of the Lipschitz constants of all "
        f"layers of the whole flow is 10^{np.mean(bounds):.0f} and proves nothing. "
        f"No perturbation of {100 * _RADII[1]:.0f} % of the norm of an image of "
        f"{'digits' if name == 'digits' else 'MNIST'} changes the class of "
        f"{percent(share[_ALONE])} of the test images without a flow, of {percent(share[_CAPPED])} with a "
        f"flow whose layers stretch by at most {_MOST:.2f} together, and of {percent(share[_COMPRESSED])} "
        f"with the compressed flow. It makes images easier to fool, with {apart['attack']:.2f} times the distance "
        f"of the attack, but proofs lose more: {apart['proof']:.2f} times the certified radius."
    )


def _shares(report: Report, found: dict[str, list[_Found]]) -> None:
    section = report.section(
        "The certified share of the test images",
        "Images are scaled to norm 1, and radii are parts of that norm. An image counts as certified if "
        "it is classified rightly and `kflow.analysis.certified_radius` proves that no perturbation "
        "up to the radius changes its class, in exact arithmetic and as computed. It withstands the "
        "attack if `kflow.analysis.adversarial_distance` finds no perturbation that is as short. The truth "
        "lies between both lines.",
    )
    figure = Figure(figsize=(7.0, 3.2), layout="constrained")
    ax = figure.subplots()
    radii = np.linspace(0.0, 0.3, 301)
    for number, (kind, each) in enumerate(found.items()):
        certified = np.array([one.radii[2].share(radii) for one in each])
        withstands = np.array(
            [(one.attack.distances > radii[:, None]).mean(axis=1) for one in each]
        )
        colour = f"C{number}"
        ax.plot(radii, certified.mean(axis=0), color=colour, label=f"{kind}: certified")
        ax.fill_between(
            radii,
            certified.mean(axis=0) - certified.std(axis=0),
            certified.mean(axis=0) + certified.std(axis=0),
            color=colour,
            alpha=0.2,
            linewidth=0.0,
        )
        ax.plot(radii, withstands.mean(axis=0), "--", color=colour, label=f"{kind}: attack")
    ax.set(xlabel="radius, as a part of the image's norm", ylabel="share of the test images")
    ax.set_ylim(0.0, 1.02)
    ax.legend(fontsize="small")
    section.figure(
        figure,
        "shares",
        "Share of test images with a certified radius above the number on the axis, and share that no "
        "perturbation of the attack fools which is as short. Bands are standard deviations over seeds.",
    )
    rows = [
        [
            kind,
            spread([100 * one.error for one in each], ".1f"),
            *(
                f"{spread([100 * one.radii[2].share(radius) for one in each], '.0f')} "
                f"({100 * np.mean([(one.attack.distances > radius).mean() for one in each]):.0f})"
                for radius in _RADII
            ),
        ]
        for kind, each in found.items()
    ]
    section.table(
        ["classifier", "test error in %", *(f"radius {radius:g}" for radius in _RADII)],
        rows,
        "Errors on all test images, and certified shares in % with those that withstand the attack in "
        "brackets; ± is the standard deviation over seeds, of which each draws its training images.",
    )


def _orders(report: Report, found: dict[str, list[_Found]], bounds: list[float]) -> None:
    section = report.section(
        "What makes a bound usable",
        "Order 0 multiplies the Lipschitz constants of the layers, which hold everywhere. Order 1 takes the "
        "Jacobians of the layers at the image, multiplied as matrices, and bounds what they leave out. "
        "Order 2 takes second derivatives at the image too. All remainders are bounded by norms in the "
        "kernel's space, in which coefficients of opposite signs cancel.",
    )
    figure = Figure(figsize=(7.0, 3.0), layout="constrained")
    ax = figure.subplots()
    places = np.arange(len(_ORDERS) + 1)
    for number, (kind, each) in enumerate(found.items()):
        values = np.array([[*map(one.median, _ORDERS), one.median_attack] for one in each])
        ax.bar(
            places + 0.27 * (number - 1),
            values.mean(axis=0),
            0.25,
            yerr=values.std(axis=0),
            label=kind,
            capsize=2.0,
        )
    ax.set_yscale("log")
    ax.set_xticks(places, [*(f"order {order}" for order in _ORDERS), "attack"])
    ax.set_ylabel("median radius")
    ax.legend(fontsize="small")
    section.figure(
        figure,
        "orders",
        "Median certified radius of the images that are classified rightly, by the order of the bound, and "
        "the median distance of the attack, on a logarithmic scale.",
    )
    section.table(
        ["classifier", *(f"order {order}" for order in _ORDERS), "attack", "proved"],
        [
            [
                kind,
                *(spread([one.median(order) for one in each], ".4f") for order in _ORDERS),
                spread([one.median_attack for one in each], ".4f"),
                f"{spread([100 * one.proved for one in each], '.0f')} %",
            ]
            for kind, each in found.items()
        ],
        "Median radii; last the median of the certified radius over the distance of the attack on the same "
        "image.",
    )
    section.text(
        f"The whole flow, before it was compressed, has layers whose constants multiply to "
        f"10^{np.mean(bounds):.0f} (± {np.std(bounds):.0f} in the exponent): a certified radius of order 0 "
        "would begin with as many zeros behind the point."
    )


def _each(report: Report, found: dict[str, list[_Found]]) -> None:
    figure = Figure(figsize=(7.0, 2.8), layout="constrained")
    axes = figure.subplots(1, len(found), sharex=True, sharey=True)
    for ax, (kind, each) in zip(axes, found.items(), strict=True):
        distances = np.concatenate([one.attack.distances[one.right] for one in each])
        radii = np.concatenate([one.radii[2].radii[one.right] for one in each])
        ax.scatter(distances, radii, s=6)
        limit = float(np.nanmax(distances))
        ax.plot([0.0, limit], [0.0, limit], color="grey", linewidth=0.8)
        ax.set(title=kind, xlabel="distance of the attack")
    axes[0].set_ylabel("certified radius")
    n = sum(len(one.right) for each in found.values() for one in each)
    bad = sum(one.n_contradictions for each in found.values() for one in each)
    section = report.section("Image by image")
    section.figure(
        figure,
        "images",
        "Each point is a test image that is classified rightly. A point above the line would be a "
        "contradiction: an image that the attack changes within its certified radius.",
    )
    section.text(
        f"Of {n} images, of three classifiers and all seeds, {bad} contradict a certificate."
    )


def _claims(report: Report, found: dict[str, list[_Found]], bounds: list[float]) -> None:
    cuts = spread([one.proved for one in found[_COMPRESSED]])
    gain = np.mean([one.median(2) / max(one.median(0), 1e-12) for one in found[_COMPRESSED]])
    add_claims(
        report,
        [
            Claim(
                "Training can be adapted to have certificates, provably robust in some circumstances "
                "(Wong and Kolter, in Tanner's lecture).",
                "-",
                f"certified share at {_RADII[1]:g}: "
                f"{spread([one.radii[2].share(_RADII[1]) for one in found[_ALONE]])} without a flow, "
                f"{spread([one.radii[2].share(_RADII[1]) for one in found[_CAPPED]])} capped",
                "yes, and a kernel needs no training for it",
            ),
            Claim(
                "Simpler networks have a smaller bound on their Lipschitz constant, which explains "
                "robustness (Gopalakrishnan et al., in Tanner's lecture).",
                f"10^{np.mean(bounds):.0f} for all layers",
                f"one layer instead of all: {cuts} of the attack's distance is proved; the attack's distance "
                f"itself is {spread([one.median_attack for one in found[_COMPRESSED]], '.3f')} with the flow and "
                f"{spread([one.median_attack for one in found[_ALONE]], '.3f')} without",
                "a smaller bound makes proofs possible, but images are no harder to fool",
            ),
            Claim(
                "The bound along the layers is astronomically loose.",
                "-",
                f"second derivatives instead of constants: radii {gain:.0f} times as large",
                "yes, but it is not the best bound",
            ),
        ],
        new="As far as is known to us, certificates of kernel flows, and of deep kernel maps by norms of their "
        "layers in the kernel's space, have not been computed before. New is also how tight they are "
        "without a flow: the curvature of an interpolant is bounded so well by its norm that most of the "
        "distance to the nearest adversarial image is proved, without any training for it.",
    )
