"""Posterior means of the compiled core."""

from __future__ import annotations

import numpy as np

from kflow._base.array_types import FloatArray
from kflow.engine.cpu import _core
from kflow.engine.interface import MeansOperator, MeansParts

__all__ = ["CpuMeans"]


class CpuMeans(MeansOperator):
    """Centres side by side in registers, for all components at once; see `MeansOperator`."""

    def __init__(self, parts: MeansParts) -> None:
        core = _core.MeansFloat if parts.centres.dtype == np.float32 else _core.MeansDouble
        self._core = core(**{**parts._asdict(), "families": list(parts.families)})

    def scores(self, X: FloatArray, out: FloatArray, n_threads: int) -> None:
        """Write scores to `out`."""
        self._core.scores(X, out, n_threads)

    def outputs(self, X: FloatArray, out: FloatArray, n_threads: int) -> None:
        """Write outputs to `out`."""
        self._core.outputs(X, out, n_threads)

    def gradients(self, X: FloatArray, out: FloatArray, n_threads: int) -> None:
        """Write derivatives of scores to `out`."""
        self._core.gradients(X, out, n_threads)
