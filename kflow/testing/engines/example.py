"""A small flow on which engines are tested, and its layers by the slow reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow.engine.interface import FlowBatch, Layer, LayerOptions, LayerReport
from kflow.kernels import Matern52
from kflow.testing import slow
from kflow.testing.engines.base import DTYPES

__all__ = ["KERNEL", "OPTIONS", "FlowExample", "Run", "examples", "numbers"]

Run: TypeAlias = Sequence[tuple[Layer, LayerReport]]

KERNEL = Matern52(2.1)
OPTIONS = LayerOptions(
    nugget=0.1, step="relative", step_size=0.2, gradient_cap=float("inf"), over_batch=False
)
N, N_OTHERS, N_BATCH, N_COARSE = 70, 11, 24, 12


@dataclass(frozen=True)
class FlowExample:
    """Points of a flow, and what its layers need.

    Attributes
    ----------
    sets : list of ndarray
        70 training points, and 11 others.
    n_fixed : int
        How many coordinates, the last ones, do not move.
    targets : ndarray of float64, shape (70, 2)
        Targets of the training points.
    labels : ndarray of intc, shape (70,)
        Their classes.
    batches : list of FlowBatch
        Batches of 24 points, half of them coarse, with one further half.
    """

    sets: list[FloatArray]
    n_fixed: int
    targets: FloatArray
    labels: npt.NDArray[np.intc]
    batches: list[FlowBatch]

    @classmethod
    def make(cls, dtype: npt.DTypeLike, n_fixed: int, d: int) -> FlowExample:
        """Return a flow of which d coordinates move."""
        rng = np.random.default_rng(7)
        sets = [rng.normal(size=(n, d + n_fixed)).astype(dtype) for n in (N, N_OTHERS)]
        batches = [
            FlowBatch(
                rng.permutation(N)[:N_BATCH], rng.permutation(N_BATCH)[None, :N_COARSE], N_COARSE
            )
            for _ in range(4)
        ]
        labels = rng.integers(3, size=N).astype(np.intc)
        return cls(sets, n_fixed, rng.normal(size=(N, 2)), labels, batches)

    @property
    def n_moving(self) -> int:
        """How many coordinates move."""
        return int(self.sets[0].shape[1]) - self.n_fixed

    def copies(self) -> list[FloatArray]:
        """Return copies of the points, which an engine may change."""
        return [points.copy() for points in self.sets]

    def reference(
        self, sets: list[FloatArray], number: int, options: LayerOptions
    ) -> tuple[list[FloatArray], Layer, LayerReport]:
        """Return points after a layer, the layer, and its report."""
        batch = self.batches[number]
        expected = slow.layer(
            sets[0],
            self.targets,
            batch.rows,
            np.stack([np.arange(batch.n_coarse), *batch.halves]),
            kernel=KERNEL,
            nugget=options.nugget,
            step=options.step,
            step_size=options.step_size,
            n_moving=self.n_moving,
            gradient_cap=options.gradient_cap,
        )
        step = expected.step
        if options.over_batch:
            moved = slow.gram(expected.Z, kernel=KERNEL) @ expected.C
            step = slow.step_length(options.step, options.step_size, expected.Z, moved)
        ratio = slow.class_distance_ratio(expected.Z, self.labels[batch.rows])
        return (
            [slow.move(x, expected.Z, expected.C, kernel=KERNEL, step=step) for x in sets],
            Layer(expected.Z, expected.C, step),
            LayerReport(float(expected.rho), step, ratio),
        )


def examples() -> Iterator[FlowExample]:
    """Yield flows in both dtypes, in few and in many dimensions, whose last coordinate may be fixed."""
    for dtype in DTYPES:
        for n_fixed in (0, 1):
            for d in (2, 9):
                yield FlowExample.make(dtype, n_fixed, d)


def numbers(run: Run) -> list[npt.ArrayLike]:
    """Return all arrays and numbers of layers and of their reports, in one list."""
    return [value for layer, report in run for value in (*layer, *report)]
