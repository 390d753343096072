"""The public name of `kflow.linear.interpolant`."""

from __future__ import annotations

from kflow.linear.interpolant import Interpolant, balanced_subset

__all__ = ["Interpolant", "balanced_subset"]
