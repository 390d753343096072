"""Manifolds of images whose parameters are found so that they look like two given classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kflow._base.array_types import Doubles, Rows
from kflow.analysis import hypothesis_margins, neighbour_dimension, participation_ratio
from kflow.datasets import ImageManifolds
from kflow.demos import Options
from kflow.demos.theory.pair_of_classes import Effort
from kflow.flow.start import default_kernel
from kflow.linear.interpolant import Interpolant
from kflow.operations import one_hot

__all__ = ["UNIT_ERROR", "UNIT_PART", "Shape", "kernel_error", "looks", "match", "normalised"]

# Differences that count as one: of errors as they are, of other measures as a part of them.
UNIT_ERROR, UNIT_PART = 0.02, 0.1


@dataclass(frozen=True)
class Shape:
    """The parameters of a pair of manifolds, as of `kflow.datasets.ImageManifolds`."""

    dimension: int
    decay: float
    curvature: float
    overlap: float
    distance: float
    tangential: float

    def draw(self, image_shape: tuple[int, int], n: int, seed: Any) -> tuple[Doubles, Rows]:
        """Return images of two such manifolds, with directions of their own for each seed."""
        first, second = np.random.SeedSequence(seed).spawn(2)
        manifolds = ImageManifolds(image_shape, 2, **asdict(self), random_state=first)
        return manifolds.draw(n, second)


def normalised(X: Doubles, *others: Doubles) -> tuple[Doubles, ...]:
    """Return points with the mean 0 and the root mean squared norm 1, and others mapped in the same way."""
    mean = X.mean(axis=0)
    size = math.sqrt(((X - mean) ** 2).sum(axis=1).mean())
    return tuple((each - mean) / size for each in (X, *others))


def kernel_error(X: Doubles, y: Rows, T: Doubles, t: Rows, n_threads: int | None) -> float:
    """Return the error of the interpolant of all points, without a flow."""
    interpolant = Interpolant(
        X, one_hot(y), kernel=default_kernel(X), nugget=0.1, n_threads=n_threads
    )
    return float((interpolant(T).argmax(axis=1) != t).mean())


def looks(X: Doubles, y: Rows, n_threads: int | None) -> dict[str, float]:
    """Return measures of two classes that need no flow. Half of the points serve to train."""
    half = len(X) // 2
    groups = [X[y == label] for label in (0, 1)]
    gap = groups[0].mean(axis=0) - groups[1].mean(axis=0)
    # What the means differ by chance is taken off.
    chance = sum(group.var(axis=0, ddof=1).sum() / len(group) for group in groups)
    few = half // 8
    return {
        "participation ratio of a class": float(np.mean([participation_ratio(g) for g in groups])),
        "dimension of a class by neighbours": float(
            np.mean([neighbour_dimension(g, (5, 10)) for g in groups])
        ),
        "distance between the class means": math.sqrt(max(float(gap @ gap) - chance, 1e-4)),
        "error of the nearest neighbour": float((hypothesis_margins(X, y) < 0.0).mean()),
        f"error from {few} images": kernel_error(X[:few], y[:few], X[half:], y[half:], n_threads),
        f"error from {half} images": kernel_error(
            X[:half], y[:half], X[half:], y[half:], n_threads
        ),
    }


def apart(ones: Mapping[str, float], others: Mapping[str, float]) -> float:
    """Return the sum of squared differences: of errors in units of 2 points, of others of 10 %."""
    total = 0.0
    for name, one in ones.items():
        if name.startswith("error"):
            total += ((one - others[name]) / UNIT_ERROR) ** 2
        else:
            total += (math.log(one / others[name]) / UNIT_PART) ** 2
    return total if math.isfinite(total) else math.inf


def _between(low: float, high: float, rng: np.random.Generator) -> float:
    """Return a random number whose logarithm has the same density everywhere."""
    return float(low * (high / low) ** rng.uniform())


def match(
    wanted: Mapping[str, float],
    n: int,
    image_shape: tuple[int, int],
    effort: Effort,
    options: Options,
    done: Callable[[], None],
) -> tuple[Shape, dict[str, float], float]:
    """Return the best of random parameters, then of small changes to the best."""
    rng = np.random.default_rng([options.seed, 1])
    d = math.prod(image_shape)
    dimensions = sorted({max(2, d // part) for part in (16, 8, 5)})
    best: tuple[float, Shape, dict[str, float]] | None = None
    for number in range(effort.candidates + effort.refined):
        if best is None or number < effort.candidates:
            shape = Shape(
                dimension=int(rng.choice(dimensions)),
                decay=float(rng.uniform(0.3, 2.0)),
                curvature=_between(0.3, 6.0, rng),
                overlap=1.0 - _between(0.002, 0.5, rng),
                distance=wanted["distance between the class means"] * _between(0.5, 2.0, rng),
                tangential=1.0 - _between(0.002, 1.0, rng),
            )
        else:
            now, factor = best[1], np.exp(0.3 * rng.normal(size=5))
            shape = Shape(
                dimension=now.dimension,
                decay=float(now.decay * factor[0] ** 0.5),
                curvature=float(now.curvature * factor[1]),
                overlap=float(1.0 - min(0.9, (1.0 - now.overlap) * factor[2])),
                distance=float(now.distance * factor[3] ** 0.5),
                tangential=float(1.0 - min(1.0, (1.0 - now.tangential) * factor[4])),
            )
        X, y = shape.draw(image_shape, n, [options.seed, 2])
        found = looks(normalised(X)[0], y, options.n_threads)
        distance = apart(wanted, found)
        if best is None or distance < best[0]:
            best = distance, shape, found
        done()
    assert best is not None
    return best[1], best[2], best[0]
