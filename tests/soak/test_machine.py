from __future__ import annotations

from hypothesis import HealthCheck, settings
from soak.machine import FlowLife

TestFlowLife = FlowLife.TestCase
TestFlowLife.settings = settings(
    max_examples=12,
    stateful_step_count=12,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
