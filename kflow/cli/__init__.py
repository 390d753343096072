"""The command line of kflow."""

from __future__ import annotations

from kflow.cli.group import main

__all__ = ["main"]
