"""Posterior variances of the compiled core."""

from __future__ import annotations

from kflow._base.array_types import Doubles
from kflow.engine.cpu import _core
from kflow.engine.interface import VarianceOperator, VarianceParts

__all__ = ["CpuVariance"]


class CpuVariance(VarianceOperator):
    """Points side by side in registers, and factors in panels of columns; see `VarianceOperator`."""

    def __init__(self, parts: VarianceParts) -> None:
        self._core = _core.PosteriorVariance(**parts._asdict())

    def __call__(self, X: Doubles, out: Doubles, n_threads: int) -> None:
        """Write variances to `out`."""
        self._core(X, out, n_threads)
