"""Draw for a layer its batch, its coarse points, and the sample that a rank reduction uses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kflow._base.array_types import FloatArray, Rows
from kflow.engine.interface import FlowBatch
from kflow.flow.settings import FlowSettings
from kflow.layers.rank_reduction import RankReduction

__all__ = ["draw_batch", "due_reduction", "falls_before", "sample_rows"]

# Number of points in a sample on which the directions are found that a flow no longer needs.
_SAMPLE = 8192


def draw_batch(rng: np.random.Generator, n: int, settings: FlowSettings) -> FlowBatch:
    """Draw the batch of a layer from n points, and the coarse subsets of the batch."""
    size = settings.batch_size
    n_coarse = min(max(round(settings.coarse_fraction * size), 1), size - 1)
    rows = rng.choice(n, size, replace=False).astype(np.intp, copy=False)
    if settings.n_halves == 1:
        return FlowBatch(rows, np.empty((0, n_coarse), dtype=np.intp), n_coarse)
    order = np.arange(size, dtype=np.intp)
    further = []
    for half in range(1, settings.n_halves):
        if half % 2:  # the end of the same order: antithetic to the half before
            further.append(order[size - n_coarse :])
        else:
            order = rng.permutation(size).astype(np.intp)
            further.append(order[:n_coarse])
    return FlowBatch(rows, np.array(further, dtype=np.intp), n_coarse)


def falls_before(layer: int, settings: FlowSettings) -> bool:
    """Return whether the rank may fall before a layer."""
    return bool(settings.shrink_every) and layer > 0 and layer % settings.shrink_every == 0


def sample_rows(n: int, layer: int) -> Rows:
    """Return the sample of n points on which unneeded directions are found before a layer.

    The sample does not depend on the flow's generator, so that flows with and without a falling
    rank draw the same batches.
    """
    if n <= _SAMPLE:
        return np.arange(n, dtype=np.intp)
    rng = np.random.default_rng([layer, n])
    return np.sort(rng.choice(n, _SAMPLE, replace=False)).astype(np.intp)


def due_reduction(
    layer: int, settings: FlowSettings, points: Callable[[], FloatArray]
) -> RankReduction | None:
    """Return the reduction of the rank before a layer, found on some points, or None."""
    if not falls_before(layer, settings):
        return None
    return RankReduction.shrinking(points(), layer, settings.shrink_tolerance)
