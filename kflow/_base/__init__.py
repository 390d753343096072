"""Tools that every room may use: arguments, files, generators, interrupts, progress bars."""

from __future__ import annotations
