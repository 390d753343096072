"""The value of a parameter that is to be chosen."""

from __future__ import annotations

from typing import Any

__all__ = ["AUTO", "is_auto"]

AUTO = "auto"


def is_auto(value: Any) -> bool:
    """Return whether a parameter's value is "auto"."""
    return isinstance(value, str) and value == AUTO
