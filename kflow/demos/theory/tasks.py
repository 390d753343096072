"""A tree of functions and digits, to be learned by kernels: their points, and the plain kernel's errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from kflow._base.array_types import Doubles, FloatArray
from kflow.demos.theory.digit_points import digit_points
from kflow.kernels import Gaussian
from kflow.linear.interpolant import Interpolant
from kflow.operations import one_hot

__all__ = [
    "DIMENSION",
    "SPREAD",
    "Parts",
    "Task",
    "digit_task",
    "interpolated",
    "node",
    "plain_kernel",
    "tree",
    "tree_task",
]

# Arrays for training, for choosing and for testing.
Parts: TypeAlias = tuple[FloatArray, FloatArray, FloatArray]


DIMENSION, SPREAD = 8, 0.7


# What is chosen for the plain kernel.
_NUGGETS = (1e-3, 1e-2, 1e-1)


_SCALES = (0.75, 1.5, 3.0)


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be learned: points, values and labels for training, for choosing and for testing."""

    X: Parts
    y: Parts
    labels: bool

    def error(self, values: FloatArray, part: int) -> float:
        """Return the root mean square error over the spread, or the part that is misclassified."""
        if self.labels:
            return float((values.argmax(axis=1) != self.y[part].argmax(axis=1)).mean())
        return float(np.sqrt(((values - self.y[part]) ** 2).mean()) / self.y[part].std())


def tree(X: Doubles) -> Doubles:
    """Return a binary tree of seven times the same function of two arguments, for points (n, 8)."""
    values = list(X.T)
    while len(values) > 1:
        values = [node(*values[i : i + 2]) for i in range(0, len(values), 2)]
    return np.asarray(values[0])


def node(a: Doubles, b: Doubles) -> Doubles:
    """Return the function of two arguments of which the tree is made."""
    return np.asarray(np.tanh(2.0 * np.sin(2.0 * a + 0.5) * np.cos(b) - 0.6 * a * b))


def tree_task(n_points: int, n_test: int, seed: list[int]) -> Task:
    """Return points drawn at random and the values of the tree, with mean 0 and spread 1."""
    rng = np.random.default_rng(seed)
    X = SPREAD * rng.normal(size=(2 * n_points + n_test, DIMENSION))
    y = tree(X)[:, None]
    y = (y - y.mean()) / y.std()
    parts = np.split(np.arange(len(X)), [n_points, 2 * n_points])
    first, second, third = parts
    return Task((X[first], X[second], X[third]), (y[first], y[second], y[third]), False)


def digit_task(n_points: int, seed: list[int]) -> Task:
    """Return images drawn at random for training and for choosing, and the test images."""
    data = digit_points()
    rows = np.random.default_rng(seed).permutation(len(data.X))
    first, second = rows[:n_points], rows[n_points : 2 * n_points]
    targets = one_hot(data.y)
    return Task(
        (data.X[first], data.X[second], data.X_test),
        (targets[first], targets[second], one_hot(data.y_test)),
        True,
    )


def plain_kernel(task: Task) -> tuple[float, float, float]:
    """Return length scale and nugget of the best plain kernel by the second part, and its test error."""
    spread = float(np.sqrt(2.0 * ((task.X[0] - task.X[0].mean(axis=0)) ** 2).sum(axis=1).mean()))
    # In units of the mean distance, whose square is 2 d times the variance of a coordinate.
    unit = spread / (2.0 * DIMENSION) ** 0.5 / SPREAD
    tried = [
        (task.error(interpolated(task.X, task.y[0], scale * unit, nugget, 1), 1), scale, nugget)
        for scale in _SCALES
        for nugget in _NUGGETS
    ]
    _, scale, nugget = min(tried)
    return (
        scale * unit,
        nugget,
        task.error(interpolated(task.X, task.y[0], scale * unit, nugget, 2), 2),
    )


def interpolated(X: Parts, y: FloatArray, scale: float, nugget: float, part: int) -> FloatArray:
    """Return the values y, interpolated from the first part, at the points of a part."""
    interpolant = Interpolant(X[0], y, kernel=Gaussian(scale), nugget=nugget, n_threads=1)
    return np.asarray(interpolant(X[part]))
