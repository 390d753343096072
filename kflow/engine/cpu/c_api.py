"""The compiled core's table of functions for C."""

from __future__ import annotations

from kflow.engine.cpu._core import C_API

__all__ = ["C_API"]
