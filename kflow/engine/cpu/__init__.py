"""The engine of compiled C++ on the processor's cores."""

from __future__ import annotations

from kflow.engine.cpu.engine import CpuEngine

__all__ = ["ENGINE"]

ENGINE = CpuEngine()
