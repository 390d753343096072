"""The reports of the reproduction, as far as they are here."""

from __future__ import annotations

from typing import Any


def setup(app: Any) -> dict[str, bool]:  # noqa: ARG001
    """Register nothing yet."""
    return {"parallel_read_safe": True, "parallel_write_safe": True}
