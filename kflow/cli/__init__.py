"""The command line of kflow."""

from __future__ import annotations

from kflow.cli.command import main

__all__ = ["main"]
