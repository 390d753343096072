"""The public name of `kflow.flow.schedules`."""

from __future__ import annotations

from kflow.flow.schedules import SCHEDULES, Schedule

__all__ = ["SCHEDULES", "Schedule"]
