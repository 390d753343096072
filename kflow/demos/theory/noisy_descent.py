"""Descents of rho with more and with less noise, measured where they are equally far down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from kflow import KernelFlow, losses
from kflow._base.array_types import Doubles, FloatArray
from kflow.demos.theory.digit_points import DigitPoints, error_of
from kflow.evaluation.class_distances import class_distances
from kflow.kernels import Radial
from kflow.linear.interpolant import balanced_subset
from kflow.operations import one_hot

__all__ = ["HALVES", "LEVELS", "NUGGET", "Descent", "Found", "descend"]

NUGGET = 0.1


# The values of rho at which descents are compared, and how often rho is looked at.
LEVELS = (0.2, 0.1, 0.05)


_LOOKS = 20.0


_MOST_LAYERS = 400.0


# Halves by which rho of all points is measured, and how its growth is.
HALVES = 32
_FEW_HALVES, _DISPLACEMENTS = 8, 4


@dataclass(frozen=True)
class Descent:
    """One way down: how many points and halves a layer draws, and its step."""

    batch_size: int
    n_halves: int
    step: float

    def name(self, n_points: int) -> str:
        """Return how the report calls it."""
        batch = "all points" if self.batch_size == n_points else f"{self.batch_size} points"
        halves = "1 half" if self.n_halves == 1 else f"{self.n_halves} halves"
        return f"{batch}, {halves}, step {self.step:g}"


@dataclass(frozen=True, eq=False)
class Found:
    """What was measured at each level of rho: arrays (n_levels,), NaN where a level was not reached."""

    rho: Doubles
    error: Doubles
    doubling: Doubles
    relative: Doubles
    layers: Doubles


def descend(data: DigitPoints, n: int, descent: Descent, seed: list[int]) -> Found:
    """Run one descent from images drawn at random, and measure it at each level of rho."""
    rows = balanced_subset(data.y, n, np.random.default_rng(seed))
    X, labels = data.X[rows], data.y[rows]
    targets = one_hot(labels)
    halves = _halves(n, HALVES)
    every = max(1, round(_LOOKS / descent.step / 10.0))
    levels = list(LEVELS)
    results = np.full((5, len(LEVELS)), np.nan)

    def look(flow: Any) -> bool:
        if flow.n_layers_ % every:
            return False
        points, kernel = flow.points_, flow.kernel_
        rho = _rho(points, targets, halves, kernel)
        while levels and rho <= levels[0]:
            doubling = _doubling(points, targets, halves[:_FEW_HALVES], kernel)
            between = class_distances(points, labels)[1] ** 0.5
            results[:, len(LEVELS) - len(levels)] = (
                rho,
                error_of(points, labels, flow.follow_["test"], data.y_test, kernel),
                doubling,
                doubling * kernel.length_scale / between,
                flow.n_layers_,
            )
            levels.pop(0)
        return not levels

    KernelFlow(
        None,
        n_layers=round(_MOST_LAYERS / min(descent.step, 1.0)),
        batch_size=descent.batch_size,
        n_halves=descent.n_halves,
        nugget=NUGGET,
        step="fixed",
        step_size=descent.step,
        dtype="float64",
        layers="none",
        callbacks=[look],
        random_state=[*seed, 1],
        n_threads=1,
    ).fit(X, targets, follow={"test": data.X_test})
    return Found(*results)


def _halves(n: int, number: int) -> npt.NDArray[np.intp]:
    """Return halves of n rows, in pairs without a common row: the same ones whenever rho is measured."""
    rng = np.random.default_rng(0)
    orders = [rng.permutation(n) for _ in range(number // 2)]
    pairs = [part for order in orders for part in (order[: n // 2], order[n // 2 : n // 2 * 2])]
    return np.array(pairs, np.intp)


def _rho(
    points: FloatArray, targets: FloatArray, halves: npt.NDArray[np.intp], kernel: Radial
) -> float:
    A = kernel(points, n_threads=1) + NUGGET * np.eye(len(points))
    return losses.rho(A, targets, halves, gradient=False, n_threads=1)[0]


def _doubling(
    points: FloatArray, targets: FloatArray, halves: npt.NDArray[np.intp], kernel: Radial
) -> float:
    """Return the random displacement at which rho has doubled, as a part of the length scale.

    It is a root mean square over the points, and NaN if rho never doubles.
    """
    rng = np.random.default_rng(1)
    length = kernel.length_scale
    assert isinstance(length, float)
    directions = rng.normal(size=(_DISPLACEMENTS, *points.shape))
    directions *= length / np.sqrt((directions**2).sum(axis=2).mean(axis=1))[:, None, None]
    goal = 2.0 * _rho(points, targets, halves, kernel)

    def excess(log_size: float) -> float:
        moved = (points + np.exp(log_size) * one for one in directions)
        return float(np.mean([_rho(one, targets, halves, kernel) for one in moved])) - goal

    low, high = np.log(1e-3), np.log(10.0)
    if excess(high) <= 0.0:
        return float("nan")
    return float(np.exp(brentq(excess, low, high, xtol=0.02)))
