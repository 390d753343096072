"""Settings that change from layer to layer: the name under which `kflow.flow.schedules` is documented."""

from __future__ import annotations

from kflow.flow.schedules import SCHEDULES, Schedule

__all__ = ["SCHEDULES", "Schedule"]
