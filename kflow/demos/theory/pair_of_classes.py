"""What a flow does to two classes of images: the measures by which two such pairs are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kflow._base.array_types import Doubles, Rows
from kflow.analysis import (
    adversarial_distance,
    class_margins,
    effective_dimension,
    tangent_dimension,
    unflowed,
)
from kflow.demos import Options
from kflow.estimators.classifier import KernelFlowClassifier
from kflow.flow.estimator_flow import estimator_flow
from kflow.linear.interpolant import Interpolant, balanced_subset
from kflow.operations import one_hot

__all__ = ["FLOW", "RANK", "Effort", "Pair", "behaviour"]

FLOW: dict[str, Any] = {
    "kernel": None,
    "metric": None,
    "nugget": 0.25,
    "step": "rms",
    "step_size": 0.02,
    "interpolation_nugget": 0.1,
    "scaling": None,
    "dtype": "float32",
}

# Coordinates that a flow of large images moves.
RANK = 150


@dataclass(frozen=True)
class Effort:
    """How much is computed, in the full and in the small form."""

    candidates: int = 24
    refined: int = 12
    n_fit: int = 1000
    largest: int = 2000
    sizes: int = 3
    n_layers: int = 60
    stops: int = 5
    seeds: int = 2
    attack: int = 20
    draws: int = 100
    n_geometry: int = 600


@dataclass(frozen=True, eq=False)
class Pair:
    """Two classes of images, for training and for testing, whose mean is 0 and whose rms norm is 1."""

    X: Doubles
    y: Rows
    X_test: Doubles
    y_test: Rows

    def part(self, n: int, rng: np.random.Generator) -> Pair:
        """Return the same with as many training images of each class, drawn at random."""
        rows = balanced_subset(self.y, n, rng)
        return Pair(self.X[rows], self.y[rows], self.X_test, self.y_test)


def _fitted(pair: Pair, effort: Effort, seed: int, options: Options) -> KernelFlowClassifier:
    n, d = pair.X.shape
    return KernelFlowClassifier(
        **FLOW,
        n_layers=effort.n_layers,
        batch_size=min(400, n // 2),
        rank=RANK if d > 2 * RANK else None,
        random_state=seed,
        n_threads=options.n_threads,
    ).fit(pair.X, pair.y)


def _wrong(model: Any, pair: Pair) -> float:
    return float((model.predict(pair.X_test) != pair.y_test).mean())


def behaviour(
    pair: Pair,
    sizes: list[int],
    effort: Effort,
    seed: int,
    options: Options,
    done: Callable[[], None],
) -> dict[str, Any]:
    """Return all measures of a pair: errors by the number of images, and the rest at the largest."""
    rng = np.random.default_rng([options.seed, 3, seed])
    found: dict[str, Any] = {"error before": [], "error after": []}
    for size in sizes:
        some = pair.part(size, rng)
        model = _fitted(some, effort, options.seed + seed, options)
        before = unflowed(model, some.X, some.y)
        found["error before"].append(_wrong(before, some))
        found["error after"].append(_wrong(model, some))
        done()
    # What is measured of geometry takes some of the test images.
    X, y = some.X_test[: effort.n_geometry], some.y_test[: effort.n_geometry]
    layers = np.unique(np.linspace(0, effort.n_layers, effort.stops).round().astype(int))
    found["layers"] = layers.tolist()
    dimensions = effective_dimension(model, X, y, layers=layers, n_neighbours=(5, 10))
    found["participation"] = dimensions.within_classes("participation")
    found["neighbours"] = dimensions.within_classes("neighbours")
    tangents = tangent_dimension(
        model, X, layers=layers, max_points=20, n_copies=40, random_state=seed
    )
    found["tangent"] = np.median(tangents.dimensions, axis=1)
    margins = class_margins(model, X, y, layers=(0, effort.n_layers))
    found["margin"] = [float(np.median(margins.interpolant[-1]))]
    found["nearest wrong"] = (margins.hypothesis < 0.0).mean(axis=1)
    found["adversarial"] = [
        float(
            np.median(
                adversarial_distance(
                    each,
                    X,
                    max_points=effort.attack,
                    max_iterations=20,
                    n_refinements=6,
                    random_state=seed,
                ).distances
            )
        )
        for each in (before, model)
    ]
    shots = np.array(_shots(model, some, effort, rng))
    found["one-shot error"], found["one-shot spread"] = shots.mean(axis=1), shots.std(axis=1)
    return found


def _shots(
    model: KernelFlowClassifier, pair: Pair, effort: Effort, rng: np.random.Generator
) -> list[list[float]]:
    """Return the errors of draws of one image for each class, before the flow and after it."""
    source = estimator_flow(model)
    rows = [balanced_subset(pair.y, 2, rng) for _ in range(effort.draws)]
    used, places = np.unique(rows, return_inverse=True)
    both = (
        source.flow.trajectory(source.scaled(each), (0, source.flow.n_layers_), reduced=True)
        for each in (pair.X[used], pair.X_test)
    )
    errors: list[list[float]] = []
    for points, test in zip(*both, strict=True):
        errors.append([])
        for place in places.reshape(len(rows), 2):
            interpolant = Interpolant(
                points[place],
                one_hot(pair.y[used[place]]),
                kernel=source.flow.kernel_,
                nugget=0.1,
                n_threads=1,
            )
            errors[-1].append(float((interpolant(test).argmax(axis=1) != pair.y_test).mean()))
    return errors
