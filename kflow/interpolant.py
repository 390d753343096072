"""Kernel interpolants: the name under which `kflow.linear.interpolant` is documented."""

from __future__ import annotations

from kflow.linear.interpolant import Interpolant, balanced_subset

__all__ = ["Interpolant", "balanced_subset"]
