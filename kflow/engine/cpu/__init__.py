"""The engine of compiled C++ on the processor's cores."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

if find_spec(f"{__name__}._core") is None:
    raise ImportError(
        f"the compiled part of kflow is not in {Path(__file__).parent}, as in a folder of sources: "
        "install kflow (pip install .), and start Python in another folder, or with PYTHONSAFEPATH=1"
    )

from kflow.engine.cpu.engine import CpuEngine

__all__ = ["ENGINE"]

ENGINE = CpuEngine()
